"""One image in, one `Observation` out: what every kind of model has in common.

Channels are matched, the model's own normalisation is applied to the whole image, the normalised
image is disturbed, and each version is run (tile by tile if need be) and turned into probabilities.
Disturbing comes before padding and tiling, so that a model's size rule cannot change the noise.
Objects are made of the stitched maps, so that one across the border of two tiles is one object,
and in the frame of the disturbed image, for rays and flows have directions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onnx_cte.descriptor import Step
from onnx_cte.errors import ImageError, InferenceError, NotOffered
from onnx_cte.features import FeatureMap
from onnx_cte.needs import FeaturePerturbation, InputPerturbation, Needs
from onnx_cte.perturbations import generator
from onnx_cte.preprocessing import apply_steps
from onnx_cte.segmenters.channels import grey, matched, turns_grey
from onnx_cte.segmenters.network import layout
from onnx_cte.tiling import Place, Size, run_tiled, tile_limit, tiles
from onnx_cte.types import BACKGROUND, BOUNDARY, FOREGROUND, Decoder, Image, Observation, Prediction

Predict = Callable[[NDArray[np.float32]], NDArray[Any]]
"""A network: normalised (1, C, h, w) float32 to raw (1, C', h', w'); (d, h, w) likewise."""

# Half precision and interpolation carry probabilities so far beyond 0 and 1; they are clipped.
_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True)
class Recipe:
    """What must be known of a network to judge it.

    Attributes
    ----------
    channels : int
        Of its input.
    before, after : tuple of Step
        Normalisation of the image, and what turns the raw output into probabilities.
    roles : tuple of str
        Of the output's channels, as in `Prediction`.
    threshold : float
    sizes, halo, border
        As in `onnx_cte.tiling.run_tiled`, for height and width, or depth, height and width.
    limit : int
        Longest side of a tile, in px, for networks that take any size. Tiles of volumes have at
        most ``2 * limit**2`` voxels.
    scale : tuple of int
        How many times coarser the output is, along each axis; empty: as fine as the input.
    decoder : Decoder or None
        What makes objects of the maps; None: there is none that could.
    """

    channels: int
    before: tuple[Step, ...]
    after: tuple[Step, ...]
    roles: tuple[str, ...]
    threshold: float = 0.5
    sizes: tuple[Size, ...] = ((1, 1), (1, 1))
    halo: tuple[int, ...] = (0, 0)
    border: tuple[int, ...] = (0, 0)
    limit: int = 1024
    scale: tuple[int, ...] = ()
    decoder: Decoder | None = None

    @property
    def dimensions(self) -> int:
        """2 for a network on planes, 3 for one on volumes."""
        return len(self.sizes)


class Opened(Protocol):
    """A network that can be disturbed, and looked at, inside."""

    def disturbed(
        self,
        recipe: Recipe,
        tensor: NDArray[np.float32],
        image: str,
        perturbations: Sequence[FeaturePerturbation],
        seed: int,
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[np.float32]]]:
        """Reference maps, and perturbed ones by the perturbation's name."""
        ...

    def read(
        self, recipe: Recipe, tensor: NDArray[np.float32], taps: Sequence[str]
    ) -> Mapping[str, FeatureMap]:
        """Feature maps by tap."""
        ...

    def predicted(
        self, recipe: Recipe, tensor: NDArray[np.float32], taps: Sequence[str]
    ) -> tuple[NDArray[np.float32], Mapping[str, FeatureMap]]:
        """Reference maps, and feature maps by tap."""
        ...


def observe(
    recipe: Recipe,
    predict: Predict,
    image: Image,
    needs: Needs,
    seed: int,
    opened: Opened | None = None,
) -> Observation:
    """Run a network on an image and on its perturbed versions.

    Parameters
    ----------
    recipe : Recipe
    predict : callable
    image : Image
    needs : Needs
    seed : int
    opened : Opened or None
        The network inside; None for one that can only be fed.

    Returns
    -------
    Observation
        Of the image's window, if it is part of a larger one.

    Raises
    ------
    NotOffered
        If features are to be disturbed or looked at and `opened` is None.
    ImageError
        If the image has channels that the network cannot take, or is too small.
    InferenceError
        If the network fails, or returns what is no probability.
    """
    tensor = normalised(recipe, image)
    inner = image.window or (slice(None),) * recipe.dimensions
    perturbed = {}
    features: Mapping[str, FeatureMap] = {}
    if opened is None:
        _refuse_inside(needs)
        reference = probabilities(recipe, predict, tensor)
    elif needs.features:
        reference, found = opened.disturbed(recipe, tensor, image.name, needs.features, seed)
        perturbed = {
            name: _prediction(recipe, maps, inner, needs.decodes(name))
            for name, maps in found.items()
        }
        features = opened.read(recipe, tensor, needs.taps) if needs.taps else {}
    elif needs.taps:
        reference, features = opened.predicted(recipe, tensor, needs.taps)
    else:
        reference = probabilities(recipe, predict, tensor)
    for perturbation in needs.inputs:
        maps = probabilities(recipe, predict, _disturbed(perturbation, tensor, image.name, seed))
        name = perturbation.name
        perturbed[name] = _prediction(recipe, maps, inner, needs.decodes(name), perturbation)
    views = {}
    for view in needs.views:
        assert opened is not None  # refused above
        disturbed = _disturbed(view.perturbation, tensor, image.name, seed)
        views[view.perturbation.name] = _within(opened.read(recipe, disturbed, view.taps), inner)
    return Observation(
        image=image.name,
        pixels=grey(image)[inner],
        reference=_prediction(recipe, reference, inner, needs.instances),
        perturbed=perturbed,
        truth=image.truth,
        features=_within(features, inner),
        views=views,
        seed=seed,
    )


def _refuse_inside(needs: Needs) -> None:
    """Refuse a look inside a network that can only be fed."""
    if needs.features:
        raise NotOffered(
            f"{needs.features[0].name} disturbs feature maps, which this model does not show"
        )
    for tap in (*needs.taps, *(tap for view in needs.views for tap in view.taps)):
        raise NotOffered(f"feature map '{tap}' is looked at, and this model shows none")


def _disturbed(
    perturbation: InputPerturbation, tensor: NDArray[np.float32], image: str, seed: int
) -> NDArray[np.float32]:
    # What is shared draws the same for every image.
    names = () if getattr(perturbation, "shared", False) else (image,)
    return perturbation.apply(tensor, generator(seed, *names, perturbation.name))


def _within(maps: Mapping[str, FeatureMap], inner: tuple[slice, ...]) -> dict[str, FeatureMap]:
    """Feature maps of what is judged of an image."""
    return {tap: found.window(inner) for tap, found in maps.items()}


def adaptation(recipe: Recipe, image: Image) -> str:
    """How the channels of an image are matched to the network's; empty if they agree."""
    have = len(image.data) if "c" in image.axes else 1
    if (have, recipe.channels) == (1, 3):
        return "grey images are repeated for its 3 channels"
    if turns_grey(image, recipe.channels):
        return "images of 3 channels are taken for RGB and turned to grey (Rec. 709 luminance)"
    return ""


def normalised(recipe: Recipe, image: Image) -> NDArray[np.float32]:
    """The image as the network wants it: (1, C, H, W) or (1, C, D, H, W), before any padding."""
    if len(image.axes.replace("c", "")) != recipe.dimensions:
        raise ImageError(
            "the image is a volume, the network takes planes: rank planes without --volumes"
            if recipe.dimensions == 2
            else "the image is a plane, the network takes volumes: give stacks, with --volumes"
        )
    letters = layout(recipe.dimensions)
    whole = None if image.whole is None else matched(image.whole, image, recipe.channels)[None]
    tensor = matched(image.data, image, recipe.channels)[None]
    return np.asarray(apply_steps(tensor, letters, recipe.before, whole), dtype=np.float32)


def probabilities(
    recipe: Recipe, predict: Predict, tensor: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Maps of shape (C', H, W), probabilities in [0, 1], for a normalised image of any size."""
    return judged(recipe, stitched(recipe, predict, tensor))


def stitched(recipe: Recipe, predict: Predict, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raw output of shape (C', H, W) for a normalised image of any size."""
    return run_tiled(tensor, predict, **_cutting(recipe, tensor))


def tiles_of(
    recipe: Recipe, tensor: NDArray[np.float32]
) -> Iterator[tuple[Place, NDArray[np.float32]]]:
    """The tiles in which `stitched` runs a normalised image, in order, and where they lie."""
    return tiles(tensor, **_cutting(recipe, tensor))


def _cutting(recipe: Recipe, tensor: NDArray[np.float32]) -> dict[str, Any]:
    """How a normalised image is cut into tiles."""
    cut = (recipe.sizes, recipe.halo, recipe.border, recipe.scale)
    limit: int | tuple[int, ...] = recipe.limit
    if recipe.dimensions == 3:
        limit = tile_limit(tensor.shape[2:], *cut, voxels=2 * recipe.limit**2)
    return {
        "sizes": recipe.sizes,
        "halo": recipe.halo,
        "border": recipe.border,
        "limit": limit,
        "scale": recipe.scale,
    }


def judged(recipe: Recipe, raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps of shape (C', H, W), probabilities in [0, 1], of the raw output.

    Raises
    ------
    InferenceError
        If it has other channels than described, or those judged are no probabilities.
    """
    if len(raw) != len(recipe.roles):
        raise InferenceError(
            f"the network returned {len(raw)} channels, expected {len(recipe.roles)}: "
            f"{', '.join(recipe.roles)}"
        )
    letters = layout(recipe.dimensions)
    maps = np.asarray(apply_steps(raw[None], letters, recipe.after)[0], dtype=np.float32)
    if not np.isfinite(maps).all():
        odd = next(i for i, plane in enumerate(maps) if not np.isfinite(plane).all())
        raise InferenceError(
            f"the output holds NaN or infinite values in its channel '{recipe.roles[odd]}'; check "
            "the model's normalisation"
        )
    # A distance or a flow may stand beside the probabilities that are judged.
    probable = [recipe.roles.index(role) for role in (FOREGROUND, BOUNDARY) if role in recipe.roles]
    for counted in [maps] if BACKGROUND in recipe.roles else [maps[i] for i in probable]:
        low, high = float(counted.min()), float(counted.max())
        if low < -_TOLERANCE or high > 1 + _TOLERANCE:
            raise InferenceError(
                f"the output reaches from {low:.4g} to {high:.4g}, expected probabilities in "
                "[0, 1]; check the model's normalisation and its output steps"
            )
        if low < 0 or high > 1:
            np.clip(counted, 0, 1, out=counted)
    return maps


def _prediction(
    recipe: Recipe,
    maps: NDArray[np.float32],
    inner: tuple[slice, ...],
    instances: bool,
    perturbation: InputPerturbation | None = None,
) -> Prediction:
    """What is judged of the maps, turned back; objects are found with all the context there is."""
    labels = None
    if instances:
        if recipe.decoder is None:
            raise NotOffered("there is no decoder that makes objects of this network's channels")
        labels = recipe.decoder.decode(Prediction(maps, recipe.roles, recipe.threshold))
        if labels.shape != maps.shape[1:] or labels.dtype.kind not in "iu":
            raise InferenceError(
                f"decoder {recipe.decoder!r} gave {labels.dtype} of shape {labels.shape}, expected "
                f"integers of shape {maps.shape[1:]}"
            )
        if perturbation is not None:
            labels = np.asarray(perturbation.restore(labels[None]))[0]
        labels = labels[inner]
    if perturbation is not None:
        maps = perturbation.restore(maps)
    return Prediction(maps[(slice(None), *inner)], recipe.roles, recipe.threshold, labels)
