"""Which label image belongs to which image: by a table, or by name."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onnx_cte.errors import LabelsError
from onnx_cte.images.files import Source, find, lines_of
from onnx_cte.images.labels import SUFFIXES, pair
from onnx_cte.images.loading import Truth

TABLES = {".csv": (",", ";"), ".tsv": ("\t",)}
"""Suffixes of tables, and what may part their columns; editors of some countries write ";"."""
COLUMNS = ("image", "label")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Pairing:
    """Label images by image.

    Attributes
    ----------
    images : mapping of str to Path
        By name: those that are no label images themselves.
    truth : Truth
        By the name of an image: name and path of each label image that fits.
    unused : tuple of str
        Names of label images that belong to no image.
    """

    images: Mapping[str, Path]
    truth: Truth
    unused: tuple[str, ...]

    def __str__(self) -> str:
        fitting = {name: found for name, found in self.truth.items() if len(found) == 1}
        # Names as the folders have them say by which rule; one of each rule is enough.
        shown = [f"{name}: {found[0][0]}" for name, found in fitting.items()]
        text = f"labels: {len(fitting)} of {_count(len(self.truth), 'image')} have one"
        text += f" ({some(shown, 2)})" if shown else ""
        without = [name for name, found in self.truth.items() if not found]
        several = [name for name, found in self.truth.items() if len(found) > 1]
        for names, what in (
            (without, "without one"),
            (several, "with several that fit, so that none is taken"),
        ):
            text += f"; {len(names)} {what}: {some(names)}" if names else ""
        if self.unused:
            text += f"; {_count(len(self.unused), 'label image')} of no image: {some(self.unused)}"
        return text


def pair_labels(images: Mapping[str, Path], truth: Source, source: str) -> Pairing:
    """Find each image's label images.

    Parameters
    ----------
    images : mapping of str to Path
        By name.
    truth : str, path, or list of those
        A table (``.csv``, ``.tsv``), or what `find` takes.
    source : str
        Where the images are, for errors.

    Returns
    -------
    Pairing

    Raises
    ------
    LabelsError
        If there are no labels, if none belongs to any image, if images and labels are the same
        files, or if a table is none.
    """
    if isinstance(truth, str | os.PathLike):
        if Path(truth).suffix.lower() in TABLES:
            return _by_table(images, Path(truth))
        said: object = os.fspath(truth)
    else:
        said = [os.fspath(place) for place in truth]
    found = find(truth, "label image", LabelsError)
    if found.missing:
        raise LabelsError(f"label image '{found.missing[0][0]}': {found.missing[0][1]}")
    labels = {os.path.abspath(path) for path in found.files.values()}
    left = {n: p for n, p in images.items() if os.path.abspath(p) not in labels}
    if not left:
        raise LabelsError(
            f"images and labels are the same files in {said!r}; "
            "give a glob that matches only the labels, such as 'folder/*_mask.tif'"
        )
    pairs = pair(left, found.files)
    if not any(pairs.values()):
        raise LabelsError(
            f"no label image in {said!r} ({some(list(found.files))}) belongs to an image "
            f"in {source} ({some(list(left))}); they pair by the same path but for the "
            f"suffix, or {', '.join(SUFFIXES)} added to the label's (or with - for _), or as a "
            f"table says: a .csv file with the columns {' and '.join(COLUMNS)}"
        )
    taken = {label for labels in pairs.values() for label in labels}
    return Pairing(
        left,
        {n: tuple((label, found.files[label]) for label in p) for n, p in pairs.items()},
        tuple(name for name in found.files if name not in taken),
    )


def _by_table(images: Mapping[str, Path], table: Path) -> Pairing:
    """Pairs as a table names them; paths in it are relative to its folder."""
    places: dict[str, str] = {}
    for there, path in images.items():
        for key in (there, str(PurePosixPath(there).with_suffix("")), os.path.abspath(path)):
            places.setdefault(key, there)
    truth: dict[str, tuple[tuple[str, Path], ...]] = dict.fromkeys(images, ())
    unused = []
    for number, image, label in _rows(table):
        path = table.parent / label
        if not path.exists():
            raise LabelsError(f"{table}, line {number}: there is no label image '{path}'")
        written = (image, PurePosixPath(image).as_posix(), os.path.abspath(table.parent / image))
        name = next((places[key] for key in written if key in places), "")
        if not name:
            unused.append(label)
        elif truth[name]:
            raise LabelsError(
                f"{table}, line {number}: image '{image}' has a label image already, "
                f"'{truth[name][0][0]}'; expected one row an image"
            )
        else:
            truth[name] = ((label, path),)
    if not any(truth.values()):
        raise LabelsError(
            f"{table}: no row names an image that is there, such as '{next(iter(images))}'; "
            "expected names of images as the ranking has them, or paths relative to the table's "
            "folder"
        )
    labels = {os.path.abspath(path) for found in truth.values() for _, path in found}
    left = {n: p for n, p in images.items() if truth[n] or os.path.abspath(p) not in labels}
    return Pairing(left, {name: truth[name] for name in left}, tuple(unused))


def _rows(table: Path) -> Iterable[tuple[int, str, str]]:
    """Line number, image and label of each row of a table."""
    expected = f"expected a first row that names the columns {' and '.join(COLUMNS)}"
    lines = lines_of(table, "table of labels", LabelsError)
    for separator in TABLES[table.suffix.lower()]:
        rows = list(csv.reader(lines, delimiter=separator))
        header = [cell.strip().lower() for cell in rows[0]] if rows else []
        if set(COLUMNS) <= set(header):
            break
    else:
        raise LabelsError(
            f"{table}: {expected}; found {lines[0].strip()!r}"
            if lines
            else f"{table}: the table is empty; {expected}"
        )
    at = [header.index(column) for column in COLUMNS]
    for number, row in enumerate(rows[1:], start=2):
        image, label = (row[place].strip() if place < len(row) else "" for place in at)
        if not any(cell.strip() for cell in row):
            continue
        if not (image and label):
            raise LabelsError(
                f"{table}, line {number}: expected an image and its label image, found '{image}' "
                f"and '{label}'; leave out the rows of images without labels"
            )
        yield number, image, label


def some(names: Sequence[str], shown: int = _SHOWN) -> str:
    """The first of some names, for a text."""
    return ", ".join([*names[:shown], *(["..."] if len(names) > shown else [])])


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
