"""CZI, ND2 and LIF: what was written is what is read, and what cannot be read is told."""

import importlib
import sys

import numpy as np
import PIL.Image
import pytest
import tifffile
from makers_files import czi_of, name_scenes, write_czi, write_lif, write_nd2
from ngff_files import write_image

from onnx_cte.errors import ImageError
from onnx_cte.images import Images, czi, windows

ROWS, COLUMNS = 20, 30


def noise(*shape, dtype=np.uint16, high=60_000, seed=0):
    return np.random.default_rng(seed).integers(1, high, shape).astype(dtype)


def loaded(images):
    return {image.name: image for image in (ref.load() for ref in images)}


@pytest.mark.formats
class TestCZI:
    def test_channels_depth_and_time(self, tmp_path):
        array = noise(2, 3, 2, ROWS, COLUMNS)  # t z c y x
        czi_of(tmp_path / "a.czi", array, "tzcyx", channel_names={0: "DAPI", 1: "GFP"})
        images = Images(tmp_path)
        found = loaded(images)
        assert list(found)[:2] == ["a.czi[t=0,z=0]", "a.czi[t=0,z=1]"]
        for (t, z), image in zip(np.ndindex(2, 3), found.values(), strict=True):
            assert image.axes == "cyx"
            np.testing.assert_array_equal(image.data, array[t, z])
        (line,) = images.understood
        assert "by its CZI metadata as 2 times x 2 channels x 3 z x 20 rows x 30 columns" in line
        assert "channels: 0 DAPI, 1 GFP" in line
        volume = list(Images(tmp_path, volumes=True, channel="GFP"))[1].load()
        np.testing.assert_array_equal(volume.data, array[1, :, 1])

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_grey(self, tmp_path, dtype):
        plane = noise(ROWS, COLUMNS, dtype=dtype, high=250)
        czi_of(tmp_path / "a.czi", plane, "yx")
        image = loaded(Images(tmp_path))["a.czi"]
        assert (image.axes, image.data.dtype) == ("yx", dtype)
        np.testing.assert_array_equal(image.data, plane)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_colours_are_red_green_blue(self, tmp_path, dtype):
        plane = noise(ROWS, COLUMNS, 3, dtype=dtype, high=250)
        write_czi(tmp_path / "a.czi", [(plane, {"Z": z}, (0, 0), 0) for z in range(2)])
        found = loaded(Images(tmp_path))
        assert list(found) == ["a.czi[z=0]", "a.czi[z=1]"]
        for image in found.values():
            np.testing.assert_array_equal(image.data, plane.transpose(2, 0, 1))

    def test_tiles_are_put_where_they_belong(self, tmp_path):
        plane = noise(2, ROWS, COLUMNS)
        tiles = [
            (plane[c, y : y + 10, x : x + 15], {"C": c}, (x - 7, y + 100), 0)
            for c in range(2)
            for y in (0, 10)
            for x in (0, 15)
        ]
        write_czi(tmp_path / "whole.czi", tiles)
        write_czi(tmp_path / "gap.czi", tiles[:3] + tiles[4:])
        found = loaded(Images(tmp_path))
        np.testing.assert_array_equal(found["whole.czi"].data, plane)
        plane[0, 10:, 15:] = 0
        np.testing.assert_array_equal(found["gap.czi"].data, plane)

    @pytest.mark.parametrize("named", [False, True])
    @pytest.mark.parametrize("second", [(ROWS, COLUMNS), (30, 40), (10, 12)])
    def test_scenes_are_series_whatever_their_sizes(self, tmp_path, second, named):
        scenes = [noise(ROWS, COLUMNS), noise(*second, seed=1)]
        tiles = [(scene, {}, (100 * n, 7 * n), n) for n, scene in enumerate(scenes)]
        write_czi(tmp_path / "a.czi", tiles)
        if named:
            name_scenes(tmp_path / "a.czi", ["left", "right"])
        found = loaded(Images(tmp_path))
        assert list(found) == ["a.czi[series=0]", "a.czi[series=1]"]
        for image, scene in zip(found.values(), scenes, strict=True):
            np.testing.assert_array_equal(image.data, scene)

    def test_a_plane_needs_its_own_tiles_alone(self, tmp_path, monkeypatch):
        from pylibCZIrw.czi import CziReader

        array = noise(3, ROWS, COLUMNS)
        czi_of(tmp_path / "a.czi", array, "zyx")
        read = []
        original = CziReader.read

        def spied(self, roi=None, plane=None, **how):
            read.append((tuple(roi), plane["Z"]))
            return original(self, roi=roi, plane=plane, **how)

        monkeypatch.setattr(CziReader, "read", spied)
        np.testing.assert_array_equal(list(Images(tmp_path))[2].load().data, array[2])
        assert read == [((0, 0, COLUMNS, ROWS), 2)]

    def test_windows_of_a_large_plane(self, tmp_path, monkeypatch):
        for name, value in {"LARGE": 64 * 64, "WINDOW": 32, "CONTEXT": 4, "REST": 8}.items():
            monkeypatch.setattr(windows, name, value)
        monkeypatch.setattr(windows, "THIN", 16 * 16)
        monkeypatch.setattr("onnx_cte.images.czi.PIECE", 24)
        plane = noise(96, 100)
        czi_of(tmp_path / "a.czi", plane, "yx")
        tifffile.imwrite(tmp_path / "a.tif", plane)
        ours, theirs = (loaded(Images(tmp_path / f"a.{suffix}")) for suffix in ("czi", "tif"))
        assert len(ours) == 9
        for one, other in zip(ours.values(), theirs.values(), strict=True):
            np.testing.assert_array_equal(one.data, other.data)
            np.testing.assert_array_equal(one.whole, other.whole)

    def test_grey_beside_colour_is_refused(self, tmp_path):
        tiles = [(noise(9, 9, dtype=np.uint8, high=99), {"C": 0}, (0, 0), 0)]
        tiles += [(noise(9, 9, 3, dtype=np.uint8, high=99), {"C": 1}, (0, 0), 0)]
        write_czi(tmp_path / "a.czi", tiles)
        ((_, reason),) = Images(tmp_path).skipped
        assert "its pixels are Bgr24, Gray8; expected one of" in reason
        assert "export it as OME-TIFF" in reason

    def test_a_header_that_promises_more_than_fits_is_told(self, tmp_path):
        box = {"T": (0, 2**31), "C": (0, 1), "Z": (0, 1), "X": (0, 50), "Y": (-5, 35)}
        said = f"promises {2**31} planes of 40 x 50 pixels, but the file has 20000 bytes"
        with pytest.raises(ImageError, match=said):
            czi._check_size(box, 20_000)
        with pytest.raises(ImageError, match="header is broken"):
            czi._check_size({**box, "T": (0, 1), "X": (0, 2**30)}, 20_000)
        czi._check_size({**box, "T": (0, 900), "X": (0, 2**20), "Y": (0, 2**10)}, 20_000)

    def test_labels_and_fingerprint(self, tmp_path):
        labels = noise(3, ROWS, COLUMNS, high=9)
        czi_of(tmp_path / "a.czi", noise(3, ROWS, COLUMNS), "zyx")
        tifffile.imwrite(
            tmp_path / "a_mask.tif", labels, metadata={"axes": "ZYX"}, photometric="minisblack"
        )
        images = Images(tmp_path / "a.czi", truth=tmp_path / "a_mask.tif")
        before = [ref.load() for ref in images]
        for z, image in enumerate(before):
            np.testing.assert_array_equal(image.truth, labels[z])
        assert len({image.fingerprint for image in before}) == 3
        czi_of(tmp_path / "a.czi", noise(3, ROWS, COLUMNS, seed=5), "zyx")
        assert next(iter(images)).load().fingerprint != before[0].fingerprint


@pytest.mark.formats
class TestLIF:
    def test_series_channels_and_depth(self, tmp_path):
        array = noise(3, 2, ROWS, COLUMNS)  # z c y x
        other = noise(ROWS, COLUMNS, dtype=np.uint8, high=200)
        write_lif(tmp_path / "a.lif", {"one": (array, "zcyx"), "two": (other, "yx")})
        found = loaded(Images(tmp_path))
        assert list(found) == [*(f"a.lif[series=0,z={z}]" for z in range(3)), "a.lif[series=1]"]
        for z in range(3):
            np.testing.assert_array_equal(found[f"a.lif[series=0,z={z}]"].data, array[z])
        np.testing.assert_array_equal(found["a.lif[series=1]"].data, other)
        assert found["a.lif[series=1]"].data.dtype == np.uint8

    def test_tiles_are_walked(self, tmp_path):
        array = noise(3, ROWS, COLUMNS)
        write_lif(tmp_path / "a.lif", {"one": (array, "myx")})
        images = Images(tmp_path)
        assert [ref.name for ref in images] == [f"a.lif[m={m}]" for m in range(3)]
        for m, ref in enumerate(images):
            np.testing.assert_array_equal(ref.load().data, array[m])
        assert "as 3 tiles x 20 rows x 30 columns; every tile is a plane" in images.understood[0]

    def test_planes_are_read_one_by_one(self, tmp_path, monkeypatch):
        import bioio_lif

        array = noise(4, ROWS, COLUMNS)
        write_lif(tmp_path / "a.lif", {"one": (array, "zyx")})
        ref = list(Images(tmp_path))[2]
        read = []
        original = bioio_lif.Reader._get_image_data

        def spied(**how):
            read.append(dict(zip(how["retrieve_dims"], how["retrieve_indices"], strict=True))["Z"])
            return original(**how)

        monkeypatch.setattr(bioio_lif.Reader, "_get_image_data", staticmethod(spied))
        np.testing.assert_array_equal(ref.load().data, array[2])
        assert read == [2]


@pytest.mark.formats
class TestND2:
    def test_positions_are_series(self, tmp_path):
        array = noise(2, 3, 2, 2, ROWS, COLUMNS)  # p t z c y x
        write_nd2(tmp_path / "a.nd2", array, "ptz", ("DAPI", "GFP"))
        images = Images(tmp_path)
        found = loaded(images)
        assert len(found) == 2 * 3 * 2
        for (p, t, z), (name, image) in zip(np.ndindex(2, 3, 2), found.items(), strict=True):
            assert name == f"a.nd2[series={p},t={t},z={z}]"
            np.testing.assert_array_equal(image.data, array[p, t, z])
        assert "channels: 0 DAPI, 1 GFP" in images.understood[0]

    def test_one_plane(self, tmp_path):
        array = noise(1, ROWS, COLUMNS)
        write_nd2(tmp_path / "a.nd2", array, "", ("DAPI",))
        image = loaded(Images(tmp_path))["a.nd2"]
        assert image.axes == "yx"
        np.testing.assert_array_equal(image.data, array[0])

    def test_frames_are_read_one_by_one(self, tmp_path, monkeypatch):
        import nd2

        array = noise(4, 1, ROWS, COLUMNS)
        write_nd2(tmp_path / "a.nd2", array, "z", ("DAPI",))
        ref = list(Images(tmp_path))[2]
        read = []
        original = nd2.ND2File.read_frame

        def spied(self, frame_index):
            read.append(int(frame_index))
            return original(self, frame_index)

        monkeypatch.setattr(nd2.ND2File, "read_frame", spied)
        np.testing.assert_array_equal(ref.load().data, array[2, 0])
        assert set(read) == {2}


def every_format(folder, array):
    """The same z-stack in every format that holds one."""
    tifffile.imwrite(folder / "a.ome.tif", array, metadata={"axes": "ZYX"}, ome=True)
    write_image(folder / "b.zarr", "0.4", array, "zyx", (1, 8, 16))
    write_image(folder / "c.zarr", "0.5", array, "zyx", (2, 16, 8))
    czi_of(folder / "d.czi", array, "zyx")
    write_lif(folder / "e.lif", {"only": (array, "zyx")})
    write_nd2(folder / "f.nd2", array[:, None], "z", ("only",))


@pytest.mark.formats
@pytest.mark.parametrize("seed", range(5))
def test_every_format_gives_the_same(tmp_path, seed):
    sizes = np.random.default_rng(seed)
    array = noise(*sizes.integers((2, 5, 5), (5, 40, 40)), seed=seed)
    every_format(tmp_path, array)
    found = loaded(Images(tmp_path))
    groups = list(dict.fromkeys(image.group for image in found.values()))
    assert groups == ["a.ome.tif", "b.zarr", "c.zarr", "d.czi", "e.lif", "f.nd2"]
    for group in groups:
        for z in range(len(array)):
            image = found[f"{group}[z={z}]"]
            assert (image.axes, image.data.dtype) == ("yx", np.uint16)
            np.testing.assert_array_equal(image.data, array[z])
    volumes = loaded(Images(tmp_path, volumes=True))
    for group in groups:
        np.testing.assert_array_equal(volumes[group].data, array)


@pytest.mark.formats
@pytest.mark.parametrize("samples", [1, 3])
def test_every_format_of_a_plane_gives_the_same(tmp_path, samples):
    plane = noise(ROWS, COLUMNS, samples, dtype=np.uint8, high=250)
    channels = plane.transpose(2, 0, 1)
    PIL.Image.fromarray(plane.squeeze()).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", plane.squeeze())
    write_image(tmp_path / "c.zarr", "0.5", channels, "cyx")
    write_czi(tmp_path / "d.czi", [(plane.squeeze(), {}, (0, 0), 0)])
    expected = channels[0] if samples == 1 else channels
    for image in loaded(Images(tmp_path)).values():
        assert image.axes == ("yx" if samples == 1 else "cyx")
        np.testing.assert_array_equal(image.data, expected)


@pytest.mark.formats
@pytest.mark.parametrize("left", [0.0, 0.3, 0.9, 0.999])
def test_files_that_are_cut_off_are_skipped_and_the_others_are_read(tmp_path, left):
    array = noise(3, ROWS, COLUMNS)
    every_format(tmp_path, array)
    for name in ("d.czi", "e.lif", "f.nd2"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(left * len(data))])
    images = Images(tmp_path)
    told, read = dict(images.skipped), {}
    for ref in images:
        try:
            read[ref.name] = ref.load()
        except ImageError as error:
            told[ref.name] = str(error)
    # Planes before the end of the file may be read, if they are those that were written.
    for image in read.values():
        np.testing.assert_array_equal(image.data, array[int(image.name[-2])])
    assert {"a.ome.tif", "b.zarr", "c.zarr"} <= {image.group for image in read.values()}
    assert "f.nd2" in told
    assert {"e.lif", "e.lif[z=2]"} & set(told)
    assert left > 0.9 or "d.czi" in told
    assert all(reason and "\n" not in reason for reason in told.values())


@pytest.mark.formats
def test_files_of_another_kind_are_skipped(tmp_path):
    for suffix in ("czi", "lif", "nd2"):
        (tmp_path / f"a.{suffix}").write_bytes(b"this is no image, whatever its name says" * 50)
    assert [name for name, _ in Images(tmp_path).skipped] == ["a.czi", "a.lif", "a.nd2"]


PACKAGES = {".czi": ("pylibCZIrw", "pylibCZIrw"), ".nd2": ("bioio_nd2", "bioio-nd2")}
PACKAGES |= {".lif": ("bioio_lif", "bioio-lif")}


@pytest.mark.parametrize("suffix", list(PACKAGES))
def test_without_the_package_the_way_out_is_told_and_others_are_read(tmp_path, monkeypatch, suffix):
    module, package = PACKAGES[suffix]
    (tmp_path / f"a{suffix}").write_bytes(b"pixels")
    tifffile.imwrite(tmp_path / "b.tif", noise(8, 9))
    monkeypatch.setitem(sys.modules, module, None)
    images = Images(tmp_path)
    assert [ref.name for ref in images] == ["b.tif"]
    ((name, reason),) = images.skipped
    assert name == f"a{suffix}"
    assert f"needs the package {package}" in reason
    assert 'pip install "onnx-cte[bioio]"' in reason


class FakeReader:
    """What a plug-in of bioio says of a file with an axis that nobody knows."""

    scenes = ("one",)

    def __init__(self, path):
        pass

    def set_scene(self, scene):
        assert scene == 0

    @property
    def xarray_dask_data(self):
        class Labelled:
            class data:
                shape, chunks, dtype = (2, 8, 9), ((1, 1), (8,), (9,)), np.uint8

            dims, coords = ("Unknown1", "Y", "X"), {}

        return Labelled


def test_an_axis_that_is_not_known_is_told(tmp_path, monkeypatch):
    (tmp_path / "a.nd2").write_bytes(b"pixels")
    module = type(sys)("bioio_nd2")
    module.Reader = FakeReader
    monkeypatch.setitem(sys.modules, "bioio_nd2", module)
    (ref,) = Images(tmp_path)
    with pytest.raises(ImageError, match="the axis 'Unknown1' in its metadata is not known; state"):
        ref.load()
    assert importlib.import_module("bioio_nd2") is module


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ("", ()),
        ("<ImageDocument/>", ()),
        (
            "<I><Metadata><Information><Image><Dimensions><Channels><Channel Name='a'/>"
            "<Channel Name='b'/></Channels></Dimensions></Image></Information></Metadata></I>",
            ("a", "b"),
        ),
        (
            "<I><Metadata><Information><Image><Dimensions><Channels><Channel Id='0'/>"
            "</Channels></Dimensions></Image></Information><DisplaySetting><Channels>"
            "<Channel Name='c'/></Channels></DisplaySetting></Metadata></I>",
            ("c",),
        ),
    ],
)
def test_names_of_channels_in_the_metadata_of_a_czi(metadata, names):
    assert czi._channel_names(metadata) == names
