"""``onnx-cte predict``: what models find, as label images and as pictures to look at."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import click

from onnx_cte.cli.config import CONFIG
from onnx_cte.cli.options import (
    DEVICE_OPTIONS,
    IMAGE_OPTIONS,
    IMAGES,
    MODEL_OPTIONS,
    MODELS,
    images_of,
    models_of,
    out_option,
    quick_look,
    say,
    tell_understood,
    told,
    trial_keywords,
)
from onnx_cte.cli.planned import DRY_RUN, tell_plans
from onnx_cte.cli.talking import QUIET, level, remark, talk_options
from onnx_cte.errors import ImageError, OptionError, OutputError, reason_of
from onnx_cte.estimators.silence import seen_by
from onnx_cte.images.writing import write_labels
from onnx_cte.needs import Needs
from onnx_cte.overlay import overlay
from onnx_cte.planning import plan
from onnx_cte.predicting import predict
from onnx_cte.progress import tallied
from onnx_cte.tables import text_table
from onnx_cte.types import Image, ImageRef, Observation
from onnx_cte.writing import prepare_folder


@click.command("predict")
@MODELS
@IMAGES
@out_option("onnx-cte-predictions", "Folder for the label images and pictures, a folder a model.")
@click.option("--labels", help="Label images, to draw beside what was found.")
@MODEL_OPTIONS
@IMAGE_OPTIONS
@DEVICE_OPTIONS
@DRY_RUN
@CONFIG
@talk_options
@told
def predict_command(
    models: Path, images: str, out: Path, labels: str | None, dry_run: bool, **options: Any
) -> int:
    """Write the objects that MODELS find on IMAGES.

    For each model and image a label image (NAME_labels.tif, 0 is background) and a picture with
    outlines (NAME_outlines.png): orange for what was found, blue for --labels, white where both
    fall together. A plane of more than 2^23 pixels is written in windows, each by itself.
    """
    if Path(images).is_dir() and out.resolve().is_relative_to(Path(images).resolve()):
        raise OptionError(
            f"--out {out} lies inside IMAGES, '{images}': what is written would be taken for "
            "images the next time; name another folder"
        )
    bank, pictures = models_of(models, options), images_of(images, None, options)
    refs: list[ImageRef] = list(pictures)
    with_labels = pictures if labels is None else images_of(images, labels, options)
    if labels is not None:
        labelled = {ref.name: ref for ref in with_labels}
        refs = [_Drawn(ref, labelled.get(ref.name)) for ref in refs]
    tell_understood(with_labels)
    if dry_run:
        planned = plan(bank, pictures, needs=Needs(instances=True), **trial_keywords(options))
        return tell_plans([("prediction", planned)], out, as_json=False, resumes=False)
    prepare_folder(out)
    names = _file_names([ref.name for ref in refs])
    rows, failed = [], []
    assumed: dict[str, list[str]] = {}
    with tallied(len(bank) * len(refs), level() > QUIET) as tally:
        for found in predict(bank, refs, device=options["device"], jobs=options["jobs"]):
            tally.turn_to(found.model)
            tally.add(1 if found.image else len(refs))
            if found.seen is None:
                where = ": ".join(filter(None, (found.model, found.image)))
                failed.append(f"  {where}: {found.reason}")
                continue
            _write(found.seen, out / found.model / names[found.image])
            found_in = seen_by(found.seen.reference, instances=True)
            counts = [f"{found_in['objects']:g}", f"{found_in['foreground']:.1%}"]
            rows.append([found.model, found.image, *counts])
            for note in found.notes:
                assumed.setdefault(note, [])
                assumed[note] += [found.model] * (found.model not in assumed[note])
    if rows:
        say(text_table(["model", "image", "objects", "foreground"], rows, left=[0, 1]))
    if assumed:
        told_of = (f"  {', '.join(models)}: {note}" for note, models in assumed.items())
        say("\nassumed\n" + "\n".join(told_of))
    lacking = [
        f"  {ref.name}: {ref.lacks}" for ref in refs if isinstance(ref, _Drawn) and ref.lacks
    ]
    if lacking:
        say("\nwithout labels\n" + "\n".join(lacking))
    lost = [*failed, *(f"  {name}: {reason}" for name, reason in pictures.skipped)]
    if lost:
        say("\nnot predicted\n" + "\n".join(lost))
    if rows:
        remark(quick_look(options))
        remark(f"\nwritten: label images (_labels.tif) and pictures (_outlines.png) in {out}")
    return 3 if rows and lost else 1 if lost else 0


class _Drawn:
    """An image with its labels, or without where they cannot be had: they are drawn, no more."""

    def __init__(self, plain: ImageRef, labelled: ImageRef | None) -> None:
        self.name, self.group = plain.name, plain.group
        self._plain, self._labelled, self.lacks = plain, labelled, ""

    def load(self) -> Image:
        if self._labelled is not None:
            try:
                return self._labelled.load()
            except ImageError as error:
                self.lacks = reason_of(error).removeprefix(f"{self.name}: ")
        return self._plain.load()


def _write(seen: Observation, target: Path) -> None:
    """A label image and a picture."""
    from PIL import Image as Picture  # not before there is one to draw

    labels = seen.reference.labels
    assert labels is not None
    prepare_folder(target.parent)
    try:
        write_labels(target.with_name(f"{target.name}_labels.tif"), labels)
        drawn = Picture.fromarray(overlay(seen.pixels, labels, seen.truth))
        drawn.save(target.with_name(f"{target.name}_outlines.png"))
    except OSError as error:
        raise OutputError(f"'{target}' cannot be written: {error.strerror or error}") from error


def _file_names(images: Sequence[str]) -> dict[str, str]:
    """Names of files without suffix, by image; with the image's own suffix where two are alike."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for image in images:
        file, bracket, part = image.partition("[")  # "b.tif[y=0:2048,x=0:2048]"
        inside = [place for place in PurePosixPath(file).parts if place not in ("..", "/")]
        stem = str(PurePosixPath(*inside).with_suffix(""))
        # Windows allows no colon.
        either = [f"{name}{bracket}{part}".replace(":", "-") for name in (stem, "/".join(inside))]
        names[image] = either[0] if either[0] not in taken else either[1]
        taken.add(names[image])
    return names
