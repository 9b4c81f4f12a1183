"""Decoders from texts, options and descriptions, and back."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.postprocessing.registry import DECODERS
from onnx_cte.types import Decoder

_SWITCH = {"yes": True, "true": True, "no": False, "false": False}
_KINDS = {int: "a whole number", float: "a number", bool: "yes or no"}


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
    known = _options(name)
    for option in options:
        if option not in known:
            raise _unknown_option(name, option)
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
    known = _options(name)
    options: dict[str, Any] = {}
    for part in assigned:
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise OptionError(
                f"decoder '{text}': expected OPTION=VALUE after a comma, found '{part}'; write "
                f"for example {name},min_size=50"
            )
        if option not in known:
            raise _unknown_option(name, option)
        if option in options:
            raise OptionError(f"decoder '{text}': '{option}' is there twice; write it once")
        options[option] = _value(name, option, value, known[option])
    return decoder_named(name, **options)


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
        parts.append(f"{field.name}={_spoken(getattr(decoder, field.name))}")
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
    known = _options(name)
    for option, value in options.items():
        if isinstance(value, str) and option in known:
            options[option] = _value(name, option, value, known[option])
    return decoder_named(name, **options)


def _options(name: str) -> dict[str, Any]:
    """Type of each option of a decoder."""
    hints = typing.get_type_hints(DECODERS[name])
    return {field.name: hints[field.name] for field in dataclasses.fields(DECODERS[name])}


def _unknown_option(name: str, option: str) -> OptionError:
    if option == "threshold":
        return OptionError(
            f"the threshold is no option of decoder {name}, since the foreground has it too: write "
            "--threshold, or in a description `threshold` with a probability in [0, 1)"
        )
    return unknown_name(f"option of decoder {name}", option, _options(name))


def _value(name: str, option: str, text: str, kind: Any) -> Any:
    """What a text means to an option of this type: a number, yes or no, or one of a Literal."""
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if text not in choices:
            raise unknown_name(f"{option} of decoder {name}", text, choices)
        return text
    try:
        return _SWITCH[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise OptionError(
            f"decoder '{name}': cannot read {option}={text}, expected {_KINDS[kind]}; write for "
            f"example {name},{option}={_spoken(getattr(DECODERS[name], option))}"
        ) from None


def _spoken(value: Any) -> Any:
    """A value as it is written in a text."""
    return ("yes" if value else "no") if isinstance(value, bool) else value
