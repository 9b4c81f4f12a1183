import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.perturbations import (
    PERTURBATIONS,
    Brightness,
    Contrast,
    Flip,
    Gamma,
    GaussianNoise,
    Rotation,
    generator,
)

INPUTS = {name: make for name, make in PERTURBATIONS.items() if hasattr(make, "apply")}
ALL = pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS)


def tensor(values, dtype=np.float32):
    return np.array(values, dtype)[None, None]


def test_contrast_worked_example():
    found = Contrast(1.5).apply(tensor([[0, 2], [4, 6]]), generator(0))
    assert found[0, 0].tolist() == [[-1.5, 1.5], [4.5, 7.5]]


def test_gamma_keeps_the_sign():
    found = Gamma(0.5).apply(tensor([[-1, -0.25, 0, 0.25, 1]]), generator(0))
    assert found[0, 0].tolist() == [[-1, -0.5, 0, 0.5, 1]]


def test_brightness_adds():
    found = Brightness(-0.25).apply(tensor([[0.5, 2]]), generator(0))
    assert found[0, 0].tolist() == [[0.25, 1.75]]


def test_noise_has_the_standard_deviation_it_says_and_is_not_clipped():
    clean = tensor(np.zeros((400, 400)))
    noise = GaussianNoise(0.1).apply(clean, generator(0, "a"))
    assert noise.std() == pytest.approx(0.1, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.001)
    assert noise.min() < 0
    assert abs(np.corrcoef(noise[0, 0, 1:].ravel(), noise[0, 0, :-1].ravel())[0, 1]) < 0.01


def test_a_range_draws_one_strength_an_image():
    clean = tensor(np.zeros((100, 100)))
    spread = [
        float(GaussianNoise((0.1, 0.3)).apply(clean, generator(0, str(i))).std()) for i in range(20)
    ]
    assert 0.09 < min(spread) < 0.15
    assert 0.25 < max(spread) < 0.31


def test_flip_and_rotation_by_hand():
    image = tensor([[1, 2], [3, 4]])
    assert Flip("x").apply(image, generator(0))[0, 0].tolist() == [[2, 1], [4, 3]]
    assert Flip("y").apply(image, generator(0))[0, 0].tolist() == [[3, 4], [1, 2]]
    assert Rotation(90).apply(image, generator(0))[0, 0].tolist() == [[2, 4], [1, 3]]


@pytest.mark.parametrize(
    "turn", [Flip("x"), Flip("y"), Rotation(90), Rotation(180), Rotation(270)], ids=repr
)
def test_predictions_are_turned_back(turn):
    image = np.random.default_rng(0).random((1, 2, 5, 7), dtype=np.float32)
    assert (turn.restore(turn.apply(image, generator(0))[0]) == image[0]).all()


@ALL
def test_same_names_same_draw_and_the_input_stays(make):
    image = np.random.default_rng(0).random((1, 1, 6, 8), dtype=np.float32)
    before = image.copy()
    one = make().apply(image, generator(3, "a.png", "p"))
    again = make().apply(image, generator(3, "a.png", "p"))
    assert (one == again).all()
    assert (image == before).all()
    assert one.dtype == np.float32
    assert not np.array_equal(one, image)


@pytest.mark.parametrize("names", [(4, "a.png", "p"), (3, "b.png", "p"), (3, "a.png", "q")])
def test_seed_image_and_perturbation_all_matter(names):
    image = np.zeros((1, 1, 8, 8), np.float32)
    one = GaussianNoise().apply(image, generator(3, "a.png", "p"))
    assert (one != GaussianNoise().apply(image, generator(*names))).any()


def test_networks_of_one_and_three_channels_see_the_same_field():
    one = GaussianNoise().apply(np.zeros((1, 1, 8, 9), np.float32), generator(0, "a"))
    three = GaussianNoise().apply(np.zeros((1, 3, 8, 9), np.float32), generator(0, "a"))
    assert (three[0] == one[0]).all()


@pytest.mark.parametrize(
    ("perturbation", "random"),
    [
        (GaussianNoise(0.1), True),
        (GaussianNoise((0.0, 0.1)), True),
        (GaussianNoise(0), False),
        (GaussianNoise((0, 0)), False),
        (Brightness(0.1), False),
        (Brightness((0.05, 0.1)), True),
        (Contrast(1.2), False),
        (Contrast((1.1, 1.1)), False),
        (Contrast((0.9, 1.1)), True),
        (Gamma(2), False),
        (Gamma((1.1, 1.2)), True),
        (Flip("y"), False),
        (Rotation(90), False),
    ],
    ids=repr,
)
def test_random_is_what_two_draws_can_tell_apart(perturbation, random):
    assert perturbation.random is random
    image = np.random.default_rng(0).random((1, 1, 6, 6), dtype=np.float32)
    one, other = (perturbation.apply(image, generator(0, name)) for name in "ab")
    assert np.array_equal(one, other) is not random


@pytest.mark.parametrize(
    ("make", "strength", "complaint"),
    [
        (GaussianNoise, -1, "the strength is a finite number, at least 0"),
        (GaussianNoise, (0.2, 0.1), r"or a range \(low, high\)"),
        (Brightness, (0.1, 0.2, 0.3), r"or a range \(low, high\)"),
        (Contrast, "much", "finite number"),
        (Gamma, 0, "at least 1e-06"),
        (Flip, "w", "flip: axis is 'x', 'y' or 'z', not 'w'"),
        (Rotation, 45, "rotation: degrees are 90, 180 or 270, not 45"),
    ],
)
def test_strengths_that_mean_nothing(make, strength, complaint):
    with pytest.raises(OptionError, match=complaint):
        make(strength)


# Volumes.

PLANE, VOLUME = (1, 2, 6, 8), (1, 2, 4, 6, 8)
GEOMETRIC = [Flip("x"), Flip("y"), Flip("z"), Rotation(90), Rotation(180), Rotation(270)]
EVERY = [
    *(make() for make in INPUTS.values()),
    *GEOMETRIC,
    GaussianNoise((0.1, 0.2)),
    Brightness(-0.1),
    Contrast(0.5),
    Gamma(2),
]


# Planes have no depth to mirror; a volume serves all.
BOTH = pytest.mark.parametrize(
    ("perturbation", "shape"),
    [(p, PLANE) for p in EVERY if p != Flip("z")] + [(p, VOLUME) for p in EVERY],
    ids=repr,
)


def test_flips_and_rotations_of_a_volume_by_hand():
    image = tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])  # two slices
    expected = {
        Flip("x"): [[[2, 1], [4, 3]], [[6, 5], [8, 7]]],
        Flip("y"): [[[3, 4], [1, 2]], [[7, 8], [5, 6]]],
        Flip("z"): [[[5, 6], [7, 8]], [[1, 2], [3, 4]]],
        Rotation(90): [[[2, 4], [1, 3]], [[6, 8], [5, 7]]],
        Rotation(180): [[[4, 3], [2, 1]], [[8, 7], [6, 5]]],
        Rotation(270): [[[3, 1], [4, 2]], [[7, 5], [8, 6]]],
    }
    assert set(expected) == set(GEOMETRIC)
    for perturbation, values in expected.items():
        assert perturbation.apply(image, generator(0))[0, 0].tolist() == values


def test_a_volume_is_stretched_about_its_own_mean():
    found = Contrast(1.5).apply(tensor([[[0, 2]], [[4, 6]]]), generator(0))
    assert found[0, 0].tolist() == [[[-1.5, 1.5]], [[4.5, 7.5]]]


def test_noise_of_a_volume_is_independent_between_slices_and_the_same_between_channels():
    noise = GaussianNoise(0.1).apply(np.zeros((1, 3, 40, 50, 60), np.float32), generator(0, "a"))
    assert (noise == noise[:, :1]).all()
    assert noise.std() == pytest.approx(0.1, rel=0.01)
    field = noise[0, 0]
    for one, next_one in ((field[1:], field[:-1]), (field[:, 1:], field[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), next_one.ravel())[0, 1]) < 0.01
    assert len({plane.tobytes() for plane in field}) == 40


@BOTH
def test_at_any_rank_same_names_same_draw_and_the_input_stays(perturbation, shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    before = image.copy()
    np.random.default_rng(5).random(99)  # what else is drawn does not matter
    one = perturbation.apply(image, generator(3, "a.png", perturbation.name))
    again = perturbation.apply(image, generator(3, "a.png", perturbation.name))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(image, before)
    assert one.dtype == np.float32
    assert one.flags.c_contiguous
    assert not np.array_equal(one, image)
    assert not np.may_share_memory(one, image)


@BOTH
def test_at_any_rank_restoring_undoes_geometry(perturbation, shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    # A network that says where it is bright: what it says lies where the image's pixels do.
    disturbed = perturbation.apply(image, generator(0, "a"))
    found = perturbation.restore(disturbed[0])
    assert found.shape == image.shape[1:]
    if perturbation in GEOMETRIC:
        np.testing.assert_array_equal(found, image[0])
    else:
        np.testing.assert_array_equal(found, disturbed[0])


@pytest.mark.parametrize("plane", [Flip("x"), Flip("y"), Rotation(90), Rotation(270)], ids=repr)
def test_a_volume_is_turned_as_its_slices_are(plane):
    image = np.random.default_rng(0).random((1, 2, 3, 5, 7), dtype=np.float32)
    whole = plane.apply(image, generator(0))
    for z in range(3):
        np.testing.assert_array_equal(whole[:, :, z], plane.apply(image[:, :, z], generator(0)))


def test_planes_have_no_depth_to_mirror():
    plane = np.zeros((1, 2, 5, 7), np.float32)
    found = r"flip=z mirrors volumes .* a plane of 5 x 7 px: .*volumes=True.* flip=x or flip=y"
    with pytest.raises(OptionError, match=found):
        Flip("z").apply(plane, generator(0))
    with pytest.raises(OptionError, match=found):
        Flip("z").restore(plane[0])
