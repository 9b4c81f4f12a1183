"""What models find on images, one image at a time, to be written or looked at."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from onnx_cte.errors import FATAL, reason_of
from onnx_cte.needs import Needs
from onnx_cte.types import Device, ImageRef, Model, Observation, Segmenter


@dataclass(frozen=True, slots=True)
class Predicted:
    """What one model found on one image.

    Attributes
    ----------
    model, image : str
        Names; `image` is empty where the model could not be used at all.
    seen : Observation or None
        None if it could not be predicted.
    reason : str
        Why not; else empty.
    notes : tuple of str
        What was assumed about the model.
    """

    model: str
    image: str
    seen: Observation | None
    reason: str = ""
    notes: tuple[str, ...] = ()


def predict(
    models: Iterable[Model],
    images: Iterable[ImageRef],
    *,
    instances: bool = True,
    device: Device = "auto",
    jobs: int | None = None,
) -> Iterator[Predicted]:
    """Run models on images, undisturbed.

    Parameters
    ----------
    models : iterable of Model
    images : iterable of ImageRef
        Walked once a model.
    instances : bool
        Whether objects are made of the maps: ``seen.reference.labels``.
    device : {"auto", "cpu", "cuda"}
    jobs : int or None
        CPU threads; None: all cores.

    Yields
    ------
    Predicted
        For each model and image. A model or an image that cannot be used is told in `reason` and
        does not end the run; only one model is open at a time, and no image is kept.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> plane = np.zeros((32, 32))
    >>> plane[4:9, 4:9] = plane[20:25, 12:20] = 1
    >>> model = oc.BlackBox("bright", lambda tensor: tensor.clip(0, 1), normalize="minmax")
    >>> for found in oc.predict([model], oc.Images.from_arrays([plane])):
    ...     print(found.model, found.image, found.seen.reference.labels.max())
    bright image_0 2
    """
    yield from observe_each(models, images, Needs(instances=instances), device=device, jobs=jobs)


def observe_each(
    models: Iterable[Model],
    images: Iterable[ImageRef],
    needs: Needs,
    *,
    seed: int = 0,
    device: Device = "auto",
    jobs: int | None = None,
) -> Iterator[Predicted]:
    """Run models on images, and show of each what is needed.

    Parameters
    ----------
    models, images, device, jobs
        As in `predict`.
    needs : Needs
    seed : int, >= 0
        Of what is drawn: with that of a ranking, its draws.

    Yields
    ------
    Predicted
        As in `predict`.
    """
    refs = list(images)
    for model in models:
        try:
            segmenter = model.open(device, jobs)
        except FATAL:
            raise
        except Exception as error:
            reason = reason_of(error).removeprefix(f"{model.name}: ")
            yield Predicted(model.name, "", None, reason)
            continue
        with closing(segmenter):
            if reason := _refusal(segmenter, needs):
                yield Predicted(model.name, "", None, reason)
                continue
            for ref in refs:
                try:
                    seen = segmenter.observe(ref.load(), needs, seed)
                except FATAL:
                    raise
                except Exception as error:
                    reason = reason_of(error).removeprefix(f"{ref.name}: ")
                    yield Predicted(model.name, ref.name, None, reason)
                else:
                    notes = tuple(segmenter.notes)
                    yield Predicted(model.name, ref.name, seen, "", notes)


def _refusal(segmenter: Segmenter, needs: Needs) -> str:
    """Why a model does not show what is needed; its own failure to say so is a reason too."""
    try:
        # The method is younger than the protocol: models from outside may lack it.
        return str(getattr(segmenter, "refuses", lambda needs: "")(needs))
    except FATAL:
        raise
    except Exception as error:
        return reason_of(error)
