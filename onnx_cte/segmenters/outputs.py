"""What a network's output channels mean: probabilities or logits, classes or maps of their own.

A description may leave it open, and a bare file always does, so a trial run is judged: values
beyond [0, 1] are logits, channels that sum to one are classes that exclude each other.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnx_cte.descriptor import ModelDescription, Step, channel_roles
from onnx_cte.errors import InferenceError, OptionError
from onnx_cte.preprocessing import apply_steps
from onnx_cte.types import BACKGROUND, FOREGROUND

_TOLERANCE = 1e-2  # of a sum of probabilities, in half precision and over many classes
# Steps of a description, or operators of a graph, after which values are probabilities.
_FINAL = {"sigmoid", "softmax", "binarize", "clip", "hardsigmoid"}


def settle(
    description: ModelDescription,
    raw: NDArray[np.floating],
    *,
    final_op: str = "",
    foreground: int | None = None,
    threshold: float | None = None,
) -> ModelDescription:
    """Complete a description by what a trial run shows and by what the user states.

    Parameters
    ----------
    description : ModelDescription
    raw : ndarray, shape (1, C, H, W)
        Output of the network on a normalised trial image, before any output step.
    final_op : str
        ONNX operator that computes the output; ``Sigmoid`` and ``Softmax`` leave nothing to assume.
    foreground : int or None
        The channel to judge, counted from 0, as the user stated it.
    threshold : float or None
        As the user stated it.

    Returns
    -------
    ModelDescription
        With output steps that give probabilities, final roles, and notes on what was assumed.

    Raises
    ------
    OptionError
        If there is no such channel, or the threshold is not in [0, 1).
    InferenceError
        If the trial run gave NaN.
    """
    if threshold is not None and not 0 <= threshold < 1:
        raise OptionError(f"the threshold is a probability in [0, 1), not {threshold}")
    channels = raw.shape[1]
    if foreground is not None and not 0 <= foreground < channels:
        raise OptionError(
            f"{description.name}: there is no channel {foreground} to take as foreground; it has "
            f"{channels}, counted from 0"
        )
    maps = apply_steps(raw, "bcyx", description.output.steps)
    if not np.isfinite(maps).all():
        raise InferenceError(f"{description.name}: a trial image gave NaN or infinite values")
    notes: list[str] = []
    steps = description.output.steps
    if maps.min() < 0 or maps.max() > 1:
        step = _to_probabilities(description, channels)
        notes.append(
            f"output reaches from {maps.min():.3g} to {maps.max():.3g} on a trial image: "
            f"taken as logits, {step.name} added"
        )
        steps = (*steps, step)
        maps = apply_steps(maps, "bcyx", (step,))
    elif not _FINAL & {final_op.lower(), *(step.name for step in steps)}:
        notes.append("output lies in [0, 1] on a trial image: taken as probabilities")
    sums_to_one = channels > 1 and bool(np.abs(maps.sum(axis=1) - 1).max() < _TOLERANCE)
    roles, assumed = _roles(description, channels, sums_to_one, foreground)
    if threshold is not None and BACKGROUND in roles:
        assumed += (f"threshold {threshold:g} is not used: the most probable class wins",)
    return replace(
        description,
        output=replace(description.output, steps=steps),
        roles=roles,
        threshold=description.threshold if threshold is None else threshold,
        notes=(*description.notes, *notes, *assumed),
    )


def _to_probabilities(description: ModelDescription, channels: int) -> Step:
    """Softmax between classes, sigmoid for maps of their own."""
    exclusive = channels > 1 and (BACKGROUND in description.roles or description.origin == "bare")
    return Step.of("softmax", axis="c") if exclusive else Step.of("sigmoid")


def _roles(
    description: ModelDescription, channels: int, sums_to_one: bool, foreground: int | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Final roles, and what was assumed for them."""
    roles = description.roles
    if len(roles) != channels:
        roles, _ = channel_roles([f"channel{i}" for i in range(channels)])
    if foreground is not None:
        stated = tuple(FOREGROUND if i == foreground else f"channel{i}" for i in range(channels))
        return stated, (f"channel {foreground} of {channels} is the foreground (as stated)",)
    if channels == 1:
        return (FOREGROUND,), ()
    if sums_to_one:
        if BACKGROUND in roles:
            return roles, ()
        place = _unnamed_background(description, roles)
        classes = tuple(
            BACKGROUND if i == place else (FOREGROUND if channels == 2 else f"class{i}")
            for i in range(channels)
        )
        return classes, (f"channels sum to one: classes, channel {place} taken as background",)
    if BACKGROUND not in roles:
        return roles, (f"channels are maps of their own; judged: {FOREGROUND}",)
    # A map of the background beside others, each by itself: it decides nothing.
    plain = [f"channel{i}" if role == BACKGROUND else role for i, role in enumerate(roles)]
    if FOREGROUND not in plain:
        plain[next(i for i, role in enumerate(roles) if role != BACKGROUND)] = FOREGROUND
    place = plain.index(FOREGROUND)
    return tuple(plain), (
        f"channels do not sum to one: maps of their own, channel {place} is judged",
    )


def _unnamed_background(description: ModelDescription, roles: tuple[str, ...]) -> int:
    """Which of the classes is the background, where none is named so: the first, as a rule."""
    names = description.output.channel_names
    first_is_named = bool(names) and channel_roles([names[0]])[1] == ()
    return 1 if len(roles) == 2 and first_is_named else 0
