"""``onnx-cte completion``: how to have a shell complete commands and options."""

import os
from pathlib import Path

import click

from onnx_cte.cli.options import told
from onnx_cte.cli.talking import say
from onnx_cte.errors import OptionError

SHELLS = {
    "bash": ("~/.bashrc", 'eval "$(_ONNX_CTE_COMPLETE=bash_source onnx-cte)"'),
    "zsh": ("~/.zshrc", 'eval "$(_ONNX_CTE_COMPLETE=zsh_source onnx-cte)"'),
    "fish": (
        "~/.config/fish/completions/onnx-cte.fish",
        "_ONNX_CTE_COMPLETE=fish_source onnx-cte | source",
    ),
}
"""By shell: the file that it reads at its start, and the line that belongs there."""


@click.command("completion", short_help="Print how a shell completes commands.")
@click.argument("shell", required=False, type=click.Choice(list(SHELLS)))
@told
def completion_command(shell: str | None) -> int:
    """Print how to have SHELL (bash, zsh or fish) complete commands and options at the tab key.

    Without SHELL, that of the terminal is taken.
    """
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        raise OptionError(
            f"the shell of this terminal is '{shell}', and there is completion for "
            f"{', '.join(SHELLS)}: name one, as in `onnx-cte completion bash`"
        )
    file, line = SHELLS[shell]
    say(f"# Add this line to {file}, and open a new terminal:\n{line}")
    return 0
