"""A folder of images and labels to train on: its split, its images, and its targets."""

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from skimage import io
from targets import object_targets

Boundary = Literal["none", "outline", "labels"]


def read_split(domain: Path) -> list[dict[str, str]]:
    """Rows of a domain's ``split.csv``, in the order of the file.

    Raises
    ------
    SystemExit
        If the table is missing, lacks a column, or has no row of train or of test.
    """
    path = domain / "split.csv"
    if not path.is_file():
        raise SystemExit(f"{domain}: no split.csv; a domain folder has images/, labels/, split.csv")
    with path.open(newline="") as table:
        rows = list(csv.DictReader(table))
    needed = {"stem", "group", "split"}
    if not rows or not needed <= set(rows[0]):
        found = sorted(rows[0]) if rows else "no rows"
        raise SystemExit(f"{path}: found {found}, expected rows with columns {sorted(needed)}")
    if missing := {"train", "test"} - {row["split"] for row in rows}:
        raise SystemExit(f"{path}: no row of split {' or '.join(sorted(missing))}")
    return rows


def hold_out(
    rows: list[dict[str, str]], share: float, seed: int
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Split rows in two by source image (`group`): the rest, and about `share` of the groups.

    At least one group falls on either side; which ones depends on `seed` alone.
    """
    groups = sorted({row["group"] for row in rows})
    if len(groups) < 2:
        raise SystemExit(f"--holdout: found {len(groups)} group, expected two or more")
    count = min(max(round(share * len(groups)), 1), len(groups) - 1)
    chosen = set(np.random.default_rng(seed).permutation(groups)[:count].tolist())
    kept = [row for row in rows if row["group"] not in chosen]
    return kept, [row for row in rows if row["group"] in chosen]


def take(rows: list[dict[str, str]], share: float, seed: int) -> list[dict[str, str]]:
    """Whole source images (`group`), drawn until they hold `share` of the rows, and two at least.

    Which ones depends on `seed` alone; the order of the rows stays.
    """
    wanted = max(2, round(share * len(rows)))
    chosen: set[str] = set()
    for group in np.random.default_rng(seed).permutation(sorted({r["group"] for r in rows})):
        if sum(row["group"] in chosen for row in rows) >= wanted:
            break
        chosen.add(str(group))
    return [row for row in rows if row["group"] in chosen]


def read_image(path: Path) -> NDArray[Any]:
    """A grey or colour image as (C, H, W), an alpha channel dropped."""
    image = io.imread(path)
    if image.ndim == 2:
        return image[None]
    if image.ndim == 3 and image.shape[-1] in (3, 4):
        return np.moveaxis(image[..., :3], -1, 0)
    raise SystemExit(f"{path}: shape {image.shape}, expected (H, W) or (H, W, 3 or 4)")


def read_targets(
    domain: Path, stem: str, boundary: Boundary = "none", outline: int = 2
) -> NDArray[np.bool_]:
    """What a network shall say of one image.

    Parameters
    ----------
    domain : Path
    stem : str
        Name of the image.
    boundary : {"none", "outline", "labels"}
        Which boundary is learned beside the foreground: none (then the foreground is what is not 0
        in ``labels/``), the outline of the instances, or what is 1 in ``labels/``.
    outline : int
        Width of the outline on either side, in pixels.

    Returns
    -------
    ndarray of bool, shape (1 or 2, H, W)
    """
    labels = domain / "labels" / f"{stem}.png"
    if boundary == "none":
        return io.imread(labels)[None] > 0
    instances = read_instances(domain, stem)
    if boundary == "labels":
        return object_targets(instances, io.imread(labels) == 1)
    return object_targets(instances, outline=outline)


def read_classes(domain: Path, stem: str, count: int) -> NDArray[np.bool_]:
    """Labels as `count` exclusive classes, (count, H, W): class i is where ``labels/`` holds i.

    Raises
    ------
    SystemExit
        If the labels hold another number.
    """
    labels = io.imread(domain / "labels" / f"{stem}.png")
    if labels.max() >= count:
        raise SystemExit(
            f"{domain / 'labels' / stem}.png: found class {labels.max()}, expected 0 to {count - 1}"
        )
    return labels[None] == np.arange(count)[:, None, None]


def read_instances(domain: Path, stem: str) -> NDArray[np.integer]:
    """Instances (H, W) of an image: of ``labels_instances/`` if there is one, else ``labels/``."""
    apart = domain / "labels_instances"
    return io.imread((apart if apart.is_dir() else domain / "labels") / f"{stem}.png")
