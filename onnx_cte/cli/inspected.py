"""An inspection as text for a terminal."""

from collections.abc import Sequence

from onnx_cte.graph.summary import Declared, Summary
from onnx_cte.segmenters.inspection import Findings, Inspection, MapFacts
from onnx_cte.tables import text_table

_LISTED = 6  # inputs with a default; more than that are weights, as some exporters write them
_TESTS = {
    "passed": "passed: it reproduces its own test tensors",
    "none": "none: no test tensors came with it",
    "failed": "failed",
    "not run": "not run",
}
_ENGINES = {
    "shared": "shared: encoder and skips run once for all masks",
    "expanded": "expanded: the encoder runs once for all masks, skips are copied",
    "masked": "masked: the whole network runs once for each mask",
}


def inspection_text(found: Inspection) -> str:
    """All of it, in blocks; what is not there is told with its reason.

    Parameters
    ----------
    found : Inspection

    Returns
    -------
    str
    """
    blocks = [_file(found)]
    if found.understood:
        blocks.append("read as\n" + "\n".join(f"  {line}" for line in found.understood))
    if found.inside is None:
        why = ", for the same reason" if found.unseen == found.refused else f"\n  {found.unseen}"
        blocks.append(f"not looked into{why}")
    else:
        blocks.append(_inside(found.inside))
        blocks += _tables(found.inside)
    return "\n\n".join(blocks)


def amount(count: int) -> str:
    """A large number, to three digits or so.

    Examples
    --------
    >>> amount(950), amount(141557760), amount(2_500_000_000)
    ('950', '141.6 M', '2.5 G')
    """
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def sides(shape: Sequence[int | str | None]) -> str:
    """A shape in brackets, free sizes without a name as a question mark.

    Examples
    --------
    >>> sides(["N", 1, None, 64])
    '(N, 1, ?, 64)'
    """
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"


def map_rows(maps: Sequence[MapFacts]) -> list[list[str]]:
    """A row of a table for each map: name, channels, stride, shape, type, entry, tensor."""
    return [
        [m.name, str(m.channels), _stride(m), sides(m.shape), m.dtype, m.kind, m.tensor]
        for m in maps
    ]


def _file(found: Inspection) -> str:
    rows = [("file", f"{f.name}, {_size(f.bytes)}, sha256 {f.sha256}") for f in found.files]
    rows += [("format", _format(found.summary))]
    given = [port for port in found.summary.inputs if port.default]
    rows += [("input", _port(port)) for port in found.summary.inputs if not port.default]
    if len(given) > _LISTED:
        rows += [("", f"and {len(given)} with defaults, its weights")]
    else:
        rows += [("", f"{_port(port)}, with a default") for port in given]
    rows += [("output", _port(port)) for port in found.summary.outputs]
    rows += [("test", _TESTS[found.test])]
    rows += [("ranking", f"refused: {found.refused}" if found.refused else "it can be ranked")]
    return "\n".join([found.name, *_aligned(rows)])


def _format(summary: Summary) -> str:
    opsets = ", ".join(
        f"opset {version}" if domain == "ai.onnx" else f"{domain} {version}"
        for domain, version in summary.opsets
    )
    producer = [f"by {summary.producer}"] if summary.producer else []
    return ", ".join([
        f"{opsets}, IR version {summary.ir_version}",
        *producer,
        f"{summary.nodes} nodes, {amount(summary.parameters)} parameters",
    ])  # fmt: skip


def _port(port: Declared) -> str:
    shape = "of undeclared shape" if port.shape is None else sides(port.shape)
    return f"'{port.name}' {port.dtype} {shape}"


def _inside(found: Findings) -> str:
    rows = [("judged", f"output '{found.output}'")]
    if found.bottleneck is None:
        rows.append(("bottleneck", f"none: {found.reason}"))
        rows.append(("work", f"{amount(found.encoder_macs)} multiply-accumulates"))
    else:
        deep = found.bottleneck
        rows.append((
            "bottleneck",
            f"'{deep.tensor}', {deep.channels} channels at stride {_stride(deep)}, "
            f"{deep.dtype} {sides(deep.shape)}",
        ))  # fmt: skip
        whole = found.encoder_macs + found.decoder_macs
        share = round(100 * found.decoder_macs / whole) if whole else 0
        rows.append((
            "work",
            f"encoder {amount(found.encoder_macs)}, decoder {amount(found.decoder_macs)} "
            f"({share} %), whole {amount(whole)} multiply-accumulates",
        ))  # fmt: skip
        rows += _engine(found)
    return "\n".join([f"inside, for an image {found.axes} {sides(found.probe)}", *_aligned(rows)])


def _engine(found: Findings) -> list[tuple[str, str]]:
    if found.engine is None:
        return [("engine", f"none, it cannot be disturbed there: {found.undisturbable}")]
    made = found.engine
    rows = [("engine", _ENGINES[made.mode])]
    modes: dict[str, list[str]] = {}
    for text in made.fell_back:
        mode, _, reason = text.partition(": ")
        modes.setdefault(reason, []).append(mode)
    rows += [("", f"not {', nor '.join(names)}: {reason}") for reason, names in modes.items()]
    how = "exactly" if not made.difference else f"to {made.difference:.1e} of its largest value"
    return [*rows, ("proven", f"gives what the untouched network gives, {how}")]


def _tables(found: Findings) -> list[str]:
    head = ["tap", "channels", "stride", "shape", "type", "enters by", "tensor"]
    left = [0, 2, 3, 4, 5, 6]
    if found.bottleneck is not None:
        return [text_table(head, map_rows((*found.taps, *found.skips)), left=left)]
    if not found.candidates:
        return ["no map that all paths pass could be named for the bottleneck"]
    table = text_table(["could be named", *head[1:5], head[6]],
                       [[*row[:5], row[6]] for row in map_rows(found.candidates)],
                       left=left)  # fmt: skip
    return [f"one of these can be taken for the bottleneck with --at TENSOR\n\n{table}"]


def _aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(key) for key, _ in rows)
    return [f"  {key.ljust(width)}  {text}" for key, text in rows]


def _stride(found: MapFacts) -> str:
    return str(found.stride[0]) if len(set(found.stride)) == 1 else "x".join(map(str, found.stride))


def _size(count: int) -> str:
    return f"{amount(count)}B" if count >= 1000 else f"{count} B"
