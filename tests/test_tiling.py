import itertools

import numpy as np
import pytest
from scipy import ndimage

from onnx_cte.errors import DescriptorError, ImageError, InferenceError, OptionError
from onnx_cte.tiling import run_tiled, tile_limit


class Network:
    """Records the tiles it is given."""

    def __init__(self, function=lambda tile: tile):
        self.function = function
        self.tiles = []

    def __call__(self, tile):
        self.tiles.append(tile.copy())
        return self.function(tile)

    @property
    def shapes(self):
        return [tile.shape for tile in self.tiles]


def image(height, width, channels=1):
    """Every pixel has its own value."""
    count = channels * height * width
    return np.arange(1, count + 1, dtype=np.float32).reshape(1, channels, height, width)


def mean_filter(size):
    return lambda tile: ndimage.uniform_filter(tile, (0, 0, size, size), mode="constant")


def valid_mean(size):
    """A convolution without padding: the output is smaller by size // 2 on each side."""

    def run(tile):
        windows = np.lib.stride_tricks.sliding_window_view(tile, (size, size), axis=(2, 3))
        return windows.mean(axis=(-2, -1), dtype=np.float64)

    return run


def test_an_image_of_the_right_size_is_one_run_on_the_image_itself():
    network = Network()
    tensor = image(64, 48, channels=2)
    out = run_tiled(tensor, network, sizes=((16, 16), (16, 16)), halo=(8, 8))
    assert network.shapes == [(1, 2, 64, 48)]
    assert out.dtype == np.float32
    np.testing.assert_array_equal(network.tiles[0], tensor)
    np.testing.assert_array_equal(out, tensor[0])


def test_tiles_by_hand():
    # Tiles of 8 with a halo of 2 on a line of 14: starts 0, 4 and 6 (shifted inwards from 8).
    # Seams in the middle of the overlaps [4, 8) and [6, 12): 6 and 9.
    number = itertools.count(1)
    network = Network(lambda tile: np.full_like(tile, next(number)))
    out = run_tiled(image(8, 14), network, sizes=(8, 8), halo=(2, 2))
    assert [tile[0, 0, 0, 0] for tile in network.tiles] == [1, 5, 7]
    np.testing.assert_array_equal(out[0, 0], [1] * 6 + [2] * 3 + [3] * 5)
    assert (out[0] == out[0, 0]).all()


def test_tiles_go_row_by_row():
    network = Network()
    run_tiled(image(6, 8), network, sizes=(4, 4), halo=(1, 0))
    corners = [tile[0, 0, 0, 0] for tile in network.tiles]
    assert corners == [1 + 8 * y + x for y in (0, 2) for x in (0, 4)]


@pytest.mark.parametrize("halo", [0, 1, 3, 5])
@pytest.mark.parametrize("size", [12, 13, (12, 1), (8, 4), (16, 16)])
def test_identity_is_reproduced_with_every_pixel_from_its_deepest_tile(size, halo):
    minimum = size[0] if isinstance(size, tuple) else size
    limit = 32 if size == (16, 16) else 16  # a tile, less its halo, has to hold one step
    for height, width in itertools.product([(minimum + 1) // 2, 13, 24, 31, 57], [13, 40]):
        network = Network()
        tensor = image(height, width, channels=2)
        out = run_tiled(tensor, network, sizes=(size, size), halo=(halo, halo), limit=limit)
        np.testing.assert_array_equal(out, tensor[0])
        assert len(set(network.shapes)) == 1
        # Replace each tile by the depth of its pixels; image borders do not count as an end.
        side = network.shapes[0][2:]
        starts = [divmod(int(tile[0, 0, 0, 0]) - 1, width) for tile in network.tiles]
        depth = np.full((len(starts), height, width), -1.0)
        ends = [
            [_depth(start[axis], side[axis], length) for start in starts]
            for axis, length in enumerate((height, width))
        ]
        for k, (y, x) in enumerate(starts):
            part = np.minimum.outer(ends[0][k], ends[1][k])
            depth[k, y : y + side[0], x : x + side[1]] = part[: height - y, : width - x]
        left = iter(depth)
        padded = np.full(side, -1.0)

        def depths(tile, left=left, padded=padded, height=height, width=width):
            y, x = divmod(int(tile[0, 0, 0, 0]) - 1, width)
            inside = next(left)[y : y + padded.shape[0], x : x + padded.shape[1]]
            result = padded.copy()
            result[: inside.shape[0], : inside.shape[1]] = inside
            return result[None, None]

        got = run_tiled(tensor, depths, sizes=(size, size), halo=(halo, halo), limit=limit)[0]
        np.testing.assert_array_equal(got, depth.max(axis=0))
        assert got.min() >= halo


def _depth(start, side, length):
    inside = np.arange(side)
    before = inside if start else np.full(side, 1000)
    after = inside[::-1] if start + side < length else np.full(side, 1000)
    return np.minimum(before, after)


@pytest.mark.parametrize(
    ("length", "halo", "tiles"),
    [(16, 4, 1), (17, 4, 2), (24, 4, 2), (25, 4, 3), (32, 0, 2), (33, 0, 3), (100, 4, 12)],
)
def test_number_of_runs(length, halo, tiles):
    network = Network()
    run_tiled(image(8, length), network, sizes=(8, 16), halo=(0, halo))
    assert len(network.tiles) == tiles


def test_free_sizes_are_padded_to_the_next_allowed_size_and_not_tiled():
    network = Network()
    tensor = image(21, 32)
    out = run_tiled(tensor, network, sizes=((16, 8), (16, 8)), halo=(4, 4))
    assert network.shapes == [(1, 1, 24, 32)]
    expected = np.pad(tensor, ((0, 0), (0, 0), (0, 3), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(network.tiles[0], expected)
    np.testing.assert_array_equal(out, tensor[0])


def test_limit_is_rounded_down_to_an_allowed_size_but_not_below_the_minimum():
    network = Network()
    run_tiled(image(48, 48), network, sizes=((16, 8), (32, 8)), limit=31)
    assert set(network.shapes) == {(1, 1, 24, 32)}
    assert len(network.tiles) == 4


def test_limit_counts_the_border():
    network = Network(lambda tile: tile[:, :, 2:-2, 2:-2])
    tensor = image(16, 12)
    out = run_tiled(tensor, network, sizes=((4, 4), (4, 4)), border=(2, 2), limit=16)
    assert network.shapes == [(1, 1, 16, 16)] * 2
    np.testing.assert_array_equal(out, tensor[0])


def test_fixed_sizes_heed_no_limit():
    network = Network()
    run_tiled(image(40, 40), network, sizes=(32, 32), limit=8)
    assert set(network.shapes) == {(1, 1, 32, 32)}


@pytest.mark.parametrize("length", [8, 9, 15])
def test_fixed_sizes_pad_a_small_image_at_its_end(length):
    network = Network()
    tensor = image(length, 16)
    out = run_tiled(tensor, network, sizes=(16, 16))
    pad = ((0, 0), (0, 0), (0, 16 - length), (0, 0))
    np.testing.assert_array_equal(network.tiles[0], np.pad(tensor, pad, mode="reflect"))
    np.testing.assert_array_equal(out, tensor[0])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (2, 3), (3, 1)])
def test_smallest_images_repeat_the_reflection(height, width):
    network = Network()
    tensor = image(height, width)
    out = run_tiled(tensor, network, sizes=((1, 5), (2, 6)), border=(0, 0))
    shape = network.shapes[0]
    pad = ((0, 0), (0, 0), (0, shape[2] - height), (0, shape[3] - width))
    np.testing.assert_array_equal(network.tiles[0], np.pad(tensor, pad, mode="reflect"))
    np.testing.assert_array_equal(out, tensor[0])


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("side", [16, (16, 2), 17])
def test_a_filter_gives_the_same_tiled_and_whole(size, side):
    tensor = np.random.default_rng(0).random((1, 2, 46, 70), np.float32)
    radius = size // 2
    halo = (radius, radius + 1)
    network = Network(mean_filter(size))
    tiled = run_tiled(tensor, network, sizes=(side, side), halo=halo, limit=20)
    assert len(network.tiles) > 4
    np.testing.assert_allclose(tiled, mean_filter(size)(tensor)[0], atol=1e-6, rtol=0)
    # The same network with a halo that is too small shows its seams.
    small = run_tiled(tensor, network, sizes=(side, side), halo=(radius - 1,) * 2, limit=20)
    assert np.abs(small - tiled).max() > 0.01


@pytest.mark.parametrize("sides", [(24, 24), ((9, 4), 24), ((9, 4), (10, 3))])
@pytest.mark.parametrize("halo", [0, 2])
def test_convolutions_without_padding_cover_the_whole_image(sides, halo):
    tensor = np.random.default_rng(1).random((1, 1, 33, 50), np.float32)
    pad = ((0, 0), (0, 0), (2, 2), (2, 2))
    expected = valid_mean(5)(np.pad(tensor, pad, mode="reflect"))[0]
    for limit in (28, 1024):
        out = run_tiled(
            tensor, valid_mean(5), sizes=sides, halo=(halo, halo), border=(2, 2), limit=limit
        )
        np.testing.assert_allclose(out, expected, atol=1e-6, rtol=0)


def test_a_border_may_be_wider_than_the_image():
    network = Network(lambda tile: tile[:, :, 6:-6, 6:-6])
    tensor = image(3, 4)
    out = run_tiled(tensor, network, sizes=((4, 4), (4, 4)), border=(6, 6))
    expected = np.pad(tensor, ((0, 0), (0, 0), (6, 7), (6, 6)), mode="reflect")
    np.testing.assert_array_equal(network.tiles[0], expected[:, :, :16, :16])
    np.testing.assert_array_equal(out, tensor[0])


def test_channels_may_change_and_any_float_becomes_float32():
    def two(tile):
        return np.concatenate([tile, -tile], axis=1).astype(np.float64)

    tensor = image(10, 20)
    out = run_tiled(tensor, two, sizes=(8, 8), halo=(1, 1))
    assert out.dtype == np.float32
    assert out.shape == (2, 10, 20)
    np.testing.assert_array_equal(out[1], -tensor[0, 0])


@pytest.mark.parametrize("step", [4, 8])
@pytest.mark.parametrize("shape", [(96, 72), (101, 75), (88, 130)])
def test_a_network_that_pools_sees_the_same_grid_in_tiles(step, shape):
    def pooled(tile):
        """The largest of each block, as a network of that stride has it: no context beyond."""
        blocks = tile.reshape(1, 1, tile.shape[2] // step, step, tile.shape[3] // step, step)
        return blocks.max(axis=(3, 5)).repeat(step, axis=2).repeat(step, axis=3)

    tensor = np.random.default_rng(0).random((1, 1, *shape), np.float32)
    rule = ((step, step), (step, step))
    whole = run_tiled(tensor, pooled, sizes=rule)
    network = Network(pooled)
    tiled = run_tiled(tensor, network, sizes=rule, halo=(5, 3), limit=40)
    assert len(network.tiles) > 4
    np.testing.assert_array_equal(tiled, whole)


def test_tiles_are_contiguous():
    def check(tile):
        assert tile.flags.c_contiguous
        return tile

    run_tiled(image(20, 40, channels=3), check, sizes=(16, (4, 4)), limit=16)


def test_a_tiny_image_is_refused():
    with pytest.raises(ImageError, match=r"image is 20 x 30, the network takes at least 64 x 64: .*"
                       r"at least 32 x 32 px"):  # fmt: skip
        run_tiled(image(20, 30), Network(), sizes=((64, 16), 64))
    run_tiled(image(32, 32), Network(), sizes=((64, 16), 63))
    with pytest.raises(ImageError, match="image is 32 x 31, the network takes at least 64 x 63"):
        run_tiled(image(32, 31), Network(), sizes=((64, 16), 63))


@pytest.mark.parametrize("shape", [(1, 20, 30), (2, 1, 20, 30), (1, 0, 20, 30), (1, 1, 0, 30)])
def test_something_else_than_one_image_is_refused(shape):
    found = " x ".join(map(str, shape))
    with pytest.raises(ImageError, match=f"has shape {found}, expected 1 x C x H x W"):
        run_tiled(np.zeros(shape, np.float32), Network(), sizes=(8, 8))


def test_a_fixed_size_that_the_halo_uses_up_is_refused():
    with pytest.raises(DescriptorError, match="fixed size of 64 px is used up by a halo of 32 px"):
        run_tiled(image(64, 64), Network(), sizes=(64, 64), halo=(31, 32))
    with pytest.raises(DescriptorError, match="a halo of 30 px and a border of 2 px on either"):
        run_tiled(image(64, 64), Network(), sizes=(64, 64), halo=(30, 0), border=(2, 0))


@pytest.mark.parametrize(
    ("size", "halo", "border", "found"),
    [
        (0, 0, 0, "size 0, halo 0 and border 0 px"),
        ((0, 8), 0, 0, r"size \(0, 8\)"),
        ((8, 0), 0, 0, r"size \(8, 0\)"),
        (8, -1, 0, "halo -1"),
        (8, 0, -1, "border -1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(size, halo, border, found):
    with pytest.raises(DescriptorError, match=f"{found}.* expected a side of at least 1"):
        run_tiled(image(8, 8), Network(), sizes=(8, size), halo=(0, halo), border=(0, border))


def test_a_limit_that_the_halo_uses_up_is_refused_only_where_tiles_are_needed():
    sizes = ((8, 8), (8, 8))
    run_tiled(image(16, 16), Network(), sizes=sizes, halo=(8, 8), limit=16)
    with pytest.raises(OptionError, match=r"tile of 16 px \(limit 20 px\).*at least 24 px"):
        run_tiled(image(17, 16), Network(), sizes=sizes, halo=(8, 8), limit=20)
    run_tiled(image(17, 16), Network(), sizes=sizes, halo=(8, 8), limit=24)
    with pytest.raises(OptionError, match="limit is 0 px"):
        run_tiled(image(16, 16), Network(), sizes=sizes, limit=0)


@pytest.mark.parametrize(
    ("run", "found"),
    [
        (lambda tile: tile[:, :, ::2, ::2], "1 x 1 x 4 x 4"),
        (lambda tile: tile[0], "1 x 8 x 8"),
        (lambda tile: tile[:, :, 1:, :], "1 x 1 x 7 x 8"),
        (lambda tile: np.concatenate([tile, tile]), "2 x 1 x 8 x 8"),
        (lambda tile: tile[:, :0], "1 x 0 x 8 x 8"),
    ],
)
def test_a_wrong_output_is_named(run, found):
    expected = f"made {found} of a tile of 1 x 1 x 8 x 8, expected 1 x any x 8 x 8"
    with pytest.raises(InferenceError, match=expected):
        run_tiled(image(8, 16), run, sizes=(8, 8))


def test_channels_that_change_between_tiles_are_named():
    counts = iter([2, 3])

    def run(tile):
        return np.repeat(tile, next(counts), axis=1)

    with pytest.raises(InferenceError, match=r"made 1 x 3 x 8 x 8 .* expected 1 x 2 x 8 x 8"):
        run_tiled(image(8, 16), run, sizes=(8, 8))


# Volumes.


def volume(*shape, channels=1):
    """Every voxel has its own value."""
    count = channels * np.prod(shape)
    return np.arange(1, count + 1, dtype=np.float32).reshape(1, channels, *shape)


def test_a_volume_of_the_right_size_is_one_run_on_the_volume_itself():
    network = Network()
    tensor = volume(8, 16, 24, channels=2)
    out = run_tiled(tensor, network, sizes=((4, 4), (8, 8), (8, 8)), halo=(2, 4, 4))
    assert network.shapes == [(1, 2, 8, 16, 24)]
    assert out.dtype == np.float32
    np.testing.assert_array_equal(network.tiles[0], tensor)
    np.testing.assert_array_equal(out, tensor[0])


def test_tiles_of_a_volume_by_hand():
    # As on the line of 14 above, now along depth, with two tiles along x: the last axis is fastest.
    number = itertools.count(1)
    network = Network(lambda tile: np.full_like(tile, next(number)))
    out = run_tiled(volume(14, 2, 6), network, sizes=(8, 2, 4), halo=(2, 0, 1))
    corners = [tile[0, 0, 0, 0, 0] for tile in network.tiles]
    assert corners == [1 + 12 * z + x for z in (0, 4, 6) for x in (0, 2)]
    left = [1] * 6 + [3] * 3 + [5] * 5
    np.testing.assert_array_equal(out[0, :, 0, 0], left)
    np.testing.assert_array_equal(out[0, :, 1, 2], left)
    np.testing.assert_array_equal(out[0, :, 0, 3], np.add(left, 1))


def test_a_shallow_volume_is_extended_at_its_end_by_reflection():
    network = Network()
    tensor = volume(3, 4, 5)
    out = run_tiled(tensor, network, sizes=((4, 4), 4, (6, 2)))
    pad = ((0, 0), (0, 0), (0, 1), (0, 0), (0, 1))
    np.testing.assert_array_equal(network.tiles[0], np.pad(tensor, pad, mode="reflect"))
    np.testing.assert_array_equal(out, tensor[0])


def test_a_limit_may_be_given_a_side():
    network = Network()
    run_tiled(volume(16, 16, 16), network, sizes=((4, 4),) * 3, limit=(16, 8, 4))
    assert set(network.shapes) == {(1, 1, 16, 8, 4)}
    assert len(network.tiles) == 8
    network = Network()
    run_tiled(image(16, 16), network, sizes=((4, 4), (4, 4)), limit=(8, 16))
    assert network.shapes == [(1, 1, 8, 16)] * 2


def local(radius, rank):
    """A mean over a neighbourhood, which goes on as a mirror image: as images are extended."""
    size = (0, 0, *[2 * radius + 1] * rank)
    return lambda tile: ndimage.uniform_filter(tile, size, mode="mirror")


SHAPES = [(47, 70), (33, 34), (13, 33, 22), (9, 25, 41)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [12, (12, 1), (8, 4), 13])
def test_a_local_operation_gives_the_same_tiled_and_whole_at_any_rank(shape, side):
    rank = len(shape)
    tensor = np.random.default_rng(0).random((1, 2, *shape), np.float32)
    network = Network(local(1, rank))
    tiled = run_tiled(tensor, network, sizes=(side,) * rank, halo=(1, 2, 3)[:rank], limit=16)
    assert len(network.tiles) > 4
    np.testing.assert_allclose(tiled, local(1, rank)(tensor)[0], atol=1e-6, rtol=0)
    careless = run_tiled(tensor, network, sizes=(side,) * rank, limit=16)
    assert np.abs(careless - tiled).max() > 0.01


def test_convolutions_without_padding_cover_the_whole_volume():
    tensor = np.random.default_rng(1).random((1, 1, 9, 20, 26), np.float32)

    def valid(tile):
        windows = np.lib.stride_tricks.sliding_window_view(tile, (3, 3, 3), axis=(2, 3, 4))
        return windows.mean(axis=(-3, -2, -1))

    pad = ((0, 0), (0, 0), (1, 1), (1, 1), (1, 1))
    expected = valid(np.pad(tensor, pad, mode="reflect"))[0]
    for sizes, limit in (((8, 12, 12), 99), (((6, 2),) * 3, 12), (((6, 2),) * 3, 99)):
        out = run_tiled(tensor, valid, sizes=sizes, halo=(1,) * 3, border=(1,) * 3, limit=limit)
        np.testing.assert_allclose(out, expected, atol=1e-6, rtol=0)


# Maps coarser than the image.


def pooled(*scale):
    """The mean of each block: a network whose output is coarser by these factors."""

    def run(tile):
        sides = zip(tile.shape[2:], scale, strict=True)
        split = [number for side, factor in sides for number in (side // factor, factor)]
        blocks = tile.reshape(*tile.shape[:2], *split)
        return blocks.mean(axis=tuple(range(3, blocks.ndim, 2)))

    return run


def repeated(maps, scale, shape):
    """Value k of a coarse map, at each of the pixels from k * scale on."""
    positions = [np.arange(length) // factor for length, factor in zip(shape, scale, strict=True)]
    return maps[(slice(None), *np.ix_(*positions))]


def test_a_coarser_map_by_hand():
    # 4 px wide tiles on a line of 7, extended to 8 by the last but one pixel: tiles at 0 and 4.
    tensor = np.array([[0, 2, 4, 6, 8, 10, 20]], np.float32)[None, None]
    network = Network(pooled(1, 2))
    out = run_tiled(tensor, network, sizes=(1, (4, 4)), limit=4, scale=(1, 2))
    assert network.shapes == [(1, 1, 1, 4)] * 2
    np.testing.assert_array_equal(out, [[[1, 1, 5, 5, 9, 9, 15]]])


def test_seams_of_coarser_maps_by_hand():
    # Tiles of 8 with a halo of 1, of which the coarse pixel makes 2, on a line of 14: tiles at 0, 4
    # and 6; seams in the middle of [4, 8) and [6, 12), the latter rounded down: 6 and 8.
    number = itertools.count(1)
    network = Network(lambda tile: np.full((1, 1, 8, 4), next(number), np.float32))
    out = run_tiled(image(8, 14), network, sizes=(8, 8), halo=(0, 1), scale=(1, 2))
    assert [tile[0, 0, 0, 0] for tile in network.tiles] == [1, 5, 7]
    np.testing.assert_array_equal(out[0, 0], [1] * 6 + [2] * 2 + [3] * 6)


def test_fixed_tiles_start_at_multiples_of_the_scale_though_they_reach_out():
    # A line of 13: the last tile starts at 6, not at 5, and sees one reflected pixel.
    network = Network(pooled(1, 2))
    out = run_tiled(image(1, 13), network, sizes=(1, 8), scale=(1, 2))
    assert [tile[0, 0, 0].tolist() for tile in network.tiles] == [
        [1, 2, 3, 4, 5, 6, 7, 8],
        [7, 8, 9, 10, 11, 12, 13, 12],
    ]
    np.testing.assert_array_equal(
        out[0, 0], [1.5, 1.5, 3.5, 3.5, 5.5, 5.5, 7.5, 7.5, 9.5, 9.5, 11.5, 11.5, 12.5]
    )


def test_only_sides_with_whole_coarse_pixels_are_taken():
    network = Network(pooled(2, 4))
    tensor = image(9, 9)
    out = run_tiled(tensor, network, sizes=((5, 1), (3, 3)), scale=(2, 4))
    assert network.shapes == [(1, 1, 10, 12)]
    assert out.shape == (1, 9, 9)


@pytest.mark.parametrize("scale", [(2, 2), (4, 1), (2, 4), (3, 3), (2, 2, 2), (1, 2, 4)])
@pytest.mark.parametrize("kind", ["free", "fixed"])
@pytest.mark.parametrize("halo", [0, 1, 3])
def test_coarser_maps_are_the_same_tiled_and_whole(scale, kind, halo):
    rank = len(scale)
    shape = (37, 50) if rank == 2 else (14, 27, 37)
    tensor = np.random.default_rng(2).random((1, 2, *shape), np.float32)

    def network(tile):
        """Smoothed over as many pixels as the halo, then coarser."""
        smooth = local(halo, rank)(tile) if halo else tile
        return pooled(*scale)(smooth)

    sizes = tuple(factor * (12 // factor + 2) if kind == "fixed" else (1, 1) for factor in scale)
    recorded = Network(network)
    rules = {"halo": (halo,) * rank, "scale": scale, "limit": 16}
    tiled = run_tiled(tensor, recorded, sizes=sizes, **rules)
    assert len(recorded.tiles) >= 4
    # Sides that the scale divides: then the whole image is a tile itself.
    whole = [(0, 0), (0, 0), *((0, -side % f) for side, f in zip(shape, scale, strict=True))]
    coarse = network(np.pad(tensor, whole, mode="reflect"))[0]
    inside = tuple(slice(side - side % f - halo) for side, f in zip(shape, scale, strict=True))
    expected = repeated(coarse, scale, shape)
    # Next to the image's end fixed tiles see more of the reflection than the whole does.
    np.testing.assert_allclose(tiled[:, *inside], expected[:, *inside], atol=1e-6, rtol=0)
    if kind == "free":
        alone = run_tiled(tensor, network, sizes=sizes, **{**rules, "limit": 64})
        np.testing.assert_allclose(alone, expected, atol=1e-6, rtol=0)


def test_coarser_maps_of_convolutions_without_padding():
    def network(tile):
        return pooled(2, 2)(tile[:, :, 3:-3, 3:-3])

    tensor = image(20, 25)
    whole = np.pad(tensor, ((0, 0), (0, 0), (0, 0), (0, 1)), mode="reflect")
    expected = repeated(pooled(2, 2)(whole)[0], (2, 2), (20, 25))
    for sizes in ((14, 14), ((7, 1), (8, 4))):
        out = run_tiled(tensor, network, sizes=sizes, border=(3, 3), scale=(2, 2), limit=16)
        np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_every_pixel_of_a_coarser_map_is_a_halo_away_from_its_tile_s_seams():
    for halo, scale, side in itertools.product([0, 1, 2, 3, 5], [1, 2, 3, 4], [24, (4, 2), (3, 3)]):

        def depth(tile, scale=scale):
            inside = np.arange(tile.shape[-1])
            start = int(tile[0, 0, 0, 0]) - 1
            before = inside if start else np.full_like(inside, 99)
            after = inside[::-1] if start + len(inside) < 71 else np.full_like(inside, 99)
            deep = np.minimum(before, after).reshape(1, 1, 1, -1, scale)
            return deep.min(axis=-1).astype(np.float32)

        out = run_tiled(
            image(1, 71), depth, sizes=(1, side), halo=(0, halo), limit=40, scale=(1, scale)
        )
        assert out.min() >= halo


# What is refused.


@pytest.mark.parametrize("shape", [(1, 20, 30), (1, 1, 20, 30), (2, 1, 8, 8, 8), (1, 1, 8, 0, 8)])
def test_something_else_than_one_volume_is_refused(shape):
    found = " x ".join(map(str, shape))
    with pytest.raises(ImageError, match=f"has shape {found}, expected 1 x C x D x H x W"):
        run_tiled(np.zeros(shape, np.float32), Network(), sizes=(8, 8, 8))


def test_a_volume_is_no_image_for_a_network_on_planes():
    with pytest.raises(ImageError, match="has shape 1 x 1 x 8 x 8 x 8, expected 1 x C x H x W,"):
        run_tiled(volume(8, 8, 8), Network(), sizes=(8, 8))


def test_a_shallow_volume_is_refused():
    with pytest.raises(ImageError, match=r"image is 3 x 8 x 8, the network takes at least "
                       r"8 x 8 x 8: .* at least 4 x 4 x 4 px"):  # fmt: skip
        run_tiled(volume(3, 8, 8), Network(), sizes=((8, 8), 8, 8))


@pytest.mark.parametrize(
    ("rules", "error", "found"),
    [
        ({"sizes": (8,)}, DescriptorError, "sizes are given for 1 axes, expected 2 .* or 3"),
        ({"sizes": (8, 8), "halo": (1,)}, DescriptorError, r"halo \(1,\), .* of 2 axes: expected"),
        ({"sizes": (8, 8), "border": (1, 1, 1)}, DescriptorError, "expected one of each an axis"),
        ({"sizes": (8, 8), "scale": (2, 2, 2)}, DescriptorError, r"scale \(2, 2, 2\) are given"),
        ({"sizes": (8, 8), "scale": (1, 0)}, DescriptorError, "scale 0 make no sense: .* a scale"),
        ({"sizes": (8, 8), "limit": (8,)}, OptionError, r"limit is \(8,\) px, .* each of y, x"),
        ({"sizes": (8, 8), "limit": (8, 0)}, OptionError, r"limit is \(8, 0\) px, expected"),
        (
            {"sizes": (8, 9), "scale": (1, 2)},
            DescriptorError,
            "a fixed size of 9 px, less a border of 0 px .* no multiple of the scale of 2 along x",
        ),
        (
            {"sizes": ((5, 4), 8), "scale": (2, 1), "border": (1, 0)},
            DescriptorError,
            "no size of 5 px or 4 px more, less a border of 1 px .* scale of 2 along y. Correct",
        ),
        (
            {"sizes": (8, 8), "scale": (1, 4), "halo": (0, 1)},
            DescriptorError,
            "fixed size of 8 px is used up by a halo of 1 px on either side: .* at least 12 px",
        ),
        (
            {"sizes": ((2, 2), (2, 2)), "limit": 4, "halo": (0, 2)},
            OptionError,
            r"a tile of 4 px \(limit 4 px\) along x is used up by .* at least 6 px",
        ),
    ],
)
def test_rules_that_do_not_go_together(rules, error, found):
    with pytest.raises(error, match=found):
        run_tiled(image(8, 10), Network(), **rules)


def test_a_coarser_map_of_the_wrong_size_is_named():
    expected = "made 1 x 1 x 8 x 8 of a tile of 1 x 1 x 8 x 8, expected 1 x any x 4 x 8: .* scale"
    with pytest.raises(InferenceError, match=expected):
        run_tiled(image(8, 8), Network(), sizes=(8, 8), scale=(2, 1))


# A budget.


def test_tiles_within_a_budget_by_hand():
    # 16 x 64 x 64 in all; half of it: one cut, across y or x. The flat stack is not cut in depth.
    free = ((4, 4), (4, 4), (4, 4))
    assert tile_limit((16, 64, 64), free, voxels=16 * 64 * 64) == (16, 64, 64)
    assert tile_limit((16, 64, 64), free, voxels=16 * 64 * 64 - 1) in [(16, 64, 32), (16, 32, 64)]
    # With a halo of 4: two tiles of 36 make 72 out of 64; cut in depth, 12 + 12 out of 16.
    halo = (4, 4, 4)
    chosen = tile_limit((16, 64, 64), free, halo, voxels=16 * 64 * 64 - 1)
    assert sorted(chosen) == [16, 36, 64]
    assert chosen[0] == 16


def test_fixed_sides_are_what_they_are_and_the_smallest_tiles_the_last_resort():
    assert tile_limit((16, 64, 64), (8, 32, (8, 8)), voxels=8 * 32 * 16) == (8, 32, 16)
    assert tile_limit((16, 64, 64), (8, 32, (8, 8)), (0, 0, 8), voxels=1) == (8, 32, 24)


@pytest.mark.parametrize("budget", [2000, 9000, 10**6])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_budget_is_kept_and_nothing_is_cheaper(budget, scale):
    rng = np.random.default_rng(budget + scale)
    for _ in range(25):
        shape = tuple(map(int, rng.integers(4, 40, 3)))
        sizes = tuple((int(least), int(step)) for least, step in rng.integers(1, 7, (3, 2)))
        rules = {"halo": tuple(map(int, rng.integers(0, 3, 3))), "scale": (scale,) * 3}
        try:
            limit = tile_limit(shape, sizes, **rules, voxels=budget)
        except DescriptorError:  # e.g. odd sides only
            continue
        tile, least = _work(shape, sizes, rules, limit)
        assert tile == limit
        fits = np.prod(tile) <= budget
        for other in itertools.product(*(range(2, 41, 9) for _ in shape)):
            try:
                other, total = _work(shape, sizes, rules, other)
            except OptionError:
                continue
            if fits:
                assert np.prod(other) > budget or total >= least
            else:
                assert np.prod(other) >= np.prod(tile)


def _work(shape, sizes, rules, limit):
    """The tile's shape, and how many voxels are run over in all."""
    network = Network(pooled(*rules["scale"]))
    run_tiled(np.zeros((1, 1, *shape), np.float32), network, sizes=sizes, **rules, limit=limit)
    return network.shapes[0][2:], sum(tile.size for tile in network.tiles)
