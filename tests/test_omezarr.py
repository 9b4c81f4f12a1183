"""OME-Zarr, versions 0.4 and 0.5: found, named, read chunk by chunk, and refused with a reason."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr
from ngff_files import multiscales, write_array, write_group, write_image

from onnx_cte.errors import ImageError, NothingToRank
from onnx_cte.images import Images, ngff, windows
from onnx_cte.images.files import find
from onnx_cte.images.omezarr import open_zarr

BOTH = pytest.mark.parametrize("version", ["0.4", "0.5"])


def noise(*shape, dtype=np.uint16, high=60_000, seed=0):
    return np.random.default_rng(seed).integers(1, high, shape).astype(dtype)


def names(images):
    return [ref.name for ref in images]


def loaded(images):
    return {image.name: image for image in (ref.load() for ref in images)}


def refusal(images):
    """Why the only image of a source is not read, when it is opened or when it is loaded."""
    if images.skipped:
        ((_, reason),) = images.skipped
        return reason
    (ref,) = images
    with pytest.raises(ImageError) as caught:
        ref.load()
    return str(caught.value)


@BOTH
def test_a_plane_by_hand(tmp_path, version):
    plane = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]], np.uint8)
    write_image(tmp_path / "a.ome.zarr", version, plane, "yx", (2, 2))
    (ref,) = Images(tmp_path)
    image = ref.load()
    assert (image.name, image.group, image.axes) == ("a.ome.zarr", "a.ome.zarr", "yx")
    assert image.data.dtype == np.uint8
    assert image.data.tolist() == plane.tolist()


@BOTH
def test_time_channels_and_depth_are_walked_as_those_of_a_tiff(tmp_path, version):
    array = noise(2, 3, 4, 10, 12)
    write_image(tmp_path / "a.zarr", version, array, "tczyx", (1, 1, 2, 5, 5))
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata={"axes": "TCZYX"}, ome=True)
    ours, theirs = (loaded(Images(tmp_path / name)) for name in ("a.zarr", "a.ome.tif"))
    assert list(ours)[:2] == ["a.zarr[t=0,z=0]", "a.zarr[t=0,z=1]"]
    assert [n.removeprefix("a.zarr") for n in ours] == [n.removeprefix("a.ome.tif") for n in theirs]
    for one, other in zip(ours.values(), theirs.values(), strict=True):
        assert one.axes == other.axes == "cyx"
        np.testing.assert_array_equal(one.data, other.data)
    (first, second) = Images(tmp_path / "a.zarr", volumes=True, channel=1)
    assert second.name == "a.zarr[t=1]"
    np.testing.assert_array_equal(first.load().data, array[0, 1])


@BOTH
def test_channels_are_named_as_omero_names_them(tmp_path, version):
    omero = {"omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}}
    array = noise(2, 10, 12)
    write_image(tmp_path / "a.zarr", version, array, "cyx", said=omero)
    images = Images(tmp_path, channel="GFP")
    np.testing.assert_array_equal(next(iter(images)).load().data, array[1])
    (line,) = images.understood
    assert "read by its OME-Zarr metadata as 2 channels x 10 rows x 12 columns" in line
    assert "channel 1 (GFP) is taken alone" in line


@pytest.mark.parametrize("seed", range(12))
@BOTH
def test_any_image_is_what_its_array_is(tmp_path, version, seed):
    random = np.random.default_rng(seed)
    letters = "".join(one for one in "tcz" if random.random() < 0.6) + "yx"
    shape = (*random.integers(1, 4, len(letters) - 2), *random.integers(5, 30, 2))
    array = noise(*shape, seed=seed)
    chunks = tuple(int(random.integers(1, length + 1)) for length in shape)
    write_image(tmp_path / "a.zarr", version, array, letters, chunks)
    ours = loaded(Images(tmp_path))
    theirs = loaded(Images.from_arrays([array], names=["a.zarr"], axes=letters))
    assert list(ours) == list(theirs)
    for one, other in zip(ours.values(), theirs.values(), strict=True):
        assert one.axes == other.axes
        np.testing.assert_array_equal(one.data, other.data)


@pytest.mark.parametrize("axis", [{"name": "c", "type": "channel"}, "c", {"name": "C"}])
def test_axes_are_known_by_type_or_name(axis):
    said = {"axes": [axis, {"name": "y", "type": "space"}, {"name": "x"}]}
    assert ngff.axes_of(said, (2, 5, 6)) == ("CYX", "")


def test_old_versions_have_five_axes():
    assert ngff.axes_of({"version": "0.2"}, (1, 2, 3, 4, 5)) == ("TCZYX", "")


@pytest.mark.parametrize(
    ("axes", "shape", "doubt"),
    [
        ([{"name": "phase"}, "y", "x"], (3, 9, 9), "the axis 'phase' in its OME-Zarr metadata is"),
        ([{"name": "c", "type": "space"}, "y", "x"], (3, 9, 9), "is none of time, channel, z"),
        (
            ["z", "z", "y", "x"],
            (2, 3, 9, 9),
            "the axis 'z' in its OME-Zarr metadata is there twice",
        ),
        (["y", "x"], (3, 9, 9), "name 2 axes (y, x), but the array has 3 dimensions"),
        (None, (3, 9, 9), "do not say what its dimensions are"),
    ],
)
@BOTH
def test_axes_that_are_not_known_are_told_not_guessed(tmp_path, version, axes, shape, doubt):
    array = noise(*shape)
    said = multiscales("yx")
    said[0]["axes"] = axes
    write_group(tmp_path / "a.zarr", version, {"multiscales": said})
    write_array(tmp_path / "a.zarr" / "0", version, array)
    reason = refusal(Images(tmp_path))
    assert doubt in reason
    assert f"has shape {shape}" in reason
    assert ("(--axes cyx)" if len(shape) == 3 else "(--axes czyx)") in reason
    letters = "zyx" if len(shape) == 3 else "tzyx"
    stated = loaded(Images(tmp_path, axes=letters))
    assert len(stated) == np.prod(shape[:-2])


def test_an_unknown_axis_of_length_one_leaves_no_doubt():
    assert ngff.axes_of({"axes": ["angle", "y", "x"]}, (1, 9, 9)) == ("QYX", "")


# Which folders are images.


@BOTH
def test_a_folder_of_images_is_not_walked_into(tmp_path, version):
    for name in ("b.zarr", "deep/a.ome.zarr", "deep/plain"):
        write_image(tmp_path / name, version, noise(8, 8), "yx")
    write_image(tmp_path / "b.zarr" / "labels" / "nuclei", version, noise(8, 8), "yx")
    tifffile.imwrite(tmp_path / "c.tif", noise(8, 8))
    assert names(Images(tmp_path)) == ["b.zarr", "c.tif", "deep/a.ome.zarr", "deep/plain"]
    assert names(Images(tmp_path / "b.zarr")) == ["b.zarr"]
    assert names(Images(f"{tmp_path}/*.zarr")) == ["b.zarr"]
    assert names(Images(f"{tmp_path}/**/*.zarr")) == ["b.zarr", "deep/a.ome.zarr"]
    assert names(Images(f"{tmp_path}/**")) == names(Images(tmp_path))
    both = [tmp_path / "deep" / "a.ome.zarr", tmp_path / "c.tif"]
    assert names(Images(both)) == ["deep/a.ome.zarr", "c.tif"]
    (tmp_path / "list.txt").write_text("b.zarr\nc.tif\n")
    assert names(Images(tmp_path / "list.txt")) == ["b.zarr", "c.tif"]


@BOTH
def test_the_current_folder_may_be_an_image(tmp_path, version, monkeypatch):
    write_image(tmp_path / "a.zarr", version, noise(8, 8), "yx")
    monkeypatch.chdir(tmp_path / "a.zarr")
    assert names(Images(".")) == ["a.zarr"]
    monkeypatch.chdir(tmp_path)
    for pattern in ("./**", "**", "./*", "*.zarr/", "./a.zarr/../*"):
        assert names(Images(pattern)) == ["a.zarr"]


def plate(folder, version, wells=("B/03", "B/04"), fields=("0", "1")):
    write_group(
        folder, version, {"plate": {"wells": [{"path": well} for well in wells], "columns": []}}
    )
    for well in wells:
        listed = {"images": [{"path": field} for field in fields]}
        write_group(folder / well, version, {"well": listed})
        for field in fields:
            seed = abs(hash((well, field))) % 1000
            write_image(folder / well / field, version, noise(8, 8, seed=seed), "yx")
    return folder


@BOTH
def test_fields_of_a_plate_are_images(tmp_path, version):
    plate(tmp_path / "p.zarr", version)
    fields = ["p.zarr/B/03/0", "p.zarr/B/03/1", "p.zarr/B/04/0", "p.zarr/B/04/1"]
    assert names(Images(tmp_path)) == fields
    assert names(Images(tmp_path / "p.zarr")) == fields
    assert names(Images(tmp_path / "p.zarr" / "B" / "04")) == fields[2:]
    assert names(Images(tmp_path / "p.zarr" / "B" / "04" / "1")) == fields[3:]
    assert names(Images(f"{tmp_path}/p.zarr/B/*/1")) == fields[1::2]
    image = loaded(Images(tmp_path))["p.zarr/B/03/1"]
    assert image.group == "p.zarr/B/03/1"
    assert names(Images(tmp_path, only="p.zarr/B/04/0")) == ["p.zarr/B/04/0"]


@BOTH
def test_a_well_that_is_not_there_is_skipped_alone(tmp_path, version):
    plate(tmp_path / "p.zarr", version)
    shutil.rmtree(tmp_path / "p.zarr" / "B" / "04")
    images = Images(tmp_path)
    assert names(images) == ["p.zarr/B/03/0", "p.zarr/B/03/1"]
    ((name, reason),) = images.skipped
    assert name == "p.zarr/B/04"
    assert reason == "there is no such file or folder"


@BOTH
def test_series_of_bio_formats(tmp_path, version):
    folder = write_group(tmp_path / "a.zarr", version, {"bioformats2raw.layout": 3})
    for series in (10, 2):
        write_image(folder / str(series), version, noise(8, 8 + series), "yx")
    assert names(Images(tmp_path)) == ["a.zarr[series=0]", "a.zarr[series=1]"]
    assert [ref.load().data.shape for ref in Images(tmp_path)] == [(8, 10), (8, 18)]
    write_group(folder / "OME", version, {"series": ["10"]})
    assert [ref.load().data.shape for ref in Images(tmp_path)] == [(8, 18)]
    assert names(Images(tmp_path)) == ["a.zarr"]


@BOTH
def test_several_multiscales_are_series(tmp_path, version):
    said = multiscales("yx", ("a",)) + multiscales("zyx", ("b",))
    write_group(tmp_path / "a.zarr", version, {"multiscales": said})
    write_array(tmp_path / "a.zarr" / "a", version, noise(8, 9))
    write_array(tmp_path / "a.zarr" / "b", version, noise(2, 8, 9))
    assert names(Images(tmp_path)) == [f"a.zarr[series={p}]" for p in ("0", "1,z=0", "1,z=1")]


@BOTH
def test_a_group_around_images_is_looked_through(tmp_path, version):
    write_group(tmp_path / "all.zarr", version, {})
    for name in ("b", "a"):
        write_image(tmp_path / "all.zarr" / name, version, noise(8, 8), "yx")
    assert names(Images(tmp_path / "all.zarr")) == ["all.zarr/a", "all.zarr/b"]


# Labels.


@BOTH
def test_labels_inside_the_image_belong_to_it(tmp_path, version):
    found = {}
    for name in ("a", "b"):
        folder = write_image(tmp_path / f"{name}.zarr", version, noise(8, 9), "yx")
        write_group(folder / "labels", version, {"labels": ["nuclei"]})
        found[name] = noise(8, 9, dtype=np.int32, high=5, seed=ord(name))
        write_image(folder / "labels" / "nuclei", version, found[name], "yx")
    images = Images(tmp_path, truth=f"{tmp_path}/*.zarr/labels/nuclei")
    for name, image in loaded(images).items():
        np.testing.assert_array_equal(image.truth, found[name[0]])
    assert images.understood[-1].startswith("labels: 2 of 2 images have one (a.zarr: a.zarr/labels")
    one = Images(tmp_path / "a.zarr", truth=tmp_path / "a.zarr" / "labels" / "nuclei")
    np.testing.assert_array_equal(next(iter(one)).load().truth, found["a"])
    whole = Images(tmp_path / "a.zarr", truth=tmp_path / "a.zarr" / "labels")
    np.testing.assert_array_equal(next(iter(whole)).load().truth, found["a"])


def test_of_several_labels_of_an_image_none_is_taken(tmp_path):
    folder = write_image(tmp_path / "a.zarr", "0.5", noise(8, 9), "yx")
    write_group(folder / "labels", "0.5", {"labels": ["cells", "nuclei"]})
    for name in ("cells", "nuclei"):
        write_image(folder / "labels" / name, "0.5", noise(8, 9, high=5), "yx")
    (ref,) = Images(folder, truth=folder / "labels")
    with pytest.raises(ImageError, match=r"2 label images fit 'a.zarr', .* a.zarr/labels/cells, a"):
        ref.load()


@BOTH
def test_labels_of_fields_belong_to_their_fields(tmp_path, version):
    folder = plate(tmp_path / "p.zarr", version)
    for well in ("B/03", "B/04"):
        for field in "01":
            mine = np.full((8, 8), int(well[-1]) * 10 + int(field), np.uint8)
            write_image(folder / well / field / "labels" / "cells", version, mine, "yx")
    images = Images(folder, truth=f"{folder}/*/*/*/labels/cells")
    assert [ref.load().truth[0, 0] for ref in images] == [30, 31, 40, 41]


@BOTH
def test_labels_in_a_folder_of_their_own_pair_by_name(tmp_path, version):
    write_image(tmp_path / "images" / "a.ome.zarr", version, noise(2, 3, 8, 9), "czyx")
    tifffile.imwrite(tmp_path / "images" / "b.tif", noise(8, 9))
    labels = noise(3, 8, 9, dtype=np.uint8, high=4)
    write_image(tmp_path / "labels" / "a_mask.zarr", version, labels, "zyx", (1, 4, 4))
    write_image(tmp_path / "labels" / "b.zarr", version, labels[0], "yx", (4, 4))
    images = loaded(Images(tmp_path / "images", truth=tmp_path / "labels"))
    assert list(images) == [*(f"a.ome.zarr[z={z}]" for z in range(3)), "b.tif"]
    for z in range(3):
        np.testing.assert_array_equal(images[f"a.ome.zarr[z={z}]"].truth, labels[z])
    np.testing.assert_array_equal(images["b.tif"].truth, labels[0])


# Only what is needed is read.


def chunk_files(folder, version):
    root = folder / "0" if version == "0.4" else folder / "0" / "c"
    return {
        p.relative_to(root).as_posix(): p
        for p in root.rglob("*")
        if p.is_file() and p.name.isdecimal()
    }


@BOTH
def test_a_plane_needs_its_own_chunks_alone(tmp_path, version):
    array = noise(2, 4, 16, 16)
    folder = write_image(tmp_path / "a.zarr", version, array, "czyx", (1, 1, 8, 8))
    files = chunk_files(folder, version)
    assert len(files) == 2 * 4 * 2 * 2
    for place, path in files.items():
        if not place.startswith("1/2/"):
            path.write_bytes(b"no pixels")
    ref = list(Images(tmp_path, channel=1))[2]
    np.testing.assert_array_equal(ref.load().data, array[1, 2])
    with pytest.raises(ImageError, match=r"a.zarr\[z=1\]: the chunk 1/1/0/0 of its pixels cannot"):
        list(Images(tmp_path, channel=1))[1].load()


@pytest.fixture
def small_windows(monkeypatch):
    for name, value in {"LARGE": 64 * 64, "WINDOW": 32, "CONTEXT": 4, "REST": 8}.items():
        monkeypatch.setattr(windows, name, value)
    monkeypatch.setattr(windows, "THIN", 16 * 16)


@BOTH
def test_windows_are_those_of_a_tiff_and_decode_no_plane_each(
    tmp_path, version, small_windows, monkeypatch
):
    plane = noise(96, 100)
    write_image(tmp_path / "a.zarr", version, plane, "yx", (16, 16))
    tifffile.imwrite(tmp_path / "a.tif", plane)
    read = []
    getitem = zarr.Array.__getitem__

    def spied(array, key):
        read.append(key)
        return getitem(array, key)

    monkeypatch.setattr(zarr.Array, "__getitem__", spied)
    ours, theirs = loaded(Images(tmp_path / "a.zarr")), loaded(Images(tmp_path / "a.tif"))
    assert list(ours)[1] == "a.zarr[y=0:32,x=32:64]"
    assert len(ours) == len(theirs) == 9
    for one, other in zip(ours.values(), theirs.values(), strict=True):
        assert one.window == other.window
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_array_equal(one.whole, other.whole)
    # All are small enough to be kept, so that each of the 6 x 7 chunks is decoded once.
    assert len(read) == 42


def test_one_window_reads_the_chunks_below_it(tmp_path, small_windows):
    plane = noise(96, 96)
    folder = write_image(tmp_path / "a.zarr", "0.4", plane, "yx", (16, 16))
    stored = open_zarr(folder)[0]
    for place, path in chunk_files(folder, "0.4").items():
        if place not in ("0/0", "0/1", "1/0", "1/1"):
            path.unlink()
            path.mkdir()  # Reading it fails.
    np.testing.assert_array_equal(stored.read({})[0:32, 0:32], plane[:32, :32])


@pytest.mark.parametrize("chunks", [(8, 8), (16, 16)])
def test_shards(tmp_path, chunks):
    plane = noise(64, 48)
    write_image(tmp_path / "a.zarr", "0.5", plane, "yx", chunks, shards=(32, 48))
    np.testing.assert_array_equal(next(iter(Images(tmp_path))).load().data, plane)


def test_chunks_apart_by_points_and_column_order(tmp_path):
    plane = noise(20, 30)
    write_group(tmp_path / "a.zarr", "0.4", {"multiscales": multiscales("yx")})
    stored = zarr.create_array(
        store=tmp_path / "a.zarr" / "0", shape=plane.shape, chunks=(8, 8), dtype=">u2",
        zarr_format=2, order="F",
    )  # fmt: skip
    stored[:] = plane
    assert (tmp_path / "a.zarr" / "0" / "2.3").is_file()
    image = next(iter(Images(tmp_path))).load()
    np.testing.assert_array_equal(image.data, plane)
    assert image.data.dtype == np.dtype("=u2")


@BOTH
def test_chunks_that_are_not_there_hold_the_fill_value(tmp_path, version):
    plane = noise(16, 16)
    folder = write_image(tmp_path / "a.zarr", version, plane, "yx", (8, 8), fill_value=7)
    chunk_files(folder, version)["0/1"].unlink()
    expected = plane.copy()
    expected[:8, 8:] = 7
    np.testing.assert_array_equal(next(iter(Images(tmp_path))).load().data, expected)


# The fingerprint.


@BOTH
def test_the_fingerprint_is_of_the_pixels(tmp_path, version):
    array = noise(2, 16, 16)
    write_image(tmp_path / "a" / "a.zarr", version, array, "zyx", (1, 8, 8))
    write_image(tmp_path / "b" / "a.zarr", version, array, "zyx", (2, 16, 16))
    first, second = (
        [ref.load().fingerprint for ref in Images(tmp_path / name)] for name in ("a", "b")
    )
    assert first == second
    assert len(set(first)) == 2


@BOTH
def test_pixels_that_changed_are_another_image_even_for_the_same_reference(tmp_path, version):
    array = noise(2, 16, 16)
    folder = write_image(tmp_path / "a.zarr", version, array, "zyx", (1, 8, 8))
    refs = list(Images(tmp_path))
    before = [ref.load() for ref in refs]
    stored = zarr.open_array(store=folder / "0", mode="r+")
    stored[1, 3, 3] = 60_001
    os.utime(chunk_files(folder, version)["1/0/0"], ns=(1, 1))  # A clock may be coarse.
    after = [ref.load() for ref in refs]
    assert after[1].data[3, 3] == 60_001
    assert before[0].fingerprint == after[0].fingerprint
    assert before[1].fingerprint != after[1].fingerprint


@BOTH
def test_labels_that_changed_are_other_labels(tmp_path, version):
    tifffile.imwrite(tmp_path / "a.tif", noise(8, 9))
    folder = write_image(tmp_path / "l" / "a.zarr", version, noise(8, 9, high=5), "yx")
    images = Images(tmp_path / "a.tif", truth=tmp_path / "l")
    before = next(iter(images)).load()
    zarr.open_array(store=folder / "0", mode="r+")[0, 0] = 9
    os.utime(chunk_files(folder, version)["0/0"], ns=(1, 1))
    after = next(iter(images)).load()
    assert after.truth[0, 0] == 9
    assert before.fingerprint != after.fingerprint


@BOTH
def test_the_thinned_plane_is_taken_anew_too(tmp_path, version, small_windows):
    folder = write_image(tmp_path / "a.zarr", version, noise(96, 96), "yx", (16, 16))
    first = next(iter(Images(tmp_path)))
    before = first.load()
    zarr.open_array(store=folder / "0", mode="r+")[90, 90] = 60_001  # Far from the first window.
    os.utime(chunk_files(folder, version)["5/5"], ns=(1, 1))
    after = first.load()
    assert (after.whole == 60_001).sum() == 1
    assert before.fingerprint != after.fingerprint


# What cannot be read is skipped with a reason.


def broken_json(folder):
    for name in (".zattrs", "zarr.json"):
        if (folder / name).is_file():
            (folder / name).write_text('{"multiscales": [')
    return "cannot be read"


def no_multiscales(folder):
    for name in (".zattrs", "zarr.json"):
        if (folder / name).is_file():
            (folder / name).write_text('{"node_type": "group", "zarr_format": 3}')
    return "'multiscales'"


def no_dataset(folder):
    shutil.rmtree(folder / "0")
    return "the array '0' that its OME-Zarr metadata name is not there"


def dataset_without_metadata(folder):
    for name in (".zarray", "zarr.json"):
        (folder / "0" / name).unlink(missing_ok=True)
    return "its array '0' cannot be opened"


def no_path(folder):
    for name in (".zattrs", "zarr.json"):
        if (folder / name).is_file():
            text = (folder / name).read_text().replace('"path"', '"paths"')
            (folder / name).write_text(text)
    return "name no dataset with a path"


def no_list(folder):
    for name in (".zattrs", "zarr.json"):
        if (folder / name).is_file():
            document = json.loads((folder / name).read_text())
            inner = document["attributes"]["ome"] if "attributes" in document else document
            inner["multiscales"] = {"axes": 3}
            (folder / name).write_text(json.dumps(document))
    return "no list of objects"


def emptied(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    return "'multiscales'"


def corrupt(folder):
    for path in folder.rglob("0/0"):
        if path.is_file():
            path.write_bytes(b"no pixels")
    return "the chunk 0/0 of its pixels cannot be read"


BROKEN = [broken_json, no_multiscales, no_dataset, dataset_without_metadata, no_path, no_list]


@pytest.mark.parametrize("spoil", [*BROKEN, emptied, corrupt])
@BOTH
def test_a_broken_image_is_skipped_and_the_others_are_read(tmp_path, version, spoil):
    bad = write_image(tmp_path / "bad.zarr", version, noise(16, 16), "yx", (8, 8))
    write_image(tmp_path / "good.zarr", version, noise(16, 16), "yx", (8, 8))
    reason = spoil(bad)
    images = Images(tmp_path)
    told = dict(images.skipped)
    read = []
    for ref in images:
        try:
            read.append(ref.load().name)
        except ImageError as error:
            told[ref.name] = str(error)
    assert read == ["good.zarr"]
    assert list(told) == ["bad.zarr"]
    assert reason in told["bad.zarr"]


def test_a_file_with_the_suffix_is_no_image(tmp_path):
    (tmp_path / "a.zarr").write_text("text")
    assert "OME-Zarr images are folders" in refusal(Images(tmp_path))


def test_bare_arrays(tmp_path):
    flat, deep = noise(8, 9), noise(3, 8, 9)
    write_array(tmp_path / "flat.zarr", "0.4", flat)
    write_array(tmp_path / "named.zarr", "0.5", deep, dimension_names=("z", "y", "x"))
    write_array(tmp_path / "deep.zarr", "0.4", deep)
    images = Images(tmp_path)
    assert names(images) == ["deep.zarr", "flat.zarr", *(f"named.zarr[z={z}]" for z in range(3))]
    np.testing.assert_array_equal(loaded(Images(tmp_path / "flat.zarr"))["flat.zarr"].data, flat)
    reason = refusal(Images(tmp_path / "deep.zarr"))
    assert "a Zarr array without OME metadata does not say what its dimensions are" in reason
    assert len(loaded(Images(tmp_path / "deep.zarr", axes="zyx"))) == 3


def test_a_folder_of_pictures_may_be_named_after_a_plate(tmp_path):
    plate(tmp_path / "images" / "p.zarr", "0.4", wells=("B/03",))
    for field in "01":
        place = tmp_path / "masks" / "p.zarr" / "B" / "03" / f"{field}_labels.tif"
        place.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(place, np.full((8, 8), int(field) + 1, np.uint16))
    images = Images(tmp_path / "images", truth=tmp_path / "masks")
    assert [ref.load().truth[0, 0] for ref in images] == [1, 2]


def test_an_empty_folder_still_holds_no_image(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToRank, match=r"looked for \.png .*\.zarr"):
        find(tmp_path, "image", NothingToRank)


def test_links_in_circles_end(tmp_path):
    write_group(tmp_path / "a.zarr", "0.4", {})
    (tmp_path / "a.zarr" / "again.zarr").symlink_to(tmp_path / "a.zarr")
    assert ngff.images_in(tmp_path / "a.zarr") == [str(tmp_path / "a.zarr")]


def test_without_zarr_the_way_out_is_told_and_others_are_read(tmp_path, monkeypatch):
    write_image(tmp_path / "a.zarr", "0.5", noise(8, 9), "yx")
    tifffile.imwrite(tmp_path / "b.tif", noise(8, 9))
    monkeypatch.setitem(sys.modules, "zarr", None)
    images = Images(tmp_path)
    assert names(images) == ["b.tif"]
    ((name, reason),) = images.skipped
    assert name == "a.zarr"
    assert 'pip install "onnx-cte[zarr]"' in reason


def test_zarr_is_imported_when_a_folder_is_opened_not_before():
    code = "import sys, onnx_cte.images; print('zarr' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
