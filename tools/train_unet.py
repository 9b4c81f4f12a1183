"""Train a small U-Net for foreground on one domain, from the command line.

::

    python tools/train_unet.py DOMAIN_FOLDER OUT_FOLDER --steps 800 --seed 0

`DOMAIN_FOLDER` holds ``images/``, ``labels/`` (PNG of the same stem; foreground is what is not 0)
and ``split.csv`` (columns stem, group, split). Only rows of the split *train* are trained on; rows
of the split *test* are looked at once, when training is over. `--holdout` puts a share of the
training images aside, by group, and reports on them instead: for comparing recipes.

`OUT_FOLDER` receives ``checkpoint.pt`` and ``metrics.json``. The same command on the same machine
gives the same weights.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augmentation import Plane, draw_batch
from numpy.typing import NDArray
from skimage import io
from torch import Tensor, nn
from unet import UNet

LOW, HIGH, EPS = 1.0, 99.8, 1e-6
"""Percentiles and guard of the zoo's step ``scale_range``, over all axes of an image."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in a grey image (ITU-R BT.601)."""


def main(argv: Sequence[str] | None = None) -> None:
    """Train, judge, write ``checkpoint.pt`` and ``metrics.json``."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    rows = read_split(options.domain)
    train = [row for row in rows if row["split"] == "train"]
    judged, judged_on = [row for row in rows if row["split"] == "test"], "test"
    if options.holdout:
        train, judged = hold_out(train, options.holdout, options.seed)
        judged_on = "held out of train"
    planes = [_plane(options.domain, row["stem"]) for row in train]
    network, seconds, losses = fit(planes, options)
    scores = {row["stem"]: judge(network, options.domain, row["stem"]) for row in judged}
    summary = summarise(scores)
    settings = {k: v for k, v in vars(options).items() if k not in ("domain", "out")}
    report = {
        "domain": options.domain.resolve().name,
        "judged_on": judged_on,
        **summary,
        "train_images": len(train),
        "judged_images": len(judged),
        "seconds": round(seconds, 1),
        "channels": network.down[0][0].in_channels,
        "settings": settings,
        "torch": str(torch.__version__),
        "losses": losses,
        "images": {stem: f1(*counts) for stem, counts in scores.items()},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    header = {k: v for k, v in report.items() if k not in ("images", "losses")}
    torch.save({"weights": network.state_dict(), **header}, options.out / "checkpoint.pt")
    (options.out / "metrics.json").write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"{report['domain']}: F1 on {len(judged)} images ({judged_on}): mean "
        f"{summary['mean']:.4f}, median {summary['median']:.4f}, pooled {summary['pooled']:.4f}; "
        f"trained for {seconds:.0f} s"
    )


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


def scale_range(image: NDArray[Any]) -> NDArray[np.float32]:
    """The zoo's ``scale_range`` over all axes of one image: not clipped.

    Parameters
    ----------
    image : ndarray, any shape, any real dtype

    Returns
    -------
    ndarray of float32
        ``(image - low) / (high - low + eps)``, low and high being percentiles of the image.
    """
    image = image.astype(np.float32)
    low, high = np.percentile(image, [LOW, HIGH])
    return ((image - low) / (high - low + EPS)).astype(np.float32)


def read_image(path: Path) -> NDArray[Any]:
    """A grey or colour image as (C, H, W), an alpha channel dropped."""
    image = io.imread(path)
    if image.ndim == 2:
        return image[None]
    if image.ndim == 3 and image.shape[-1] in (3, 4):
        return np.moveaxis(image[..., :3], -1, 0)
    raise SystemExit(f"{path}: shape {image.shape}, expected (H, W) or (H, W, 3 or 4)")


def fit(
    planes: list[Plane], options: argparse.Namespace
) -> tuple[UNet, float, list[tuple[int, float]]]:
    """Train a new network.

    Returns
    -------
    network : UNet
        In evaluation mode.
    seconds : float
        Time it took.
    losses : list of (step, mean loss since the last entry)
    """
    sides = [min(plane.foreground.shape) for plane in planes]
    if min(sides) < options.crop:
        raise SystemExit(
            f"--crop {options.crop}: the smallest training image has a side of {min(sides)} "
            "pixels; choose a crop no larger than that"
        )
    started = time.perf_counter()
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    network = UNet(planes[0].variants[0].shape[0], options.features, options.dropout)
    if options.crop % network.multiple:
        raise SystemExit(f"--crop {options.crop}: expected a multiple of {network.multiple}")
    network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), options.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.rate, total_steps=options.steps, pct_start=0.2
    )
    losses, recent = [], []
    for step in range(1, options.steps + 1):
        images, targets = draw_batch(
            planes,
            rng,
            count=options.batch,
            size=options.crop,
            foreground_chance=options.foreground_chance,
            grey_chance=options.grey_chance,
        )
        optimiser.zero_grad()
        logits = network(torch.from_numpy(images).to(memory_format=torch.channels_last))
        loss = bce_dice(logits, torch.from_numpy(targets))
        loss.backward()
        optimiser.step()
        schedule.step()
        recent.append(loss.item())
        if step % 50 == 0 or step == options.steps:
            losses.append((step, round(float(np.mean(recent)), 4)))
            recent = []
            spent = time.perf_counter() - started
            print(f"step {step}: loss {losses[-1][1]:.4f}, {spent:.0f} s", file=sys.stderr)
    network.to(memory_format=torch.contiguous_format)
    return network.eval(), time.perf_counter() - started, losses


def bce_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy plus one minus the soft Dice coefficient of the whole batch."""
    probability = torch.sigmoid(logits)
    overlap = (probability * targets).sum()
    dice = (2 * overlap + 1) / (probability.sum() + targets.sum() + 1)
    return nn.functional.binary_cross_entropy_with_logits(logits, targets) + 1 - dice


def judge(network: UNet, domain: Path, stem: str) -> tuple[int, int, int]:
    """True positive, false positive and false negative pixels of one image, at P > 0.5."""
    image = scale_range(read_image(domain / "images" / f"{stem}.png"))
    truth = io.imread(domain / "labels" / f"{stem}.png") > 0
    predicted = probability(network, image) > 0.5
    return (
        int((predicted & truth).sum()),
        int((predicted & ~truth).sum()),
        int((~predicted & truth).sum()),
    )


def probability(network: UNet, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Foreground probability (H, W) of a normalised (C, H, W) image of any size.

    The image is mirrored at its lower and right border to the next size the network takes.
    """
    height, width = image.shape[-2:]
    pad = [(0, 0), *((0, -side % network.multiple) for side in (height, width))]
    tensor = torch.from_numpy(np.pad(image, pad, mode="reflect"))[None]
    with torch.inference_mode():
        return torch.sigmoid(network(tensor))[0, 0, :height, :width].numpy()


def f1(true_positive: int, false_positive: int, false_negative: int) -> float:
    """Dice coefficient of two masks; NaN if both are empty."""
    total = 2 * true_positive + false_positive + false_negative
    return 2 * true_positive / total if total else float("nan")


def summarise(scores: Mapping[str, tuple[int, int, int]]) -> dict[str, float]:
    """Mean and median of the images' F1, and F1 of all pixels pooled; empty images left out."""
    each = [f1(*counts) for counts in scores.values()]
    pooled = f1(*(int(n) for n in np.sum(list(scores.values()), axis=0)))
    return {
        "mean": round(float(np.nanmean(each)), 4),
        "median": round(float(np.nanmedian(each)), 4),
        "pooled": round(pooled, 4),
    }


def _plane(domain: Path, stem: str) -> Plane:
    """One image of a domain with all that training needs."""
    image = read_image(domain / "images" / f"{stem}.png")
    variants = [scale_range(image)]
    if len(image) == 3:
        grey = np.tensordot(LUMA, image.astype(np.float32), 1)
        # Made grey before it is normalised, as a grey image given by a user would be.
        variants.append(np.repeat(scale_range(grey)[None], 3, axis=0))
    return Plane(tuple(variants), io.imread(domain / "labels" / f"{stem}.png") > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train a small U-Net for foreground on one domain.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("domain", type=Path, help="folder with images/, labels/ and split.csv")
    add("out", type=Path, help="folder for checkpoint.pt and metrics.json")
    add("--steps", type=int, default=800, help="batches to train on")
    add("--seed", type=int, default=0, help="seeds weights, crops, disturbances and dropout")
    add("--features", type=int, nargs="+", default=[16, 32, 64, 96], help="channels of each level")
    add("--dropout", type=float, default=0.2, help="channel dropout at the bottleneck")
    add("--batch", type=int, default=8, help="crops in a batch")
    add("--crop", type=int, default=128, help="side of the crops, pixels")
    add("--rate", type=float, default=4e-3, help="highest learning rate of the cycle")
    add("--foreground-chance", type=float, default=0.7, help="share of crops around foreground")
    add("--grey-chance", type=float, default=0.3, help="share of colour crops shown grey")
    add("--holdout", type=float, default=0.0, help="judge on this share of train, not on test")
    add("--threads", type=int, default=2, help="threads of torch")
    return parser


if __name__ == "__main__":
    main()
