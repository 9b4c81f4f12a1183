"""Train a small U-Net for foreground, or for objects, on one domain, from the command line.

::

    python tools/train_unet.py DOMAIN_FOLDER OUT_FOLDER --steps 800 --seed 0
    python tools/train_unet.py DOMAIN_FOLDER OUT_FOLDER --steps 600 --seed 0 --objects

`DOMAIN_FOLDER` holds ``images/``, ``labels/`` (PNG of the same stem; foreground is what is not 0)
and ``split.csv`` (columns stem, group, split). Only rows of the split *train* are trained on; rows
of the split *test* are looked at once, when training is over. `--holdout` puts a share of the
training images aside, by group, and reports on them instead: for comparing recipes. `--share`
leaves out all but a share of the training images, by group.

With `--objects` the network has two outputs, foreground and boundary, and learns them from
instance labels: ``labels_instances/`` where the domain has it, else ``labels/``. The boundary is
the outline of every instance, or, with `--boundary labels`, what is 1 in ``labels/``.

`OUT_FOLDER` receives ``checkpoint.pt`` and ``metrics.json``. The same command on the same machine
gives the same weights.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augmentation import Plane, draw_batch
from domain_folder import (
    hold_out,
    read_classes,
    read_image,
    read_instances,
    read_split,
    read_targets,
    take,
)
from judging import compare_objects, count, f1, mean_scores, probability, summarise
from losses import bce_dice, ce_dice
from normalising import NORMALISATIONS, normalised
from numpy.typing import NDArray
from unet import UPSAMPLING, UNet

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in a grey image (ITU-R BT.601)."""


def main(argv: Sequence[str] | None = None) -> None:
    """Train, judge, write ``checkpoint.pt`` and ``metrics.json``."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    if options.classes and (options.objects or options.also):
        raise SystemExit("--classes: learned of one domain, and without --objects; leave these out")
    rows = read_split(options.domain)
    train = [row for row in rows if row["split"] == "train"]
    judged, judged_on = [row for row in rows if row["split"] == "test"], "test"
    if options.holdout:
        train, judged = hold_out(train, options.holdout, options.seed)
        judged_on = "held out of train"
    if options.share < 1:
        train = take(train, options.share, options.seed)
    planes = [_plane(options, row["stem"]) for row in train]
    for text in options.also:
        other = _also(options, text)
        rows = [row for row in read_split(other.domain) if row["split"] == "train"]
        planes += [_plane(other, row["stem"]) for row in rows]
    network, seconds, losses = fit(planes, options)
    summary = judge(network, options, [row["stem"] for row in judged])
    settings = {k: v for k, v in vars(options).items() if k not in ("domain", "out", "also")}
    report = {
        "domain": options.domain.resolve().name,
        "judged_on": judged_on,
        **summary,
        "also": [_also(options, text).domain.resolve().name for text in options.also],
        "train_images": len(planes),
        "judged_images": len(judged),
        "seconds": round(seconds, 1),
        "channels": planes[0].variants[0].shape[0],
        "settings": settings,
        "torch": str(torch.__version__),
        "losses": losses,
    }
    save(options.out, network, report)
    print(
        f"{report['domain']}: F1 on {len(judged)} images ({judged_on}): mean "
        f"{summary['mean']:.4f}, median {summary['median']:.4f}, pooled {summary['pooled']:.4f}; "
        f"trained for {seconds:.0f} s"
    )
    for name, of_class in summary.get("classes", {}).items():
        print(f"{report['domain']}: {name}: F1 mean {of_class['mean']:.4f}")
    if options.objects:
        found = ", ".join(f"{name} {value:.4f}" for name, value in summary["objects"].items())
        print(f"{report['domain']}: boundary F1 {summary['boundary']['mean']:.4f}; {found}")


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
    network = UNet(
        planes[0].variants[0].shape[0],
        options.features,
        options.dropout,
        len(planes[0].targets),
        residual=options.residual,
        upsample=options.upsample,
    )
    if options.crop % network.multiple:
        raise SystemExit(f"--crop {options.crop}: expected a multiple of {network.multiple}")
    device = torch.device(options.device)
    network.to(device, memory_format=torch.channels_last).train()
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
            intensities=options.augment == "full",
        )
        optimiser.zero_grad()
        shown = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
        loss_of = ce_dice if options.classes else bce_dice
        loss = loss_of(network(shown), torch.from_numpy(targets).to(device))
        loss.backward()
        optimiser.step()
        schedule.step()
        recent.append(loss.item())
        if step % 50 == 0 or step == options.steps:
            losses.append((step, round(float(np.mean(recent)), 4)))
            recent = []
            spent = time.perf_counter() - started
            print(f"step {step}: loss {losses[-1][1]:.4f}, {spent:.0f} s", file=sys.stderr)
    network.to("cpu", memory_format=torch.contiguous_format)
    return network.eval(), time.perf_counter() - started, losses


def judge(network: UNet, options: argparse.Namespace, stems: Sequence[str]) -> dict[str, Any]:
    """Compare what the network says of images with the truth.

    Returns
    -------
    dict
        ``mean``, ``median`` and ``pooled`` F1 of the foreground pixels at P > 0.5, and ``images``,
        that of each image. With `--objects` also ``boundary`` (the three of its pixels),
        ``objects`` (the means of the scores of objects), ``decoder`` (what made the objects) and
        ``object_images`` (their scores of each image). With `--classes` also ``classes``: the
        three numbers of each class.
    """
    if options.classes:
        return _judge_classes(network, options, stems)
    counts, found = {}, {}
    decoder = {
        "name": "foreground_boundary",
        "min_size": options.min_size,
        "connectivity": options.connectivity,
    }
    for stem in stems:
        maps = probability(network, _normalised(options, stem))
        counts[stem] = count(maps, _targets(options, stem))
        if options.objects:
            instances = read_instances(options.domain, stem)
            found[stem] = compare_objects(maps, instances, decoder)
    foreground = {stem: channels[0] for stem, channels in counts.items()}
    report = {
        **summarise(foreground),
        "images": {stem: f1(*pixels) for stem, pixels in foreground.items()},
    }
    if options.objects:
        report["boundary"] = summarise({stem: channels[1] for stem, channels in counts.items()})
        report["objects"] = mean_scores(list(found.values()))
        report["object_images"] = found
        report["decoder"] = decoder
    return report


def _judge_classes(
    network: UNet, options: argparse.Namespace, stems: Sequence[str]
) -> dict[str, Any]:
    """As `judge`, of classes of which the most likely one is taken."""
    foreground, classes = {}, {}
    for stem in stems:
        maps = probability(network, _normalised(options, stem), exclusive=True)
        chosen = maps.argmax(0)[None] == np.arange(len(maps))[:, None, None]
        truth = _targets(options, stem)
        classes[stem] = count(chosen[1:].astype(np.float32), truth[1:])
        (foreground[stem],) = count((~chosen[:1]).astype(np.float32), ~truth[:1])
    return {
        **summarise(foreground),
        "images": {stem: f1(*pixels) for stem, pixels in foreground.items()},
        "classes": {
            name: summarise({stem: of_image[place] for stem, of_image in classes.items()})
            for place, name in enumerate(options.classes)
        },
    }


def save(out: Path, network: UNet, report: Mapping[str, Any]) -> None:
    """Write ``checkpoint.pt``, weights with what export tells of them, and ``metrics.json``."""
    out.mkdir(parents=True, exist_ok=True)
    left_out = ("images", "object_images", "losses")
    header = {key: value for key, value in report.items() if key not in left_out}
    torch.save({"weights": network.state_dict(), **header}, out / "checkpoint.pt")
    (out / "metrics.json").write_text(json.dumps(report, indent=1) + "\n")


def _also(options: argparse.Namespace, text: str) -> argparse.Namespace:
    """The options for a further domain, ``FOLDER`` or ``FOLDER=labels``."""
    folder, equals, boundary = text.partition("=")
    if boundary not in ("", "outline", "labels") or (equals and not boundary):
        raise SystemExit(f"--also {text}: expected FOLDER, FOLDER=outline or FOLDER=labels")
    return argparse.Namespace(
        **{**vars(options), "domain": Path(folder), "boundary": boundary or "outline"}
    )


def _plane(options: argparse.Namespace, stem: str) -> Plane:
    """One image of a domain with all that training needs."""
    image = read_image(options.domain / "images" / f"{stem}.png")
    variants = [normalised(image, options.normalize)]
    if len(image) == 3:
        grey = np.tensordot(LUMA, image.astype(np.float32), 1)
        # Made grey before it is normalised, as a grey image given by a user would be.
        variants.append(np.repeat(normalised(grey, options.normalize)[None], 3, axis=0))
    return Plane(tuple(variants), _targets(options, stem), bool(options.classes))


def _normalised(options: argparse.Namespace, stem: str) -> NDArray[np.float32]:
    """One image of a domain as the network is to see it, (C, H, W)."""
    image = read_image(options.domain / "images" / f"{stem}.png")
    return normalised(image, options.normalize)


def _targets(options: argparse.Namespace, stem: str) -> NDArray[np.bool_]:
    """What the network shall say of one image, (K, H, W)."""
    if options.classes:
        return read_classes(options.domain, stem, 1 + len(options.classes))
    boundary = options.boundary if options.objects else "none"
    return read_targets(options.domain, stem, boundary, options.outline)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train a small U-Net for foreground, or for objects, on one domain.",
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
    add("--share", type=float, default=1.0, help="train on this share of train, by group")
    add(
        "--also",
        action="append",
        default=[],
        metavar="FOLDER[=labels]",
        help="train on this domain too; =labels as in --boundary. May be repeated",
    )
    add("--normalize", choices=NORMALISATIONS, default="percentile", help="how images are scaled")
    add(
        "--augment",
        choices=["full", "geometric"],
        default="full",
        help="disturb intensities too, or only flip and rotate",
    )
    add("--residual", action="store_true", help="a shortcut around each level's convolutions")
    add("--upsample", choices=UPSAMPLING, default="nearest", help="how levels are enlarged")
    add(
        "--classes",
        nargs="+",
        default=[],
        metavar="NAME",
        help="learn exclusive classes: labels/ holds 0 for background, 1 for the first name, ...",
    )
    add("--objects", action="store_true", help="learn foreground and boundary from instances")
    add(
        "--boundary",
        choices=["outline", "labels"],
        default="outline",
        help="of --objects: the outline of the instances, or what is 1 in labels/",
    )
    add("--outline", type=int, default=2, help="of --objects: pixels on either side of the line")
    add("--min-size", type=int, default=20, help="of --objects: smaller ones are dropped, pixels")
    add(
        "--connectivity",
        choices=["full", "face"],
        default="full",
        help="of --objects: whether pixels of an object may hang together by a corner alone",
    )
    add("--threads", type=int, default=2, help="threads of torch")
    add("--device", default="cpu", choices=["cpu", "cuda"], help="where the network is trained")
    return parser


if __name__ == "__main__":
    main()
