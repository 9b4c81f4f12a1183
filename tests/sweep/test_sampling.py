import random

import numpy as np
import pytest

from onnx_cte.sweep.sampling import sampled
from onnx_cte.types import Image

PIXEL = np.zeros((1, 1))


def image(name, group=""):
    return Image(name, PIXEL, "yx", group=group)


def singles(count):
    return [image(f"{i:02}") for i in range(count)]


def stack(name, planes):
    return [image(f"{name}[z={z:02}]", group=name) for z in range(planes)]


def names(images, count):
    return [ref.name for ref in sampled(images, count)]


def test_spread_evenly_over_the_names():
    assert names(singles(9), 3) == ["01", "04", "07"]
    assert names(singles(12), 12) == names(singles(12), 99) == [f"{i:02}" for i in range(12)]
    assert names(singles(1), 5) == ["00"]
    assert names([], 5) == []


def test_one_of_each_file_from_its_middle():
    images = [*stack("a", 9), *stack("b", 2), *singles(1), *stack("c", 1)]
    assert names(images, 4) == ["00", "a[z=04]", "b[z=01]", "c[z=00]"]
    assert names(images, 2) == ["a[z=04]", "c[z=00]"]


def test_several_of_each_file_if_there_are_few():
    # Two stacks give what is left when the third has no more.
    found = names([*stack("a", 8), *stack("b", 1), *stack("c", 8)], 9)
    assert [sum(name.startswith(group) for name in found) for group in "abc"] == [4, 1, 4]
    assert found[:4] == ["a[z=01]", "a[z=03]", "a[z=05]", "a[z=07]"]


@pytest.mark.parametrize("count", range(1, 40))
def test_sizes_and_order(count):
    images = [*stack("a", 3), *stack("b", 11), *singles(7), *stack("c", 6)]
    shuffled = random.Random(count).sample(images, len(images))
    found = names(shuffled, count)
    assert found == names(images, count)
    assert len(found) == len(set(found)) == min(count, 27)
    groups = [ref.group or ref.name for ref in sampled(images, count)]
    assert len(set(groups)) == min(count, 10)
