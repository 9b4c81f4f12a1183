"""The masked network run by ONNX Runtime itself, once a row: what every engine must equal."""

import onnxruntime

from onnx_cte.graph.surgery import add_mask_input


def row_by_row(inside, taps, image, factors):
    """Outputs for masks by tap, undisturbed first."""
    model, names = inside.model, {}
    for number, tap in enumerate(sorted(taps, key=lambda tap: not tap.into)):
        names[tap.name] = f"m{number}"
        model = add_mask_input(model, tap, f"m{number}")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = [session.run([inside.output], {inside.probe.source: image})[0]]
    for row in range(len(next(iter(factors.values())))):
        feeds = {names[name]: factor[row : row + 1] for name, factor in factors.items()}
        rows += session.run([inside.output], {inside.probe.source: image, **feeds})
    return rows
