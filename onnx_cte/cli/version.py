"""``--version``: of the program, of what runs the models, and what that was built with."""

import platform

import click

from onnx_cte.cli.talking import say
from onnx_cte.errors import DeviceError
from onnx_cte.provenance import package_version
from onnx_cte.sessions import runtime_version
from onnx_cte.sessions.runtime import installed_wheels, onnxruntime


def _show(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    say(f"onnx-cte, version {package_version()}")
    say(f"Python {platform.python_version()}, {platform.platform()}")
    try:
        wheels = ", ".join(installed_wheels()) or "of unknown origin"
        say(f"ONNX Runtime {runtime_version()} ({wheels})")
        say(f"providers: {', '.join(onnxruntime().get_available_providers())}")
        say("(as it was built; `onnx-cte doctor` tells which of them work here)")
    except DeviceError as error:
        say(str(error))
    context.exit()


VERSION = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show,
    help="Show the versions of onnx-cte and of ONNX Runtime, and its providers.",
)
