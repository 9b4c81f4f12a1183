"""Decoders from texts, options and descriptions, and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.postprocessing.registry import DECODERS
from onnx_cte.stating import Vocabulary, spoken
from onnx_cte.types import Decoder


def decoder_named(name: str, **options: Any) -> Decoder:
    """Make a decoder by name.

    Parameters
    ----------
    name : str
        As ``onnx-cte list decoders`` shows it.
    **options
        What its class takes.

    Returns
    -------
    Decoder

    Raises
    ------
    OptionError
        Unknown name or option (with a suggestion), or a value that the decoder cannot take.

    Examples
    --------
    >>> decoder_named("foreground", min_size=50)
    Foreground(min_size=50, connectivity='full')
    """
    if name not in DECODERS:
        raise unknown_name("decoder", str(name), DECODERS)
    known = _vocabulary(name)
    for option in options:
        known.check(option)
    decoder: Decoder = DECODERS[name](**options)
    return decoder


def parse_decoder(text: str) -> Decoder:
    """A decoder from ``NAME[,OPTION=VALUE]...``.

    Parameters
    ----------
    text : str
        ``watershed``, ``watershed,min_size=50,seed_distance=5``, ``boundary,fill=no``.

    Returns
    -------
    Decoder
        `decoder_text` gives such a text again.

    Raises
    ------
    OptionError
        Unknown name or option (with a suggestion), an option without a value or twice, or a value
        that the decoder cannot take.

    Examples
    --------
    >>> parse_decoder("foreground,min_size=50,connectivity=face")
    Foreground(min_size=50, connectivity='face')
    """
    name, *assigned = (part.strip() for part in text.split(","))
    if name not in DECODERS:
        raise unknown_name("decoder", name, DECODERS)
    return decoder_named(name, **_vocabulary(name).read(assigned))


def as_decoder(given: object) -> Decoder | None:
    """A decoder however it is stated: as a text, a mapping, an object of its own, or None.

    Raises
    ------
    OptionError
        If it is none of these, or as `decoder_of_config`.
    """
    if given is None or isinstance(given, str | Mapping):
        return None if given is None else decoder_of_config(given)
    if isinstance(given, type) or not all(
        callable(getattr(given, method, None)) for method in ("refuses", "decode")
    ):
        raise OptionError(
            f"{given!r} is no decoder: expected a text such as 'watershed,min_size=50', or an "
            "object with the methods refuses and decode"
        )
    found: Any = given
    decoder: Decoder = found
    return decoder


def decoder_text(decoder: Decoder) -> str:
    """The text from which `parse_decoder` makes an equal decoder, every option written out.

    Examples
    --------
    >>> decoder_text(decoder_named("foreground"))
    'foreground,min_size=15,connectivity=full'
    """
    parts = [decoder.name]
    for field in dataclasses.fields(decoder):  # type: ignore[arg-type]
        parts.append(f"{field.name}={spoken(getattr(decoder, field.name))}")
    return ",".join(parts)


def decoder_of_config(entry: object) -> Decoder:
    """The decoder that a description asks for under ``config: decoder:``.

    Parameters
    ----------
    entry : str or mapping
        A text for `parse_decoder`, or a mapping of ``name`` and options; values may be texts.

    Returns
    -------
    Decoder

    Raises
    ------
    OptionError
        If it is neither, has no name, or names what there is not.

    Examples
    --------
    >>> decoder_of_config({"name": "boundary", "min_size": 50}).min_size
    50
    """
    if isinstance(entry, str):
        return parse_decoder(entry)
    if not isinstance(entry, Mapping):
        raise OptionError(
            f"a decoder is {entry!r}, expected a text such as 'watershed,min_size=50' or a mapping "
            "of 'name' and options"
        )
    options = {str(key): value for key, value in entry.items()}
    if "name" not in options:
        found = ", ".join(f"'{key}'" for key in options) or "nothing"
        raise OptionError(
            f"a decoder is described by {found}, expected a 'name' too; there are: "
            + ", ".join(sorted(DECODERS))
        )
    name = str(options.pop("name"))
    if name not in DECODERS:
        raise unknown_name("decoder", name, DECODERS)
    known = _vocabulary(name)
    for option, value in options.items():
        if isinstance(value, str) and option in known.options:
            options[option] = known.value(option, value)
    return decoder_named(name, **options)


def _vocabulary(name: str) -> Vocabulary:
    """The options of a decoder."""
    elsewhere = {
        "threshold": f"the threshold is no option of decoder {name}, since the foreground has it "
        "too: write --threshold, or in a description `threshold` with a probability in [0, 1)"
    }
    return Vocabulary.of(
        "decoder", name, DECODERS[name], elsewhere=elsewhere, example="min_size=50"
    )
