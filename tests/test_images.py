import hashlib
import itertools
import os
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from onnx_cte.errors import ImageError, NothingToRank, OptionError
from onnx_cte.images import READERS, Images, files, pictures, tiff, windows
from onnx_cte.images.loading import Loader
from onnx_cte.images.readers import unreadable

DATA = Path(__file__).parents[2] / "shared" / "data"
GREY = np.arange(600, dtype=np.uint8).reshape(20, 30)


def noise(*shape, dtype="u1"):
    return np.random.default_rng(len(shape)).integers(0, 255, shape).astype(dtype)


def tif(path, array, **options):
    tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})


def png(path, array, **options):
    PIL.Image.fromarray(array).save(path, **options)


def raw_png(path, rows, width, bits, colour_type):
    """A PNG from the bytes of its rows: what Pillow cannot write."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def only(source, **options):
    (ref,) = Images(source, **options)
    return ref.load()


def names(images):
    return [ref.name for ref in images]


def error_of(source, **options):
    ref = next(iter(Images(source, **options)))
    with pytest.raises(ImageError) as caught:
        ref.load()
    assert str(caught.value).startswith(ref.name + ": ")
    return str(caught.value)


# What is found, and how it is named.


@pytest.fixture
def tree(tmp_path):
    for name in ("b.png", "a/c.PNG", "a/b.tif", ".hidden.png", ".cache/x.png", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".tif":
            tif(path, GREY)
        elif path.suffix == ".txt":
            path.write_text("no image")
        else:
            png(path, GREY, format="PNG")
    return tmp_path


def test_a_folder_is_walked_sorted_without_hidden_and_other_files(tree):
    images = Images(tree)
    assert names(images) == ["a/b.tif", "a/c.PNG", "b.png"]
    assert len(images) == 3
    assert images.skipped == ()
    assert not images.has_truth
    assert list(images) == list(images)


def test_links_to_folders_are_followed_but_not_in_circles(tree):
    elsewhere = tree.with_name("elsewhere")
    elsewhere.mkdir()
    png(elsewhere / "d.png", GREY)
    (tree / "a" / "link").symlink_to(elsewhere)
    (tree / "a" / "up").symlink_to(tree)
    assert names(Images(tree)) == ["a/b.tif", "a/c.PNG", "a/link/d.png", "b.png"]


def test_globs_files_and_lists(tree, monkeypatch):
    assert names(Images(f"{tree}/*.png")) == ["b.png"]
    assert names(Images(f"{tree}/**/*.*")) == ["a/b.tif", "a/c.PNG", "b.png"]
    assert names(Images(f"{tree}/*/b.tif")) == ["a/b.tif"]
    assert names(Images(tree / "b.png")) == ["b.png"]
    assert names(Images([tree / "b.png", tree / "a", f"{tree}/b*"])) == [
        "b.png",
        "a/b.tif",
        "a/c.PNG",
    ]
    assert names(Images(p for p in [tree / "b.png"])) == ["b.png"]
    monkeypatch.chdir(tree)
    assert names(Images("*.png")) == ["b.png"]
    assert names(Images("a")) == ["b.tif", "c.PNG"]
    assert names(Images("b.png")) == ["b.png"]


def test_brackets_in_an_existing_path_are_no_glob(tmp_path):
    (tmp_path / "plate[7]").mkdir()
    png(tmp_path / "plate[7]" / "a.png", GREY)
    assert names(Images(tmp_path / "plate[7]")) == ["a.png"]


def test_nothing_found_says_where_what_and_what_else_is_there(tmp_path):
    with pytest.raises(NothingToRank, match=r"no image in folder '.*': looked for \.png \.jpg "):
        Images(tmp_path)
    for name in "dcba":
        (tmp_path / f"{name}.oir").touch()
    with pytest.raises(NothingToRank, match=r"4 other files \(a.oir, b.oir, c.oir, ...\)"):
        Images(tmp_path)
    with pytest.raises(NothingToRank, match=r"a\*': looked for .* found 1 other file \(a.oir\)$"):
        Images(f"{tmp_path}/a*")
    with pytest.raises(NothingToRank, match=r"found nothing at all$"):
        Images(f"{tmp_path}/x*.png")
    with pytest.raises(NothingToRank, match=r"there is no file or folder '.*nope.png'"):
        Images(tmp_path / "nope.png")
    with pytest.raises(NothingToRank, match="the list is empty"):
        Images([])


def test_files_that_cannot_be_opened_are_skipped_rows(tree):
    (tree / "text.png").write_text("not a picture")
    (tree / "text.tif").write_text("not a picture")
    (tree / "notes.md").write_text("not a picture")
    images = Images([tree, tree / "notes.md", tree / "gone.tif"])
    assert names(images) == ["a/b.tif", "a/c.PNG", "b.png"]
    reasons = dict(images.skipped)
    assert set(reasons) == {"text.png", "text.tif", "notes.md", "gone.tif"}
    assert "cannot be read: cannot identify image file" in reasons["text.png"]
    assert "cannot be read: not a TIFF file" in reasons["text.tif"]
    assert "suffix '.md' is not read; expected one of .png, .jpg" in reasons["notes.md"]
    assert reasons["gone.tif"] == "there is no such file"


def test_limit_is_of_references(tmp_path):
    tif(tmp_path / "a.tif", noise(3, 20, 30), metadata={"axes": "ZYX"})
    (tmp_path / "b.tif").write_text("never looked at")
    images = Images(tmp_path, limit=2)
    assert names(images) == ["a.tif[z=0]", "a.tif[z=1]"]
    assert images.skipped == ()
    assert len(Images(tmp_path, limit=9)) == 3


def test_options_that_cannot_be(tree):
    with pytest.raises(OptionError, match="limit=0: expected a number from 1 on"):
        Images(tree, limit=0)
    with pytest.raises(OptionError, match="channel=-1: expected a number from 0 on"):
        Images(tree, channel=-1)
    for axes in ("", "zy", "yxx", "yxq"):
        with pytest.raises(OptionError, match=f"axes='{axes}': expected one letter a dimension"):
            Images(tree, axes=axes)


def test_repr_is_readable(tree):
    (tree / "bad.png").write_text("")
    shown = repr(Images(tree, axes="YX", channel=0))
    assert shown == f"<Images('{tree}', axes='YX', channel=0): 3 from 3 files, 1 skipped>"
    shown = repr(Images([tree / "b.png"], limit=4))
    assert shown == f"<Images(['{tree / 'b.png'}'], limit=4): 1 from 1 files>"


def test_references_can_be_sent_to_another_process(tree):
    ref = pickle.loads(pickle.dumps(next(iter(Images(tree)))))
    assert np.array_equal(ref.load().data, GREY)


# Pictures.


def test_readers_cover_the_suffixes():
    assert list(READERS) == [
        *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".zarr", ".czi", ".nd2", ".lif"),
    ]


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_grey_png(tmp_path, dtype):
    array = GREY.astype(dtype) * np.array(257 if dtype == "u2" else 1, dtype)
    png(tmp_path / "a.png", array)
    image = only(tmp_path)
    assert (image.name, image.group, image.axes) == ("a.png", "a.png", "yx")
    assert (image.truth, image.window, image.whole) == (None, None, None)
    assert image.data.dtype == array.dtype
    assert np.array_equal(image.data, array)
    image.data[:] = 0  # It is the caller's own.
    assert np.array_equal(only(tmp_path).data, array)


def test_colour_png_is_channels_first_without_alpha(tmp_path):
    rgba = noise(20, 30, 4)
    png(tmp_path / "a.png", rgba)
    png(tmp_path / "b.png", rgba[..., :3])
    PIL.Image.fromarray(rgba[..., :2], "LA").save(tmp_path / "c.png")
    a, b, c = (ref.load() for ref in Images(tmp_path))
    expected = np.moveaxis(rgba, -1, 0)
    assert (a.axes, b.axes, c.axes) == ("cyx", "cyx", "yx")
    assert np.array_equal(a.data, expected[:3])
    assert np.array_equal(b.data, expected[:3])
    assert np.array_equal(c.data, expected[0])


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_16_bit_png_keeps_all_bits(tmp_path, channels, colour_type):
    array = np.random.default_rng(0).integers(0, 65536, (5, 7, channels)).astype(">u2")
    raw_png(tmp_path / "a.png", [row.tobytes() for row in array], 7, 16, colour_type)
    image = only(tmp_path)
    expected = np.moveaxis(array[..., :3], -1, 0) if channels > 2 else array[..., 0]
    assert image.data.dtype == np.uint16
    assert np.array_equal(image.data, expected)


def test_palette_and_few_bits(tmp_path):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    picture = PIL.Image.fromarray(indices, "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.save(tmp_path / "a.png", transparency=b"\0\1")
    png(tmp_path / "b.png", indices > 0)
    raw_png(tmp_path / "c.png", [b"\x12", b"\x0f"], 2, 4, 0)
    raw_png(tmp_path / "d.png", [b"\x1b"], 4, 2, 0)
    a, b, c, d = (ref.load() for ref in Images(tmp_path))
    assert a.axes == "cyx"
    assert a.data[:, 1, 0].tolist() == [70, 80, 90]
    assert a.data[:, 0, 0].tolist() == [10, 20, 30]
    assert b.data.dtype == bool
    assert b.data.tolist() == [[False, True], [True, True]]
    assert c.data.tolist() == [[1, 2], [0, 15]]
    assert d.data.tolist() == [[0, 1, 2, 3]]


def test_jpeg(tmp_path):
    grey = np.repeat(np.arange(0, 160, 10, dtype=np.uint8)[None], 16, 0)
    png(tmp_path / "a.jpg", grey, quality=95)
    png(tmp_path / "b.jpeg", np.stack([grey, grey + 50, grey + 90], -1), quality=95)
    PIL.Image.fromarray(grey).convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    a, b, c = (ref.load() for ref in Images(tmp_path))
    assert (a.axes, b.axes, c.axes) == ("yx", "cyx", "cyx")
    assert np.abs(a.data.astype(int) - grey).max() < 4
    assert np.abs(b.data.astype(int).mean((1, 2)) - grey.mean() - [0, 50, 90]).max() < 4
    assert np.abs(c.data[0].astype(int) - grey).max() < 4


def test_a_tiff_called_png_is_not_guessed(tmp_path):
    tif(tmp_path / "a.png", GREY)
    assert "cannot identify" in Images(tmp_path).skipped[0][1]


def test_pictures_beyond_pillows_limit(tmp_path, monkeypatch):
    png(tmp_path / "a.png", GREY)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(PIL.Image.DecompressionBombError):
        PIL.Image.open(tmp_path / "a.png")
    assert np.array_equal(only(tmp_path).data, GREY)
    assert PIL.Image.MAX_IMAGE_PIXELS == 10


def test_odd_metadata_is_no_warning(tmp_path):
    png(tmp_path / "a.png", GREY)
    data = (tmp_path / "a.png").read_bytes()
    animation = b"acTL" + bytes(8)  # of no frames
    chunk = struct.pack(">I", 8) + animation + struct.pack(">I", zlib.crc32(animation))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    with pytest.warns(UserWarning, match="Invalid APNG"):
        PIL.Image.open(tmp_path / "a.png").close()
    assert np.array_equal(only(tmp_path).data, GREY)


# TIFF.


@pytest.mark.parametrize("dtype", ["u1", "i1", ">u2", "<i2", "u4", "i4", "u8", "f2", ">f4", "f8"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_tiff_of_any_real_type(tmp_path, dtype, compression):
    array = (GREY % 100).astype(dtype)
    order = ">" if dtype.startswith(">") else "<"
    tif(tmp_path / "a.tiff", array, compression=compression, byteorder=order)
    image = only(tmp_path)
    assert image.data.dtype == np.dtype(dtype).newbyteorder("=")
    assert type(image.data) is np.ndarray
    assert np.array_equal(image.data, array)


def test_tiff_of_one_bit(tmp_path):
    tif(tmp_path / "a.tif", GREY > 99)
    assert np.array_equal(only(tmp_path).data, GREY > 99)


PAGES = [f"page={i}" for i in range(5)]
AXES = [  # shape, how it is written, axes of the image, names of its slices, index of slice 1
    ((2, 20, 30), {"metadata": {"axes": "ZYX"}}, "yx", ["z=0", "z=1"], (1,)),
    ((5, 20, 30), {"metadata": None}, "yx", PAGES, (1,)),
    ((5, 20, 30), {"metadata": None, "compression": "zlib"}, "yx", PAGES, (1,)),
    ((2, 20, 30), {"imagej": True, "metadata": {"axes": "TYX"}}, "yx", ["t=0", "t=1"], (1,)),
    ((3, 20, 30), {"metadata": {"axes": "CYX"}}, "cyx", [""], None),
    ((3, 20, 30), {"ome": True, "metadata": {"axes": "CYX"}}, "cyx", [""], None),
    ((3, 20, 30), {"imagej": True, "metadata": {"axes": "CYX"}}, "cyx", [""], None),
    ((3, 20, 30), {"photometric": "rgb", "planarconfig": "separate"}, "cyx", [""], None),
    ((1, 3, 20, 30), {"metadata": {"axes": "ZCYX"}}, "cyx", [""], (0,)),
    ((1, 20, 30), {"metadata": {"axes": "CYX"}}, "yx", [""], (0,)),
    (
        (2, 2, 3, 20, 30),
        {"imagej": True, "metadata": {"axes": "TZCYX"}},
        "cyx",
        ["t=0,z=0", "t=0,z=1", "t=1,z=0", "t=1,z=1"],
        (0, 1),
    ),
    (
        (2, 3, 2, 20, 30),
        {"ome": True, "metadata": {"axes": "ZCTYX"}, "compression": "zlib"},
        "cyx",
        ["z=0,t=0", "z=0,t=1", "z=1,t=0", "z=1,t=1"],
        (0, slice(None), 1),
    ),
    ((3, 2, 20, 30), {}, "yx", [f"page={i},page2={j}" for i in range(3) for j in (0, 1)], (0, 1)),
]


@pytest.mark.parametrize(("shape", "how", "axes", "slices", "second"), AXES)
def test_tiff_axes_and_names(tmp_path, shape, how, axes, slices, second):
    array = noise(*shape, dtype="u2" if how.get("imagej") else "u1")
    tif(tmp_path / "b.tif", array, **how)
    refs = list(Images(tmp_path))
    assert names(refs) == [f"b.tif[{s}]" if s else "b.tif" for s in slices]
    assert {ref.group for ref in refs} == {"b.tif"}
    image = refs[min(1, len(refs) - 1)].load()
    assert image.axes == axes
    assert np.array_equal(image.data, array if second is None else array[second])
    assert len({ref.load().fingerprint for ref in refs}) == len(refs)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_rgb_tiff_is_channels_first_without_alpha(tmp_path, compression):
    rgba = noise(20, 30, 4)
    how = {"photometric": "rgb", "compression": compression}
    tif(tmp_path / "a.tif", rgba[..., :3], **how)
    tif(tmp_path / "b.tif", rgba, extrasamples=["unassalpha"], **how)
    tif(tmp_path / "c.tif", rgba, extrasamples=["unspecified"], **how)
    a, b, c = (ref.load() for ref in Images(tmp_path))
    expected = np.moveaxis(rgba, -1, 0)
    assert np.array_equal(a.data, expected[:3])
    assert np.array_equal(b.data, expected[:3])
    assert np.array_equal(c.data, expected)
    assert "4 letters" in error_of(tmp_path / "b.tif", axes="zcyx")


def test_palette_tiff_shows_its_colours_unless_they_are_for_display(tmp_path):
    colours = noise(3, 256, dtype="u2") * np.uint16(256)
    how = {"photometric": "palette", "colormap": colours}
    tif(tmp_path / "a.tif", GREY, **how)
    tif(tmp_path / "b.tif", GREY, compression="zlib", **how)
    tif(tmp_path / "c.tif", GREY, imagej=True, **how)
    a, b, c = (ref.load() for ref in Images(tmp_path))
    expected = (colours >> 8)[:, GREY]
    assert np.array_equal(a.data, expected)
    assert np.array_equal(b.data, expected)
    assert np.array_equal(c.data, GREY)
    assert np.array_equal(only(tmp_path / "b.tif", channel=2).data, expected[2])


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
def test_colours_that_are_no_intensities(tmp_path, mode):
    picture = PIL.Image.fromarray(noise(20, 30, 3))
    if mode == "LAB":
        picture = PIL.Image.frombytes("LAB", (30, 20), noise(20, 30, 3).tobytes())
    picture.convert(mode).save(tmp_path / "a.tif")
    (skipped,) = Images(tmp_path).skipped
    assert "save it as grey or RGB" in skipped[1]


def test_jpeg_in_tiff(tmp_path):
    array = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None] * 5, (32, 32))
    tif(tmp_path / "a.tif", np.stack([array] * 3, -1), photometric="rgb", compression="jpeg")
    image = only(tmp_path)
    assert image.data.shape == (3, 32, 32)
    assert np.abs(image.data.astype(int) - array).max() < 12


def test_several_series_are_walked_thumbnails_are_not(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GREY)
        writer.write(GREY[:10])
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(GREY, metadata=None)
        writer.write(GREY[:7, :9], metadata=None, subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "c.tif") as writer:
        how = {"metadata": None, "photometric": "rgb", "software": False}
        colours = noise(64, 64, 3)
        aperio = "Aperio Image Library v1"
        writer.write(colours, tile=(32, 32), description=aperio, **how)
        writer.write(colours[:16, :16], description=aperio, **how)
        writer.write(colours[:20, :10], description=f"{aperio} label 10x20", **how)
    images = Images(tmp_path)
    assert names(images) == ["a.tif[series=0]", "a.tif[series=1]", "b.tif", "c.tif"]
    first, second, third, slide = (ref.load() for ref in images)
    assert np.array_equal(first.data, GREY)
    assert np.array_equal(second.data, GREY[:10])
    assert np.array_equal(third.data, GREY)
    assert np.array_equal(slide.data, np.moveaxis(colours, -1, 0))
    assert first.fingerprint != second.fingerprint


def test_pages_that_are_no_slices(tmp_path, monkeypatch):
    volume = noise(16, 32, 48)
    how = {"volumetric": True, "tile": (16, 16, 16), "photometric": "minisblack"}
    tif(tmp_path / "a.tif", volume, metadata={"axes": "ZYX"}, **how)
    decoded = []
    plain = tiff._decode
    monkeypatch.setattr(tiff, "_decode", lambda *args: decoded.append(1) or plain(*args))
    for z, ref in enumerate(Images(tmp_path)):
        assert np.array_equal(ref.load().data, volume[z])
    assert len(decoded) == 1
    monkeypatch.setattr(tiff, "_outer", lambda series: None)
    assert [ref.load().data[0, 0] for ref in Images(tmp_path)] == volume[:, 0, 0].tolist()


def test_only_the_pages_asked_for_are_decoded(tmp_path, monkeypatch):
    stack = noise(4, 3, 20, 30)
    tif(tmp_path / "a.tif", stack, compression="zlib", metadata={"axes": "ZCYX"})
    decoded = []
    plain = tiff._decode
    monkeypatch.setattr(
        tiff, "_decode", lambda page, path: decoded.append(page.index) or plain(page, path)
    )
    image = list(Images(tmp_path, channel=1))[2].load()
    assert np.array_equal(image.data, stack[2, 1])
    assert decoded == [7]


# Axes: stated, and in doubt.


def test_channels_last_without_metadata_stop(tmp_path):
    array = noise(20, 30, 3)
    for name, compression in (("a.tif", None), ("b.tif", "zlib")):
        tif(
            tmp_path / name, array, photometric="minisblack", metadata=None, compression=compression
        )
        message = error_of(tmp_path / name)
        assert "shape (20, 30, 3), read as IYX: 20 planes only 3 pixels wide" in message
        assert "state what its dimensions are, as in axes='yxc'" in message
        image = only(tmp_path / name, axes="YXC")
        assert image.axes == "cyx"
        assert np.array_equal(image.data, np.moveaxis(array, -1, 0))
    assert len(Images(tmp_path / "a.tif", axes="zyx")) == 20


def test_stated_axes(tmp_path):
    array = noise(2, 20, 30, 3)
    tif(tmp_path / "a.tif", array, photometric="rgb")
    tif(tmp_path / "b.tif", array[:1], photometric="rgb")
    tif(tmp_path / "c.tif", array[0, :, :, 0])
    images = Images(tmp_path, axes="zyxc")
    assert names(images) == ["a.tif[z=0]", "a.tif[z=1]", "b.tif", "c.tif"]
    assert np.array_equal(list(images)[1].load().data, np.moveaxis(array[1], -1, 0))
    message = error_of(tmp_path / "c.tif", axes="zyxc")
    assert "axes='zyxc' has 4 letters, but the stored array has 2 dimensions" in message
    assert "shape (20, 30), read as YX" in message
    assert np.array_equal(only(tmp_path / "c.tif", axes="xy").data, array[0, :, :, 0].T)
    assert np.array_equal(only(tmp_path / "b.tif", axes="yxc").data, np.moveaxis(array[0], -1, 0))


def test_stated_axes_for_pictures(tmp_path):
    png(tmp_path / "a.png", noise(20, 30, 3))
    assert only(tmp_path, axes="yxc").axes == "cyx"
    assert "axes='zyxc' has 4 letters" in error_of(tmp_path, axes="zyxc")


def test_both_channels_and_colours(tmp_path):
    array = noise(2, 20, 30, 3)
    tif(tmp_path / "a.tif", array, photometric="rgb", metadata={"axes": "CYXS"})
    message = error_of(tmp_path)
    assert "read as CYXS: both channels (C) and colours (S)" in message
    assert "axes='zyxc'" in message
    assert len(Images(tmp_path, axes="zyxc")) == 2


@pytest.mark.filterwarnings("ignore:.*writing zero-size array")
def test_no_columns_and_no_pixels(tmp_path):
    tif(tmp_path / "a.tif", noise(20, 30), metadata={"axes": "ZY"})
    assert "shape (20, 30), read as ZY: no x; state" in error_of(tmp_path)
    assert only(tmp_path, axes="yx").data.shape == (20, 30)
    tif(tmp_path / "a.tif", np.zeros((0, 10), np.uint8))
    assert "the image is empty: shape (0, 10)" in error_of(tmp_path)


def test_one_file_of_an_ome_set_is_not_guessed(tmp_path):
    stack = noise(2, 20, 30)
    tif(tmp_path / "a.tif", stack, ome=True, metadata={"axes": "ZYX"})
    data = (tmp_path / "a.tif").read_bytes()
    at = data.index(b"<TiffData")
    end = data.index(b"/>", at) + 2
    uuid = b'<TiffData><UUID FileName="b.tif">urn:uuid:1</UUID></TiffData>'
    changed = data[:at] + uuid + data[end:]
    description = changed[changed.index(b"<?xml") : changed.index(b"</OME>") + 6].decode()
    tif(tmp_path / "a.tif", stack, description=description, metadata=None)
    assert "one file of an OME-TIFF set, in which order its 2 pages are" in error_of(tmp_path)
    assert np.array_equal(list(Images(tmp_path, axes="zyx"))[1].load().data, stack[1])
    tif(tmp_path / "a.tif", stack[0], description=description, metadata=None)
    assert np.array_equal(only(tmp_path).data, stack[0])


def test_pages_that_ome_metadata_promise_but_that_are_missing(tmp_path):
    how = {"ome": True, "photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tif(tmp_path / "a.tif", noise(3, 20, 30), **how)
    description = tifffile.tiffcomment(tmp_path / "a.tif")
    tif(tmp_path / "a.tif", noise(2, 20, 30), description=description, metadata=None)
    refs = list(Images(tmp_path))
    assert names(refs) == ["a.tif[z=0]", "a.tif[z=1]", "a.tif[z=2]"]
    assert np.array_equal(refs[1].load().data, noise(2, 20, 30)[1])
    with pytest.raises(
        ImageError, match="page 2 of the 3 that its OME metadata promise is missing"
    ):
        refs[2].load()


def test_channel(tmp_path):
    array = noise(3, 20, 30)
    tif(tmp_path / "a.tif", array, metadata={"axes": "CYX"})
    image = only(tmp_path, channel=2)
    assert image.axes == "yx"
    assert np.array_equal(image.data, array[2])
    assert "there is no channel 3: the image has 3 channels (0 to 2)" in error_of(
        tmp_path, channel=3
    )
    tif(tmp_path / "a.tif", array[0])
    assert np.array_equal(only(tmp_path, channel=0).data, array[0])
    assert "there is no channel 1: the image has one channel (0)" in error_of(tmp_path, channel=1)


# What is rejected.


def test_truncated_files(tmp_path):
    png(tmp_path / "a.png", noise(200, 300))
    tif(tmp_path / "b.tif", noise(200, 300))
    tif(tmp_path / "c.tif", noise(200, 300), compression="zlib")
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:20000])
    assert "a.png: cannot be read: " in error_of(tmp_path / "a.png")
    for name in ("b.tif", "c.tif"):
        message = error_of(tmp_path / name)
        assert "truncated: its pixels reach to byte " in message
        assert "but it ends at 20000" in message


def test_a_chain_of_pages_that_is_cut_off(tmp_path):
    stack = noise(5, 20, 30)
    tif(tmp_path / "a.tif", stack, metadata=None, compression="zlib")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) * 2 // 3])
    ((name, reason),) = Images(tmp_path).skipped
    assert name == "a.tif"
    assert reason.startswith("truncated: page 4 should begin at byte")


def test_corrupt_data_says_what_the_library_says_in_one_line(tmp_path):
    tif(tmp_path / "a.tif", noise(200, 300), compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        (offset, *_), (count, *_) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[offset : offset + count] = bytes(count)
    (tmp_path / "a.tif").write_bytes(data)
    message = error_of(tmp_path)
    assert message.startswith("a.tif: cannot be read: ")
    assert "\n" not in message


def test_a_header_that_promises_too_much_is_not_listed_window_by_window(tmp_path):
    tif(tmp_path / "a.tif", GREY, compression="zlib", metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    for tag in (256, 257):  # width and height
        at = data.index(struct.pack("<H", tag))
        data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 2**31)
    (tmp_path / "a.tif").write_bytes(data)
    assert "its header is broken: it promises an array of shape (2147483648," in error_of(tmp_path)


def test_what_a_library_says_is_told_in_one_line():
    assert str(unreadable(ValueError("bad\n  strip"))) == "cannot be read: bad strip"
    assert str(unreadable(MemoryError())) == "cannot be read: MemoryError"
    assert str(unreadable(KeyError(256))) == "cannot be read: KeyError 256"
    assert str(unreadable(ImageError("as it is"))) == "as it is"


def test_a_file_that_vanishes_or_changes_after_listing(tmp_path):
    path = tmp_path / "a.tif"
    tif(path, noise(2, 20, 30), metadata={"axes": "ZYX"})
    first, second = Images(tmp_path)
    before = first.load()
    tif(path, noise(1, 20, 30)[0] // 2, metadata={"axes": "YX"})
    with pytest.raises(ImageError, match=r"z=1\]: the file has changed since it was listed"):
        second.load()
    path.unlink()
    with pytest.raises(ImageError, match=r"z=0\]: cannot be read: .*No such file"):
        first.load()
    assert before.data.shape == (20, 30)


def test_a_file_that_becomes_smaller_after_listing(tmp_path, small_windows):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GREY)
        writer.write(noise(80, 80))
    refs = list(Images(tmp_path))
    assert [ref.part for ref in refs] == [0, 1, 1, 1, 1]
    tif(tmp_path / "a.tif", GREY)
    with pytest.raises(ImageError, match="has changed since it was listed"):
        refs[4].load()
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GREY)
        writer.write(noise(60, 80))
    assert refs[1].load().window == (slice(0, 40), slice(0, 40))
    for ref in refs[3:]:
        with pytest.raises(ImageError, match="has changed since it was listed"):
            ref.load()


def test_a_file_that_vanishes_while_it_is_read(tmp_path, monkeypatch):
    tif(tmp_path / "a.tif", GREY)

    def gone(loader, path):
        raise FileNotFoundError("gone")

    monkeypatch.setattr(Loader, "_hash", gone)
    assert error_of(tmp_path) == "a.tif: cannot be read: gone"


def test_pixels_that_cannot_be_used(tmp_path):
    path = tmp_path / "a.tif"
    array = GREY.astype(np.float32)
    array[0, :3] = np.nan, np.inf, -np.inf
    tif(path, array)
    assert "3 of 600 pixels are NaN or infinite; expected finite" in error_of(tmp_path)
    tif(path, np.zeros((20, 30), np.uint16))
    assert "every pixel is 0; there is nothing to segment" in error_of(tmp_path)
    tif(path, np.full((20, 30, 3), [9, 8, 7], np.uint8), photometric="rgb")
    assert "every pixel is (9, 8, 7)" in error_of(tmp_path)
    tif(path, np.full((20, 30), 0.5, np.float32))
    assert "every pixel is 0.5" in error_of(tmp_path)
    tif(path, array.astype(np.complex64))
    assert "its pixels are complex64; expected real numbers" in error_of(tmp_path)


@pytest.mark.parametrize("at", [(0, 5), (19, 0), (3, 29)])
def test_one_different_pixel_is_enough(tmp_path, at):
    array = np.zeros((20, 30), np.uint8)
    array[at] = 1
    tif(tmp_path / "a.tif", array)
    assert only(tmp_path).data.sum() == 1


# Compression without imagecodecs.

BLOCKED = """
import sys
sys.modules["imagecodecs"] = None
import numpy as np
from onnx_cte.errors import ImageError
from onnx_cte.images import Images
for ref in Images(sys.argv[1]):
    try:
        print(ref.name, (ref.load().data == np.load(f"{sys.argv[2]}/{ref.path.stem}.npy")).all())
    except ImageError as error:
        print(error)
"""


def test_without_imagecodecs_pillow_reads_what_it_can(tmp_path):
    (tmp_path / "tif").mkdir()
    (tmp_path / "npy").mkdir()
    arrays = {
        "grey8": GREY,
        "grey16": GREY.astype("u2") * np.uint16(257),
        "grey16big": GREY.astype("u2") * np.uint16(257),
        "float": GREY.astype("f4") / 7,
        "rgb": noise(20, 30, 3),
        "stack": np.stack([GREY, GREY[::-1]]),
        "planar": noise(3, 20, 30),
        "rgb16": noise(20, 30, 3, dtype="u2"),
        "double": GREY.astype("f8"),
        "zlib": GREY,
        "zstd": GREY.astype("f8"),
        "white": GREY,
        "jpegxl": GREY,
    }
    how = {
        "grey16": {"predictor": True},
        "grey16big": {"byteorder": ">"},
        "rgb": {"tile": (16, 16)},
        "stack": {"metadata": {"axes": "ZYX"}},
        "planar": {"photometric": "rgb", "planarconfig": "separate"},
        "zlib": {"compression": "zlib"},
        "zstd": {"compression": "zstd"},
        "white": {"photometric": "miniswhite"},
        "jpegxl": {"compression": "jpegxl"},
    }
    for name, array in arrays.items():
        options = {"compression": "lzw", **how.get(name, {})}
        if array.shape[-1] == 3:
            options["photometric"] = "rgb"
        tif(tmp_path / "tif" / f"{name}.tif", array, **options)
        last = np.moveaxis(array, -1, 0) if array.shape[-1] == 3 else array
        np.save(tmp_path / "npy" / name, last[1] if name == "stack" else last)
    for ref in Images(tmp_path / "tif"):
        if ref.index != (0,):
            assert np.array_equal(
                ref.load().data, np.load(tmp_path / "npy" / f"{ref.path.stem}.npy")
            )
    run = subprocess.run(
        [sys.executable, "-c", BLOCKED, tmp_path / "tif", tmp_path / "npy"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    lines = run.stdout.splitlines()
    good = ["float", "grey16", "grey16big", "grey8", "rgb", "stack", "zlib"]
    expected = [f"{n}.tif True" for n in good if n != "stack"]
    expected += ["stack.tif[z=0] False", "stack.tif[z=1] True"]
    way_out = 'which needs the package imagecodecs: pip install "onnx-cte[formats]"'
    bad = dict.fromkeys(["double", "planar", "rgb16", "white"], "LZW") | {"jpegxl": "JPEGXL"}
    if sys.version_info < (3, 14):  # Which decompresses it by itself.
        bad["zstd"] = "ZSTD"
    else:
        expected.append("zstd.tif True")
    for name, kind in bad.items():
        expected.append(f"{name}.tif: compressed with {kind}, {way_out}")
    assert sorted(lines) == sorted(expected)


# Large planes.


@pytest.fixture
def small_windows(monkeypatch):
    for name, value in {"LARGE": 5000, "WINDOW": 40, "REST": 10, "CONTEXT": 7, "THIN": 900}.items():
        monkeypatch.setattr(windows, name, value)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_windows_tile_the_plane_once_with_context(tmp_path, small_windows, compression):
    plane = noise(90, 125, dtype="u2")
    how = {"compression": compression, "tile": (32, 32) if compression else None}
    tif(tmp_path / "b.tif", plane, **how)
    refs = list(Images(tmp_path))
    rows, columns = [(0, 40), (40, 80), (80, 90)], [(0, 40), (40, 80), (80, 125)]
    assert names(refs) == [
        f"b.tif[y={y[0]}:{y[1]},x={x[0]}:{x[1]}]" for y, x in itertools.product(rows, columns)
    ]
    seen = np.zeros(plane.shape, int)
    for ref, (y, x) in zip(refs, itertools.product(rows, columns), strict=True):
        image = ref.load()
        seen[slice(*y), slice(*x)] += 1
        assert image.group == "b.tif"
        assert np.array_equal(image.data[image.window], plane[slice(*y), slice(*x)])
        region = np.s_[max(y[0] - 7, 0) : y[1] + 7, max(x[0] - 7, 0) : x[1] + 7]
        assert np.array_equal(image.data, plane[region])
        assert np.array_equal(image.whole, plane[::4, ::4])
        assert image.data.flags.owndata
        assert image.whole.flags.owndata
    assert (seen == 1).all()
    assert len({ref.load().fingerprint for ref in refs}) == 9


def test_a_plane_just_not_large_is_taken_whole(tmp_path, small_windows):
    tif(tmp_path / "a.tif", noise(50, 100))
    assert names(Images(tmp_path)) == ["a.tif"]
    tif(tmp_path / "a.tif", noise(5, 1001))
    assert names(Images(tmp_path))[0] == "a.tif[y=0:5,x=0:40]"


def test_the_rest_is_a_window_of_its_own_from_its_size_on(small_windows):
    assert windows.boxes(50, 129) == tuple(
        (*y, *x) for y in [(0, 40), (40, 50)] for x in [(0, 40), (40, 80), (80, 129)]
    )


@pytest.mark.parametrize("size", [(1, 901), (30, 30), (31, 31), (900, 1), (977, 13), (3, 30000)])
def test_thinning_is_as_dense_as_the_limit_allows(small_windows, size):
    plane = np.arange(np.prod(size)).reshape(size)
    thin = windows.thinned(plane)
    assert thin.size <= 900
    step = next(s for s in itertools.count(1) if plane[::s, ::s].size <= 900)
    assert np.array_equal(thin, plane[::step, ::step])


def test_windows_of_slices_of_colours(tmp_path, small_windows):
    stack = noise(2, 80, 80, 3)
    tif(tmp_path / "b.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    refs = list(Images(tmp_path))
    assert len(refs) == 8
    assert refs[5].name == "b.tif[z=1,y=0:40,x=40:80]"
    image = refs[5].load()
    assert image.axes == "cyx"
    assert np.array_equal(image.data, np.moveaxis(stack[1, :47, 33:], -1, 0))
    assert np.array_equal(image.whole, np.moveaxis(stack[1, ::3, ::3], -1, 0))
    image = list(Images(tmp_path, channel=1))[5].load()
    assert np.array_equal(image.data, stack[1, :47, 33:, 1])
    assert np.array_equal(image.whole, stack[1, ::3, ::3, 1])


@pytest.mark.parametrize("reader", [pictures, tiff])
def test_windows_are_cut_from_one_decoding(tmp_path, small_windows, monkeypatch, reader):
    if reader is pictures:
        png(tmp_path / "a.png", noise(80, 160))
    else:
        tif(tmp_path / "a.tif", noise(80, 160), compression="zlib")
    decoded = []
    plain = reader._decode
    monkeypatch.setattr(reader, "_decode", lambda *args: decoded.append(1) or plain(*args))
    images = [ref.load() for ref in Images(tmp_path)]
    assert len(images) == 8
    assert len(decoded) == 1


def test_threads_may_load_from_the_same_images(tmp_path, small_windows, monkeypatch):
    for name in "ab":
        tif(tmp_path / f"{name}.tif", noise(80, 160) + ord(name), compression="zlib")
        tif(tmp_path / f"{name}2.tif", noise(5, 30, 40) + ord(name), metadata=None)
    refs = list(Images(tmp_path)) * 3
    expected = [ref.load() for ref in refs]
    inside, together = [], []
    plain = Loader._read

    def slow(loader, ref):
        inside.append(ref)
        time.sleep(0.002)
        together.append(len(inside))
        image = plain(loader, ref)
        inside.pop()
        return image

    monkeypatch.setattr(Loader, "_read", slow)
    with ThreadPoolExecutor(4) as pool:
        for image, alone in zip(pool.map(lambda ref: ref.load(), refs), expected, strict=True):
            assert image.name == alone.name
            assert np.array_equal(image.data, alone.data)
    assert set(together) == {1}  # One file is held: they take turns.


def test_the_whole_is_of_the_same_slice_of_the_same_file(tmp_path, small_windows):
    planes = noise(4, 80, 80)
    tif(tmp_path / "a.tif", planes[:2], metadata={"axes": "ZYX"})
    tif(tmp_path / "b.tif", planes[2], metadata=None)
    tif(tmp_path / "c.tif", planes[3], metadata=None)
    refs = list(Images(tmp_path))
    assert len(refs) == 16
    for i, ref in enumerate(refs):
        assert np.array_equal(ref.load().whole, planes[i // 4, ::3, ::3])


def test_fingerprints_of_windows_tell_how_they_are_cut(tmp_path, small_windows, monkeypatch):
    tif(tmp_path / "a.tif", noise(80, 80))
    prints = set()
    for name in ("LARGE", "CONTEXT", "THIN"):
        prints.add(next(iter(Images(tmp_path))).load().fingerprint)
        monkeypatch.setattr(windows, name, 100)
    prints.add(next(iter(Images(tmp_path))).load().fingerprint)
    assert len(prints) == 3


def test_what_is_judged_is_the_window_and_what_must_be_finite_is_all(tmp_path, small_windows):
    plane = np.ones((80, 80), np.float32)
    plane[:, 40:] = noise(80, 40)
    plane[79, 40] = np.nan  # Context of the third window, part of the fourth, not of the thinned.
    tif(tmp_path / "a.tif", plane)
    first, second, third, fourth = Images(tmp_path)
    with pytest.raises(ImageError, match=r"x=0:40\]: every pixel is 1.0"):
        first.load()
    assert second.load().data.shape == (47, 47)
    with pytest.raises(ImageError, match=r"1 of 2209 pixels are NaN"):
        third.load()
    with pytest.raises(ImageError, match=r"1 of 2209 pixels are NaN"):
        fourth.load()
    plane[79, 40] = 0
    plane[0, 0] = np.nan
    tif(tmp_path / "a.tif", plane)
    with pytest.raises(ImageError, match="1 of 729 pixels of the whole image, thinned, are NaN"):
        list(Images(tmp_path))[3].load()


# Fingerprints.


def test_fingerprints_tell_apart_what_differs(tmp_path):
    path = tmp_path / "a.tif"
    tif(path, noise(3, 20, 30), metadata={"axes": "CYX"})
    prints = [
        only(path).fingerprint,
        only(path, channel=0).fingerprint,
        only(path, channel=1).fingerprint,
        only(path, axes="cyx").fingerprint,
        only(path, truth=label_of(tmp_path, 1)).fingerprint,
        only(path, truth=label_of(tmp_path, 2)).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert all(len(p) == 64 for p in prints)
    path.rename(tmp_path / "b.tif")
    assert only(tmp_path / "b.tif").fingerprint == prints[0]


def label_of(folder, value):
    (folder / "labels").mkdir(exist_ok=True)
    png(folder / "labels" / "a.png", np.full((20, 30), value, np.uint8))
    return folder / "labels"


def test_a_file_is_hashed_once(tmp_path, monkeypatch):
    tif(tmp_path / "a.tif", noise(5, 20, 30), metadata=None)
    hashed = []
    plain = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *args: hashed.append(1) or plain(*args))
    for ref in Images(tmp_path):
        ref.load()
    assert len(hashed) == 1


def test_a_file_that_changes_gets_a_new_fingerprint(tmp_path):
    png(tmp_path / "a.png", GREY)
    (ref,) = Images(tmp_path)
    before = ref.load()
    assert ref.load().fingerprint == before.fingerprint
    png(tmp_path / "a.png", GREY[::-1])
    after = ref.load()
    assert after.fingerprint != before.fingerprint
    assert np.array_equal(after.data, GREY[::-1])


# Memory.


@pytest.mark.parametrize("how", [{"compression": "zlib"}, None])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, how):
    for i in range(40):
        array = np.add.outer(np.arange(600), np.arange(600)).astype(np.uint16)
        array[0, 0] = i
        if how is None:
            png(tmp_path / f"{i:02}.png", array, compress_level=1)
        else:
            tif(tmp_path / f"{i:02}.tif", array, **how)

    def peak(limit):
        images = Images(tmp_path, limit=limit)
        tracemalloc.start()
        for ref in images:
            ref.load()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(4)
    assert peak(40) < 1.1 * peak(4)


def test_images_own_their_memory_and_only_one_file_is_held(tmp_path):
    tif(tmp_path / "a.tif", noise(2, 20, 30), compression="zlib", metadata={"axes": "ZYX"})
    refs = list(Images(tmp_path))
    first = refs[0].load()
    assert first.data.flags.owndata
    assert first.data.flags.writeable
    first.data[:] = 0
    assert np.array_equal(refs[0].load().data, noise(2, 20, 30)[0])


@pytest.mark.slow
def test_a_window_of_a_slide_is_far_smaller_than_the_slide(tmp_path):
    side = 20_000
    slide = tifffile.memmap(tmp_path / "slide.tif", shape=(side, side), dtype=np.uint8)
    slide[:] = np.arange(side, dtype=np.uint16)[:, None] % 251
    slide.flush()
    del slide
    refs = list(Images(tmp_path))
    assert len(refs) == 100
    tracemalloc.start()
    image = refs[55].load()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 30e6
    assert image.data.shape == (2304, 2304)
    assert image.whole.size <= 2**22
    assert image.data[128, 0] == 10240 % 251


@pytest.mark.slow
def test_a_png_of_20000_x_20000(tmp_path):
    picture = np.zeros((20_000, 20_000), np.uint8)
    picture[::7] = 9
    limit = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.fromarray(picture).save(tmp_path / "a.png", compress_level=1)
    refs = list(Images(tmp_path))
    assert len(refs) == 100
    assert np.array_equal(refs[-1].load().data, picture[18304:, 18304:])
    assert limit == PIL.Image.MAX_IMAGE_PIXELS


# Real data.


def test_real_images_with_labels():
    folder = DATA / "nuc_dsb_fibro"
    if not folder.is_dir():
        pytest.skip("no ../shared/data/nuc_dsb_fibro")
    images = Images(folder / "images", folder / "labels")
    assert len(images) == 96
    assert images.has_truth
    assert images.skipped == ()
    for ref in itertools.islice(images, 0, None, 12):
        image = ref.load()
        assert image.axes == "yx"
        assert image.data.shape == image.truth.shape == (256, 256)
        assert image.truth.dtype == np.int32
        assert 0 < (image.truth > 0).mean() < 1


def test_find_is_told_what_it_looks_for(tmp_path):
    with pytest.raises(OptionError, match="no cat in folder"):
        files.find(tmp_path, "cat", OptionError)


def test_only_the_files_named(tmp_path):
    for name in ("a.png", "b.png", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / name)
    names = [ref.name for ref in Images(tmp_path, only=["deep/c", "a.png"])]
    assert names == ["a.png", "deep/c.png"]
    assert [ref.name for ref in Images(tmp_path, only="b")] == ["b.png"]
    with pytest.raises(OptionError, match=r"1 of 2 images named are not there, such as 'd'"):
        Images(tmp_path, only=["a", "d"])
    with pytest.raises(NothingToRank, match="the list of images to use is empty"):
        Images(tmp_path, only=[])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_passed_over(tmp_path):
    PIL.Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "z.png")
    assert [ref.name for ref in Images(tmp_path)] == ["a.png"]
