"""``onnx-cte predict``: what models find, as label images and as pictures to look at."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import click
from PIL import Image as Picture

from onnx_cte.cli.options import (
    DEVICE_OPTIONS,
    IMAGE_OPTIONS,
    IMAGES,
    MODEL_OPTIONS,
    MODELS,
    images_of,
    models_of,
    out_option,
    say,
    told,
)
from onnx_cte.errors import OutputError
from onnx_cte.estimators.silence import seen_by
from onnx_cte.images.writing import write_labels
from onnx_cte.overlay import overlay
from onnx_cte.predicting import predict
from onnx_cte.report import prepare_folder
from onnx_cte.tables import text_table
from onnx_cte.types import Observation


@click.command("predict")
@MODELS
@IMAGES
@out_option("onnx-cte-predictions", "Folder for the label images and pictures, a folder a model.")
@click.option("--labels", help="Label images, to draw beside what was found.")
@MODEL_OPTIONS
@IMAGE_OPTIONS
@DEVICE_OPTIONS
@told
def predict_command(
    models: Path, images: str, out: Path, labels: str | None, **options: Any
) -> int:
    """Write the objects that MODELS find on IMAGES.

    For each model and image a label image (TIFF, 0 is background) and a picture with outlines:
    orange for what was found, blue for --labels, white where both fall together.
    """
    bank, pictures = models_of(models, options), images_of(images, labels, options)
    prepare_folder(out)
    refs = list(pictures)
    names = _file_names([ref.name for ref in refs])
    rows, failed = [], []
    run = predict(bank, refs, device=options["device"], jobs=options["jobs"])
    for found in run:
        if found.seen is None:
            where = ": ".join(filter(None, (found.model, found.image)))
            failed.append(f"  {where}: {found.reason}")
            continue
        _write(found.seen, out / found.model / names[found.image])
        found_in = seen_by(found.seen.reference, instances=True)
        counts = [f"{found_in['objects']:g}", f"{found_in['foreground']:.1%}"]
        rows.append([found.model, found.image, *counts])
    if rows:
        say(text_table(["model", "image", "objects", "foreground"], rows, left=[0, 1]))
    lost = [*failed, *(f"  {name}: {reason}" for name, reason in pictures.skipped)]
    if lost:
        say("\nnot predicted\n" + "\n".join(lost))
    if rows:
        say(f"\nwritten: label images (.tif) and pictures (.png) in {out}")
    return 3 if rows and lost else 1 if lost else 0


def _write(seen: Observation, target: Path) -> None:
    """A label image and a picture."""
    labels = seen.reference.labels
    assert labels is not None
    prepare_folder(target.parent)
    try:
        write_labels(target.with_name(f"{target.name}.tif"), labels)
        drawn = Picture.fromarray(overlay(seen.pixels, labels, seen.truth))
        drawn.save(target.with_name(f"{target.name}.png"))
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
