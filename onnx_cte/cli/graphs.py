"""Commands on the networks themselves: look inside, add a mask input, cut in two."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from onnx_cte.cli.inspected import inspection_text, sides
from onnx_cte.cli.nearby import suggesting
from onnx_cte.cli.options import say, told
from onnx_cte.cli.talking import remark, talk_of_file, verbose_option
from onnx_cte.errors import OptionError
from onnx_cte.segmenters.derived import write_masked, write_split
from onnx_cte.segmenters.inspection import inspect_model
from onnx_cte.tables import text_table

MODEL_FILES = (".onnx", ".zip", ".yaml", ".yml")
MODEL = click.argument("model", type=click.Path(path_type=Path))
AT = click.option(
    "--at", metavar="TENSOR", help="Take this tensor for the bottleneck. [default: look for it]"
)


@click.command("inspect", short_help="Tell how a model is read and what is inside.")
@MODEL
@AT
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@verbose_option("Where something fails, also tell where the error arose.")
@told
def inspect_command(model: Path, at: str | None, as_json: bool) -> int:
    """Tell how MODEL is read and what is inside: its bottleneck, skips and taps.

    MODEL is an .onnx file, or a package of the BioImage Model Zoo: its folder or zip. It is run on
    the CPU, on a probe image. What cannot be ranked is shown as far as possible, with the reason.
    """
    with _meant(model):
        found = inspect_model(model, at)
    say(json.dumps(found.to_json(), indent=2) if as_json else inspection_text(found))
    return 0


@click.command("mask", short_help="Write a model with a mask input at its bottleneck.")
@MODEL
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="OUT.onnx",
    type=click.Path(path_type=Path),
    help="File to write; external data goes to OUT.onnx.data.",
)
@AT
@click.option(
    "--tap", default="bottleneck", show_default=True, help="Where: a tap, as `inspect` names them."
)
@click.option("--name", default="mask", show_default=True, help="Of the new input.")
@talk_of_file
@told
def mask_command(model: Path, out: Path, at: str | None, tap: str, name: str) -> int:
    """Write MODEL with a mask input that multiplies the channels of a feature map.

    Without a mask, or with ones, it gives what MODEL gives: this is proven on a probe image before
    anything is written, and so is that a mask changes the output. MODEL is an .onnx file or a
    package, of which the weights are taken: normalising stays to be done.
    """
    with _meant(model):
        made = write_masked(model, out, at=at, tap=tap, name=name)
    shape = sides(("N", *made.shape[1:]))
    where = f"the {made.tap.name}" if made.tap.name == "bottleneck" else made.tap.name
    remark(
        f"written: {made.path}\n\n"
        f"new input '{made.mask}': float32 {shape}, N being 1 or the number of images; a factor\n"
        f"for each of the {made.tap.channels} channels of {where}, tensor "
        f"'{made.tap.tensor}'\n\n"
        f"proven: ones leave every output as it was{_nearly(made.unchanged)}; a random mask of 0 "
        f"and 1\nchanges '{made.output}' by {100 * made.changed:.2g} % of its largest value\n\n"
        "to use it\n\n"
        f'  session = onnxruntime.InferenceSession("{made.path}")\n'
        f'  mask = (numpy.random.default_rng(0).random({made.shape}) > 0.3).astype("float32")\n'
        f'  maps = session.run(["{made.output}"], '
        f'{{"{made.source}": image, "{made.mask}": mask}})[0]'
    )
    return 0


@click.command("split", short_help="Write a model in two: encoder and decoder.")
@MODEL
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder for encoder.onnx and decoder.onnx.",
)
@AT
@talk_of_file
@told
def split_command(model: Path, out: Path, at: str | None) -> int:
    """Write MODEL in two: the encoder up to its bottleneck, and the decoder after it.

    One after the other they give what MODEL gives: this is proven on a probe image before anything
    is written. Two runs are no faster than one, for values are copied, and often laid out anew, in
    between: this is for those who need the parts, and ranking does not use it.
    """
    with _meant(model):
        made = write_split(model, out, at=at)
    rows = [[value.tensor, value.dtype, sides(value.shape)] for value in made.crossing]
    outputs = ", ".join(f"'{name}'" for name in made.outputs)
    remark(
        f"written: {made.encoder}, {made.decoder}\n\n"
        f"proven: one after the other they give {outputs} as the whole does"
        f"{_nearly(made.difference)}\n\n"
        f"what the decoder takes from the encoder, with shapes for an image {sides(made.probe)}\n\n"
        f"{text_table(['tensor', 'type', 'shape'], rows, left=[0, 1, 2])}"
    )
    return 0


@contextmanager
def _meant(model: Path) -> Iterator[None]:
    """Tell of what is named like no model, and what is meant by a path that is not there."""
    if model.is_file() and model.suffix.lower() not in MODEL_FILES:
        raise OptionError(
            f"'{model}' is named like no model: expected a file {', '.join(MODEL_FILES)}, or the "
            "folder of a package"
        )
    with suggesting(model):
        yield


def _nearly(difference: float) -> str:
    return f" (to {difference:.0e} of its largest value)" if difference else ", exactly"
