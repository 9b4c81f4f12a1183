"""The zoo's own library has the last word on what a valid description is."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_cte.errors import DescriptorError

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import ModelDescr

_SHOWN = 3  # errors of an invalid description: the first ones, the rest often follows from them
_WIDTH = 160  # letters of each of them


def validated(content: dict[str, Any], source: Path, *, files: bool = False) -> "ModelDescr":
    """The description in format 0.5, as the zoo's library reads it.

    Parameters
    ----------
    content : dict
        The description as read.
    source : Path
        The file it stands in.
    files : bool
        Whether the library looks at the files too: that they are there, their hashes, and the test
        tensors. It is kept from asking the network about addresses that are cited.

    Returns
    -------
    ModelDescr

    Raises
    ------
    DescriptorError
        If it is invalid, with the first reasons.
    """
    from bioimageio.spec import ValidationContext, build_description
    from bioimageio.spec.common import ValidationError
    from bioimageio.spec.model.v0_5 import ModelDescr

    # With its own checks of files it would ask the network about every URL and author. If it did
    # not raise, it would render tracebacks for seconds, and also complain that 0.4 is not 0.5.
    context = ValidationContext(
        root=source.parent.absolute(),
        file_name=source.name,
        perform_io_checks=files,
        known_files=dict.fromkeys(_addresses(content)) if files else {},
        log_warnings=False,
        raise_errors=True,
    )
    version = content["format_version"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            built = build_description(content, context=context, format_version="latest")
        except ValidationError as error:
            reasons = _reasons(error.errors())
            raise DescriptorError(f"no valid description (format {version}): {reasons}") from error
        except Exception as error:  # its converters raise whatever goes wrong in them
            reason = str(error) or type(error).__name__
            raise DescriptorError(f"format {version} cannot be read as 0.5: {reason}") from error
    if not isinstance(built, ModelDescr):
        raise DescriptorError(f"format {version} cannot be read: {built.validation_summary.status}")
    return built


def _reasons(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first of many errors, on one line."""
    lines = [f"{'.'.join(map(str, e['loc'])) or 'as a whole'}: {e['msg']}" for e in errors]
    shown = [line if len(line) <= _WIDTH else f"{line[:_WIDTH]} ..." for line in lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        shown.append(f"and {len(lines) - _SHOWN} more")
    return "; ".join(shown)


def _addresses(content: Any) -> Iterator[str]:
    """Every address of the web that a description cites."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key == "doi" and isinstance(value, str):
                yield f"https://doi.org/{value}"
            yield from _addresses(value)
    elif isinstance(content, list):
        for value in content:
            yield from _addresses(value)
    elif isinstance(content, str) and content.startswith(("http://", "https://")):
        # The library writes them as browsers do, with a slash after the name of the host.
        yield from (content, f"{content}/")
