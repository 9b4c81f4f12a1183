"""StarDist's and Cellpose's decoders against the packages themselves, on the same arrays.

Run with ``pytest -m official`` where they are installed; elsewhere every test is skipped and says
what is missing. Labels may have other numbers; objects are compared by the mean average precision.
"""

import numpy as np
import pytest
import scipy.ndimage

from onnx_cte.metrics.matching import average_precision
from onnx_cte.postprocessing.flow_fields import flows_of_masks
from onnx_cte.postprocessing.flows import Flows
from onnx_cte.postprocessing.polygons import area, corners, overlap_area
from onnx_cte.postprocessing.stars import Stars
from onnx_cte.types import Prediction

pytestmark = pytest.mark.official

SAME = 0.99


@pytest.fixture(scope="module")
def stardist():
    pytest.importorskip("stardist", reason="the package stardist is not installed")
    nms = pytest.importorskip("stardist.nms")
    geometry = pytest.importorskip("stardist.geometry")
    utilities = pytest.importorskip("stardist.utils")
    return nms, geometry, utilities


@pytest.fixture(scope="module")
def cellpose():
    pytest.importorskip("cellpose", reason="the package cellpose (below 4) is not installed")
    return pytest.importorskip("cellpose.dynamics")


def ellipses(seed, shape, tries, radii, elongation=1.5, overlap=0.1):
    """Labels of ellipses at random places that may touch, the later ones beneath."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    places = np.indices(shape)
    for _ in range(tries):
        centre = rng.uniform(0, shape)
        radius, turn = rng.uniform(*radii), rng.uniform(0, np.pi)
        ratio = rng.uniform(1, elongation)
        y, x = (axis - middle for axis, middle in zip(places[-2:], centre[-2:], strict=True))
        along, across = y * np.sin(turn) + x * np.cos(turn), y * np.cos(turn) - x * np.sin(turn)
        away = along**2 / ratio + across**2 * ratio
        if labels.ndim == 3:
            away = away + (places[0] - centre[0]) ** 2
        mask = away <= radius**2
        if mask.any() and (labels[mask] > 0).mean() <= overlap:
            labels[mask & (labels == 0)] = labels.max() + 1
    return labels


def agreement(found, official):
    """Their mean average precision; 1 if both are empty."""
    assert found.shape == official.shape
    if not found.any() and not official.any():
        return 1.0
    return average_precision(found, official.astype(np.int32))


# StarDist


def star_prediction(stardist, labels, rays, grid=1, noise=0.5, seed=0):
    """Probability and distances on the grid, as a network might give them: blurred and noisy."""
    _, geometry, utilities = stardist
    rng = np.random.default_rng(seed)
    distances = geometry.star_dist(labels, rays, grid=(grid, grid))
    probability = scipy.ndimage.gaussian_filter(utilities.edt_prob(labels), 1)[::grid, ::grid]
    probability = 0.9 * probability + rng.normal(0, 0.02, probability.shape)
    distances = distances + rng.normal(0, noise, distances.shape)
    # As the package's networks do before they decode: no shorter rays.
    return probability.astype(np.float32), np.maximum(distances, 1e-3).astype(np.float32)


def official_stars(stardist, probability, distances, shape, grid, threshold, nms):
    points, scores, rays = stardist[0].non_maximum_suppression(
        distances,
        probability,
        grid=(grid, grid),
        prob_thresh=threshold,
        nms_thresh=nms,
    )
    return stardist[1].polygons_to_label(rays, points, prob=scores, shape=shape)


def our_stars(probability, distances, shape, grid, threshold, nms):
    coarse = np.concatenate([probability[np.newaxis], np.moveaxis(distances, -1, 0)])
    maps = coarse.repeat(grid, axis=1).repeat(grid, axis=2)[:, : shape[0], : shape[1]]
    roles = ("foreground", *(f"ray {k}" for k in range(distances.shape[-1])))
    return Stars(nms_threshold=nms, grid=grid).decode(Prediction(maps, roles, threshold))


@pytest.mark.parametrize("rays", [8, 32])
@pytest.mark.parametrize("grid", [1, 2, 4])
@pytest.mark.parametrize(
    ("tries", "radii", "elongation", "overlap", "noise"),
    [
        pytest.param(120, (6, 11), 1.5, 0.0, 0.2, id="apart or touching"),
        pytest.param(250, (6, 11), 1.5, 0.35, 0.5, id="crowded"),
        pytest.param(200, (6, 9), 3.0, 0.2, 0.5, id="elongated"),
        pytest.param(150, (6, 11), 1.5, 0.2, 1.0, id="ragged"),
        pytest.param(300, (3, 5), 1.5, 0.1, 0.2, id="small"),
    ],
)
def test_stars_are_stardists(stardist, rays, grid, tries, radii, elongation, overlap, noise):
    shape = (191, 201)
    agreements = []
    for seed in range(3):
        labels = ellipses(seed, shape, tries, radii, elongation, overlap)
        prediction = star_prediction(stardist, labels, rays, grid, noise, seed)
        for threshold, nms in ((0.4, 0.4), (0.3, 0.3)):
            official = official_stars(stardist, *prediction, shape, grid, threshold, nms)
            found = our_stars(*prediction, shape, grid, threshold, nms)
            assert len(np.unique(official)) > 30
            agreements.append(agreement(found, official))
    assert np.mean(agreements) >= SAME
    assert min(agreements) >= 0.95  # one pair near the threshold, of some forty


@pytest.mark.parametrize("rays", [8, 32])
def test_overlaps_are_stardists_but_for_rounding(stardist, rays):
    """Found by halving: at which threshold stardist no longer suppresses the second of two."""
    rng = np.random.default_rng(rays)
    differences = []
    for _ in range(60):
        centres = np.add([40, 50], [[0, 0], rng.integers(-8, 9, 2)])
        distances = rng.uniform(7, 10, (2, rays)).astype(np.float32)
        low, high = 0.0, 1.0
        while high - low > 1e-4:
            middle = (low + high) / 2
            kept = stardist[0].non_maximum_suppression_inds(
                distances, centres, np.ones(2), thresh=middle, verbose=False
            )
            low, high = (low, middle) if kept.all() else (middle, high)
        cut = np.trunc(corners(centres, distances))
        shared = overlap_area(cut[0], cut[1:])[0] / area(cut).min()
        differences.append(abs(shared - high))
    assert np.median(differences) < 0.01
    assert max(differences) < 0.1


def test_rays_go_the_way_stardists_go(stardist):
    labels = np.zeros((60, 60), np.int32)
    labels[10:50, 20:26] = labels[44:50, 20:50] = 1  # an L
    distances = stardist[1].star_dist(labels, 32)
    probability = np.zeros(labels.shape, np.float32)
    probability[46, 23] = 0.9
    found = our_stars(probability, distances, labels.shape, 1, 0.5, 0.4)
    official = official_stars(stardist, probability, distances, labels.shape, 1, 0.5, 0.4)
    assert np.array_equal(found, official)
    assert (found > 0)[labels > 0].mean() > 0.7


# Cellpose


def official_flows(cellpose, probability, flow, **options):
    logit = np.log(probability) - np.log1p(-probability)
    volume = flow.ndim == 4
    return cellpose.resize_and_compute_masks(flow.copy(), logit, niter=200, do_3D=volume, **options)


def our_flows(probability, flow, **options):
    roles = ("foreground", *("dz", "dy", "dx")[-len(flow) :])
    maps = np.concatenate([probability[np.newaxis], flow])
    return Flows(**options).decode(Prediction(maps, roles))


def flow_prediction(flow, labels, noise, seed, blur=1.0):
    """Probability and flows as a network might give them: noisy and blurred."""
    rng = np.random.default_rng(seed)
    axes = (0, *[blur] * labels.ndim)
    flow = 5 * scipy.ndimage.gaussian_filter(flow + rng.normal(0, noise, flow.shape), axes)
    probability = scipy.ndimage.gaussian_filter((labels > 0).astype(float), blur)
    probability = np.clip(probability + rng.normal(0, 0.05, labels.shape), 0.01, 0.99)
    return probability.astype(np.float32), flow.astype(np.float32)


def official_targets(cellpose, labels):
    import torch  # comes with cellpose

    targets = cellpose.labels_to_flows([labels.copy()], device=torch.device("cpu"))
    return targets[0][2:]


QUIET = pytest.mark.filterwarnings("ignore:Sparse invariant checks", "ignore:.*torch.*:UserWarning")
SCENES = {
    "apart or touching": (150, (6, 11), 1.5, 0.0),
    "crowded": (400, (6, 11), 1.5, 0.35),
    "elongated": (200, (6, 9), 4.0, 0.2),
    "large": (40, (20, 32), 1.5, 0.2),
    "small": (300, (3, 5), 1.5, 0.1),
}


@QUIET
@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("scene", SCENES)
def test_flows_are_cellposes(cellpose, scene, noise):
    labels = ellipses(3 + len(scene), (255, 241), *SCENES[scene])
    flow = official_targets(cellpose, labels)
    prediction = flow_prediction(flow, labels, noise, seed=5)
    # Not both at once: where objects were dropped, cellpose 3.1 takes the sizes of other objects
    # for those of the ones that follow.
    for options in (
        {},
        {"flow_threshold": 0.0},
        {"flow_threshold": 0.15, "min_size": 0},
        {"flow_threshold": 0.0, "min_size": 60},
    ):
        official = official_flows(cellpose, *prediction, **options)
        found = our_flows(*prediction, **options)
        assert agreement(found, official) >= SAME


@QUIET
def test_the_same_objects_are_dropped_for_their_flows(cellpose):
    labels = ellipses(8, (255, 241), 150, (7, 12))
    flow = official_targets(cellpose, labels)
    rng = np.random.default_rng(0)
    rows, columns = np.indices(labels.shape).astype(float)
    for label in range(1, labels.max() + 1, 3):  # every third flows to its rim
        mask = labels == label
        row, column = rng.permutation(np.argwhere(mask))[0]
        aside = np.stack([row - rows, column - columns])
        flow[:, mask] = (aside / (1e-9 + np.hypot(*aside)))[:, mask]
    prediction = flow_prediction(flow, labels, 0.1, seed=6)
    official = official_flows(cellpose, *prediction)
    kept = official_flows(cellpose, *prediction, flow_threshold=0.0)
    assert official.max() < 0.9 * kept.max()
    found = our_flows(*prediction)
    assert len(np.unique(found)) == len(np.unique(official))
    assert agreement(found, official) >= SAME
    assert agreement(our_flows(*prediction, flow_threshold=0.0), kept) >= SAME


@QUIET
def test_flows_of_masks_are_cellposes(cellpose):
    labels = ellipses(2, (200, 180), 100, (4, 14), 2.5, 0.2)
    ours, theirs = flows_of_masks(labels), official_targets(cellpose, labels)
    # In the very middle the heat is level, and its direction is rounding.
    assert (np.abs(ours - theirs).max(axis=0) < 1e-5).mean() > 0.999


@QUIET
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_flows_of_volumes_are_cellposes(cellpose, noise):
    labels = ellipses(4, (40, 80, 90), 60, (6, 10), 1.5, 0.1)
    prediction = flow_prediction(flows_of_masks(labels), labels, noise, seed=7)
    official = official_flows(cellpose, *prediction)
    found = our_flows(*prediction, flow_threshold=0.0)
    assert len(np.unique(official)) > 20
    assert agreement(found, official) >= SAME
