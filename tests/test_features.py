"""Feature maps read at pixels: interpolation by hand, pieces like the whole, means, windows."""

import numpy as np
import pytest

from onnx_cte.features import FeatureMap, Piece
from onnx_cte.tiling import run_tiled, tiles


def every_pixel(shape):
    return np.argwhere(np.ones(shape, bool))


def test_a_map_as_fine_as_the_image_is_read_as_it_is():
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    found = FeatureMap.of(values, (4, 5)).at(every_pixel((4, 5)))
    assert np.array_equal(found, values.reshape(3, -1).T)


def test_linear_interpolation_by_hand():
    # Two positions over four pixels: centres at pixels 0.5 and 2.5.
    coarse = np.array([[[0.0, 4.0], [8.0, 12.0]]], np.float32)
    found = FeatureMap.of(coarse, (4, 4))
    assert found.at([[0, 0]]).tolist() == [[0.0]]  # outside all centres: the nearest
    assert found.at([[0, 1], [0, 2]])[:, 0].tolist() == [1.0, 3.0]
    assert found.at([[1, 1]])[:, 0].tolist() == [3.0]  # a quarter of the way along both axes
    assert found.channels == 1


def test_torch_interpolates_alike():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(1).normal(size=(2, 5, 7)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None], (20, 28), mode="bilinear", align_corners=False
    )[0].numpy()
    found = FeatureMap.of(values, (20, 28)).at(every_pixel((20, 28)))
    assert np.allclose(found, wanted.reshape(2, -1).T, atol=1e-6)


def test_volumes():
    values = np.random.default_rng(1).normal(size=(2, 2, 3, 4)).astype(np.float32)
    found = FeatureMap.of(values, (2, 3, 4)).at(every_pixel((2, 3, 4)))
    assert np.array_equal(found, values.reshape(2, -1).T)


def test_positions_outside_are_refused():
    features = FeatureMap.of(np.zeros((1, 2, 2), np.float32), (4, 4))
    for place in ([4, 0], [0, -1]):
        with pytest.raises(IndexError, match=r"outside the image of \(4, 4\) px"):
            features.at([place])
    assert features.at(np.empty((0, 2), int)).shape == (0, 1)


def test_mean_leaves_out_what_lies_beyond_the_image():
    # A tile of 8 px over an image of 6: the last of four positions is invented.
    values = np.array([[[1.0, 2.0, 3.0, 100.0]]], np.float32)
    piece = Piece(values, (0, 0), (2, 8), (slice(0, 2), slice(0, 6)))
    assert FeatureMap((2, 6), (piece,)).mean().tolist() == [2.0]


def test_mean_of_a_window_smaller_than_a_position_is_its_middle():
    values = np.array([[[1.0, 3.0]]], np.float32)
    window = FeatureMap.of(values, (16, 32)).window((slice(0, 2), slice(15, 17)))
    assert window.mean().tolist() == window.at([[1, 1]])[0].tolist()


def test_a_window_counts_from_its_corner():
    values = np.arange(36, dtype=np.float32).reshape(1, 6, 6)
    whole = FeatureMap.of(values, (6, 6))
    part = whole.window((slice(2, 5), slice(None)))
    assert part.shape == (3, 6)
    assert part.at([[0, 1]]).tolist() == [[13.0]]
    assert part.mean().tolist() == [values[0, 2:5].mean()]
    assert whole.window((slice(None), slice(None))).mean() == whole.mean()


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_pieces_of_tiles_are_the_whole(stride):
    rng = np.random.default_rng(2)
    image = rng.normal(size=(1, 1, 40, 56)).astype(np.float32)

    def pooled(tile):
        height, width = (side // stride for side in tile.shape[2:])
        return tile.reshape(1, 1, height, stride, width, stride).mean(axis=(3, 5))

    cutting = {"sizes": ((8, 8), (8, 8)), "halo": (4, 4), "limit": 24}
    pieces = [
        Piece(pooled(tile)[0], place.start, place.extent, place.pixels)
        for place, tile in tiles(image, **cutting)
    ]
    assert len(pieces) > 1
    features = FeatureMap((40, 56), tuple(pieces))
    whole = FeatureMap.of(pooled(image)[0], (40, 56))
    places = every_pixel((40, 56))
    assert np.allclose(features.at(places), whole.at(places), atol=1e-6)
    assert features.mean() == pytest.approx(whole.mean(), abs=1e-6)


def test_tiles_are_those_that_run_tiled_runs():
    image = np.random.default_rng(3).normal(size=(1, 2, 30, 41)).astype(np.float32)
    cutting = {"sizes": (16, (16, 4)), "halo": (2, 2), "limit": 20}
    seen = []

    def run(tile):
        seen.append(tile.copy())
        return tile

    stitched = run_tiled(image, run, **cutting)
    cut = list(tiles(image, **cutting))
    assert [tile.tolist() for _, tile in cut] == [tile.tolist() for tile in seen]
    again = np.full(stitched.shape, np.nan, np.float32)
    for place, tile in cut:
        inside = tuple(
            slice(part.start - start, part.stop - start)
            for part, start in zip(place.pixels, place.start, strict=True)
        )
        again[(slice(None), *place.pixels)] = tile[0][(slice(None), *inside)]
    assert np.array_equal(again, stitched)
