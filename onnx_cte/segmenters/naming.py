"""Which taps of a network a name stands for: its own name, a group, or a place in a part."""

import re
from collections.abc import Sequence

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.graph.anatomy import Anatomy
from onnx_cte.graph.maps import Tap

GROUPS = ("encoder", "decoder", "skips")
"""Names that stand for several taps."""

_PLACE = re.compile(r"(encoder|decoder)#(-?[1-9][0-9]*)")


def taps_named(found: Anatomy, names: Sequence[str]) -> tuple[Tap, ...]:
    """The taps that names and groups of names stand for.

    Parameters
    ----------
    found : Anatomy
    names : sequence of str
        "bottleneck", "decoder/4", "skip/1"; one of `GROUPS`; or "encoder#1", "decoder#-1".

    Returns
    -------
    tuple of Tap

    Raises
    ------
    OptionError
        If there is no such tap; the text lists what there is.
    """
    known = {tap.name: tap for tap in (*found.taps, *found.skips)}
    taps: dict[str, Tap] = {}
    for name in names:
        part = {"skips": "skip/"}.get(name, f"{name}/")
        group = {key: tap for key, tap in known.items() if key.startswith(part)}
        if name in known:
            taps[name] = known[name]
        elif placed := _PLACE.fullmatch(name):
            tap = _placed(found, placed[1], int(placed[2]))
            taps[tap.name] = tap
        elif name in GROUPS and group:
            taps |= group
        elif name in GROUPS:
            raise OptionError(f"this network has no {name} to disturb")
        else:
            raise unknown_name("tap", name, [*known, *GROUPS])
    return tuple(taps.values())


def one_tap(found: Anatomy, name: str) -> Tap:
    """The one tap a name stands for; OptionError if there is none, or a group is named."""
    if name in GROUPS:
        raise OptionError(
            f"'{name}' stands for several feature maps, and one is looked at; name one, such as "
            f"{name.removesuffix('s')}/1" + ("" if name == "skips" else f", or {name}#-1, the last")
        )
    return taps_named(found, [name])[0]


def _placed(found: Anatomy, part: str, number: int) -> Tap:
    """The tap of a part at a place, from 1 on, or from -1 backwards."""
    taps = [tap for tap in found.taps if tap.name.startswith(f"{part}/")]
    if abs(number) > len(taps):
        have = ", ".join(tap.name for tap in taps) or "none"
        raise OptionError(
            f"this network has no {part}#{number}: its {part} has {len(taps)} feature "
            f"map{'s' * (len(taps) != 1)} ({have})"
        )
    return taps[number - 1 if number > 0 else number]
