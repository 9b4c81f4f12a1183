import numpy as np
import pytest
from networks import blur

from onnx_cte.errors import ImageError, InferenceError, OptionError
from onnx_cte.needs import Needs
from onnx_cte.perturbations import Dropout, Flip, Gamma, GaussianNoise, Rotation
from onnx_cte.segmenters import BlackBox, OnnxModel
from onnx_cte.types import Image

PIXELS = np.random.default_rng(0).integers(0, 250, (36, 44), dtype=np.uint8)
IMAGE = Image("a", PIXELS, "yx")
ALL = Needs((GaussianNoise(), Gamma(), Flip("y"), Rotation(90)))


def test_it_sees_what_the_onnx_model_sees(tmp_path):
    net = OnnxModel("net", blur(tmp_path / "net.onnx")).open("cpu", 1)
    box = BlackBox("box", net.network)
    one, other = (model.observe(IMAGE, ALL, 7) for model in (net, box))
    assert (one.reference.maps == other.reference.maps).all()
    assert list(one.perturbed) == ["noise=0.1", "gamma=1.1..1.2", "flip=y", "rotation=90"]
    for name, prediction in one.perturbed.items():
        assert (prediction.maps == other.perturbed[name].maps).all()


def test_flips_and_rotations_are_turned_back():
    def brighter_to_the_right(tensor):
        ramp = np.linspace(0, 1, tensor.shape[-1], dtype=np.float32)
        return np.broadcast_to(ramp, tensor.shape)

    box = BlackBox("box", brighter_to_the_right)
    seen = box.observe(IMAGE, ALL, 0)
    assert (seen.reference.maps == seen.perturbed["noise=0.1"].maps).all()
    assert (seen.reference.maps == seen.perturbed["flip=y"].maps).all()
    turned = seen.perturbed["rotation=90"].maps[0]
    assert turned.shape == (36, 44)
    assert turned[0, 0] == 0 or turned[0, 0] == 1
    assert turned[0, 0] == turned[0, -1] != turned[-1, 0]


def test_perturbing_comes_before_padding():
    seen = []

    def watched(tensor):
        seen.append(tensor.copy())
        return np.zeros_like(tensor)

    needs = Needs((GaussianNoise(),))
    BlackBox("plain", watched).observe(IMAGE, needs, 0)
    BlackBox("padded", watched, size=(64, 32)).observe(IMAGE, needs, 0)
    plain, padded = seen[:2], seen[2:]
    assert padded[0].shape == (1, 1, 64, 64)
    for one, other in zip(plain, padded, strict=True):
        assert (one == other[..., :36, :44]).all()


def test_classes():
    def two(tensor):
        p = tensor.clip(0, 1)
        return np.concatenate([1 - p, p], axis=1)

    box = BlackBox("box", two, roles=("background", "foreground"))
    seen = box.observe(IMAGE, Needs(), 0).reference
    assert seen.exclusive
    assert (seen.classes == (seen["foreground"] > 0.5)).all()


@pytest.mark.parametrize(
    ("predict", "error", "complaint"),
    [
        (lambda t: np.concatenate([t, t], 1), InferenceError, "returned 2 channels, expected 1"),
        (lambda t: t[..., ::2, ::2] * 0, InferenceError, "18"),
        (lambda t: t * np.nan, InferenceError, "holds NaN or infinite values in its channel"),
        (lambda t: t * 0 - 1, InferenceError, r"reaches from -1 to -1, expected prob.* \[0, 1\]"),
    ],
)
def test_what_is_no_prediction(predict, error, complaint):
    with pytest.raises(error, match=complaint):
        BlackBox("box", predict).observe(IMAGE, Needs(), 0)


def test_channels_that_do_not_fit():
    five = Image("five", np.random.default_rng(0).random((5, 32, 32)), "cyx")
    with pytest.raises(ImageError, match=r"has 5 channels, the network takes 1; choose one with"):
        BlackBox("box", lambda t: t).observe(five, Needs(), 0)
    with pytest.raises(ImageError, match="has 5 channels, the network takes 3"):
        BlackBox("box", lambda t: t, channels=3).observe(five, Needs(), 0)


def test_options():
    with pytest.raises(OptionError, match="a model needs a name"):
        BlackBox("", lambda t: t)
    with pytest.raises(OptionError, match="roles are cells; expected one to be 'foreground'"):
        BlackBox("box", lambda t: t, roles=("cells",))
    with pytest.raises(OptionError, match="'background' among two or more classes"):
        BlackBox("box", lambda t: t, roles=("background",))
    with pytest.raises(OptionError, match=r"a probability in \[0, 1\), not 2"):
        BlackBox("box", lambda t: t, threshold=2)
    with pytest.raises(OptionError, match="unknown normalisation 'zcore'"):
        BlackBox("box", lambda t: t, normalize="zcore")


def test_a_callable_may_work_in_place():
    def in_place(tensor):
        result = tensor.clip(0, 1)
        tensor[:] = 0
        return result

    one, other = (
        BlackBox("box", predict).observe(IMAGE, ALL, 0)
        for predict in (in_place, lambda tensor: tensor.clip(0, 1))
    )
    assert (one.reference.maps == other.reference.maps).all()
    for name, prediction in one.perturbed.items():
        assert (prediction.maps == other.perturbed[name].maps).all()


def test_it_offers_its_input_and_nothing_inside():
    box = BlackBox("box", lambda tensor: tensor.clip(0, 1))
    assert box.refuses(ALL) == ""
    assert box.refuses(Needs(truth=True)) == ""
    inside = Needs((GaussianNoise(), Dropout(0.1), Dropout(0.2, taps=("bottleneck", "skips"))))
    assert box.refuses(inside) == (
        "a black box can be disturbed at its input only, not at bottleneck, skips; use an input "
        "perturbation such as --perturb noise=0.1"
    )
