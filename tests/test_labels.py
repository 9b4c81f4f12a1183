import numpy as np
import PIL.Image
import pytest
import tifffile

from onnx_cte.errors import ImageError, LabelsError
from onnx_cte.images import Images, windows
from onnx_cte.images.labels import SUFFIXES, as_labels, pair

GREY = np.arange(600, dtype=np.uint8).reshape(20, 30)
LABELS = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((10, 10), np.uint8))


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        PIL.Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})


@pytest.fixture
def plate(tmp_path):
    """Labels yet to come in "labels"; one image "a.tif" in "images"."""
    save(tmp_path / "images" / "a.tif", GREY)
    return tmp_path


def truth_of(plate, **options):
    (ref,) = Images(plate / "images", plate / "labels", **options)
    return ref.load().truth


def error_of(plate, **options):
    ref = next(iter(Images(plate / "images", plate / "labels", **options)))
    with pytest.raises(ImageError) as caught:
        ref.load()
    assert str(caught.value).startswith(ref.name + ": ")
    return str(caught.value)


# Pairing by name.


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        (["a.tif"], ["a.png"], [("a.png",)]),
        (["x/a.tif", "y/a.tif"], ["x/a.png", "y/a.png"], [("x/a.png",), ("y/a.png",)]),
        (["a.ome.tif"], ["a.tif"], [("a.tif",)]),
        (["a.tif"], ["a.ome.tif"], [("a.ome.tif",)]),
        *((["a.tif"], [f"a{s}.png"], [(f"a{s}.png",)]) for s in (*SUFFIXES, "_Mask")),
        (["a.tif"], ["a_mask.png", "a.png"], [("a.png",)]),
        (["a.tif", "a_mask.tif"], ["a_mask.png"], [("a_mask.png",), ("a_mask.png",)]),
        (["img/a.tif"], ["gt/a.png"], [("gt/a.png",)]),
        (["img/a.tif"], ["a_seg.png"], [("a_seg.png",)]),
        (["x/a.tif", "y/a.tif"], ["a.png"], [(), ()]),
        (["x/a.tif"], ["y/a.png", "z/a.png"], [()]),
        (["x/a.tif"], ["a.png", "x/a_gt.png"], [("x/a_gt.png",)]),
        (["a.tif"], ["a.png", "a.tif"], [("a.png", "a.tif")]),
        (["a.tif"], ["a_gt.png", "a_seg.png"], [("a_gt.png", "a_seg.png")]),
        (["a.tif", "b.tif"], ["b.png"], [(), ("b.png",)]),
        (["a.tif"], ["aa.png", "a_masked.png", "_a.png"], [()]),
        ([], ["a.png"], []),
    ],
)
def test_pairs(images, labels, expected):
    assert pair(images, labels) == dict(zip(images, expected, strict=True))


def test_labels_come_with_the_image(plate):
    save(plate / "labels" / "a.png", LABELS)
    images = Images(plate / "images", truth=plate / "labels")
    assert images.has_truth
    assert repr(images) == (f"<Images('{plate}/images', truth='{plate}/labels'): 1 from 1 files>")
    (ref,) = images
    image = ref.load()
    assert image.truth.dtype == np.int32
    assert np.array_equal(image.truth, LABELS)
    assert np.array_equal(image.data, GREY)


def test_images_without_labels_and_with_two(plate):
    save(plate / "images" / "b.tif", GREY)
    save(plate / "images" / "c.tif", GREY)
    save(plate / "labels" / "b.png", LABELS)
    save(plate / "labels" / "c_gt.png", LABELS)
    save(plate / "labels" / "c_seg.png", LABELS)
    a, b, c = Images(plate / "images", plate / "labels")
    with pytest.raises(ImageError, match=r"^a.tif: no label image found for 'a.tif'; it should"):
        a.load()
    assert b.load().truth.max() == 5
    with pytest.raises(ImageError, match=r"2 label images fit 'c.tif', .* c_gt.png, c_seg.png"):
        c.load()


def test_no_pair_at_all_names_both_sides(plate):
    for name in "wxyz":
        save(plate / "labels" / f"{name}.png", LABELS)
    with pytest.raises(LabelsError) as caught:
        Images(plate / "images", plate / "labels")
    message = str(caught.value)
    assert f"no label image in '{plate}/labels' (w.png, x.png, y.png, ...)" in message
    assert f"an image in '{plate}/images' (a.tif)" in message
    assert "_label, _labels, _mask, _masks, _seg, _gt added" in message


def test_labels_that_are_not_there(plate):
    (plate / "labels").mkdir()
    with pytest.raises(LabelsError, match=r"no label image in folder '.*labels': looked for .png"):
        Images(plate / "images", plate / "labels")
    save(plate / "labels" / "a.png", LABELS)
    with pytest.raises(LabelsError, match=r"label image 'b.png': there is no such file"):
        Images(plate / "images", [plate / "labels" / "a.png", plate / "labels" / "b.png"])


def test_labels_beside_the_images_are_no_images(plate):
    save(plate / "images" / "a_masks.tif", LABELS)
    images = Images(plate / "images", truth=f"{plate}/images/*_masks.tif")
    assert [ref.name for ref in images] == ["a.tif"]
    assert next(iter(images)).load().truth.max() == 5
    with pytest.raises(LabelsError, match=r"images and labels are the same files in '.*images'"):
        Images(plate / "images", plate / "images")


# What counts as labels.


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", ">i4", "u8", "f4", "f8"])
def test_labels_of_any_whole_numbers(plate, dtype):
    save(
        plate / "labels" / "a.tif",
        LABELS.astype(dtype),
        byteorder=dtype[0] if ">" in dtype else "<",
    )
    truth = truth_of(plate)
    assert truth.dtype == np.int32
    assert np.array_equal(truth, LABELS.astype(bool) if dtype == "?" else LABELS)


def test_large_labels_are_int64(plate):
    save(plate / "labels" / "a.tif", LABELS.astype(np.uint32) + np.uint32(2**31))
    truth = truth_of(plate)
    assert truth.dtype == np.int64
    assert truth[0, 0] == 2**31


def test_palette_labels_keep_their_indices(plate):
    picture = PIL.Image.fromarray(LABELS, "P")
    picture.putpalette([200, 100, 50] * 6)
    (plate / "labels").mkdir()
    picture.save(plate / "labels" / "a.png")
    assert np.array_equal(truth_of(plate), LABELS)
    (plate / "labels" / "a.png").unlink()
    colours = np.full((3, 256), 9999, np.uint16)
    save(plate / "labels" / "a.tif", LABELS, photometric="palette", colormap=colours)
    assert np.array_equal(truth_of(plate), LABELS)


def test_no_labels(plate):
    path = plate / "labels" / "a.tif"
    save(path, np.stack([LABELS] * 3, -1), photometric="rgb")
    message = error_of(plate)
    assert "label image 'a.tif': has 3 channels (shape (20, 30, 3))" in message
    assert "expected whole numbers, one a pixel, 0 for background" in message
    save(path, LABELS / 2)
    assert "label image 'a.tif': it holds 0.5: expected whole numbers" in error_of(plate)
    save(path, np.where(LABELS == 3, np.nan, LABELS))
    assert "it holds nan: expected whole numbers" in error_of(plate)
    save(path, LABELS.astype(np.int16) - 1)
    assert "it holds -1: expected whole numbers, 0 for background" in error_of(plate)
    save(path, LABELS[:10])
    assert "label image 'a.tif': has shape (10, 30), but its image (20, 30)" in error_of(plate)
    path.write_text("no picture")
    assert "label image 'a.tif': cannot be read: not a TIFF file" in error_of(plate)


def test_values_beyond_int64_and_complex():
    with pytest.raises(ImageError, match=r"it holds 1.84467e"):
        as_labels(np.array([[2**64 - 1]], np.uint64))
    with pytest.raises(ImageError, match="its pixels are complex64: expected whole numbers"):
        as_labels(np.zeros((1, 1), np.complex64))
    with pytest.raises(ImageError, match="it holds inf"):
        as_labels(np.array([[np.inf]]))


# Stacks and windows.


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_label_stacks_pair_slice_by_slice(plate, compression):
    stack = np.stack([GREY, GREY[::-1], GREY[:, ::-1]])
    labels = np.stack([LABELS, LABELS + 1, LABELS + 2])
    save(plate / "images" / "a.tif", stack, metadata={"axes": "ZYX"}, compression=compression)
    save(plate / "labels" / "a.tif", labels, metadata=None, compression=compression)
    refs = list(Images(plate / "images", plate / "labels"))
    assert len(refs) == 3
    prints = set()
    for z in (2, 0, 1):
        image = refs[z].load()
        assert np.array_equal(image.data, stack[z])
        assert np.array_equal(image.truth, labels[z])
        prints.add(image.fingerprint)
    assert len(prints) == 3
    save(plate / "labels" / "a.tif", labels[:2], metadata=None)
    assert "has shape (2, 20, 30), but its image (3, 20, 30)" in error_of(plate)
    save(plate / "labels" / "a.tif", labels[0])
    assert "has shape (20, 30), but its image (3, 20, 30)" in error_of(plate)


def test_stated_axes_hold_for_labels_but_for_channels(plate):
    colours = np.random.default_rng(0).integers(0, 255, (2, 20, 30, 3)).astype(np.uint8)
    save(plate / "images" / "a.tif", colours)
    save(plate / "labels" / "a.tif", np.stack([LABELS, LABELS + 1]), metadata={"axes": "CYX"})
    refs = list(Images(plate / "images", plate / "labels", axes="zyxc"))
    assert [ref.load().truth[0, 0] for ref in refs] == [0, 1]
    save(plate / "images" / "a.tif", colours[0], metadata=None)
    save(plate / "labels" / "a.tif", LABELS)
    assert np.array_equal(truth_of(plate, axes="yxc"), LABELS)
    assert np.array_equal(truth_of(plate, axes="yxc", channel=1), LABELS)
    save(plate / "images" / "a.tif", colours[0].transpose(1, 0, 2), metadata=None)
    save(plate / "labels" / "a.tif", LABELS.T[np.newaxis])
    assert np.array_equal(truth_of(plate, axes="xyc"), LABELS)


def test_labels_of_another_number_of_dimensions_go_by_their_file(plate):
    save(plate / "images" / "a.tif", np.stack([GREY] * 2), metadata=None)
    save(plate / "labels" / "a.tif", LABELS)
    assert "has shape (20, 30), but its image (2, 20, 30)" in error_of(plate, axes="zyx")


def test_several_series(plate):
    for folder, arrays in (("images", [GREY, GREY[:10]]), ("labels", [LABELS, LABELS[:10]])):
        (plate / folder).mkdir(exist_ok=True)
        with tifffile.TiffWriter(plate / folder / "a.tif") as writer:
            for array in arrays:
                writer.write(array)
    truths = [ref.load().truth for ref in Images(plate / "images", plate / "labels")]
    assert np.array_equal(truths[0], LABELS)
    assert np.array_equal(truths[1], LABELS[:10])
    save(plate / "labels" / "a.tif", LABELS)
    assert "label image 'a.tif': holds 1 series, but its image 2" in error_of(plate)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_windows_have_the_labels_of_the_window_alone(plate, monkeypatch, suffix):
    for name, value in {"LARGE": 500, "WINDOW": 10, "REST": 2, "CONTEXT": 3}.items():
        monkeypatch.setattr(windows, name, value)
    truth = np.arange(600, dtype=np.uint16).reshape(20, 30)
    save(plate / "labels" / f"a.{suffix}", truth)
    refs = list(Images(plate / "images", plate / "labels"))
    assert len(refs) == 6
    for ref in refs:
        image = ref.load()
        top, bottom, left, right = ref.window
        assert np.array_equal(image.truth, truth[top:bottom, left:right])
        assert image.truth.shape == image.data[image.window].shape
