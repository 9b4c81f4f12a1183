"""What is told of a package: to its users in its README, to its maker what was assumed."""

from collections.abc import Mapping, Sequence

from onnx_cte.descriptor import ModelDescription, Step
from onnx_cte.packaging.card import Card

# Notes of a bare file that are told otherwise here, or hold for a bare file alone.
_PASSED = ("no description: read from", "where tiles meet", "normalised by", "input '")


def notes_of(
    described: ModelDescription, stated: Mapping[str, object], untold: Sequence[Step]
) -> list[str]:
    """What was assumed of the network, and what the format has no words for.

    Parameters
    ----------
    described : ModelDescription
    stated : mapping
        Of "axes", "normalize", "halo" and "sample", what the user stated; None where nothing.
    untold : sequence of Step
        Steps after the network that the description does not have.
    """
    notes = []
    if stated["axes"] is None:
        notes.append(f"axes {described.input.axes}, by the shape of the input; --axes states them")
    if stated["normalize"] is None:
        notes.append("images are normalised by percentiles; --normalize says otherwise")
    notes += [
        note
        for note in described.notes
        if not note.startswith(_PASSED) and not note.endswith("(as stated)")
    ]
    notes += [
        f"the format has no word for {step}: onnx_cte finds it anew, other programs do not"
        for step in untold
    ]
    if stated["halo"] is None:
        notes.append("no halo is stated; programs that cut images into tiles want one (--halo)")
    if stated["sample"] is None:
        notes.append("the test image is simulated; --sample takes one of yours")
    return notes


def readme(described: ModelDescription, card: Card, image: str) -> str:
    """The documentation of a package, from what is known of it."""
    spec, out = described.input, described.output
    sides = ", ".join(f"{axis}: {size}" for axis, size in spec.sizes)
    before = [f"* `{step}`" for step in spec.steps] or ["* nothing: images are taken as they are"]
    after = [f"* `{step}`" for step in out.steps] or ["* nothing: it gives probabilities"]
    people = [
        f"Authors: {', '.join(card.authors)}." if card.authors else "",
        f"Licence: {card.license}." if card.license else "",
        *(f"Cite: {text}" for text in card.cite),
    ]
    return "\n".join([
        f"# {card.name}",
        "",
        card.description,
        "",
        *[part for line in people if line for part in (line, "")],
        "## Input",
        "",
        f"Axes {spec.axes}, channels: {spec.channels or 1}; pixels along {sides}. Before the "
        "network, on each image by itself:",
        "",
        *before,
        "",
        "## Output",
        "",
        f"Axes {out.axes}, channels: {', '.join(described.roles)}. After the network:",
        "",
        *after,
        "",
        f"Foreground is where its probability exceeds {described.threshold:g}, or, of classes that "
        "exclude each other, where another than the background is the most probable.",
        "",
        "## Validation",
        "",
        "How good the network is was not measured here. The test tensors "
        f"(image: {image}) tell whether a program runs it right, no more.",
        "",
    ])  # fmt: skip
