"""``--config``: a file that says what the options say; the command line has the last word."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from onnx_cte.cli.channel import ChannelType

_ASIDE = ("help", "config")
Known = Mapping[str, click.Parameter]
"""Options of a command by their long names, without dashes in front."""


def _take(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Make what the file says the defaults of the command at work."""
    if path is None or context.resilient_parsing:
        return
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"'{path}' is no TOML file in UTF-8: {error}") from error
    commands = _commands(context)
    own = commands[context.command.name or ""]
    shared: dict[str, Any] = {}
    sections: dict[str, Any] = {}
    for key, value in document.items():
        (sections if isinstance(value, dict) else shared)[key] = value
    everything = {name: option for known in commands.values() for name, option in known.items()}
    found = _options(context, path, "", shared, everything, own)
    for command, stated in sections.items():
        if command not in commands:
            raise _unknown(path, f"section [{command}]", command, commands)
        taken = _options(
            context, path, f"[{command}] ", stated, commands[command], commands[command]
        )
        if command == context.command.name:
            found |= taken
    context.default_map = {**(context.default_map or {}), **found}


CONFIG = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_take,
    metavar="FILE",
    help='TOML file of options by their long names, as in estimator = "cte" or perturb = '
    '["noise=0.1"]; those of one command below [rank]. The command line wins.',
)


def _commands(context: click.Context) -> dict[str, Known]:
    """The commands that take a file, with their options."""
    group = context.parent.command if context.parent else None
    commands = group.commands if isinstance(group, click.Group) else {}
    commands = {context.command.name or "": context.command, **commands}
    known = {name: _known(command) for name, command in commands.items()}
    return {name: options for name, options in known.items() if options}


def _known(command: click.Command) -> Known:
    options = {
        text.removeprefix("--"): option
        for option in command.params
        if isinstance(option, click.Option)
        for text in option.opts
        if text.startswith("--")
    }
    if "config" not in options:
        return {}
    return {name: option for name, option in options.items() if name not in _ASIDE}


def _options(
    context: click.Context,
    path: Path,
    where: str,
    stated: Mapping[str, Any],
    known: Known,
    taken: Known,
) -> dict[str, Any]:
    """What is stated of options that the command has, by parameter; all have to be known."""
    found = {}
    for key, value in stated.items():
        name = key.replace("_", "-")
        if name not in known:
            raise _unknown(path, f"{where}option '{key}'", name, known)
        # An option of the same name may be another one in another command.
        option = taken.get(name, known[name])
        checked = _checked(context, path, f"{where}{key}", value, option)
        if name in taken:
            found[option.name or ""] = checked
    return found


def _checked(
    context: click.Context, path: Path, where: str, value: Any, option: click.Parameter
) -> Any:
    """A value of the kind that the option takes: what click would convert silently is refused."""
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not option.multiple:
        raise _wrong(path, where, value, "one value, not a list")
    for one in values:
        kind, fits = _kind(option)
        if not isinstance(one, fits) or (isinstance(one, bool) and bool not in fits):
            raise _wrong(path, where, one, kind)
    try:
        option.type_cast_value(context, values if option.multiple else value)
    except click.BadParameter as error:
        raise click.BadParameter(f"'{path}': {where}: {error.message}") from error
    return values if option.multiple else value


def _kind(option: click.Parameter) -> tuple[str, tuple[type, ...]]:
    if isinstance(option, click.Option) and option.is_flag:
        return "true or false", (bool,)
    if isinstance(option.type, click.types.IntParamType):
        return "a whole number", (int,)
    if isinstance(option.type, click.types.FloatParamType):
        return "a number", (int, float)
    if isinstance(option.type, ChannelType):
        return "a whole number, or a text in quotes", (int, str)
    return "a text in quotes", (str,)


def _wrong(path: Path, where: str, value: Any, expected: str) -> click.BadParameter:
    return click.BadParameter(f"'{path}': {where} is {value!r}: expected {expected}")


def _unknown(path: Path, what: str, name: str, known: Iterable[str]) -> click.BadParameter:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f": did you mean '{near[0]}'?" if near else "."
    return click.BadParameter(f"'{path}': unknown {what}{hint} There are: {', '.join(names)}")
