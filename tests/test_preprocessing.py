import math

import numpy as np
import pytest

from onnx_cte.errors import DescriptorError, ImageError, OptionError
from onnx_cte.percentiles import percentiles
from onnx_cte.preprocessing import Step, apply_steps, check_steps, named_steps
from onnx_cte.steps import STEPS

NINE = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)
STD = math.sqrt(60 / 9)
FLOAT32 = Step.of("ensure_dtype", dtype="float32")
DTYPES = ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"]


def run(step, x=NINE, axes="yx", sample=None):
    return apply_steps(np.asarray(x), axes, [step], sample)


def nine_pixels(dtype="float32"):
    return NINE.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_mean_unit_variance_by_hand(dtype):
    found = run(Step.of("zero_mean_unit_variance"), nine_pixels(dtype))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (np.arange(9).reshape(3, 3) - 4) / (STD + 1e-6), rtol=1e-6)


def test_zero_mean_unit_variance_eps_is_added_to_the_deviation():
    found = run(Step.of("zero_mean_unit_variance", eps=0.1))
    assert found[0, 0] == pytest.approx(-4 / (STD + 0.1), rel=1e-6)
    assert not run(Step.of("zero_mean_unit_variance"), np.full((3, 3), 7.0)).any()


def test_zero_mean_unit_variance_keeps_dim_detail_on_a_bright_background():
    rng = np.random.default_rng(1)
    x = 40000 + rng.integers(0, 3, (64, 64))
    exact = (x - x.mean()) / (x.std() + 1e-6)
    for dtype in ("uint16", "float32", "int64"):
        found = run(Step.of("zero_mean_unit_variance"), x.astype(dtype))
        np.testing.assert_allclose(found, exact, atol=1e-6)


def test_fixed_zero_mean_unit_variance_by_hand_adds_eps():
    found = run(Step.of("fixed_zero_mean_unit_variance", mean=5.0, std=1e-6))
    np.testing.assert_allclose(found[0], [-4 / 2e-6, -3 / 2e-6, -2 / 2e-6], rtol=1e-6)


def test_fixed_zero_mean_unit_variance_along_channels_last():
    x = np.array([[[10.0, 100.0], [20.0, 300.0]]])
    step = Step.of("fixed_zero_mean_unit_variance", mean=[10.0, 100.0], std=[5.0, 50.0], axis="c")
    np.testing.assert_allclose(run(step, x, "yxc"), [[[0, 0], [2, 4]]], rtol=1e-6)


def test_one_value_along_an_axis_holds_for_all_of_it():
    x = np.array([[[10.0, 20.0]], [[30.0, 40.0]]])
    step = Step.of("fixed_zero_mean_unit_variance", mean=[10.0], std=[10.0], axis="c")
    np.testing.assert_allclose(run(step, x, "cyx"), [[[0, 1]], [[2, 3]]], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scale_range_by_hand(dtype):
    found = run(Step.of("scale_range"), nine_pixels(dtype))
    np.testing.assert_allclose(found, np.arange(9).reshape(3, 3) / (8 + 1e-6), rtol=1e-6)
    # 10 %: rank 0.8, between 1 and 2; 95 %: rank 7.6, between 8 and 9
    step = Step.of("scale_range", min_percentile=10.0, max_percentile=95.0, eps=0.1)
    found = run(step, nine_pixels(dtype))
    np.testing.assert_allclose(found, (NINE - 1.8) / (8.6 - 1.8 + 0.1), rtol=1e-6)


def test_scale_range_is_not_clipped_and_a_flat_image_becomes_zero():
    found = run(Step.of("scale_range", min_percentile=20.0, max_percentile=80.0))
    assert found.min() < 0 < 1 < found.max()
    assert not run(Step.of("scale_range"), np.full((4, 4), 9, np.uint16)).any()


def test_statistics_per_channel_or_jointly():
    x = np.array([[[0, 1], [2, 4]], [[0, 10], [20, 40]]], np.uint8)
    alone = run(Step.of("scale_range", axes="yx"), x, "cyx")
    np.testing.assert_allclose(alone[0], alone[1], atol=1e-6)
    assert alone.max() == pytest.approx(1)
    jointly = run(Step.of("scale_range"), x, "cyx")
    assert jointly[0].max() == pytest.approx(0.1)
    np.testing.assert_array_equal(jointly, run(Step.of("scale_range", axes="cyx"), x, "cyx"))
    last = run(Step.of("scale_range", axes="yx"), np.moveaxis(x, 0, -1), "yxc")
    np.testing.assert_array_equal(last, np.moveaxis(alone, 0, -1))


def test_batch_among_the_axes_means_each_image_by_itself():
    two = np.stack([NINE, 10 * NINE])[:, None]
    for axes in ("byx", "yx", "bcyx"):
        found = run(Step.of("scale_range", axes=axes), two, "bcyx")
        np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_clip_by_hand():
    np.testing.assert_array_equal(run(Step.of("clip", min=2.5, max=4.5))[0], [2.5, 2.5, 3])
    np.testing.assert_array_equal(run(Step.of("clip", min=3.0))[0], [3, 3, 3])
    np.testing.assert_array_equal(run(Step.of("clip", max=7.0))[2], [7, 7, 7])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_clip_of_integers_at_values_they_cannot_hold(dtype):
    x = nine_pixels(dtype)
    np.testing.assert_array_equal(run(Step.of("clip", min=-1.0, max=2.5), x)[0], [1, 2, 2.5])
    np.testing.assert_array_equal(run(Step.of("clip", min=-9.0, max=-3.0), x)[0], [-3, -3, -3])
    np.testing.assert_array_equal(run(Step.of("clip", max=1e6), x), NINE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_percentiles_are_values_of_pixels(dtype):
    # inverted CDF: the first value that at least 40 % (3.6 pixels) do not exceed is 4, not 4.2
    found = run(Step.of("clip", min_percentile=40.0, max_percentile=80.0), nine_pixels(dtype))
    np.testing.assert_array_equal(found, NINE.clip(4, 8))
    upper = run(Step.of("clip", min=2.0, max_percentile=80.0), nine_pixels(dtype))
    np.testing.assert_array_equal(upper, NINE.clip(2, 8))
    lower = run(Step.of("clip", min_percentile=40.0), nine_pixels(dtype))
    np.testing.assert_array_equal(lower, NINE.clip(4, 9))


def test_clip_percentiles_per_channel():
    x = np.stack([NINE, 10 * NINE])
    found = run(Step.of("clip", max_percentile=50.0, axes="yx"), x, "cyx")
    assert found.max(axis=(1, 2)).tolist() == [5, 50]


def test_binarize_is_strictly_greater():
    np.testing.assert_array_equal(run(Step.of("binarize", threshold=5.0)), NINE > 5)
    assert run(Step.of("binarize", threshold=5.0), NINE.astype(np.uint8)).sum() == 4
    assert not run(Step.of("binarize", threshold=0.1), np.float32([[0.1]])).any()


def test_binarize_heeds_its_axis():
    x = np.full((2, 1, 2), 0.5)  # as many columns as channels: a mix-up would not be an error
    found = run(Step.of("binarize", threshold=[0.2, 0.8], axis="c"), x, "cyx")
    np.testing.assert_array_equal(found, [[[1, 1]], [[0, 0]]])
    found = run(Step.of("binarize", threshold=[0.2, 0.8], axis="x"), x, "cyx")
    np.testing.assert_array_equal(found, [[[1, 0]], [[1, 0]]])


def test_scale_linear_by_hand():
    np.testing.assert_allclose(run(Step.of("scale_linear", gain=2.0, offset=-1.0))[0], [1, 3, 5])
    x = np.array([[[1, 10]], [[2, 20]]], np.uint8)
    step = Step.of("scale_linear", gain=[2.0, 0.5], offset=[0.0, -1.0], axis="c")
    np.testing.assert_allclose(run(step, x, "cyx"), [[[2, 20]], [[0, 9]]])
    np.testing.assert_allclose(run(Step.of("scale_linear", offset=-2.0), x, "cyx")[0], [[-1, 8]])


def test_sigmoid_by_hand_and_far_out():
    found = run(Step.of("sigmoid"), np.float32([[0, 2, -2], [1000, -1000, 90], [-90, 20, -20]]))
    expected = [0.5, 0.8807970779778823, 0.11920292202211755, 1, 0, 1, 0, 1, 2.061153618190204e-9]
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6, atol=1e-30)
    assert run(Step.of("sigmoid"), np.array([[0, 2]], np.int16))[0, 1] == pytest.approx(0.880797)


def test_softmax_by_hand_and_far_out():
    x = np.float32([[[0, 1000]], [[math.log(3), 0]]])
    found = run(Step.of("softmax", axis="c"), x, "cyx")
    np.testing.assert_allclose(found, [[[0.25, 1]], [[0.75, 0]]], rtol=1e-6)
    last = run(Step.of("softmax"), np.moveaxis(x, 0, -1), "yxc")
    np.testing.assert_array_equal(last, np.moveaxis(found, 0, -1))


def test_ensure_dtype_in_the_middle_truncates_and_wraps_around():
    x = np.array([[1.9, -1.0, 256.5, np.nan, 1e30]])
    double = Step.of("scale_linear", gain=2.0)
    found = apply_steps(x, "yx", [Step.of("ensure_dtype", dtype="uint8"), double])
    np.testing.assert_array_equal(found, [[2, 510, 0, 0, 0]])
    wide = np.array([[256, 300]], np.uint16)
    found = apply_steps(wide, "yx", [Step.of("ensure_dtype", dtype="uint8"), double])
    np.testing.assert_array_equal(found, [[0, 88]])


def test_ensure_dtype_at_the_end_decides_the_type():
    for dtype in ("float64", "uint8", "int32", "bool"):
        found = apply_steps(NINE, "yx", [Step.of("ensure_dtype", dtype=dtype)])
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, NINE.astype(dtype))
    assert run(Step.of("binarize", threshold=2.0)).dtype == np.float32


def test_chains_run_in_order():
    twice, clip = Step.of("scale_linear", gain=2.0), Step.of("clip", max=6.0)
    np.testing.assert_array_equal(apply_steps(NINE, "yx", [twice, clip])[0], [2, 4, 6])
    np.testing.assert_array_equal(apply_steps(NINE, "yx", [clip, twice])[2], [12, 12, 12])


def test_statistics_come_from_the_sample_and_it_is_transformed_along():
    whole = np.arange(101, dtype=np.uint8).reshape(1, 101)
    part = whole[:, 50:60]
    steps = [Step.of("scale_linear", gain=2.0), Step.of("scale_range"), Step.of("clip", min=0.52)]
    expected = apply_steps(whole, "yx", steps)[:, 50:60]
    np.testing.assert_allclose(apply_steps(part, "yx", steps, sample=whole), expected, rtol=1e-6)
    assert apply_steps(part, "yx", steps).max() == pytest.approx(1)  # its own statistics differ
    two = [Step.of("zero_mean_unit_variance"), Step.of("scale_range"), Step.of("sigmoid")]
    expected = apply_steps(whole, "yx", two)[:, 50:60]
    np.testing.assert_allclose(apply_steps(part, "yx", two, sample=whole), expected, rtol=1e-6)


def test_statistics_of_single_pixels_come_from_the_part_itself():
    x = np.random.default_rng(0).random((3, 20, 20))
    step = Step.of("zero_mean_unit_variance", axes="c")
    whole = run(step, x, "cyx")
    part = run(step, x[:, 4:9, :7], "cyx", sample=x[:, ::4, ::4])
    np.testing.assert_allclose(part, whole[:, 4:9, :7], rtol=1e-5)
    np.testing.assert_allclose(whole.mean(axis=0), 0, atol=1e-5)
    ranged = run(Step.of("scale_range", axes="c"), x, "cyx")  # 400 groups: NumPy does all at once
    np.testing.assert_allclose(ranged.max(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize("steps", [(), (Step.of("ensure_dtype", dtype="float32"),)])
def test_result_is_new_memory_and_the_input_stays(steps):
    for dtype in ("float32", "uint8", "bool"):
        x = np.ones((3, 3), dtype)
        found = apply_steps(x, "yx", steps)
        assert found.dtype == np.float32
        found += 1
        assert (x == 1).all()


@pytest.mark.parametrize("name", sorted(STEPS))
def test_no_step_changes_its_input(name):
    options = {
        "binarize": {"threshold": 0.5},
        "clip": {"min": 2.0},
        "ensure_dtype": {"dtype": "uint8"},
        "fixed_zero_mean_unit_variance": {"mean": 1.0, "std": 2.0},
        "softmax": {"axis": "y"},
    }
    for dtype in DTYPES:
        x = nine_pixels(dtype)
        found = run(Step.of(name, **options.get(name, {})), x)
        np.testing.assert_array_equal(x, NINE)
        assert found.shape == x.shape
        assert not np.may_share_memory(found, x)


@pytest.mark.parametrize("method", ["linear", "inverted_cdf"])
@pytest.mark.parametrize("dtype", [*DTYPES, "uint64", "int64"])
def test_percentiles_equal_numpys(method, dtype):
    rng = np.random.default_rng(3)
    for _ in range(60):
        shape = tuple(rng.integers(1, 12, 3))
        low = -100 if np.dtype(dtype).kind in "if" else 0
        x = rng.normal(40, rng.choice([1, 30]), shape).clip(low, 120).astype(dtype)
        over = [(0, 1, 2), (1, 2), (0, 2), (2,)][rng.integers(4)]
        wanted = np.sort(rng.choice([0, 1, 2, 33.3, 50, 90, 99.8, 100, *rng.uniform(0, 100, 3)], 2))
        found = percentiles(x, over, tuple(wanted), method)
        expected = np.percentile(x, wanted, axis=over, keepdims=True, method=method)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["linear", "inverted_cdf"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_percentiles_of_a_large_image_equal_numpys(method, dtype):
    x = np.random.default_rng(4).gamma(2, 20, (1, 1, 256, 300)).clip(0, 255).astype(dtype)
    found = percentiles(x, (1, 2, 3), (1, 99.8), method)
    expected = np.percentile(x, (1, 99.8), axis=(1, 2, 3), keepdims=True, method=method)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_integers_stay_fast_behind_an_explicit_cast_to_float(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("integers are counted, not sorted")

    monkeypatch.setattr(np, "partition", refuse)
    x = np.random.default_rng(0).integers(0, 255, (1, 1, 32, 32), np.uint8)
    clip = Step.of("clip", min_percentile=1.0, max_percentile=99.0)
    for steps in ([FLOAT32, *named_steps("percentile")], [FLOAT32, clip, Step.of("scale_range")]):
        apply_steps(x, "bcyx", steps)
    with pytest.raises(AssertionError, match="counted"):
        apply_steps(x.astype(np.float32), "bcyx", named_steps("percentile"))


def test_named_steps():
    assert named_steps("none") == ()
    assert apply_steps(NINE, "yx", named_steps("minmax")).max() == pytest.approx(1)
    assert apply_steps(NINE, "yx", named_steps("zscore")).std() == pytest.approx(1, abs=1e-5)
    (step,) = named_steps("percentile")
    assert (step.get("min_percentile"), step.get("max_percentile")) == (1, 99.8)
    with pytest.raises(OptionError, match="unknown normalisation 'z-score': did you mean 'zscore'"):
        named_steps("z-score")


def test_step_is_a_value_whatever_the_order_of_its_options():
    one = Step.of("clip", max=1.0, min=0.0)
    assert one == Step.of("clip", min=0.0, max=1.0)
    assert hash(Step.of("binarize", threshold=[1.0, 2.0], axis="c")) != hash(one)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Step.of("equalize"), "step 'equalize' is not supported; supported are: binarize, clip"),
        (Step.of("clip", mim=1.0), r"step clip\(mim=1\): got an unexpected keyword argument"),
        (Step.of("binarize"), "missing a required argument: 'threshold'"),
        (Step.of("softmax", axis="z"), "names axis 'z'; the tensor has axes 'cyx'"),
        (Step.of("scale_range", axes="tyx"), "names axis 't'; the tensor has axes 'cyx'"),
        (Step.of("scale_range", axes="b"), "over axes 'b' .* supported are those over whole"),
        (Step.of("scale_range", axes="cx"), "over axes 'cx' of a tensor with axes 'cyx'"),
        (Step.of("scale_range", axes="zyx"), "names axis 'z'; the tensor has axes 'cyx'"),
        (Step.of("binarize", threshold=[1.0, 2.0]), "has 2 values but does not name their axis"),
        (
            Step.of("binarize", threshold=[1.0, 2.0], axis="c"),
            "has 2 values along axis 'c'; the tensor has 3 there",
        ),
    ],
)
def test_steps_that_do_not_fit(step, message):
    with pytest.raises(DescriptorError, match=message):
        apply_steps(np.ones((3, 4, 4)), "cyx", [step])
    with pytest.raises(DescriptorError, match=message):
        check_steps([step], "cyx", 3)


@pytest.mark.parametrize("axes", ["yx", "cyyx", "cyy", "cyw"])
def test_axes_that_do_not_fit(axes):
    with pytest.raises(DescriptorError, match=f"axes '{axes}' do not fit a tensor of shape"):
        apply_steps(np.ones((3, 4, 4)), axes, [])


def test_pixels_that_are_no_real_numbers():
    with pytest.raises(ImageError, match="type complex128; expected real numbers"):
        apply_steps(np.ones((4, 4), complex), "yx", [])


@pytest.mark.parametrize("dtype", ["float16", "bool", "longdouble"])
def test_unusual_types_are_understood(dtype):
    found = run(Step.of("scale_range"), np.array([[0, 1]], dtype))
    np.testing.assert_allclose(found, [[0, 1]], atol=1e-5)


# Volumes.

# Two channels of two slices: the second slice is brighter, the second channel ten times as bright.
EIGHT = np.array([[[0, 1], [2, 4]], [[4, 5], [6, 8]]], np.uint8)
VOLUME = np.stack([EIGHT, 10 * EIGHT])


@pytest.mark.parametrize("axes", ["czyx", "bczyx", "bzyxc"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_statistics_of_a_volume_by_hand(axes, dtype):
    def ranged(over):
        """In the order czyx, by whatever axes."""
        tensor = VOLUME.astype(dtype) if axes[0] == "c" else VOLUME.astype(dtype)[None]
        if axes == "bzyxc":
            tensor = np.moveaxis(tensor, 1, -1)
        found = run(Step.of("scale_range", axes=over, eps=0.0), tensor, axes)
        assert found.shape == tensor.shape
        found = np.moveaxis(found, -1, 1) if axes == "bzyxc" else found
        return found if axes[0] == "c" else found[0]

    # Each channel over its whole volume: 0 and 8, 0 and 80.
    np.testing.assert_allclose(ranged("zyx"), np.stack([EIGHT / 8] * 2), rtol=1e-6)
    # All together.
    for everything in (None, "czyx", "xyzc"):
        np.testing.assert_allclose(ranged(everything), VOLUME / 80, rtol=1e-6)
    # Each slice alone: 0 to 4, 4 to 8; with both channels: 0 to 40, 4 to 80.
    alone = np.stack([EIGHT[0] / 4, (EIGHT[1] - 4.0) / 4])
    np.testing.assert_allclose(ranged("yx"), np.stack([alone] * 2), rtol=1e-6)
    np.testing.assert_allclose(ranged("cyx")[:, 1], (VOLUME[:, 1] - 4.0) / 76, rtol=1e-5)


def test_statistics_over_the_channels_of_a_volume():
    found = run(Step.of("zero_mean_unit_variance", axes="c"), VOLUME, "czyx")
    # Of two numbers one is a deviation below their mean and one above; of 0 and 0 both are it.
    signs = np.where(EIGHT, 1, 0)
    np.testing.assert_allclose(found, [-signs, signs], atol=1e-5)


@pytest.mark.parametrize("name", ["percentile", "zscore", "minmax"])
def test_named_steps_take_the_statistics_of_the_whole_volume(name):
    volume = np.random.default_rng(0).integers(0, 4000, (1, 2, 5, 6, 7), np.uint16)
    volume[:, 1] *= 3
    found = apply_steps(volume, "bczyx", named_steps(name, "zyx"))
    assert found.shape == volume.shape
    for channel in range(2):
        # One channel laid out as one plane has the same statistics.
        plane = volume[0, channel].reshape(5, 42)
        expected = apply_steps(plane, "yx", named_steps(name))
        np.testing.assert_array_equal(found[0, channel].reshape(5, 42), expected)
    slices = apply_steps(volume, "bczyx", named_steps(name))
    assert np.abs(slices - found).max() > 0.01


def test_named_steps_for_planes_and_volumes_differ_in_their_axes_alone():
    for name in ("percentile", "zscore", "minmax"):
        (plane,), (volume,) = named_steps(name), named_steps(name, "zyx")
        assert (plane.get("axes"), volume.get("axes")) == ("yx", "zyx")
        assert Step.of(plane.name, **{**dict(plane.options), "axes": "zyx"}) == volume
    assert named_steps("none", "zyx") == ()
    with pytest.raises(OptionError, match=r"over axes 'zx': expected 'yx' \(planes\) or 'zyx'"):
        named_steps("zscore", "zx")


def test_steps_of_single_values_and_of_channels_on_volumes():
    tensor = VOLUME[None].astype(np.float32)
    found = run(Step.of("scale_linear", gain=[1.0, 0.1], axis="c"), tensor, "bczyx")
    np.testing.assert_allclose(found[0, 1], found[0, 0], rtol=1e-6)
    found = run(Step.of("softmax"), tensor, "bczyx")
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    found = run(Step.of("clip", max_percentile=50.0, axes="zyx"), tensor, "bczyx")
    assert found.max(axis=(0, 2, 3, 4)).tolist() == [4, 40]


@pytest.mark.parametrize("axes", ["z", "cz", "zx", "zy", "czx", "x", "b"])
def test_parts_of_a_volume_s_axes_are_refused(axes):
    found = f"over axes '{axes}' of a tensor with axes 'bczyx'; .* whole volumes .z, y and x., over"
    with pytest.raises(DescriptorError, match=found):
        check_steps([Step.of("scale_range", axes=axes)], "bczyx", 2)
    for fine in ("c", "yx", "cyx", "zyx", "czyx", None):
        check_steps([Step.of("scale_range", axes=fine)], "bczyx", 2)
