"""What is said of files before anything runs: dimensions, who says so, channels, doubt."""

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

import onnx_cte as oc
from onnx_cte.errors import ImageError
from onnx_cte.images import Images


def save(path, *shape, **how):
    how = {"photometric": "minisblack", **how}
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, shape, np.uint8), **how)


def understood(folder, **options):
    return list(Images(folder, **options).understood)


OME = {"ome": True, "metadata": {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP"]}}}
CASES = [  # shape, how it is written, options, what is said
    ((20, 30), {}, {}, "by the metadata that tifffile wrote as 20 rows x 30 columns"),
    ((20, 30), {"metadata": None}, {}, "by its TIFF header alone as 20 rows x 30 columns"),
    (
        (20, 30, 3),
        {"photometric": "rgb", "metadata": None},
        {},
        "by its TIFF header alone as 20 rows x 30 columns x 3 colours",
    ),
    (
        (4, 2, 20, 30),
        {"imagej": True, "metadata": {"axes": "TCYX"}},
        {},
        "by its ImageJ metadata as 4 times x 2 channels x 20 rows x 30 columns; every time is a "
        "plane by itself",
    ),
    (
        (5, 2, 20, 30),
        OME,
        {},
        "by its OME metadata as 5 z x 2 channels x 20 rows x 30 columns; every z is a plane by "
        "itself; channels: 0 DAPI, 1 GFP",
    ),
    (
        (5, 2, 20, 30),
        OME,
        {"channel": "GFP"},
        "by its OME metadata as 5 z x 2 channels x 20 rows x 30 columns; every z is a plane by "
        "itself; channel 1 (GFP) is taken alone",
    ),
    (
        (5, 2, 20, 30),
        OME,
        {"volumes": True},
        "by its OME metadata as 5 z x 2 channels x 20 rows x 30 columns; channels: 0 DAPI, 1 GFP",
    ),
    (
        (3, 5, 20, 30),
        {"imagej": True, "metadata": {"axes": "TZYX"}},
        {"volumes": True},
        "by its ImageJ metadata as 3 times x 5 z x 20 rows x 30 columns; every time is a volume by "
        "itself",
    ),
    (
        (7, 20, 30),
        {"metadata": None},
        {},
        "by its TIFF header alone as 7 pages x 20 rows x 30 columns; every page is a plane by "
        "itself; nothing says what the pages are: if they are channels, state axes='cyx' "
        "(--axes cyx)",
    ),
    (
        (2, 20, 30),
        {"metadata": None},
        {"axes": "CYX"},
        "as you say (axes 'cyx') as 2 channels x 20 rows x 30 columns",
    ),
    (
        (2, 20, 30),
        {"metadata": None},
        {"axes": "cyx", "channel": 1},
        "as you say (axes 'cyx') as 2 channels x 20 rows x 30 columns; channel 1 is taken alone",
    ),
]


@pytest.mark.parametrize(("shape", "how", "options", "told"), CASES)
def test_what_is_said_of_a_file(tmp_path, shape, how, options, told):
    save(tmp_path / "a.tif", *shape, **how)
    assert understood(tmp_path, **options) == [f"images: a.tif, read {told}"]


def test_files_of_a_kind_share_a_line(tmp_path):
    for name, side in {"a": 30, "b": 30, "c": 40, "d": 50}.items():
        save(tmp_path / f"{name}.tif", 20, side, metadata=None)
    Picture.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / "e.png")
    assert understood(tmp_path) == [
        "images: 4 files such as a.tif, read by its TIFF header alone as 20 rows x 30 columns "
        "(and 2 other sizes)",
        "images: e.png, read by its PNG header as 20 rows x 20 columns",
    ]


def test_arrays_are_told_too():
    images = Images.from_arrays([np.eye(20), np.ones((9, 8))], names=["a", "b"])
    assert images.understood == (
        "images: 2 files such as a, read as you say (axes 'yx') as 20 rows x 20 columns "
        "(and 1 other size)",
    )


# Doubt.


@pytest.mark.parametrize("how", [{"metadata": None}, {}, {"metadata": None, "compression": "zlib"}])
@pytest.mark.parametrize("pages", [2, 3, 4])
def test_a_few_pages_of_unknown_meaning_may_be_channels(tmp_path, how, pages):
    save(tmp_path / "a.tif", pages, 20, 30, **how)
    images = Images(tmp_path)
    (ref,) = images
    told = (
        rf"nothing says whether its {pages} pages are channels, depth or time; state what its "
        r"dimensions are, as in axes='cyx' \(--axes cyx\)"
    )
    with pytest.raises(ImageError, match=told):
        ref.load()
    (line,) = images.understood
    assert line.startswith("images: a.tif cannot be used: the stored array has shape")
    (ref,) = Images(tmp_path, axes="cyx")
    assert ref.load().data.shape == (pages, 20, 30)
    assert len(Images(tmp_path, axes="zyx")) == pages


def test_labels_have_no_channels_that_could_be_meant(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    save(tmp_path / "images" / "a.tif", 3, 20, 30, metadata={"axes": "ZYX"})
    labels = np.repeat(np.arange(1, 4, dtype=np.uint8), 600).reshape(3, 20, 30)
    tifffile.imwrite(tmp_path / "labels" / "a.tif", labels, metadata=None, photometric="minisblack")
    refs = list(Images(tmp_path / "images", tmp_path / "labels"))
    assert [int(ref.load().truth[0, 0]) for ref in refs] == [1, 2, 3]


# Channels by name.


def test_a_channel_by_its_name_is_that_by_its_place(tmp_path):
    save(tmp_path / "a.ome.tif", 5, 2, 20, 30, **OME)
    stored = tifffile.imread(tmp_path / "a.ome.tif")
    for channel in (1, "GFP"):
        refs = list(Images(tmp_path, channel=channel))
        assert np.array_equal(refs[3].load().data, stored[3, 1])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (OME, r"no channel RFP: the image has 2 channels \(0 to 1\), named DAPI, GFP$"),
        (
            {"ome": True, "metadata": {"axes": "ZCYX"}},
            r"no channel RFP: the image has 2 channels \(0 to 1\), without names$",
        ),
    ],
)
def test_a_channel_that_is_not_there(tmp_path, how, told):
    save(tmp_path / "a.ome.tif", 5, 2, 20, 30, **how)
    with pytest.raises(ImageError, match=told):
        next(iter(Images(tmp_path, channel="RFP"))).load()


def test_a_channel_that_stated_axes_do_not_have(tmp_path):
    save(tmp_path / "a.ome.tif", 2, 20, 30, ome=True, metadata=OME["metadata"] | {"axes": "CYX"})
    told = (
        r"no channel GFP: the image has one channel \(0\) as its axes are stated, while its file "
    )
    with pytest.raises(ImageError, match=f"{told}names DAPI, GFP$"):
        next(iter(Images(tmp_path, axes="zyx", channel="GFP"))).load()


def test_names_of_channels_are_of_their_own_series(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for names in (["DAPI", "GFP"], ["GFP", "Cy5"]):
            pixels = np.random.default_rng(0).integers(0, 255, (2, 20, 30), np.uint8)
            file.write(pixels, metadata={"axes": "CYX", "Channel": {"Name": names}})
    refs = list(Images(tmp_path, channel="GFP"))
    stored = [tifffile.imread(tmp_path / "a.ome.tif", series=i) for i in (0, 1)]
    assert np.array_equal(refs[0].load().data, stored[0][1])
    assert np.array_equal(refs[1].load().data, stored[1][0])


@pytest.mark.parametrize(
    ("how", "options", "colours"),
    [
        ({"photometric": "rgb", "planarconfig": "separate"}, {}, True),
        ({"photometric": "rgb", "planarconfig": "separate"}, {"axes": "cyx"}, True),
        ({"imagej": True, "metadata": {"axes": "CYX"}}, {}, False),
        ({"ome": True, "metadata": {"axes": "CYX"}}, {}, False),
        ({"ome": True, "metadata": {"axes": "CYX"}}, {"axes": "cyx"}, False),
        ({"metadata": None}, {"axes": "cyx"}, False),
        ({"ome": True, "metadata": {"axes": "CYX"}}, {"channel": 1}, True),
    ],
)
def test_three_channels_are_colours_only_where_the_file_says_so(tmp_path, how, options, colours):
    save(tmp_path / "a.tif", 3, 20, 30, **how)
    image = next(iter(Images(tmp_path, **options))).load()
    assert image.colours is colours
    seen = oc.BlackBox("half", predict=lambda tensor: tensor / 255, normalize="none")
    ranking = oc.rank([seen], Images(tmp_path, **options), oc.Confidence()) if colours else None
    if ranking is None:
        told = "the image has 3 channels, the network takes 1; choose one with --channel"
        with pytest.raises(oc.NothingToRank, match=told):
            oc.rank([seen], Images(tmp_path, **options), oc.Confidence())
    else:
        assert ranking[0].images == 1


def test_names_that_two_channels_share_are_no_names(tmp_path):
    how = {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": ["A", "A"]}}}
    save(tmp_path / "a.ome.tif", 2, 20, 30, **how)
    (line,) = understood(tmp_path)
    assert line.endswith("2 channels x 20 rows x 30 columns")


def test_a_ranking_keeps_what_was_understood():
    images = Images.from_arrays(np.random.default_rng(0).random((2, 30, 40)))
    model = oc.BlackBox("half", predict=lambda tensor: tensor * 0.5, normalize="none")
    ranking = oc.rank([model], images, oc.Confidence())
    assert ranking.provenance["understood"] == list(images.understood)
