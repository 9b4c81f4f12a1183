"""Arrays in memory rank as files of the same pixels do."""

import numpy as np
import pytest
import tifffile
from networks import blur
from test_runner import discs

from onnx_cte.errors import ImageError, LabelsError, NothingToRank, OptionError
from onnx_cte.estimators import CTE, Accuracy
from onnx_cte.images import Images, windows
from onnx_cte.runner import rank, rank_each
from onnx_cte.segmenters import OnnxModel


def noise(*shape):
    return np.random.default_rng(len(shape)).integers(1, 255, shape).astype(np.uint8)


def names(images):
    return [ref.name for ref in images]


def same(one, other):
    assert (one.name, one.group, one.axes, one.window) == (
        *(other.name, other.group, other.axes, other.window),
    )
    for field in ("data", "truth", "whole"):
        a, b = getattr(one, field), getattr(other, field)
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and np.array_equal(a, b))


@pytest.mark.parametrize(
    ("shape", "axes", "options"),
    [
        ((20, 30), None, {}),
        ((3, 20, 30), "zyx", {}),
        ((3, 20, 30), "zyx", {"volumes": True}),
        ((20, 30, 3), "yxc", {}),
        ((2, 4, 20, 30), "tcyx", {"channel": 3}),
        ((2, 3, 20, 30), "tzyx", {"volumes": True}),
        ((1, 20, 30), "yx", {}),
    ],
)
def test_arrays_are_read_as_files_are(tmp_path, shape, axes, options):
    pixels = noise(*shape)
    labels = pixels[..., 0] if axes == "yxc" else pixels[:, 0] if axes == "tcyx" else pixels
    for folder, array in (("images", pixels), ("labels", labels)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", array, photometric="minisblack")
    files = Images(tmp_path / "images", tmp_path / "labels", axes=axes, **options)
    arrays = Images.from_arrays([pixels], names=["a.tif"], truth=[labels], axes=axes, **options)
    assert names(arrays) == names(files)
    for one, other in zip(arrays, files, strict=True):
        same(one.load(), other.load())


def test_large_planes_are_walked_in_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "LARGE", 600)
    monkeypatch.setattr(windows, "WINDOW", 20)
    monkeypatch.setattr(windows, "REST", 4)
    monkeypatch.setattr(windows, "CONTEXT", 5)
    monkeypatch.setattr(windows, "THIN", 500)
    pixels = noise(50, 40)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", pixels)
    files = Images(tmp_path / "images", tmp_path / "labels")
    arrays = Images.from_arrays([pixels], names=["a.tif"], truth=[pixels])
    assert len(arrays) == 6
    assert names(arrays) == names(files)
    for one, other in zip(arrays, files, strict=True):
        same(one.load(), other.load())


def test_names_keep_the_order_of_the_arrays():
    images = Images.from_arrays(noise(12, 8, 8))
    assert sorted(names(images)) == names(images)
    assert names(images)[-1] == "image_11"
    assert repr(images) == "<Images.from_arrays(): 12 from 12 arrays>"
    assert not images.has_truth
    assert images.skipped == ()
    stacks = Images.from_arrays([noise(2, 8, 8)], axes="zyx", truth=[noise(2, 8, 8)])
    assert repr(stacks) == "<Images.from_arrays(axes='zyx'): 2 from 1 arrays>"
    assert stacks.has_truth


class Lazy:
    """An array of another library: shape, dtype, and what is taken of it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.taken = array, array.shape, array.dtype, []

    def __getitem__(self, key):
        self.taken.append(key)
        return self.array[key]

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the whole of it is read")


def test_lazy_arrays_are_read_slice_by_slice():
    lazy = Lazy(noise(3, 8, 9))
    refs = list(Images.from_arrays([lazy], axes="zyx"))
    assert lazy.taken == []
    assert np.array_equal(refs[1].load().data, lazy.array[1])
    assert lazy.taken == [(1, slice(None), slice(None))]


def test_evidence_is_kept_until_the_pixels_change(tmp_path):
    runs = []

    class Counted:
        def __init__(self, path):
            self.name, self._model = "net", OnnxModel("net", path)

        def open(self, device, threads):
            segmenter = self._model.open(device, threads)
            observe = segmenter.observe
            segmenter.observe = lambda image, *rest: (
                runs.append(image.name) or observe(image, *rest)
            )
            return segmenter

    model = Counted(blur(tmp_path / "net.onnx"))
    planes = [discs(n)[0] for n in range(3)]

    def again():
        runs.clear()
        images = Images.from_arrays(planes)
        return rank([model], images, CTE(draws=1), evidence=tmp_path / "e.sqlite").values

    first = again()
    assert runs == ["image_0", "image_1", "image_2"]
    assert again() == first
    assert runs == []
    planes[1][5, 5] ^= 1
    again()
    assert runs == ["image_1"]


def test_arrays_rank_like_files(tmp_path):
    model = OnnxModel("net", blur(tmp_path / "net.onnx"))
    for n in range(3):
        for kind, array in zip(("images", "labels"), discs(n), strict=True):
            (tmp_path / kind).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / kind / f"{n}.tif", array)
    pairs = [discs(n) for n in range(3)]
    arrays = Images.from_arrays(
        [pixels for pixels, _ in pairs],
        names=[f"{n}.tif" for n in range(3)],
        truth=[labels for _, labels in pairs],
    )
    judges = [CTE(draws=1), Accuracy()]
    for one, other in zip(
        rank_each([model], Images(tmp_path / "images", tmp_path / "labels"), judges),
        rank_each([model], arrays, judges),
        strict=True,
    ):
        assert one.scores == other.scores
        assert other.provenance["source"] == "<Images.from_arrays(): 3 from 3 arrays>"


@pytest.mark.parametrize(
    ("arrays", "options", "error", "complaint"),
    [
        ([], {}, NothingToRank, "there is no array"),
        ([noise(4, 8, 8)], {}, OptionError, r"'image_0' has shape \(4, 8, 8\): .*axes='yxc'"),
        ([noise(8, 8)], {"axes": "zyx"}, OptionError, "array 'image_0': axes='zyx' has 3 letters"),
        ([noise(8, 8)], {"axes": "ab"}, OptionError, "axes='ab': expected one letter a dimension"),
        ([noise(8, 8)], {"volumes": True}, OptionError, "but volumes are wanted"),
        ([noise(8, 8)], {"channel": 1}, OptionError, "there is no channel 1"),
        ([noise(8, 8)], {"channel": -1}, OptionError, "expected a number from 0 on"),
        ([noise(8, 8)], {"names": ["a", "b"]}, OptionError, "1 arrays have 2 names"),
        ([noise(8, 8)], {"names": [3]}, OptionError, "array 0 has the name 3"),
        (noise(8, 8), {}, OptionError, r"no image, of shape \(8,\): .*write \[array\]"),
        ("folder", {}, OptionError, "arrays is 'folder': expected a list of arrays"),
        ([noise(8, 8)], {"truth": []}, LabelsError, "1 arrays have 0 label images"),
        (
            [noise(8, 8)],
            {"truth": [noise(8, 9)]},
            LabelsError,
            r"have shape \(8, 9\), but the array has \(8, 8\)",
        ),
        ([noise(8, 8)], {"truth": [noise(2, 8, 8)]}, LabelsError, "the labels of array 'image_0'"),
    ],
)
def test_what_cannot_be_is_refused_at_once(arrays, options, error, complaint):
    with pytest.raises(error, match=complaint):
        Images.from_arrays(arrays, **options)


@pytest.mark.parametrize(
    ("pixels", "labels", "complaint"),
    [
        (np.ones((8, 8)), None, "image_0: every pixel is 1.0"),
        (np.full((8, 8), np.nan), None, "image_0: 64 of 64 pixels are NaN"),
        (noise(8, 8).astype(complex), None, "image_0: its pixels are complex128"),
        (noise(8, 8), np.full((8, 8), 0.5), "image_0: its labels: "),
    ],
)
def test_pixels_from_which_nothing_can_be_learnt(pixels, labels, complaint):
    images = Images.from_arrays([pixels], truth=None if labels is None else [labels])
    with pytest.raises(ImageError, match=complaint):
        next(iter(images)).load()
