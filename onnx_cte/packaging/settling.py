"""A bare file's description as a package can have it: what the format demands, and refuses."""

import dataclasses
from typing import Any

from onnx_cte.descriptor import ModelDescription, Size
from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import as_decoder
from onnx_cte.segmenters.decoding import decoding_of
from onnx_cte.types import BACKGROUND, FOREGROUND

_TYPES = ("float32", "float64")


def as_packaged(
    described: ModelDescription, *, final_op: str, halo: int | None, foreground: int | None
) -> ModelDescription:
    """The description as the package will have it.

    Parameters
    ----------
    described : ModelDescription
        Of the bare file, with its final roles.
    final_op : str
        ONNX operator that computes the output.
    halo : int or None
        As stated. What is assumed of bare files is not written: readers would take it for known.
    foreground : int or None
        As stated.

    Returns
    -------
    ModelDescription

    Raises
    ------
    OptionError
        If the format has no words for it, or the halo leaves nothing of an image.
    """
    spec, out = described.input, described.output
    if spec.dtype not in _TYPES:
        raise OptionError(
            f"{described.name}: its input is {spec.dtype}, and the zoo's format knows "
            f"{' and '.join(_TYPES)} alone; export it with a float32 input (weights may stay as "
            "they are, behind a Cast)"
        )
    if foreground is not None and len(described.roles) > 1 and _exclusive(described, final_op):
        raise OptionError(
            f"{described.name}: foreground {foreground} is stated, and its channels are classes "
            "that exclude each other, which a package names one by one; state all of them, as "
            f"in --roles {_example(len(described.roles), foreground)}"
        )
    if halo is None:
        return dataclasses.replace(described, output=dataclasses.replace(out, halo=()))
    if halo < 0:
        raise OptionError(f"halo {halo}: expected px, 0 or more")
    coarse = max([times for _, times in out.scale], default=1)
    if halo % coarse:
        raise OptionError(
            f"halo {halo}: its output is {coarse} times coarser than the image; expected a "
            f"multiple of {coarse}"
        )
    sizes = tuple(
        (letter, _with_room(described, letter, size, halo, coarse)) for letter, size in spec.sizes
    )
    halos = tuple((letter, halo) for letter, _ in sizes) if halo else ()
    return dataclasses.replace(
        described,
        input=dataclasses.replace(spec, sizes=sizes),
        output=dataclasses.replace(out, halo=halos),
    )


def decoder_entry(described: ModelDescription, decoder: str | None) -> dict[str, Any]:
    """What stands under ``config: decoder:``; empty if nothing was stated.

    Raises
    ------
    OptionError
        If there is no such decoder, or it cannot take the network's channels.
    """
    entry: dict[str, Any] = {}
    if (chosen := as_decoder(decoder)) is not None:
        decoding = decoding_of(described, chosen)
        if decoding.decoder is None:
            raise OptionError(f"--decoder {decoder}: {decoding.reason}")
        entry["name"] = chosen.name
        for field in dataclasses.fields(chosen):  # type: ignore[arg-type]
            value = getattr(chosen, field.name)
            if value != field.default:
                entry[field.name] = value
    if described.threshold != 0.5 and BACKGROUND not in described.roles:
        entry["threshold"] = described.threshold
    return entry


def _with_room(
    described: ModelDescription, letter: str, size: Size, halo: int, coarse: int
) -> Size:
    """A size whose output is larger than twice the halo, as the format demands."""
    least = 2 * (halo + described.output.border_along(letter)) + coarse if halo else 0
    if size.minimum >= least:
        return size
    if not size.step:
        raise OptionError(
            f"halo {halo}: along {letter} the network takes {size.minimum} px and no more, of "
            f"which a halo on both sides leaves nothing; state less than {size.minimum // 2}"
        )
    return Size(size.minimum + -(-(least - size.minimum) // size.step) * size.step, size.step)


def _exclusive(described: ModelDescription, final_op: str) -> bool:
    """Whether the channels are probabilities of which all together make one."""
    ends = {final_op.lower(), *(step.name for step in described.output.steps)}
    return "softmax" in ends


def _example(channels: int, foreground: int) -> str:
    """Roles of so many classes, with the foreground where it was stated."""
    names = [f"class{place}" for place in range(channels)]
    names[foreground] = FOREGROUND
    names[0 if foreground else 1] = BACKGROUND
    return ",".join(names)
