import math
from statistics import NormalDist

import numpy as np
import pytest

from onnx_cte.sample_size import critical_contrast, interval_percentiles, more_images


# 97.5th percentiles of Student's t from a printed table, by degrees of freedom.
@pytest.mark.parametrize(("images", "student"), [(2, 12.706), (5, 2.776), (10, 2.262), (31, 2.042)])
def test_what_it_takes_to_differ(images, student):
    expected = student * math.sqrt(images / (images - 1))
    assert critical_contrast(images) == pytest.approx(expected, abs=1e-3)
    low, high = interval_percentiles(images)
    assert low == pytest.approx(100 * NormalDist().cdf(-expected), rel=5e-3, abs=1e-6)
    assert low + high == pytest.approx(100)


def test_of_many_images_it_is_the_normal_distribution():
    assert critical_contrast(10**6) == pytest.approx(1.96, abs=1e-3)
    assert interval_percentiles(10**6) == pytest.approx((2.5, 97.5), abs=1e-3)


def test_an_interval_of_a_mean_is_that_of_student():
    # Of 5 values with mean 0 and standard deviation 1 it is 0 +- 2.776 / sqrt(5), whereas the
    # deviation of their bootstrap means is sqrt(4 / 5) / sqrt(5) = 0.4.
    bootstrap = NormalDist(0, math.sqrt(4 / 5) / math.sqrt(5))
    high = bootstrap.inv_cdf(interval_percentiles(5)[1] / 100)
    assert high == pytest.approx(2.776 / math.sqrt(5), abs=1e-3)


@pytest.mark.parametrize(
    ("contrast", "images", "needed"),
    [
        # sqrt(42 / 10) = 2.049, and it takes 2.020 sqrt(42 / 41) = 2.044; with 41 images it is
        # 2.025 against 2.046. (1.96 alone would be reached with 38.4.)
        (1.0, 10, 42),
        # Half the contrast, nearly four times the images: 0.5 sqrt(15.8) = 1.987 against 1.981;
        # 157: 1.9812 against 1.9753 sqrt(157 / 156) = 1.9816.
        (0.5, 10, 158),
        # 2.2 sqrt(10 / 8) = 2.460 against 2.262 sqrt(10 / 9) = 2.384; 9: 2.333 against 2.446.
        (2.2, 8, 10),
        # Enough already by this reckoning, though the draws did not tell.
        (5.0, 8, 9),
    ],
)
def test_how_many_images_it_would_take(contrast, images, needed):
    assert more_images(contrast, images) == needed - images


def test_the_number_is_the_first_that_reaches_the_limit():
    rng = np.random.default_rng(0)
    for contrast, images in zip(rng.uniform(0.02, 2, 50), rng.integers(5, 60, 50), strict=True):
        needed = int(images) + more_images(float(contrast), int(images))

        def reached(n, contrast=contrast, images=images):
            return contrast * math.sqrt(n / images) >= critical_contrast(n)

        assert reached(needed) or needed == images + 1
        assert needed == images + 1 or not reached(needed - 1)


def test_what_no_number_of_images_would_tell():
    for contrast in (0.0, 1e-18, math.nan, math.inf):
        assert more_images(contrast, 10) is None
    assert more_images(1e-5, 10) > 10**11


@pytest.mark.parametrize("function", [critical_contrast, interval_percentiles])
def test_one_image_tells_nothing(function):
    with pytest.raises(ValueError, match="images: found 1, expected 2 or more"):
        function(1)
    with pytest.raises(ValueError, match="images: found 0, expected 2 or more"):
        more_images(1.0, 0)
