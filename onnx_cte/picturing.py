"""Take pictures of what ranked models find on a few telling images.

The ranking keeps no predictions, so these images are run once more, under the same draws, one model
open at a time; of what is seen, small pictures are kept. What cannot be pictured is told in its
place, and ends nothing: the ranking is there already.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from onnx_cte.errors import OptionError, reason_of
from onnx_cte.needs import Needs
from onnx_cte.pictures import Drawn, Picture
from onnx_cte.predicting import Predicted, observe_each
from onnx_cte.ranking import Ranking
from onnx_cte.telling import telling_images
from onnx_cte.thumbnails import (
    contour,
    flipped_share,
    flips,
    ground,
    reduced_size,
    telling_slice,
)
from onnx_cte.types import Device, Estimator, ImageRef, Model, Observation

IMAGES = 5
"""Images that are pictured, if nothing else is said."""

MODELS = 30
"""Models that are pictured, best first: more would be no page to look at."""


def take_pictures(
    ranking: Ranking,
    models: Iterable[Model],
    images: Iterable[ImageRef],
    estimator: Estimator,
    *,
    count: int = IMAGES,
    device: Device = "auto",
    jobs: int | None = None,
    progress: bool = False,
) -> tuple[Picture, ...]:
    """Picture what ranked models find on a few telling images, and what flips there.

    Parameters
    ----------
    ranking : Ranking
        Says which images are telling (`onnx_cte.telling`), and the seed of the draws.
    models : iterable of Model
        Those that were ranked, others among them or not; the best `MODELS` are pictured.
    images : iterable of ImageRef
        Those that were ranked on.
    estimator : Estimator
        That of the ranking: its perturbations are what pixels flip under.
    count : int, >= 0
        How many images.
    device : {"auto", "cpu", "cuda"}
    jobs : int or None
        CPU threads; None: all cores.
    progress : bool
        Show a progress bar on stderr, if that is a terminal.

    Returns
    -------
    tuple of Picture
        Each with all pictured models, in the order of the ranking; one that could not be run has a
        reason. Fewer than `count` where there are fewer images.

    Raises
    ------
    OptionError
        If `count` is no such number. No model and no image raises anything.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> steep = oc.BlackBox("steep", lambda tensor: (9 * tensor - 4).clip(0, 1))
    >>> images = oc.Images.from_arrays(discs)
    >>> ranking = oc.rank([steep], images, oc.CTE())
    >>> pictures = oc.take_pictures(ranking, [steep], images, oc.CTE(), count=2)
    >>> [(picture.image, picture.why, picture.drawn[0].model) for picture in pictures]
    [('image_1', 'typical', 'steep'), ('image_0', 'worst', 'steep')]
    """
    if not isinstance(count, int) or count < 0:
        raise OptionError(f"pictures are of so many images, 0 or more, not {count!r}")
    there = {ref.name: ref for ref in images}
    telling = telling_images(ranking, count, there)
    by_name = {model.name: model for model in models}
    best = [score.model for score in ranking if score.model in by_name][:MODELS]
    needs = replace(
        Needs(estimator.needs.perturbations, instances=estimator.needs.instances),
        truth=estimator.needs.truth or getattr(images, "has_truth", False),
    )
    names = tuple(perturbation.name for perturbation in needs.perturbations)
    pictures = {one.image: Picture(one.image, one.why, perturbations=names) for one in telling}
    if not pictures or not best:
        return ()
    drawn: dict[tuple[str, str], Drawn] = {}
    reasons: dict[str, str] = {}
    refs = [there[one.image] for one in telling]
    try:
        seen = observe_each(
            [by_name[name] for name in best],
            refs,
            needs,
            seed=ranking.seed,
            device=device,
            jobs=jobs,
        )
        with tqdm(
            total=len(best) * len(refs),
            desc="pictures",
            unit="image",
            disable=None if progress else True,
        ) as bar:
            for found in seen:
                if not found.image:
                    reasons[found.model] = found.reason
                    bar.update(len(refs))
                    continue
                picture, one = _pictured(pictures[found.image], found)
                pictures[found.image] = picture
                drawn[found.image, found.model] = one
                bar.update()
    except Exception as error:
        # A device that is gone, say: what was pictured until then stays.
        reasons |= {name: reasons.get(name, reason_of(error)) for name in best}
    return tuple(
        replace(
            picture,
            drawn=tuple(
                drawn.get((picture.image, name), Drawn(name, reason=reasons.get(name, "not run")))
                for name in best
            ),
        )
        for picture in pictures.values()
    )


def _pictured(picture: Picture, found: Predicted) -> tuple[Picture, Drawn]:
    """What one model found on an image; the image itself is drawn with the first that can be."""
    if found.seen is None:
        return picture, Drawn(found.model, reason=found.reason)
    try:
        if not picture.ground:
            picture = _grounded(picture, found.seen)
        return picture, _drawn(found.model, found.seen)
    except Exception as error:
        return picture, Drawn(found.model, reason=reason_of(error))


def _grounded(picture: Picture, seen: Observation) -> Picture:
    shown = telling_slice(seen.pixels)
    plane = seen.pixels if shown is None else seen.pixels[shown]
    height, width = reduced_size(plane.shape)
    return replace(
        picture,
        ground=ground(plane),
        width=width,
        height=height,
        reduced=max(max(plane.shape) / max(height, width), 1.0),
        labelled=seen.truth is not None,
    )


def _drawn(model: str, seen: Observation) -> Drawn:
    shown = telling_slice(seen.pixels)
    classes = seen.reference.classes
    objects = seen.reference.labels
    outlined = classes if objects is None else objects
    share, flipped = flipped_share(classes, [one.classes for one in seen.perturbed.values()])
    here = slice(None) if shown is None else shown
    return Drawn(
        model=model,
        contour=contour(outlined[here], None if seen.truth is None else seen.truth[here]),
        flips=flips(classes[here] != 0, share[here]) if seen.perturbed else "",
        foreground=float(np.mean(classes != 0)) if classes.size else math.nan,
        flipped=flipped if seen.perturbed else math.nan,
    )
