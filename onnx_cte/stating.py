"""Options stated as texts, such as ``min_size=50``, read by the types of a dataclass's fields."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from onnx_cte.errors import OptionError, unknown_name

_SWITCH = {"yes": True, "true": True, "no": False, "false": False}
_NOTHING = "none"
_SEVERAL = "+"
_SIGNS = {",": "comma", ":": "colon"}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What may be stated of a thing that is made by name: its options, with their types.

    Attributes
    ----------
    kind, name : str
        For errors: "decoder", "watershed".
    options : mapping of str to type
        By option: int, float, bool (yes or no), str, a Literal, a union of these with None
        ("none"), or a tuple of these (joined by "+").
    defaults : mapping of str to object
        By option; those without a default are missing.
    separator : {",", ":"}
        Before each option in a text.
    elsewhere : mapping of str to str
        What is no option here though one may think so: what to write instead.
    example : str
        An option as it is written, for errors; empty: the first with its default.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Disc:
    ...     radius: float = 1.0
    ...     filled: bool = True
    ...     at: tuple[int, ...] = (0, 0)
    >>> said = Vocabulary.of("shape", "disc", Disc, ":")
    >>> said.read(["radius=2", "filled=no", "at=3+4"])
    {'radius': 2.0, 'filled': False, 'at': (3, 4)}
    """

    kind: str
    name: str
    options: Mapping[str, Any]
    defaults: Mapping[str, Any]
    separator: str = ","
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    example: str = ""

    @classmethod
    def of(
        cls,
        kind: str,
        name: str,
        made: Any,
        separator: str = ",",
        elsewhere: Mapping[str, str] | None = None,
        example: str = "",
    ) -> "Vocabulary":
        """The options of a dataclass; of another class there are none."""
        fields = [f for f in dataclasses.fields(made) if f.init] if is_stated(made) else []
        hints = typing.get_type_hints(made) if fields else {}
        defaults = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
        options = {f.name: hints[f.name] for f in fields}
        return cls(kind, name, options, defaults, separator, elsewhere or {}, example)

    def check(self, option: str) -> None:
        """OptionError, with a suggestion, unless there is such an option."""
        if option in self.options:
            return
        if option in self.elsewhere:
            raise OptionError(self.elsewhere[option])
        if not self.options:
            raise OptionError(f"{self.kind} '{self.name}' takes no options, and '{option}' is one")
        raise unknown_name(f"option of {self.kind} {self.name}", option, self.options)

    def read(self, parts: Sequence[str]) -> dict[str, Any]:
        """Options out of texts.

        Parameters
        ----------
        parts : sequence of str
            Each ``OPTION=VALUE``.

        Returns
        -------
        dict of str to object
            Values of the options' types.

        Raises
        ------
        OptionError
            Unknown option (with a suggestion), one without a value or twice, or a value that
            cannot be read.
        """
        told = self.separator.join([self.name, *parts])
        found: dict[str, Any] = {}
        for part in parts:
            option, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or not value:
                raise OptionError(
                    f"{self.kind} '{told}': expected OPTION=VALUE after a "
                    f"{_SIGNS[self.separator]}, found '{part}'{self._example()}"
                )
            self.check(option)
            if option in found:
                raise OptionError(f"{self.kind} '{told}': '{option}' is there twice; write it once")
            found[option] = self.value(option, value)
        return found

    def value(self, option: str, text: str) -> Any:
        """What a text means to an option; OptionError if nothing."""
        kind = self.options[option]
        choices = _choices(kind)
        try:
            return _read(text, kind)
        except ValueError:
            if choices and set(_parts(kind)) <= {str}:
                raise unknown_name(f"{option} of {self.kind} {self.name}", text, choices) from None
            raise OptionError(
                f"{self.kind} '{self.name}': cannot read {option}={text}, expected {_told(kind)}"
                + self._example(option)
            ) from None
        except TypeError:
            raise OptionError(
                f"{self.kind} '{self.name}': {option} cannot be stated as a text, for it is no "
                "number, word, or several of these; make the object in Python, or leave the option "
                "out"
            ) from None

    def _example(self, option: str = "") -> str:
        """How to write an option, told by its default; empty if none has one to be written."""
        if self.example and not option:
            return f"; write for example {self.name}{self.separator}{self.example}"
        wanted = [option] if option else list(self.options)
        for one in wanted:
            shown = self.defaults.get(one)
            if shown is not None and _readable(self.options[one]):
                stated = f"{self.name}{self.separator}{one}={spoken(shown)}"
                return f"; write for example {stated}"
        return ""


def is_stated(made: Any) -> bool:
    """Whether a class is a dataclass, whose fields are its options."""
    return isinstance(made, type) and dataclasses.is_dataclass(made)


def spoken(value: Any) -> str:
    """A value as it is written in a text.

    Examples
    --------
    >>> spoken(True), spoken((1, 3)), spoken(None)
    ('yes', '1+3', 'none')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return _SEVERAL.join(spoken(item) for item in value)
    return _NOTHING if value is None else str(value)


def _parts(kind: Any) -> list[Any]:
    """The types a type allows, a Literal as those of its words."""
    if typing.get_origin(kind) is Literal:
        return [type(choice) for choice in typing.get_args(kind)]
    if _is_union(kind) or typing.get_origin(kind) is tuple:
        inner = [item for item in typing.get_args(kind) if item is not Ellipsis]
        return [part for item in inner for part in _parts(item)]
    return [kind]


def _choices(kind: Any) -> tuple[str, ...]:
    """The words among which a Literal, or a tuple of them, allows to choose."""
    if typing.get_origin(kind) is Literal:
        return tuple(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple or _is_union(kind):
        return tuple(choice for item in typing.get_args(kind) for choice in _choices(item))
    return ()


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _readable(kind: Any) -> bool:
    return all(part in (int, float, bool, str, type(None)) for part in _parts(kind))


def _read(text: str, kind: Any) -> Any:
    """A value of a type; ValueError if the text is none, TypeError if no text can be."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if not _readable(kind):
        raise TypeError(kind)
    if origin is Literal:
        return (
            {str(choice): choice for choice in inside}[text]
            if text in map(str, inside)
            else (_refused(text))
        )
    if _is_union(kind):
        for one in sorted(inside, key=_narrowness):
            try:
                return _read(text, one)
            except ValueError:
                continue
        return _refused(text)
    if origin is tuple:
        parts = [part.strip() for part in text.split(_SEVERAL)]
        kinds = [inside[0]] * len(parts) if Ellipsis in inside else list(inside)
        if len(kinds) != len(parts):
            return _refused(text)
        return tuple(_read(part, one) for part, one in zip(parts, kinds, strict=True))
    if kind is bool:
        return _SWITCH[text.lower()] if text.lower() in _SWITCH else _refused(text)
    if kind is type(None):
        return None if text.lower() == _NOTHING else _refused(text)
    return kind(text)


def _narrowness(kind: Any) -> int:
    """A whole number before a number, before any word."""
    order = [type(None), bool, int, float]
    return order.index(kind) if kind in order else len(order) + (kind is str)


def _refused(text: str) -> Any:
    raise ValueError(text)


def _told(kind: Any) -> str:
    """What a text has to be, in words."""
    plain = {
        int: "a whole number", float: "a number", bool: "yes or no", str: "a word",
        type(None): _NOTHING,
    }  # fmt: skip
    if kind in plain:
        return plain[kind]
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(_choices(kind))}"
    if _is_union(kind):
        return " or ".join(_told(one) for one in sorted(typing.get_args(kind), key=_narrowness))
    inside = typing.get_args(kind)
    if Ellipsis in inside:
        return f"{_told(inside[0])}, or several joined by {_SEVERAL}"
    return f"{len(inside)} values joined by {_SEVERAL}"
