"""Folders of models: every package and every ``.onnx`` file below."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from onnx_cte.descriptor.converting import FRAMEWORKS, passed_over
from onnx_cte.descriptor.package import DESCRIPTIONS, description_among
from onnx_cte.errors import NothingToRank, OptionError, unknown_name
from onnx_cte.postprocessing import as_decoder
from onnx_cte.preprocessing import named_steps
from onnx_cte.segmenters.onnx_model import TILE_LIMIT, OnnxModel
from onnx_cte.types import Decoder

ARCHIVES = (".zip",)
BARE = (".onnx",)


def open_models(
    source: str | Path | Sequence[str | Path],
    *,
    normalize: str | None = None,
    foreground: int | None = None,
    roles: Sequence[str] | None = None,
    threshold: float | None = None,
    decoder: Decoder | str | None = None,
    tile_limit: int = TILE_LIMIT,
    at: Mapping[str, str] | None = None,
) -> list[OnnxModel]:
    """List the models below a folder; none is loaded before its turn comes.

    Parameters
    ----------
    source : str, Path or sequence of these
        A folder, searched with its subfolders; a package (folder, zip or its description) or an
        ``.onnx`` file; or several. A folder with a description is one model, and what lies in it
        is its own.
    normalize : {"percentile", "zscore", "minmax", "none"} or None
        How models without a description want their images; None assumes percentiles.
    foreground : int or None
        For models without a description, the output channel to judge, counted from 0.
    roles : sequence of str or None
        For models without a description, what each output channel is: "foreground", "boundary",
        "background", names of classes, "ray0", "flow_y", ...
    threshold : float or None
        For all models: foreground is where its probability is strictly greater. None: 0.5, or
        what the description says.
    decoder : Decoder, str or None
        For all models: what makes objects of their outputs, such as "watershed,min_size=50" (see
        `onnx_cte.postprocessing.parse_decoder`). None: what the description says under ``config:
        decoder:``, else by the channels.
    tile_limit : int
        Longest side of a tile, in px, for networks that take any size.
    at : mapping of str to str or None
        For models by name, the tensor to take for the bottleneck where none is found.

    Returns
    -------
    list of OnnxModel
        In the order of their names: the path below `source`, without ``.onnx``.

    Raises
    ------
    NothingToRank
        If there is no model; the text says what there is instead.
    OptionError
        If `normalize` or `decoder` is unknown, both `foreground` and `roles` are given, or `at`
        names a model that is not there.

    Examples
    --------
    >>> open_models("models/nuclei")  # doctest: +SKIP
    [OnnxModel('brightfield', 'models/nuclei/brightfield'), ...]
    """
    if normalize is not None:
        named_steps(normalize)
    if threshold is not None and not 0 <= threshold < 1:
        raise OptionError(f"the threshold is a probability in [0, 1), not {threshold}")
    if foreground is not None and roles is not None:
        raise OptionError(
            f"both foreground ({foreground}) and roles ({', '.join(roles)}) are given: roles say "
            "which channel is the foreground"
        )
    decoder = as_decoder(decoder)
    sources = [source] if isinstance(source, str | Path) else list(source)
    found: dict[str, Path] = {}
    for start in map(Path, sources):
        for path in _models_below(start):
            if path in found.values():
                continue
            name = _name(path, start)
            # A package "a" beside a file "a.onnx", or two sources with the same names below.
            found[name if name not in found else str(path)] = path
    if not found:
        raise NothingToRank(_nothing(sources))
    for name in at or {}:
        if name not in found:
            raise unknown_name("model", name, found)
    return [
        OnnxModel(
            name,
            found[name],
            normalize=normalize,
            foreground=foreground,
            roles=None if roles is None else tuple(roles),
            threshold=threshold,
            decoder=decoder,
            tile_limit=tile_limit,
            at=(at or {}).get(name),
        )
        for name in sorted(found)
    ]


def overlooked(source: str | Path | Sequence[str | Path]) -> str:
    """Name, in a line, files of other frameworks that `open_models` passes over.

    Those within packages are none, and of a file that is itself named one hears when it is opened.

    Parameters
    ----------
    source : str, Path or sequence of these
        As for `open_models`.

    Returns
    -------
    str
        Empty if there are none.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    found = {
        path.relative_to(start).as_posix()
        for start in map(Path, sources)
        if start.is_dir()
        for path in _found_below(start)
        if path.suffix.lower() in FRAMEWORKS and not path.is_dir()
    }
    return passed_over(sorted(found))


def _models_below(start: Path) -> Iterator[Path]:
    if start.is_file():
        # A single file is taken for a model whatever its name; opening it will tell.
        yield start.parent if description_among([start.name]) else start
        return
    for path in _found_below(start):
        if path.suffix.lower() in (*BARE, *ARCHIVES) or path.is_dir():
            yield path


def _found_below(start: Path) -> Iterator[Path]:
    """Folders of packages, and every other file that is not hidden."""
    seen: set[str] = set()
    for folder, below, files in os.walk(start, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # links in a circle
            below.clear()
            continue
        seen.add(real)
        below.sort()
        here = Path(folder)
        below[:] = [name for name in below if not name.startswith(".")]
        if description_among(files):
            below.clear()
            yield here
            continue
        for file in sorted(files):
            if not file.startswith("."):
                yield here / file


def _name(path: Path, start: Path) -> str:
    relative = path.name if path == start or start.is_file() else path.relative_to(start).as_posix()
    suffix = Path(relative).suffix
    return relative.removesuffix(suffix) if suffix.lower() in (*BARE, *ARCHIVES) else relative


def _nothing(sources: Sequence[str | Path]) -> str:
    places = ", ".join(f"'{source}'" for source in sources) or "an empty list"
    missing = [str(source) for source in sources if not Path(source).exists()]
    if missing:
        return f"no models: '{missing[0]}' does not exist"
    others = sum(len(files) for source in sources for _, _, files in os.walk(source))
    over = overlooked(sources)
    return (
        f"no models in {places}: looked for {DESCRIPTIONS[0]} (a BioImage Model Zoo package), "
        f"{', '.join((*ARCHIVES, *BARE))}; there are {others} other files"
        + f"; {over}"
        * bool(over)
    )
