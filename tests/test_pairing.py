"""Labels by tables and rules, and what is said of the pairs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from onnx_cte.errors import LabelsError, NothingToRank
from onnx_cte.images import Images

VALUES = {"a": 1, "b": 2, "c": 3}
"""Of the label image that belongs to each image."""


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(600, dtype=np.uint8).reshape(20, 30)
    Picture.fromarray(pixels % 5 if value is None else np.full_like(pixels, value)).save(path)


@pytest.fixture
def plate(tmp_path):
    for name in VALUES:
        save(tmp_path / "images" / f"{name}.png", None)
    return tmp_path


def label_values(images):
    return {ref.group: int(ref.load().truth[0, 0]) for ref in images}


def labels_line(images):
    return images.understood[-1]


@pytest.mark.parametrize("ending", ["", "_mask", "-labels", ".seg", "_cp_masks", "-GT"])
def test_labels_in_another_order_belong_by_name(plate, ending):
    # Written so that neither sorting nor the order of creation agrees with that of the images.
    for name in ("c", "a", "b"):
        save(plate / "labels" / f"{name}{ending}.png", VALUES[name])
    images = Images(sorted((plate / "images").iterdir(), reverse=True), plate / "labels")
    assert label_values(images) == {f"{name}.png": value for name, value in VALUES.items()}


def test_images_with_an_ending_of_their_own(tmp_path):
    for name, value in VALUES.items():
        save(tmp_path / "all" / f"{name}_img.png", None)
        save(tmp_path / "all" / f"{name}-label.png", value)
    images = Images(f"{tmp_path}/all/*_img.png", f"{tmp_path}/all/*-label.png")
    assert label_values(images) == {f"{name}_img.png": v for name, v in VALUES.items()}


def test_an_ending_that_two_images_share_decides_nothing(tmp_path):
    for name in ("a_img", "a_raw"):
        save(tmp_path / "images" / f"{name}.png", None)
    save(tmp_path / "labels" / "a_mask.png", 1)
    with pytest.raises(LabelsError, match="belongs to an image"):
        Images(tmp_path / "images", tmp_path / "labels")


@pytest.mark.parametrize("form", ["name", "stem", "path", "absolute", "semicolon", "tsv", "excel"])
def test_a_table_says_which_label_belongs_to_which_image(plate, form):
    for name, place in {"a": "one", "b": "two", "c": "three"}.items():
        save(plate / "truth" / f"{place}.png", VALUES[name])
    keys = {
        "stem": "{}",
        "path": "../images/{}.png",
        "absolute": f"{plate}/images/{{}}.png",
    }
    by = {"semicolon": ";", "excel": ";", "tsv": "\t"}.get(form, ",")
    pairs = [("c", "three"), ("a", "one"), ("b", "two")]
    rows = [["label", "who", "Image"]]
    rows += [[f"{label}.png", "me", keys.get(form, "{}.png").format(n)] for n, label in pairs]
    text = "\n".join(by.join(row) for row in rows) + "\n\n"
    table = plate / "truth" / ("pairs.tsv" if form == "tsv" else "pairs.csv")
    table.write_text(text, encoding="utf-8-sig" if form == "excel" else "utf-8")
    images = Images(plate / "images", table)
    assert label_values(images) == {f"{name}.png": value for name, value in VALUES.items()}
    assert labels_line(images) == (
        "labels: 3 of 3 images have one (a.png: one.png, b.png: two.png, ...)"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "pairs.csv: the table is empty; expected a first row that names the columns image"),
        ("a.png,one.png\n", "names the columns image and label; found 'a.png,one.png'"),
        (
            "image,label\na.png\n",
            "line 2: expected an image and its label image, found 'a.png' and",
        ),
        ("image,label\na.png,two.png\n", "line 2: there is no label image '.*two.png'"),
        ("image,label\na,one.png\na.png,one.png\n", "line 3: image 'a.png' has a label image"),
        ("image,label\nx,one.png\n", "no row names an image that is there, such as 'a.png'"),
    ],
)
def test_a_table_that_is_none(plate, text, told):
    save(plate / "one.png", 1)
    (plate / "pairs.csv").write_text(text)
    with pytest.raises(LabelsError, match=told):
        Images(plate / "images", plate / "pairs.csv")


def test_a_table_that_is_no_text(plate):
    (plate / "pairs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        LabelsError, match=r"pairs\.csv: the table of labels cannot be read as text"
    ):
        Images(plate / "images", plate / "pairs.csv")


def test_labels_of_a_table_beside_the_images_are_no_images(plate):
    save(plate / "images" / "truth_of_a.png", 1)
    (plate / "images" / "pairs.csv").write_text("image,label\na.png,truth_of_a.png\n")
    images = Images(plate / "images", plate / "images" / "pairs.csv")
    assert [ref.name for ref in images] == ["a.png", "b.png", "c.png"]
    assert labels_line(images) == (
        "labels: 1 of 3 images have one (a.png: truth_of_a.png); 2 without one: b.png, c.png"
    )


def test_what_matched_and_what_did_not_is_said(plate):
    for name in ("a_mask", "c_mask", "c_label", "x", "y"):
        save(plate / "labels" / f"{name}.png", 1)
    images = Images(plate / "images", plate / "labels")
    assert labels_line(images) == (
        "labels: 1 of 3 images have one (a.png: a_mask.png); 1 without one: b.png; "
        "1 with several that fit, so that none is taken: c.png; "
        "2 label images of no image: x.png, y.png"
    )


# Text files of paths.


def test_a_text_file_names_files_folders_and_patterns(plate):
    save(plate / "more" / "d.png", None)
    save(plate / "more" / "deep" / "e.png", None)
    save(plate / "f1.png", None)
    lines = ["# chosen by eye", "", "images/b.png", " more ", "f*.png", f"{plate}/images/a.png"]
    (plate / "chosen.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    names = [ref.name for ref in Images(plate / "chosen.txt")]
    assert names == [
        "images/b.png",
        "more/d.png",
        "more/deep/e.png",
        "f1.png",
        "images/a.png",
    ]


def test_a_list_is_relative_to_its_own_folder(plate, monkeypatch):
    (plate / "images" / "some.txt").write_text("a.png\nb.png\n")
    monkeypatch.chdir(Path("/"))
    assert [ref.name for ref in Images(plate / "images" / "some.txt")] == ["a.png", "b.png"]


def test_lists_of_images_and_of_labels(plate):
    for name, value in VALUES.items():
        save(plate / "labels" / f"{name}_gt.png", value)
    (plate / "images.txt").write_text("images/c.png\nimages/a.png\n")
    (plate / "labels.txt").write_text("labels/a_gt.png\nlabels/c_gt.png\n")
    found = label_values(Images(plate / "images.txt", plate / "labels.txt"))
    assert found == {"c.png": 3, "a.png": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# nothing\n\n", "the list of images is empty; expected a path a line"),
        (
            "gone.png\n",
            "none of the 1 paths in this list is there, such as 'gone.png'; they are re",
        ),
        ("*.gif\n", "no image in '.*gif'"),
    ],
)
def test_a_list_of_nothing(tmp_path, text, told):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(NothingToRank, match=told):
        Images(tmp_path / "list.txt")


def test_a_path_in_a_list_that_is_not_there_is_a_skipped_image(plate):
    (plate / "list.txt").write_text("images/a.png\nimages/gone.png\n")
    images = Images(plate / "list.txt")
    assert [ref.name for ref in images] == ["a.png"]
    assert images.skipped == (("gone.png", "there is no such file"),)


def test_a_list_that_is_no_text(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NothingToRank, match="list of images cannot be read as text in UTF-8"):
        Images(tmp_path / "list.txt")
