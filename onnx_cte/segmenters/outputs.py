"""What a network's output channels mean: probabilities or logits, classes or maps of their own.

A description may leave it open, and a bare file always does, so a trial run is judged: values
beyond [0, 1] are logits, channels that sum to one are classes that exclude each other.
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnx_cte.descriptor import (
    ModelDescription,
    Step,
    channel_roles,
    is_probability,
    role_named,
)
from onnx_cte.errors import InferenceError, OptionError, unknown_name
from onnx_cte.preprocessing import apply_steps
from onnx_cte.segmenters.network import layout
from onnx_cte.types import BACKGROUND, BOUNDARY, FOREGROUND

ACTIVATIONS = ("sigmoid", "softmax", "none")
"""What a user may state of an output."""

_MEANT = (FOREGROUND, BOUNDARY, BACKGROUND)
_TOLERANCE = 1e-2  # of probabilities and of their sum, in half precision and over many classes
# Steps of a description, or operators of a graph, after which values are probabilities.
_FINAL = {"sigmoid", "softmax", "binarize", "clip", "hardsigmoid"}


def settle(
    description: ModelDescription,
    raw: NDArray[np.floating],
    *,
    final_op: str = "",
    foreground: int | None = None,
    roles: Sequence[str] | None = None,
    threshold: float | None = None,
    activation: str | None = None,
) -> ModelDescription:
    """Complete a description by what a trial run shows and by what the user states.

    Parameters
    ----------
    description : ModelDescription
    raw : ndarray, shape (1, C, H, W) or (1, C, D, H, W)
        Output of the network on a normalised trial image, before any output step.
    final_op : str
        ONNX operator that computes the output; ``Sigmoid`` and ``Softmax`` leave nothing to assume.
    foreground : int or None
        The channel to judge, counted from 0, as the user stated it.
    roles : sequence of str or None
        What the channels are called, as the user stated it; takes the place of a description's.
    threshold : float or None
        As the user stated it.
    activation : {"sigmoid", "softmax", "none"} or None
        What makes probabilities of the output, as the user stated it.

    Returns
    -------
    ModelDescription
        With output steps that give probabilities, final roles, and notes on what was assumed.

    Raises
    ------
    OptionError
        If there is no such channel, the roles are too many or too few, the threshold is not in
        [0, 1), or the activation stated is not what the output needs.
    InferenceError
        If the trial run gave NaN, or what is neither probabilities nor logits.
    """
    if threshold is not None and not 0 <= threshold < 1:
        raise OptionError(f"the threshold is a probability in [0, 1), not {threshold}")
    channels = raw.shape[1]
    if foreground is not None and not 0 <= foreground < channels:
        raise OptionError(
            f"{description.name}: there is no channel {foreground} to take as foreground; it has "
            f"{channels}, counted from 0"
        )
    if roles is not None:
        description = _named(description, tuple(roles), channels)
    letters = layout(raw.ndim - 2)
    maps = apply_steps(raw, letters, description.output.steps)
    if not np.isfinite(maps).all():
        raise InferenceError(f"{description.name}: a trial image gave NaN or infinite values")
    notes: list[str] = []
    steps = description.output.steps
    if activation is not None:
        added = _activation(description, activation, final_op, channels, stated=roles is not None)
        notes.append(f"activation {activation} (as stated)")
        steps, maps = (*steps, *added), apply_steps(maps, letters, added)
    # Half precision and interpolation carry probabilities a little beyond 0 and 1.
    inside = [_in_range(channel) for channel in maps[0]]
    found = _provisional(description, inside, foreground, stated=roles is not None)
    classes = BACKGROUND in found
    judged = maps if classes else maps[:, found.index(FOREGROUND)]
    if activation is not None and not _in_range(judged):
        raise OptionError(
            f"{description.name}: with activation {activation} its output reaches from "
            f"{judged.min():.3g} to {judged.max():.3g} on a trial image, no probabilities; leave "
            "--activation out and it is chosen, or state another"
        )
    if judged.min() < 0 and final_op == "Tanh":
        step = Step.of("scale_linear", gain=0.5, offset=0.5)
        notes.append("output ends in a Tanh: moved from [-1, 1] to [0, 1]")
        steps = (*steps, step)
        maps = apply_steps(maps, letters, (step,))
    elif judged.min() >= 0 and not _in_range(judged):
        raise InferenceError(
            f"{description.name}: output reaches from {judged.min():.3g} to {judged.max():.3g} on "
            "a trial image: neither probabilities nor logits, which are negative somewhere; "
            "scale it to [0, 1] inside the network, or in a description"
        )
    elif not _in_range(judged):
        step = Step.of("softmax", axis="c") if classes else _sigmoid(found)
        notes.append(
            f"output reaches from {judged.min():.3g} to {judged.max():.3g} on a trial image: "
            f"taken as logits, {step.name} added"
        )
        steps = (*steps, step)
        maps = apply_steps(maps, letters, (step,))
    elif not _FINAL & {final_op.lower(), *(step.name for step in steps)}:
        notes.append("output lies in [0, 1] on a trial image: taken as probabilities")
    sums_to_one = channels > 1 and bool(np.abs(maps.sum(axis=1) - 1).max() < _TOLERANCE)
    found, assumed = _roles(description, found, sums_to_one, foreground, roles is not None)
    if threshold is not None:
        assumed += (
            f"threshold {threshold:g} is not used: the most probable class wins"
            if BACKGROUND in found
            else f"foreground is where its probability exceeds {threshold:g} (as stated)",
        )
    return replace(
        description,
        output=replace(description.output, steps=steps),
        roles=found,
        threshold=description.threshold if threshold is None else threshold,
        notes=(*description.notes, *notes, *assumed),
    )


def _activation(
    description: ModelDescription, activation: str, final_op: str, channels: int, *, stated: bool
) -> tuple[Step, ...]:
    """The steps of an activation that the user states."""
    if activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, ACTIVATIONS)
    if activation == "none":
        return ()
    if final_op in ("Sigmoid", "Softmax"):
        raise OptionError(
            f"{description.name}: activation {activation} is stated, and its graph ends in a "
            f"{final_op} already; leave it out"
        )
    if activation == "softmax" and channels == 1:
        raise OptionError(
            f"{description.name}: a softmax over its one output channel gives 1 everywhere; "
            "state activation sigmoid"
        )
    if activation == "softmax":
        return (Step.of("softmax", axis="c"),)
    return (_sigmoid(description.roles) if stated else Step.of("sigmoid"),)


def _sigmoid(roles: Sequence[str]) -> Step:
    """A sigmoid for the channels that are probabilities: rays and flows stay what they are."""
    chosen = [i for i, role in enumerate(roles) if is_probability(role)]
    return Step.of("sigmoid", **({} if len(chosen) == len(roles) else {"channels": chosen}))


def _in_range(values: NDArray[np.floating]) -> bool:
    return bool(values.min() >= -_TOLERANCE and values.max() <= 1 + _TOLERANCE)


def _named(
    description: ModelDescription, names: tuple[str, ...], channels: int
) -> ModelDescription:
    """The description with its channels called as the user says."""
    if len(names) != channels:
        raise OptionError(
            f"{description.name}: {len(names)} roles are stated ({', '.join(names)}), its output "
            f"has {channels} channels; expected a role for each"
        )
    for place, name in enumerate(names):
        if not name or name in names[:place]:
            odd = f"'{name}' once more" if name else "empty"
            raise OptionError(
                f"{description.name}: role number {place + 1} of {', '.join(names)} is {odd}; "
                "expected a name of its own for each"
            )
        near = difflib.get_close_matches(name.lower(), _MEANT, n=1, cutoff=0.8)
        if near and role_named(name) is None:
            raise OptionError(
                f"{description.name}: role '{name}': did you mean '{near[0]}'? A class of that "
                "name needs one that is less alike"
            )
    meant, notes = channel_roles(names)
    return replace(
        description,
        output=replace(description.output, channel_names=names),
        roles=meant,
        notes=(*description.notes, f"channels are {', '.join(names)} (as stated)", *notes),
    )


def _provisional(
    description: ModelDescription, inside: Sequence[bool], foreground: int | None, stated: bool
) -> tuple[str, ...]:
    """Roles by which to look at the values: classes if there is a background, else own maps.

    `inside` says of each channel whether its values lie in [0, 1]. A channel that does not may be
    a distance or a flow beside a probability, and must not decide how that one is read.
    """
    count = len(inside)
    plain = [f"channel{i}" for i in range(count)]
    if foreground is not None:
        plain[foreground] = FOREGROUND
        return tuple(plain)
    if description.origin == "bare" and count > 1 and not stated:
        if not any(inside):
            return (BACKGROUND, *plain[1:])  # logits of classes
        # All of them may be probabilities of classes; that is seen from their sum.
        plain[inside.index(True)] = FOREGROUND
        return tuple(plain)
    if len(description.roles) == count:
        return description.roles
    return channel_roles(plain)[0]


def _roles(
    description: ModelDescription,
    roles: tuple[str, ...],
    sums_to_one: bool,
    foreground: int | None,
    stated: bool,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Final roles, and what was assumed for them."""
    channels = len(roles)
    if foreground is not None:
        return roles, (f"channel {foreground} of {channels} is the foreground (as stated)",)
    if channels == 1:
        return (FOREGROUND,), ()
    if sums_to_one:
        if stated or {BACKGROUND, BOUNDARY} & set(description.roles):
            return roles, ()  # what they are called says more than a sum
        place = _unnamed_background(description, roles)
        classes = tuple(
            BACKGROUND if i == place else (FOREGROUND if channels == 2 else f"class{i}")
            for i in range(channels)
        )
        return classes, (f"channels sum to one: classes, channel {place} taken as background",)
    if BACKGROUND not in roles:
        place = roles.index(FOREGROUND)
        return roles, (f"channels are maps of their own, channel {place} is judged",)
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
