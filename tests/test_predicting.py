"""What models find, one image at a time."""

import numpy as np

from onnx_cte import BlackBox, Image
from onnx_cte.errors import ImageError
from onnx_cte.predicting import predict

TWO = np.zeros((20, 30), np.float32)
TWO[2:8, 2:8] = 1
TWO[12:18, 20:28] = 1


class Broken:
    name = "broken"
    group = "broken"

    def load(self):
        raise ImageError("broken: cannot be read\nat all")


def bright(name="bright", **options):
    return BlackBox(name, predict=lambda tensor: tensor.clip(0, 1), normalize="none", **options)


def test_objects_of_each_model_on_each_image():
    images = [Image("a", TWO, "yx"), Image("b", np.zeros_like(TWO), "yx")]
    found = list(predict([bright(), bright("other")], images))
    assert [(f.model, f.image) for f in found] == [
        ("bright", "a"), ("bright", "b"), ("other", "a"), ("other", "b"),
    ]  # fmt: skip
    assert [int(f.seen.reference.labels.max()) for f in found] == [2, 0, 2, 0]
    assert all(f.reason == "" for f in found)


def test_objects_only_where_they_are_asked_for():
    (found,) = predict([bright()], [Image("a", TWO, "yx")], instances=False)
    assert found.seen.reference.labels is None


def test_what_fails_is_told_and_does_not_end_the_run():
    ray = BlackBox("rays", predict=None, roles=("background", "foreground"), decoder=None)
    none = bright("planes")
    found = list(predict([ray, none], [Broken(), Image("a", TWO, "yx")]))
    told = {(f.model, f.image): f.reason for f in found}
    assert told["planes", "broken"] == "cannot be read at all"
    assert told["planes", "a"] == ""
    assert len(found) == 4
