import pytest

from onnx_cte.graph.maps import FeatureMap, Probe, Value, feature_map


@pytest.mark.parametrize(
    ("shape", "channels", "axis", "sides", "stride"),
    [
        ((1, 64, 12, 20), 64, 1, (12, 20), (8, 8)),
        ((1, 12, 20, 64), 64, 3, (12, 20), (8, 8)),
        ((1, 1, 96, 160), 1, 1, (96, 160), (1, 1)),
        ((1, 96, 160, 1), 1, 3, (96, 160), (1, 1)),
        # Convolutions without padding nibble at the borders: 96 / 10 and 160 / 18.
        ((1, 64, 10, 18), 64, 1, (10, 18), (10, 9)),
        # A super-resolution output is finer than the image.
        ((1, 2, 192, 320), 2, 1, (192, 320), (1, 1)),
    ],
)
def test_flat_maps(shape, channels, axis, sides, stride):
    assert feature_map(shape, (96, 160)) == FeatureMap(channels, axis, sides, stride)


@pytest.mark.parametrize(
    ("shape", "channels", "axis", "stride"),
    [
        ((1, 8, 4, 12, 16), 8, 1, (4, 4, 4)),
        ((1, 4, 12, 16, 8), 8, 4, (4, 4, 4)),
        # Planes pooled less than what lies within them, or not at all.
        ((1, 8, 16, 12, 16), 8, 1, (1, 4, 4)),
        ((1, 16, 12, 16, 8), 8, 4, (1, 4, 4)),
    ],
)
def test_volumes(shape, channels, axis, stride):
    found = feature_map(shape, (16, 48, 64))
    assert found is not None
    assert (found.channels, found.axis, found.stride) == (channels, axis, stride)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 64, 1, 1),  # pooled over the image
        (1, 1, 1, 64),
        (2, 64, 12, 20),  # another batch
        (1, 64, 240),  # another rank
        (1, 240, 64),
        (1, 8, 8, 12, 20),
        (1, 64, 12, 12),  # sides that do not shrink alike: attention, say
        (1, 64, 0, 0),
        (1, 0, 12, 20),
        (),
        (4,),
    ],
)
def test_no_maps(shape):
    assert feature_map(shape, (96, 160)) is None


def test_where_channels_may_be_first_or_last_the_better_agreement_wins():
    # First: strides 16 and 16. Last: 96 / 8 and 160 / 6, which do not agree at all.
    assert feature_map((1, 8, 6, 10), (96, 160)) == FeatureMap(8, 1, (6, 10), (16, 16))
    # First: 96 / 10, 160 / 16, uneven by 1.04; last: 16 and 16.
    assert feature_map((1, 6, 10, 16), (96, 160)) == FeatureMap(16, 3, (6, 10), (16, 16))


def test_of_equally_good_readings_channels_are_first():
    # A square image and a cube of a map: nothing tells.
    assert feature_map((1, 8, 8, 8), (64, 64)) == FeatureMap(8, 1, (8, 8), (8, 8))


def test_an_image_of_one_pixel_has_maps_of_one_pixel():
    assert feature_map((1, 5, 1, 1), (1, 1)) == FeatureMap(5, 1, (1, 1), (1, 1))


def test_scale_and_positions():
    found = FeatureMap(8, 1, (16, 12, 16), (1, 4, 4))
    assert found.scale == 4
    assert found.positions == 16 * 12 * 16


@pytest.mark.parametrize(
    ("dtype", "is_map"),
    [("float32", True), ("float16", True), ("bfloat16", True), ("int8", False), ("int64", False)],
)
def test_only_floating_values_are_maps(dtype, is_map):
    probe = Probe("image", "bcyx", (1, 3, 96, 160), {"a": Value((1, 64, 12, 20), dtype)})
    assert (probe.feature_map("a") is not None) == is_map
    assert probe.feature_map("unseen") is None


@pytest.mark.parametrize(
    ("axes", "shape", "spatial"),
    [
        ("bcyx", (1, 3, 96, 160), (96, 160)),
        ("byxc", (1, 96, 160, 3), (96, 160)),
        ("bczyx", (1, 1, 16, 24, 32), (16, 24, 32)),
        ("bzyxc", (1, 16, 24, 32, 1), (16, 24, 32)),
    ],
)
def test_sides_of_the_image(axes, shape, spatial):
    assert Probe("image", axes, shape, {}).spatial == spatial
