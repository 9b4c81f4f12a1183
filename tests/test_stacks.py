"""Z-stacks read whole: which files give volumes, what is in them, and with which labels."""

import pickle
import tracemalloc

import numpy as np
import PIL.Image
import pytest
import tifffile

from onnx_cte.errors import ImageError, OptionError
from onnx_cte.images import Images, tiff, windows

SHAPE = (5, 20, 30)


def noise(*shape, dtype="u1"):
    return np.random.default_rng(len(shape)).integers(0, 255, shape).astype(dtype)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        PIL.Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})


def volumes(source, truth=None, **options):
    return Images(source, truth, volumes=True, **options)


def only(source, truth=None, **options):
    (ref,) = volumes(source, truth, **options)
    return ref.load()


def error_of(source, truth=None, **options):
    ref = next(iter(volumes(source, truth, **options)))
    with pytest.raises(ImageError) as caught:
        ref.load()
    assert str(caught.value).startswith(ref.name + ": ")
    return str(caught.value)


# What a file gives.


def test_a_stack_is_one_volume(tmp_path):
    stack = noise(*SHAPE)
    save(tmp_path / "a.tif", stack, metadata={"axes": "ZYX"})
    images = volumes(tmp_path)
    assert len(images) == 1
    assert repr(images) == f"<Images('{tmp_path}', volumes=True): 1 from 1 files>"
    image = next(iter(images)).load()
    assert (image.name, image.group, image.axes) == ("a.tif", "a.tif", "zyx")
    assert (image.truth, image.window, image.whole) == (None, None, None)
    np.testing.assert_array_equal(image.data, stack)
    assert image.data.flags.owndata
    assert image.data.flags.c_contiguous
    image.data[:] = 0  # It is the caller's own.
    np.testing.assert_array_equal(only(tmp_path).data, stack)


CASES = [  # how axes are written, in what dialect, axes of the volume, names, where the last is
    ("ZYX", {}, "zyx", [""], ()),
    ("ZYX", {"imagej": True}, "zyx", [""], ()),
    ("ZYX", {"ome": True}, "zyx", [""], ()),
    ("ZYX", {"ome": True, "compression": "zlib"}, "zyx", [""], ()),
    ("TZYX", {}, "zyx", ["t=0", "t=1", "t=2"], (2,)),
    ("TZYX", {"imagej": True}, "zyx", ["t=0", "t=1", "t=2"], (2,)),
    ("ZTYX", {}, "zyx", ["t=0", "t=1", "t=2"], (slice(None), 2)),
    ("ZTYX", {"compression": "zlib"}, "zyx", ["t=0", "t=1", "t=2"], (slice(None), 2)),
    ("QZYX", {}, "zyx", [f"page={i}" for i in range(6)], (5,)),
    ("CZYX", {}, "czyx", [""], ()),
    ("AZYX", {}, "zyx", [""], (0,)),
]
LENGTHS = {"T": 3, "Z": 5, "C": 2, "Q": 6, "A": 1, "Y": 20, "X": 30}


@pytest.mark.parametrize(("written", "how", "axes", "places", "last"), CASES)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_axes_and_names(tmp_path, written, how, axes, places, last, dtype):
    array = noise(*(LENGTHS[letter] for letter in written), dtype=dtype)
    save(tmp_path / "b.tif", array, metadata={"axes": written}, **how)
    refs = list(volumes(tmp_path))
    assert [ref.name for ref in refs] == [f"b.tif[{p}]" if p else "b.tif" for p in places]
    assert {ref.group for ref in refs} == {"b.tif"}
    loaded = [ref.load() for ref in refs]
    assert {image.axes for image in loaded} == {axes}
    assert loaded[-1].data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(loaded[-1].data, array[last])
    assert len({image.fingerprint for image in loaded}) == len(refs)


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True, "compression": "zlib"}, {}])
def test_channels_come_first(tmp_path, how):
    array = noise(5, 2, 20, 30)
    save(tmp_path / "a.tif", array, metadata={"axes": "ZCYX"}, **how)
    image = only(tmp_path)
    assert image.axes == "czyx"
    np.testing.assert_array_equal(image.data, np.moveaxis(array, 1, 0))
    one = only(tmp_path, channel=1)
    assert one.axes == "zyx"
    np.testing.assert_array_equal(one.data, array[:, 1])
    assert "there is no channel 2: the image has 2 channels" in error_of(tmp_path, channel=2)


def test_stacks_of_colours(tmp_path):
    array = noise(*SHAPE, 3)
    save(tmp_path / "a.tif", array, photometric="rgb", metadata={"axes": "ZYXS"})
    image = only(tmp_path)
    assert image.axes == "czyx"
    np.testing.assert_array_equal(image.data, np.moveaxis(array, -1, 0))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_stated_axes_make_depth_of_pages_and_in_any_order(tmp_path, compression):
    array = noise(4, 5, 20, 30)
    save(tmp_path / "a.tif", array, compression=compression)
    np.testing.assert_array_equal(only(tmp_path, axes="CZYX").data, array)
    np.testing.assert_array_equal(only(tmp_path, axes="zcyx").data, np.moveaxis(array, 1, 0))
    second = [ref.load() for ref in volumes(tmp_path, axes="ztyx")][1]
    np.testing.assert_array_equal(second.data, array[:, 1])
    turned = only(tmp_path, axes="yxzc")
    np.testing.assert_array_equal(turned.data, array.transpose(3, 2, 0, 1))
    save(tmp_path / "a.tif", array[0], metadata=None, compression=compression)
    np.testing.assert_array_equal(only(tmp_path, axes="zyx").data, array[0])


def test_a_volume_a_series(tmp_path):
    stack = noise(*SHAPE)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for part in (stack, stack[:3, :15]):
            writer.write(part, photometric="minisblack", metadata={"axes": "ZYX"})
    first, second = volumes(tmp_path)
    assert (first.name, second.name) == ("a.tif[series=0]", "a.tif[series=1]")
    np.testing.assert_array_equal(first.load().data, stack)
    np.testing.assert_array_equal(second.load().data, stack[:3, :15])


def test_tiles_of_voxels(tmp_path):
    stack = noise(16, 32, 48)
    how = {"volumetric": True, "tile": (16, 16, 16), "metadata": {"axes": "ZYX"}}
    save(tmp_path / "a.tif", stack, **how)
    np.testing.assert_array_equal(only(tmp_path).data, stack)


def test_only_and_limit(tmp_path):
    for name in ("a.tif", "b.tif", "c.tif"):
        save(tmp_path / name, noise(2, *SHAPE), metadata={"axes": "TZYX"})
    assert [ref.name for ref in volumes(tmp_path, only="b")] == ["b.tif[t=0]", "b.tif[t=1]"]
    first_three = ["a.tif[t=0]", "a.tif[t=1]", "b.tif[t=0]"]
    assert [ref.name for ref in volumes(tmp_path, limit=3)] == first_three


def test_large_volumes_are_one_piece(tmp_path, monkeypatch):
    for name, value in {"LARGE": 100, "WINDOW": 10, "REST": 2}.items():
        monkeypatch.setattr(windows, name, value)
    save(tmp_path / "a.tif", noise(*SHAPE), metadata={"axes": "ZYX"})
    assert len(Images(tmp_path)) == 5 * 6
    image = only(tmp_path)
    assert image.data.shape == SHAPE
    assert (image.window, image.whole) == (None, None)


# What gives none.


def test_files_of_planes_are_named_as_such(tmp_path):
    save(tmp_path / "a.png", noise(20, 30))
    save(tmp_path / "b.png", noise(20, 30, 3))
    save(tmp_path / "c.tif", noise(20, 30))
    save(tmp_path / "d.tif", noise(1, 20, 30), metadata={"axes": "ZYX"})
    save(tmp_path / "e.tif", noise(3, 20, 30), metadata={"axes": "CYX"})
    refs = list(volumes(tmp_path))
    assert [ref.name for ref in refs] == ["a.png", "b.png", "c.tif", "d.tif", "e.tif"]
    for ref in refs:
        found = r"(20, 30|20, 30, 3|3, 20, 30)\), read as .*: one plane, but volumes are wanted; "
        with pytest.raises(ImageError, match=found + "give z-stacks, or take planes"):
            ref.load()
    assert "one plane, but volumes are wanted" in error_of(tmp_path / "c.tif", axes="zyx")


@pytest.mark.parametrize(
    ("how", "read"),
    [
        ({"metadata": None}, "IYX"),
        ({}, "QYX"),
        ({"metadata": {"axes": "TYX"}}, "TYX"),
        ({"metadata": None, "compression": "zlib"}, "IYX"),
    ],
)
def test_pages_that_are_not_said_to_be_depth_are_not_guessed(tmp_path, how, read):
    save(tmp_path / "a.tif", noise(*SHAPE), **how)
    message = error_of(tmp_path)
    assert f"shape (5, 20, 30), read as {read}: 5 planes, none of its dimensions depth" in message
    assert "state what its dimensions are, as in axes='zyx' (--axes zyx), or take planes" in message
    assert only(tmp_path, axes="zyx").data.shape == SHAPE


def test_channels_stored_last_are_told_as_for_planes(tmp_path):
    save(tmp_path / "a.tif", noise(5, 20, 3), metadata={"axes": "ZYX"})
    message = error_of(tmp_path)
    assert "5 planes only 3 pixels wide are rather channels stored last" in message
    assert "axes='zyx'" in message
    assert only(tmp_path, axes="zyx").data.shape == (5, 20, 3)


def test_axes_without_depth_are_refused_at_once(tmp_path):
    save(tmp_path / "a.tif", noise(*SHAPE))
    with pytest.raises(OptionError, match=r"axes='tyx' have no depth \(z\).* axes='zyx'"):
        volumes(tmp_path, axes="tyx")
    with pytest.raises(OptionError, match="expected one letter a dimension"):
        volumes(tmp_path, axes="zzyx")


def test_voxels_that_cannot_be_used(tmp_path):
    path, how = tmp_path / "a.tif", {"metadata": {"axes": "ZYX"}}
    values = noise(*SHAPE, dtype="f4")
    values[4, 19, :2] = np.nan, np.inf
    save(path, values, **how)
    assert "2 of 3000 pixels are NaN or infinite; expected finite" in error_of(path)
    save(path, np.full(SHAPE, 7, np.uint8), **how)
    assert "every pixel is 7; there is nothing to segment" in error_of(path)
    two = np.stack([np.full(SHAPE, 7, np.uint8), np.full(SHAPE, 9, np.uint8)])
    save(path, two, metadata={"axes": "CZYX"})
    assert "every pixel is (7, 9); there is nothing to segment" in error_of(path)


@pytest.mark.parametrize("at", [(0, 0, 1), (4, 0, 0), (0, 19, 0), (4, 19, 29)])
def test_one_different_voxel_is_enough(tmp_path, at):
    array = np.zeros(SHAPE, np.uint8)
    array[at] = 1
    save(tmp_path / "a.tif", array, metadata={"axes": "ZYX"})
    assert only(tmp_path).data.sum() == 1


def test_slices_that_are_each_flat_may_differ(tmp_path):
    array = np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None], SHAPE)
    save(tmp_path / "a.tif", array, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(only(tmp_path).data, array)


def test_a_truncated_stack(tmp_path):
    save(tmp_path / "a.tif", noise(50, 20, 30), metadata={"axes": "ZYX"})
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:20000])
    ((name, reason),) = volumes(tmp_path).skipped
    assert name == "a.tif"
    assert reason.startswith("truncated: page ")


def test_a_file_that_changes_after_listing(tmp_path):
    path = tmp_path / "a.tif"
    save(path, noise(2, *SHAPE), metadata={"axes": "TZYX"})
    _, second = volumes(tmp_path)
    second.load()
    save(path, noise(*SHAPE), metadata={"axes": "ZYX"})
    with pytest.raises(ImageError, match=r"t=1\]: the file has changed since it was listed"):
        second.load()


# Labels.


@pytest.fixture
def pair(tmp_path):
    """A stack "a.tif" in "images"; where its labels go."""
    save(tmp_path / "images" / "a.tif", noise(*SHAPE), metadata={"axes": "ZYX"})
    return tmp_path / "images", tmp_path / "labels", tmp_path / "labels" / "a.tif"


HOW = [
    {"metadata": {"axes": "ZYX"}},
    {"metadata": None},
    {},
    {"metadata": None, "compression": "zlib"},
    {"imagej": True},
]


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("axes", [None, "zyx"])
def test_a_label_stack_of_the_same_depth(pair, how, axes):
    images, labels, path = pair
    truth = np.arange(3000, dtype=np.uint16).reshape(SHAPE)
    save(path, truth, **how)
    image = only(images, labels, axes=axes)
    assert image.truth.dtype == np.int32
    np.testing.assert_array_equal(image.truth, truth)
    np.testing.assert_array_equal(image.data, noise(*SHAPE))


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX"])
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_labels_of_stacks_in_time(pair, axes, said, compression):
    images, labels, path = pair
    save(images / "a.tif", noise(2, 3, 20, 30), metadata={"axes": axes})
    truth = np.arange(3600, dtype=np.uint16).reshape(2, 3, 20, 30)
    save(path, truth, metadata={"axes": axes} if said else {}, compression=compression)
    loaded = [ref.load() for ref in volumes(images, labels)]
    expected = truth if axes == "TZYX" else np.moveaxis(truth, 1, 0)
    assert len(loaded) == len(expected) == len({image.fingerprint for image in loaded})
    for image, volume in zip(loaded, expected, strict=True):
        np.testing.assert_array_equal(image.truth, volume)


@pytest.mark.parametrize("options", [{}, {"channel": 1}, {"axes": "zcyx"}], ids=str)
def test_labels_have_no_channels(pair, options):
    images, labels, path = pair
    save(images / "a.tif", noise(5, 3, 20, 30), metadata={"axes": "ZCYX"})
    truth = np.arange(3000, dtype=np.uint16).reshape(SHAPE)
    save(path, truth, metadata=None)
    np.testing.assert_array_equal(only(images, labels, **options).truth, truth)


@pytest.mark.parametrize(
    ("truth", "how", "found"),
    [
        (noise(4, 20, 30), {"metadata": None}, "has shape (4, 20, 30), but its image (5, 20, 30)"),
        (noise(20, 30), {}, "has shape (20, 30), but its image (5, 20, 30)"),
        (
            noise(2, *SHAPE),
            {"metadata": {"axes": "TZYX"}},
            "has shape (2, 5, 20, 30), but its image (5, 20, 30)",
        ),
        (
            noise(*SHAPE, 3),
            {"photometric": "rgb", "metadata": {"axes": "ZYXS"}},
            "has 3 channels (shape (5, 20, 30, 3))",
        ),
        (noise(*SHAPE) / np.float32(2), {}, "expected whole numbers, 0 for background"),
    ],
    ids=["depth", "plane", "time", "colours", "fractions"],
)
def test_labels_that_do_not_fit(pair, truth, how, found):
    images, labels, path = pair
    save(path, truth, **how)
    message = error_of(images, labels)
    assert "label image 'a.tif': " in message
    assert found in message


def test_a_stack_without_labels(pair):
    images, labels, path = pair
    save(images / "b.tif", noise(*SHAPE), metadata={"axes": "ZYX"})
    save(path, noise(*SHAPE), metadata=None)
    first, second = volumes(images, labels)
    assert first.load().truth.shape == SHAPE
    with pytest.raises(ImageError, match=r"no label image found for 'b\.tif'"):
        second.load()


# Evidence is not shared.


def test_a_volume_shares_neither_name_nor_fingerprint_with_what_is_cut_from_its_file(tmp_path):
    save(tmp_path / "a.tif", noise(2, *SHAPE), metadata={"axes": "TZYX"})
    save(tmp_path / "b.tif", noise(*SHAPE), metadata={"axes": "ZYX"})
    whole = [ref.load() for ref in volumes(tmp_path)]
    slices = [ref.load() for ref in Images(tmp_path)]
    assert {image.name for image in whole} == {"a.tif[t=0]", "a.tif[t=1]", "b.tif"}
    assert not {image.name for image in whole} & {image.name for image in slices}
    assert len({image.fingerprint for image in whole + slices}) == 3 + 15
    # With its depth as channels a file is one piece too, of the same numbers.
    one = next(iter(Images(tmp_path / "b.tif", axes="cyx"))).load()
    other = only(tmp_path / "b.tif", axes="zyx")
    np.testing.assert_array_equal(one.data, other.data)
    assert one.fingerprint != other.fingerprint


def test_fingerprints_are_stable_and_tell_options_apart(tmp_path):
    path = tmp_path / "a.tif"
    save(path, noise(2, *SHAPE), metadata={"axes": "CZYX"})
    prints = [
        only(path).fingerprint,
        only(path, channel=0).fingerprint,
        only(path, channel=1).fingerprint,
        only(path, axes="czyx").fingerprint,
    ]
    assert len(set(prints)) == 4
    (ref,) = volumes(path)
    again = pickle.loads(pickle.dumps(ref)).load()
    assert again.fingerprint == prints[0]
    assert again.axes == "czyx"
    path.rename(tmp_path / "b.tif")
    assert only(tmp_path / "b.tif").fingerprint == prints[0]


# Memory.


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_one_volume_is_held(tmp_path, compression):
    shape = (24, 200, 200)
    size = 2 * np.prod(shape)
    stack = np.broadcast_to(np.arange(200, dtype=np.uint16), shape)
    for name in ("a.tif", "b.tif", "c.tif"):
        save(tmp_path / name, stack, metadata={"axes": "ZYX"}, compression=compression)
    refs = list(volumes(tmp_path))
    refs[0].load()  # what is imported and cached on first use
    tracemalloc.start()
    try:
        for ref in refs:
            image = ref.load()
            held, most = tracemalloc.get_traced_memory()
            assert held < 1.1 * size
            del image
        # What is decoded, and the image's own copy.
        assert most < (2.2 if compression else 1.2) * size
    finally:
        tracemalloc.stop()


def test_of_a_file_only_the_volume_asked_for_is_decoded(tmp_path, monkeypatch):
    stack = noise(3, 2, *SHAPE)
    save(tmp_path / "a.tif", stack, compression="zlib", metadata={"axes": "TCZYX"})
    decoded = []
    plain = tiff._decode
    monkeypatch.setattr(
        tiff, "_decode", lambda page, path: decoded.append(page.index) or plain(page, path)
    )
    image = list(volumes(tmp_path, channel=1))[2].load()
    np.testing.assert_array_equal(image.data, stack[2, 1])
    assert decoded == [25, 26, 27, 28, 29]
