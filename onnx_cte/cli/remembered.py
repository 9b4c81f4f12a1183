"""The command line as it was typed: a ranking keeps it, so that the run can be repeated."""

import os
import shlex
from dataclasses import replace

import click

from onnx_cte.ranking import Ranking

_TYPED = "onnx_cte.typed"


class Remembering(click.Group):
    """A group of commands that keeps its arguments, and names commands in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_TYPED] = tuple(args)
        return super().parse_args(ctx, args)


def noted(ranking: Ranking) -> Ranking:
    """The ranking with the command and where it was given in its provenance.

    They stand under ``time``, with all else in which two equal runs may differ.
    """
    typed = click.get_current_context().meta.get(_TYPED, ())
    made_with = dict(ranking.provenance)
    made_with["time"] = {
        **made_with.get("time", {}),
        "command": shlex.join(["onnx-cte", *typed]),
        "folder": os.getcwd(),
    }
    return replace(ranking, provenance=made_with)
