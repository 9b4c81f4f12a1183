"""Which decoder makes objects of a network's output: as stated, as described, or by channels."""

from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, replace

from onnx_cte.descriptor import ModelDescription, role_named
from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import (
    Stars,
    decoder_for,
    decoder_of_config,
    decoder_text,
    refusal,
)
from onnx_cte.types import Decoder


@dataclass(frozen=True, slots=True)
class Decoding:
    """The decoder of a model, or why there is none.

    Attributes
    ----------
    decoder : Decoder or None
    reason : str
        Why there is none; empty if there is one.
    notes : tuple of str
        What was assumed.
    """

    decoder: Decoder | None
    reason: str = ""
    notes: tuple[str, ...] = ()


def decoding_of(description: ModelDescription, stated: Decoder | None) -> Decoding:
    """Choose the decoder of an opened model.

    Parameters
    ----------
    description : ModelDescription
        With its final roles.
    stated : Decoder or None
        As the user says.

    Returns
    -------
    Decoding
        What is stated wins over what is described, and that over what the channels are called.
        None of them raises: a model without a decoder can still be ranked by its foreground.
    """
    roles, output = description.roles, description.output
    names = output.channel_names or (output.name,)  # as the roles were found
    if len(names) == 1:  # always called foreground, whatever it holds
        names = (role_named(names[0]) or names[0],)
    dimensions = 3 if "z" in description.input.axes else 2
    if stated is not None:
        stated = _on_grid(stated, description)
        note = f"objects by decoder {told(stated)} (as stated)"
        return _checked(stated, roles, dimensions, note)
    if description.decoder is not None:
        try:
            described = decoder_of_config(description.decoder)
        except OptionError as error:
            return Decoding(None, f"its description, config: decoder: {error}")
        described = _on_grid(described, description)
        note = f"objects by decoder {told(described)} (as described)"
        return _checked(described, roles, dimensions, note)
    found = decoding_by_channels(roles, names, dimensions)
    return (
        found
        if found.decoder is None
        else replace(found, decoder=_on_grid(found.decoder, description))
    )


def decoding_by_channels(roles: Sequence[str], names: Sequence[str], dimensions: int) -> Decoding:
    """The decoder that channels of these roles and names suggest."""
    try:
        decoder, note = decoder_for(tuple(roles), tuple(names), dimensions)
    except OptionError as error:
        return Decoding(None, str(error))
    return _checked(decoder, tuple(roles), dimensions, note)


def told(decoder: Decoder) -> str:
    """A decoder as an option would state it; one from elsewhere as it shows itself."""
    return decoder_text(decoder) if is_dataclass(decoder) else repr(decoder)


def _on_grid(decoder: Decoder, description: ModelDescription) -> Decoder:
    """A decoder of polygons told how coarse the network's output is, unless it was stated."""
    times = {description.output.scale_along(axis) for axis in "yx"}
    if isinstance(decoder, Stars) and decoder.grid == 1 and len(times) == 1:
        return replace(decoder, grid=times.pop())
    return decoder


def _checked(decoder: Decoder, roles: tuple[str, ...], dimensions: int, *notes: str) -> Decoding:
    if reason := refusal(decoder, roles, dimensions):
        return Decoding(None, reason)
    return Decoding(decoder, "", tuple(filter(None, notes)))
