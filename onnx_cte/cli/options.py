"""What several commands share: options, what is made of them, and how errors are told."""

import functools
import logging
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import click
from click.shell_completion import CompletionItem

from onnx_cte.cli.channel import ChannelType
from onnx_cte.cli.nearby import suggesting
from onnx_cte.cli.talking import NORMAL, QUIET, aside, complain, level
from onnx_cte.cli.talking import say as say
from onnx_cte.errors import CTEError, OptionError
from onnx_cte.estimators import CTE
from onnx_cte.images import Images
from onnx_cte.images.files import lines_of
from onnx_cte.picturing import IMAGES as IMAGES_PICTURED
from onnx_cte.picturing import MODELS as MODELS_PICTURED
from onnx_cte.segmenters import OnnxModel, open_models
from onnx_cte.segmenters.folders import overlooked
from onnx_cte.types import Estimator

P = ParamSpec("P")
_LOG = logging.getLogger(__name__)
EVIDENCE = "evidence.sqlite"

MODELS = click.argument("models", type=click.Path(path_type=Path))
IMAGES = click.argument(
    "images",
    type=str,
    # A pattern is no path, and most give one.
    shell_complete=lambda context, parameter, typed: [CompletionItem(typed, type="file")],
)


def several(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several click options as one decorator, shown in this order."""
    return lambda command: functools.reduce(lambda f, option: option(f), reversed(options), command)


DRAWS = click.option(
    "--draws",
    type=int,
    help="Of cte, and in a ranking of credibility: how often what is random is drawn for each "
    "image. "
    f"[default: {CTE.draws}]",
)
MODEL_OPTIONS = several(
    click.option(
        "--normalize",
        type=click.Choice(["percentile", "zscore", "minmax", "none"]),
        help="How models without a description want images. [default: percentile]",
    ),
    click.option(
        "--foreground",
        type=int,
        metavar="CHANNEL",
        help="Output channel to judge, from 0, of models without a description.",
    ),
    click.option(
        "--roles",
        metavar="NAME,NAME,...",
        help="What the output channels are of models without a description, such as "
        "foreground,boundary or flow_y,flow_x,prob.",
    ),
    click.option("--threshold", type=float, help="Foreground probability. [default: 0.5]"),
    click.option(
        "--decoder",
        metavar="NAME[,OPTION=VALUE...]",
        help="What makes objects of all models' outputs, such as watershed,min_size=50; see "
        "`onnx-cte list decoders`. [default: as described, or by the channels]",
    ),
)
AT = click.option(
    "--at",
    multiple=True,
    metavar="MODEL=TENSOR",
    help="For this model, by its name in the ranking, take this tensor for the bottleneck; see "
    "`onnx-cte inspect`. May be repeated.",
)
IMAGE_OPTIONS = several(
    click.option("--axes", help="Axes of the image files, as zcyx, where the files do not say."),
    click.option(
        "--channel",
        type=ChannelType(),
        help="Use this channel of the images, from 0, or by its name in OME metadata.",
    ),
    click.option(
        "--volumes",
        is_flag=True,
        help="Take z-stacks whole, as volumes, for networks on volumes. [default: slice by slice]",
    ),
    click.option(
        "--limit", type=int, help="Only the first so many images, by name: for a quick look."
    ),
    click.option(
        "--only",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Only the images named in this text file, one a line.",
    ),
)
PICTURES = click.option(
    "--pictures",
    type=click.IntRange(0),
    default=IMAGES_PICTURED,
    show_default=True,
    help="Images that index.html shows under each model (at most the best "
    f"{MODELS_PICTURED}): typical, disputed and bad ones, run once more for it. 0: none.",
)
DEVICE_OPTIONS = several(
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="What runs the models; cuda is an error where it does not work.",
    ),
    click.option("--jobs", type=int, help="CPU threads. [default: all cores]"),
)
RUN_OPTIONS = several(
    DEVICE_OPTIONS,
    click.option("--seed", type=int, default=0, show_default=True, help="Of all random draws."),
    click.option("--strict", is_flag=True, help="Stop at the first model or image that fails."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables."),
)


def models_of(models: Path, options: dict[str, Any]) -> list[OnnxModel]:
    """Open models as `MODEL_OPTIONS` say; what is passed over is told on stderr."""
    stated = ("normalize", "foreground", "threshold", "decoder")
    taken = {name: options[name] for name in stated}
    if options["roles"] is not None:
        taken["roles"] = [role.strip() for role in options["roles"].split(",")]
    at = options.get("at", ())
    with suggesting(models):
        names = [model.name for model in open_models(models)] if at else []
    tensors = by_model(
        "--at",
        at,
        names,
        "tensors",
        "MODEL=TENSOR, a model's name in the ranking and a tensor of its graph; `onnx-cte inspect` "
        "lists tensors",
    )
    with suggesting(models):
        opened = open_models(models, **taken, at=tensors)
    aside(overlooked(models))
    return opened


def check_decoder(options: dict[str, Any], judges: Iterable[Estimator], instead: str) -> None:
    """Refuse a decoder where nothing looks at objects: it would be ignored."""
    if options["decoder"] is not None and not any(judge.needs.instances for judge in judges):
        raise OptionError(
            f"--decoder {options['decoder']} makes objects, and nothing that is asked for looks at "
            f"them: add {instead}"
        )


def check_at(options: dict[str, Any], judges: Iterable[Estimator]) -> None:
    """Refuse a tensor for the bottleneck where nothing looks inside: it would be ignored."""
    if options["at"] and not any(
        judge.needs.features or judge.needs.taps or judge.needs.views for judge in judges
    ):
        raise OptionError(
            f"--at {options['at'][0]} names a bottleneck, and nothing that is asked for looks "
            "inside networks: add --perturb dropout=0.1, or leave out --at"
        )


def by_model(
    option: str, stated: Sequence[str], names: Collection[str], things: str, expected: str
) -> dict[str, str]:
    """What is stated of models, by their names, out of texts such as ``unet=/down/Relu_output_0``.

    Parameters
    ----------
    option : str
        For errors: "--at".
    stated : sequence of str
        Each ``MODEL=`` and something.
    names : collection of str
        The models there are.
    things : str
        For errors: what is stated of each model, in the plural: "tensors".
    expected : str
        For errors: what a text should be.

    Returns
    -------
    dict of str to str

    Raises
    ------
    OptionError
        If a text is no such thing, or names a model that another has named.
    """
    found: dict[str, str] = {}
    for text in stated:
        # Models, tensors and folders may have equals signs in their names; a model that is there
        # counts.
        places = [place for place, sign in enumerate(text) if sign == "="]
        known = [place for place in places if text[:place] in names]
        place = known[-1] if known else places[0] if places else len(text)
        model, said = text[:place], text[place + 1 :]
        if not model or not said:
            raise OptionError(f"{option} {text}: expected {expected}")
        if model in found:
            raise OptionError(
                f"{option} names two {things} for model '{model}': '{found[model]}' and '{said}'"
            )
        found[model] = said
    return found


def images_of(images: str, labels: str | None, options: dict[str, Any]) -> Images:
    """List images as `IMAGE_OPTIONS` say."""
    only, names = options["only"], None
    if only is not None:
        lines = (line.strip() for line in lines_of(only, "list of --only", OptionError))
        names = [line for line in lines if line]
    taken = {name: options[name] for name in ("axes", "channel", "limit", "volumes")}
    with suggesting(images, labels):
        found = Images(images, labels, only=names, **taken)
    _LOG.info("%r", found)
    return found


def tell_understood(images: Images) -> None:
    """Say, before anything runs, what files were taken for, and which labels they have."""
    for line in images.understood:
        aside(line)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; the others have their defaults where they are used."""
    return {name: value for name, value in options.items() if value is not None}


def run_keywords(out: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Keywords for `rank` and `rank_each` as `RUN_OPTIONS` say."""
    taken = {name: options[name] for name in ("device", "jobs", "seed", "strict")}
    return {**taken, "evidence": out / EVIDENCE, "progress": level() > QUIET}


def trial_keywords(options: dict[str, Any]) -> dict[str, Any]:
    """Keywords for `plan`, of `DEVICE_OPTIONS` and the seed where there is one."""
    return {name: options[name] for name in ("device", "jobs", "seed") if name in options}


def quick_look(options: dict[str, Any]) -> str:
    """A line to say that not all images were looked at; empty if they were."""
    limit = options["limit"]
    return "" if limit is None else f"\na quick look: the first {limit} images alone (--limit)"


def out_option(default: str, help_text: str) -> Callable[[Any], Any]:
    """Make the option for the folder of results."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=Path(default),
        show_default=True,
        help=help_text,
    )


def told(command: Callable[P, int]) -> Callable[P, None]:
    """Turn errors into one line and an exit code; with ``-v``, and where we err, say where."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except CTEError as error:
            if level() > NORMAL:
                traceback.print_exc()
            complain(str(error))
            code = 2 if isinstance(error, OptionError) else 1
        except MemoryError:
            complain(
                "the memory of this computer does not suffice; close other programs, or cut the "
                "images into smaller ones"
            )
            code = 1
        except KeyboardInterrupt:
            click.echo(err=True)
            complain(
                "interrupted; what was measured is kept, and the same command goes on from there"
            )
            code = 130
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            traceback.print_exc()
            complain(
                "this is a mistake in onnx-cte, not in what you gave it: "
                f"{type(error).__name__}: {error}. Please report it, with the lines above"
            )
            code = 1
        sys.exit(code)

    return guarded
