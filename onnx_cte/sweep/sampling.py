"""Which images a sweep is measured on."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from onnx_cte.types import ImageRef

Item = TypeVar("Item")


def sampled(images: Iterable[ImageRef], count: int) -> list[ImageRef]:
    """Images spread evenly over all, sorted by name.

    Parameters
    ----------
    images : iterable of ImageRef
    count : int, >= 1

    Returns
    -------
    list of ImageRef
        At most `count`. If there are as many groups, each image is of another one, from its middle;
        otherwise all groups give equally many, as far as they have them.

    Examples
    --------
    >>> from onnx_cte.types import Image
    >>> import numpy as np
    >>> pixel = np.zeros((1, 1))
    >>> stack = [Image(f"a{z}", pixel, "yx", group="a") for z in range(3)]
    >>> [image.name for image in sampled([*stack, Image("b", pixel, "yx")], 2)]
    ['a1', 'b']
    """
    groups: dict[str, list[ImageRef]] = {}
    for ref in sorted(images, key=lambda ref: ref.name):
        groups.setdefault(ref.group or ref.name, []).append(ref)
    members = [groups[group] for group in sorted(groups)]
    if len(members) >= count:
        return [group[len(group) // 2] for group in _spread(members, count)]
    quotas = [0] * len(members)
    left = min(count, sum(map(len, members)))
    while left:
        # Those that have more to give, in turn; the last round may not reach all of them.
        open_ = [i for i, group in enumerate(members) if quotas[i] < len(group)]
        for i in _spread(open_, min(left, len(open_))):
            quotas[i] += 1
            left -= 1
    return [
        ref for group, quota in zip(members, quotas, strict=True) for ref in _spread(group, quota)
    ]


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """So many of them, each from the middle of an equal share."""
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]
