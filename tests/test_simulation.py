from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, stats

from onnx_cte import simulation
from onnx_cte.errors import OptionError
from onnx_cte.simulation import OFFSET, SMALLEST, NucleiField, simulate_images, simulate_nuclei

FIELD = NucleiField(shape=(96, 128), nuclei=(8, 16))
"""Small, for speed."""

CLEAN = replace(FIELD, background=0, haze=0, unevenness=0, debris=0, read_noise=0, photons=8_000)
"""Nothing but nuclei."""


def signal(image):
    return image.astype(float) - OFFSET


def test_same_seed_same_arrays():
    image, labels = simulate_nuclei(3, FIELD)
    again, again_labels = simulate_nuclei(3, FIELD)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(labels, again_labels)


@pytest.mark.parametrize("other", [4, [3, 1], 2**70])
def test_other_seeds_differ(other):
    image, labels = simulate_nuclei(3, FIELD)
    other_image, other_labels = simulate_nuclei(other, FIELD)
    assert (labels != other_labels).mean() > 0.1
    assert (image != other_image).mean() > 0.5


def test_without_a_field_the_defaults():
    image, labels = simulate_nuclei(0)
    assert image.shape == labels.shape == (256, 256)
    assert 20 <= labels.max() <= 40


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("overlap", [0, 0.3, 0.8])
def test_contract(seed, overlap):
    field = replace(FIELD, overlap=overlap, shape=(60, 141), nuclei=(2, 12), radius=(3, 12))
    image, labels = simulate_nuclei(seed, field)
    assert (image.dtype, labels.dtype) == (np.uint16, np.int32)
    assert image.shape == labels.shape == (60, 141)
    count = labels.max()
    assert 2 <= count <= 12
    np.testing.assert_array_equal(np.unique(labels), np.arange(count + 1))
    for label in range(1, count + 1):
        assert (labels == label).sum() >= SMALLEST
        assert ndimage.label(labels == label)[1] == 1


def test_counts_take_the_whole_range():
    field = replace(FIELD, shape=(64, 64), nuclei=(2, 4), radius=(4, 6))
    assert {simulate_nuclei(seed, field)[1].max() for seed in range(30)} == {2, 3, 4}


def test_areas_follow_the_radius():
    field = replace(FIELD, shape=(200, 200), nuclei=(10, 10), radius=(7, 9), overlap=0)
    areas = np.concatenate([np.bincount(simulate_nuclei(s, field)[1].flat)[1:] for s in range(4)])
    assert np.median(np.sqrt(areas / np.pi)) == pytest.approx(8, abs=0.6)


@pytest.mark.parametrize("seed", range(5))
def test_labels_lie_on_the_nuclei(seed):
    image, labels = simulate_nuclei(seed, FIELD)
    background = image[labels == 0]
    for label in range(1, labels.max() + 1):
        assert image[labels == label].mean() > np.median(background) + 3 * FIELD.read_noise
    # Moving the labels away from their nuclei makes it worse.
    here = image[labels > 0].mean()
    moved = image[np.roll(labels, (20, 30), axis=(0, 1)) > 0].mean()
    assert here > 1.5 * moved


@pytest.mark.parametrize("seed", range(3))
def test_outlines_are_exact_to_a_pixel_without_optics(seed):
    field = replace(CLEAN, psf_sigma=0, texture=0, overlap=0)
    image, labels = simulate_nuclei(seed, field)
    lit = signal(image) > 0.1 * field.photons
    assert lit[labels > 0].all()
    assert not lit[~ndimage.binary_dilation(labels > 0, np.ones((3, 3)))].any()


def test_brighter_nuclei_have_greater_labels_and_lie_on_top():
    field = replace(CLEAN, psf_sigma=0, texture=0, overlap=0, nuclei=(10, 10), shape=(160, 160))
    image, labels = simulate_nuclei(2, field)
    means = ndimage.median(image, labels, range(1, 11))
    assert stats.spearmanr(means, range(10)).statistic > 0.95
    # Beneath the brighter one of two that overlap there is the light of the other as well.
    crowded = replace(field, overlap=0.5, nuclei=(30, 30))
    image, labels = simulate_nuclei(2, crowded)
    top = signal(image)
    both = 0
    for label in range(2, 31):
        inside = (labels == label) & ~ndimage.binary_dilation((labels > 0) & (labels < label))
        shared = (labels == label) & (top > 1.5 * np.median(top[inside]))
        both += shared.sum() if inside.sum() > 50 else 0
    assert both > 100


def test_photons_scale_the_light_and_leave_the_layout():
    dim, labels = simulate_nuclei(5, replace(CLEAN, photons=5_000))
    bright, bright_labels = simulate_nuclei(5, replace(CLEAN, photons=10_000))
    np.testing.assert_array_equal(labels, bright_labels)
    assert signal(bright).sum() / signal(dim).sum() == pytest.approx(2, rel=0.01)
    assert signal(dim)[labels > 0].mean() == pytest.approx(5_000, rel=0.4)


def test_more_photons_less_noise():
    reference = signal(simulate_nuclei(6, CLEAN)[0]) / CLEAN.photons
    errors = []
    for photons in (20, 200, 2_000):
        image, labels = simulate_nuclei(6, replace(CLEAN, photons=photons, read_noise=3))
        errors.append((signal(image) / photons - reference)[labels > 0].std())
    assert errors[0] > 2.5 * errors[1] > 6 * errors[2]
    # Photon noise alone: a relative error of the inverse square root.
    assert errors[2] == pytest.approx(2_000**-0.5, rel=0.35)


def test_noise_without_light():
    dark = replace(CLEAN, photons=0, read_noise=6)
    image, _ = simulate_nuclei(7, dark)
    assert image.mean() == pytest.approx(OFFSET, abs=0.3)
    assert image.std() == pytest.approx(6, rel=0.05)
    glow, _ = simulate_nuclei(7, replace(dark, read_noise=0, background=100))
    assert signal(glow).mean() == pytest.approx(100, rel=0.3)
    assert simulate_nuclei(7, replace(dark, read_noise=0))[0].std() == 0


def test_unevenness_takes_light_away_from_one_side():
    even = replace(CLEAN, photons=0, background=10_000)
    flat = signal(simulate_nuclei(8, even)[0])
    uneven = signal(simulate_nuclei(8, replace(even, unevenness=0.9))[0])
    share = ndimage.uniform_filter(uneven, 5) / ndimage.uniform_filter(flat, 5)
    assert share.min() == pytest.approx(0.1, abs=0.05)
    assert share.max() == pytest.approx(1, abs=0.05)


def test_blur_haze_texture_and_debris_show():
    image, labels = simulate_nuclei(9, CLEAN)
    inside, outside = labels > 0, labels == 0

    def taken(**conditions):
        other, other_labels = simulate_nuclei(9, replace(CLEAN, **conditions))
        np.testing.assert_array_equal(labels, other_labels)
        return signal(other)

    def steepest(light):
        return np.quantile(ndimage.gaussian_gradient_magnitude(light, 1), 0.95)

    plain = signal(image)
    assert steepest(taken(psf_sigma=4)) < 0.6 * steepest(plain)
    hazy = taken(haze=0.7)
    assert hazy[outside].mean() > 2 * plain[outside].mean()
    assert hazy[inside].mean() < plain[inside].mean()
    rough, smooth = taken(texture=0.6, psf_sigma=0.5), taken(texture=0, psf_sigma=0.5)
    core = ndimage.binary_erosion(inside, iterations=3)
    assert rough[core].std() > 1.2 * smooth[core].std()
    assert np.median(taken(debris=200)[outside]) > np.median(plain[outside])


def test_the_camera_saturates():
    image, _ = simulate_nuclei(10, replace(CLEAN, photons=50_000, background=50_000))
    assert image.max() == 65535
    assert np.median(image) > 30_000


def test_overlap_makes_room():
    field = replace(FIELD, shape=(64, 64), radius=(8, 8), nuclei=(24, 24))
    with pytest.raises(OptionError, match=r"64 x 64 px had room for \d+ nuclei, not for 24: ask"):
        simulate_nuclei(0, replace(field, overlap=0))
    assert simulate_nuclei(0, replace(field, overlap=0.8))[1].max() == 24


@pytest.mark.parametrize(
    ("rows", "columns", "overlap", "fits"),
    [
        # A nucleus of 10 x 10 px lies there; the second would lie in these rows and columns.
        (slice(10, 16), slice(0, 10), 0.0, True),  # beside it
        (slice(8, 18), slice(0, 10), 0.2, True),  # over 20 of the 100 px of either
        (slice(8, 18), slice(0, 10), 0.19, False),
        (slice(7, 12), slice(0, 5), 0.5, False),  # hides 15, but that is more than half of its 25
        (slice(7, 12), slice(0, 5), 0.6, True),
        (slice(1, 10), slice(0, 10), 0.8, False),  # hides 90
        (slice(3, 13), slice(2, 10), 0.8, True),  # leaves 44 px
        (slice(4, 6), slice(0, 20), 0.8, False),  # cuts it in two
        (slice(20, 24), slice(0, 5), 0.8, True),  # 20 px
        (slice(20, 24), slice(0, 4), 0.8, False),  # 16 px
        (slice(20, 40), slice(17, 30), 0.8, True),  # 3 columns in the frame
        (slice(20, 40), slice(20, 30), 0.8, False),  # outside
    ],
)
def test_room_for_a_nucleus_by_hand(rows, columns, overlap, fits):
    canvas = np.full((40, 30), -1, np.int32)
    canvas[:, :20] = 0

    def nucleus(rows, columns):
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        mask = np.ones(shape, bool)
        return simulation._Nucleus(4, 1, mask, mask.astype(float), (rows, columns))

    placed = []
    assert simulation._painted(canvas, placed, nucleus(slice(0, 10), slice(0, 10)), overlap)
    before = canvas.copy()
    assert simulation._painted(canvas, placed, nucleus(rows, columns), overlap) is fits
    assert len(placed) == 1 + fits
    if fits:
        before[rows, columns] = np.where(before[rows, columns] < 0, -1, 2)
    np.testing.assert_array_equal(canvas, before)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"shape": (15, 200)}, r"shape \(the smaller side\) is 15, expected 16 or more"),
        ({"nuclei": (0, 4)}, "nuclei is 0 to 4, expected 1 or more and the smaller first"),
        ({"nuclei": (5, 4)}, "nuclei is 5 to 4, expected 1 or more and the smaller first"),
        ({"radius": (2, 4)}, "radius is 2 to 4, expected 3 or more"),
        ({"radius": (4, np.inf)}, "radius is 4 to inf"),
        ({"overlap": 0.9}, "overlap is 0.9, expected 0 to 0.8"),
        ({"texture": -0.1}, "texture is -0.1, expected 0 to 1"),
        ({"photons": 60_000}, "photons is 60000, expected 0 to 50000"),
        ({"background": np.nan}, "background is nan, expected 0 to 50000"),
        ({"haze": 1}, "haze is 1, expected 0 to 0.95"),
        ({"unevenness": 1}, "unevenness is 1, expected 0 to 0.95"),
        ({"debris": -1}, "debris is -1, expected 0 to 10000"),
        ({"read_noise": -1}, "read_noise is -1, expected 0 to 10000"),
        ({"psf_sigma": 51}, "psf_sigma is 51, expected 0 to 50"),
    ],
)
def test_fields_are_checked(values, text):
    with pytest.raises(OptionError, match=text):
        replace(FIELD, **values)


@pytest.mark.parametrize("seed", [-1, [0, -1]])
def test_seeds_are_checked(seed):
    with pytest.raises(OptionError, match="seed is -1, expected 0 or more"):
        simulate_nuclei(seed, FIELD)


def test_images_depend_on_seed_and_index_alone():
    few = list(simulate_images(3, seed=1, shape=(64, 64)))
    more = list(simulate_images(5, seed=1, shape=(64, 64)))
    assert [name for name, _, _ in more] == [f"simulated_{index:04d}" for index in range(5)]
    for (name, image, labels), (other, other_image, other_labels) in zip(few, more, strict=False):
        assert name == other
        np.testing.assert_array_equal(image, other_image)
        np.testing.assert_array_equal(labels, other_labels)
    _, elsewhere, _ = next(iter(simulate_images(1, seed=2, shape=(64, 64))))
    arrays = [image.tobytes() for _, image, _ in more] + [elsewhere.tobytes()]
    assert len(set(arrays)) == 6


def test_images_differ_under_the_same_conditions(monkeypatch):
    monkeypatch.setattr(simulation, "_conditions", lambda rng, field, hard: FIELD)
    first, second = (labels for _, _, labels in simulate_images(2, seed=0))
    assert (first != second).mean() > 0.1


def test_images_come_one_at_a_time():
    images = simulate_images(10**9, seed=0, shape=(32, 32))
    assert isinstance(images, Iterator)
    assert next(images)[0] == "simulated_0000"
    assert list(simulate_images(0, seed=0)) == []


def test_conditions_vary():
    images = list(simulate_images(12, seed=0, shape=(96, 96), radius=(4, 7), hard=0))
    density = [(labels > 0).mean() for _, _, labels in images]
    light = [np.median(image[labels > 0]) - OFFSET for _, image, labels in images]
    glow = [np.median(image[labels == 0]) - OFFSET for _, image, labels in images]
    for values in (density, light, glow):
        assert max(values) > 1.5 * min(values) > 0


def test_hard_images_are_harder():
    def separation(hard):
        """How well the best threshold of pixels, roughly, tells nuclei from background."""
        images = simulate_images(10, seed=3, shape=(80, 80), radius=(4, 7), hard=hard)
        return np.mean(
            [
                stats.mannwhitneyu(image[labels > 0], image[labels == 0]).statistic
                / ((labels > 0).sum() * (labels == 0).sum())
                for _, image, labels in images
            ]
        )

    easy, hard = separation(0), separation(1)
    assert easy > 0.97
    assert 0.8 < hard < easy - 0.01


@pytest.mark.parametrize("shape", [(16, 16), (16, 64), (100, 50)])
@pytest.mark.parametrize("radius", [(3, 3), (8, 14), (30, 40)])
def test_every_set_can_be_made(shape, radius):
    for hard in (0, 1):
        for _, _, labels in simulate_images(2, seed=0, shape=shape, radius=radius, hard=hard):
            assert labels.max() >= 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"count": -1}, "count is -1, expected 0 or more"),
        ({"seed": -1}, "seed is -1, expected 0 or more"),
        ({"hard": 1.5}, "hard is 1.5, expected 0 to 1"),
        ({"shape": (8, 64)}, "shape .* is 8, expected 16 or more"),
        ({"radius": (9, 8)}, "radius is 9 to 8"),
    ],
)
def test_options_are_checked_at_the_call(options, text):
    with pytest.raises(OptionError, match=text):
        simulate_images(**{"count": 1, "seed": 0, **options})
