"""``onnx-cte doctor``: whether the installation is whole."""

import json

import click

from onnx_cte.cli.options import told
from onnx_cte.cli.talking import QUIET, level, quiet_option, say
from onnx_cte.doctor import Finding, examine
from onnx_cte.types import Device

_COLOURS = {"fine": "green", "note": "yellow", "broken": "red"}


@click.command("doctor", short_help="Check the installation, CUDA and the extras.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What models are to run on: cuda is broken if it does not work, auto then takes the CPU.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@quiet_option("What is broken alone, so that nothing is printed if all is fine.")
@told
def doctor_command(device: Device, as_json: bool) -> int:
    """Check the installation: packages, ONNX Runtime, CUDA, extras, and a trial run on each device.

    Exit codes: 0 if all is fine, whether there are notes or not, 1 if something is broken.
    """
    findings = examine(device)
    broken = [finding.about for finding in findings if finding.state == "broken"]
    if as_json:
        rows = [finding.to_json() for finding in findings]
        say(json.dumps({"findings": rows, "broken": broken}, indent=2))
    elif level() == QUIET:
        for finding in findings:
            if finding.state == "broken":
                say(_text(finding))
    else:
        say("\n".join(map(_text, findings)))
        say(f"\nbroken: {', '.join(broken)}" if broken else "\nnothing is broken")
    return 1 if broken else 0


def _text(finding: Finding) -> str:
    state = click.style(f"{finding.state:<6}", fg=_COLOURS[finding.state])
    remedy = f"\n        -> {finding.remedy}" if finding.remedy else ""
    return f"{state}  {finding.about}: {finding.found}{remedy}"
