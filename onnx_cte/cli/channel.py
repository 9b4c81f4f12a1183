"""What ``--channel`` takes: a number, or the name that a file gives to a channel."""

from typing import Any

import click


class ChannelType(click.types.StringParamType):
    """A number from 0 on, or a name."""

    name = "NUMBER|NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Digits alone are a number; anything else is a name."""
        text = str(value).strip()
        return int(text) if text.isdecimal() else text
