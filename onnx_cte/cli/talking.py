"""How much is said, and in which colours: results to stdout, all else to stderr."""

import logging
import os
from collections.abc import Callable
from typing import Any

import click

from onnx_cte.progress import BesideBar

QUIET, NORMAL, VERBOSE = 0, 1, 2
_LEVEL = "onnx_cte.level"


def talk_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-v`` and ``-q`` to a command that takes its time."""
    quiet = quiet_option(
        "Results and errors alone: no progress bar, not what files were taken for, and not what "
        "was written where."
    )
    verbose = verbose_option(
        "Also tell, on stderr, what is done with each model, and where an error arose."
    )
    both: Callable[..., Any] = verbose(quiet(command))
    return both


def talk_of_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-v`` and ``-q`` to a command whose result is a file."""
    quiet = quiet_option("Errors alone: not what was written, proven, and how to use it.")
    verbose = verbose_option("Where something fails, also tell where the error arose.")
    both: Callable[..., Any] = verbose(quiet(command))
    return both


def verbose_option(told: str) -> Callable[[Any], Any]:
    """Make ``-v``; `told` says what more is told."""
    return click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=_verbose, help=told
    )


def quiet_option(told: str) -> Callable[[Any], Any]:
    """Make ``-q``; `told` says what is still told."""
    return click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_quiet, help=told
    )


def level() -> int:
    """`QUIET`, `NORMAL` or `VERBOSE`, as the command at work was asked for."""
    context = click.get_current_context(silent=True)
    return NORMAL if context is None else int(context.meta.get(_LEVEL, NORMAL))


def say(text: str, nl: bool = True, err: bool = False) -> None:
    """Print a result; names of files need not be text that can be printed."""
    printable = text.encode(errors="backslashreplace").decode()
    click.echo("\n".join(map(_coloured, printable.split("\n"))), nl=nl, err=err)


def remark(text: str) -> None:
    """Print what is no result but good to know, unless quiet was asked for."""
    if text and level() > QUIET:
        say(text)


def aside(text: str) -> None:
    """Print on stderr what a user may want to check before the results, unless quiet."""
    if text and level() > QUIET:
        say(text, err=True)


def complain(text: str) -> None:
    """Print an error, on stderr."""
    head, body = click.style("onnx-cte:", fg="red"), text.encode(errors="backslashreplace").decode()
    click.echo(f"{head} {body}", err=True)


def choose_colours(context: click.Context) -> None:
    """No colours if ``NO_COLOR`` says so (no-color.org); else on terminals alone."""
    if os.environ.get("NO_COLOR"):
        context.color = False


def _coloured(line: str) -> str:
    """Warnings and what failed stand out; click leaves colours out where there is no terminal."""
    if line.startswith("warning: "):
        return click.style("warning:", fg="yellow") + line.removeprefix("warning:")
    return click.style(line, fg="red") if line in ("failed, not ranked", "not predicted") else line


def _verbose(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    _set(context, VERBOSE)
    logger, handler = logging.getLogger("onnx_cte"), BesideBar()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def undo() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)

    context.call_on_close(undo)


def _quiet(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        _set(context, QUIET)


def _set(context: click.Context, wanted: int) -> None:
    if context.meta.setdefault(_LEVEL, wanted) != wanted:
        raise click.UsageError(
            "--verbose and --quiet contradict each other: leave out one", context
        )
