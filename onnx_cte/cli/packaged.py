"""``onnx-cte package``: a package of the BioImage Model Zoo, made of a bare ONNX file."""

import json
from pathlib import Path
from typing import Any

import click

from onnx_cte.cli.channel import ChannelType
from onnx_cte.cli.options import given, say, told
from onnx_cte.cli.talking import remark, talk_of_file
from onnx_cte.packaging import Package, write_package


@click.command("package", short_help="Write a zoo package of a bare ONNX file.")
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER|FILE.zip",
    help="What to write. [default: MODEL-package, here]",
)
@click.option(
    "--axes",
    metavar="LETTERS",
    help="A letter for each axis of the network's input: bcyx, byxc, byx, bczyx, bzyxc or bzyx. "
    "[default: by its shape]",
)
@click.option(
    "--normalize",
    type=click.Choice(["percentile", "zscore", "minmax", "none"]),
    help="How the network wants its images. [default: percentile]",
)
@click.option(
    "--activation",
    type=click.Choice(["sigmoid", "softmax", "none"]),
    help="What makes probabilities of its output. [default: by a trial run]",
)
@click.option(
    "--roles",
    metavar="NAME,NAME,...",
    help="What its output channels are, such as foreground,boundary or flow_y,flow_x,prob.",
)
@click.option("--foreground", type=int, metavar="CHANNEL", help="Output channel to judge, from 0.")
@click.option("--threshold", type=float, help="Foreground probability. [default: 0.5]")
@click.option(
    "--decoder",
    metavar="NAME[,OPTION=VALUE...]",
    help="What makes objects of its output, such as watershed,min_size=50.",
)
@click.option(
    "--halo",
    type=int,
    metavar="PX",
    help="At the border of a tile, px of the image that lack context. [default: left open]",
)
@click.option(
    "--sample",
    metavar="IMAGE",
    help="Image to test it with, of which the middle is taken. [default: simulated nuclei]",
)
@click.option(
    "--channel", type=ChannelType(), help="Use this channel of the sample, from 0, or by its name."
)
@click.option("--name", help="Of the model, for people. [default: after the file]")
@click.option("--description", help="Of the model, for people.")
@click.option("--author", "authors", multiple=True, metavar="NAME", help="May be repeated.")
@click.option("--license", metavar="SPDX", help="As MIT or CC-BY-4.0.")
@click.option(
    "--cite",
    multiple=True,
    metavar="TEXT",
    help="What to cite, with a DOI or an address in it. May be repeated.",
)
@click.option("--force", is_flag=True, help="Replace a package of that name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@talk_of_file
@told
def package_command(
    model: Path, out: Path | None, roles: str | None, as_json: bool, **options: Any
) -> int:
    """Write a BioImage Model Zoo package of MODEL.onnx, with test tensors, and check it.

    The package says what a bare file leaves open. Before it appears under its name, the zoo's own
    library accepts it, and onnx-cte reads it back: it has to reproduce its test tensors, and to
    give what MODEL.onnx gives with the same options. What was assumed is told; look at it before
    anybody else uses the package.
    """
    stated = given(**options)
    if roles is not None:
        stated["roles"] = [role.strip() for role in roles.split(",")]
    made = write_package(model, out or Path(f"{model.stem}-package"), **stated)
    if as_json:
        say(json.dumps(_document(made), indent=2))
    else:
        remark(_text(made))
    return 0


def _text(made: Package) -> str:
    blocks = [f"written: {made.path} ({', '.join(made.files)})", "\n".join(made.understood)]
    for title, lines in (
        ("checked", made.checked),
        ("assumed, to be looked at before anybody else uses it", made.assumed),
    ):
        if lines:
            blocks.append("\n".join([title, *(f"  {line}" for line in lines)]))
    return "\n\n".join(blocks)


def _document(made: Package) -> dict[str, Any]:
    return {
        "path": str(made.path),
        "files": made.files,
        "understood": made.understood,
        "checked": made.checked,
        "assumed": made.assumed,
    }
