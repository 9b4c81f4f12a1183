"""CCFV: features of a class should be alike in all images, and images as a whole unlike."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import ModelError, OptionError, unknown_name
from onnx_cte.estimators.image_pairs import ImagePairs, image_pairs
from onnx_cte.estimators.sampling import (
    MOST_BYTES,
    Labels,
    check_flag,
    check_integer,
    check_labels,
    class_map,
    draw_positions,
    feature_map,
    features_at,
)
from onnx_cte.estimators.silence import seen_by
from onnx_cte.estimators.titles import titled
from onnx_cte.estimators.wasserstein import gaussian, packed, packed_size
from onnx_cte.needs import Needs
from onnx_cte.perturbations import generator
from onnx_cte.types import Observation

Sense = Literal["paper", "released"]
# What a piece of evidence holds beside its arrays' numbers: names, headers, lengths.
_OVERHEAD = 1 << 13


@dataclass(frozen=True)
class CCFV:
    """Class consistency and feature variety: how well features suit the labels [1]_.

    Of a layer: W, the 2-Wasserstein distance between Gaussians fitted to an image's feature
    vectors of a foreground class, averaged over pairs of images, then over classes; and E, the
    hyperspherical energy of the images' mean vectors (over all that was sampled of them, as many of
    each class), averaged over pairs. Classes that are alike everywhere (W small) in features that
    vary (E small) score high. Of a model: ``log((1 / E) / W)`` averaged over layers.

    An image without two pixels of a class is left out of that class's pairs; without two of any,
    of all. Undefined (NaN) without two images that show one class, and where no image's features of
    a class differ from another's (W = 0, as of constant features): the quotient says nothing there,
    and infinity would let a dead network win.

    Evidence is, of each layer and class, the mean and a triangular factor of the covariance, in
    single precision: at most 1 MB. Where so many vectors of so many classes would take more, the
    same share of all is drawn, and `remarks` says so.

    Parameters
    ----------
    sense : {"paper", "released"}
        As above; or what the authors' released code computes, to the last factor: the sum over
        layers of ``log(E / w)``, E itself above the line, and w counted class after class as ``w +=
        sum over pairs of W``, ``w += w / (L^2 / 2) / C``, over L images and C classes.
    layers : tuple of str
        Taps, from coarse to fine.
    vectors : tuple of int, >= 2
        Pixels drawn of each class in an image, by layer; all there are if a class has fewer.
    labels : {"truth", "classes", "pseudo"}
        Foreground by the labels; class indices in the labels; or, against the method's intention
        but without labels, what the model itself decides.
    images : int, >= 2
        Compared at most, for pairs grow with its square. If there are more, as many are drawn, by
        name and seed, the same for every model that has evidence of the same.
    sphere : bool
        Project the images' mean vectors to the unit sphere, which gives the energy its name. The
        released code does not.

    References
    ----------
    .. [1] Yang, Y. et al. (2023), "Pick the Best Pre-trained Model: Towards Transferability
       Estimation for Medical Image Segmentation", MICCAI, arXiv:2307.11958. Layers, and numbers of
       vectors, as arXiv:2503.00450 used it.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.CCFV())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    sense: Sense = "paper"
    layers: tuple[str, ...] = ("bottleneck", "decoder#1", "decoder#2")
    vectors: tuple[int, ...] = (100, 200, 400)
    labels: Labels = "truth"
    images: int = 100
    sphere: bool = False

    name: ClassVar[str] = "ccfv"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "class consistency and feature variety (CCFV): features against labels"

    def __post_init__(self) -> None:
        if self.sense not in get_args(Sense):
            raise unknown_name("sense of CCFV", str(self.sense), get_args(Sense))
        check_labels(self.labels)
        object.__setattr__(self, "layers", _tuple_of(self.layers, str, "layers", "tap names"))
        object.__setattr__(self, "vectors", _tuple_of(self.vectors, int, "vectors", "integers"))
        if len(set(self.layers)) < len(self.layers):
            raise OptionError(f"CCFV got a layer twice: {', '.join(self.layers)}; name each once")
        if len(self.vectors) != len(self.layers):
            raise OptionError(
                f"CCFV got {len(self.layers)} layers and {len(self.vectors)} numbers of vectors; "
                "give as many of both"
            )
        if min(self.vectors) < 2:
            raise OptionError(
                f"CCFV: a covariance needs at least 2 vectors of a class, not {min(self.vectors)}"
            )
        check_integer("CCFV compares pairs: images", self.images, 2)
        check_flag("CCFV: sphere", self.sphere)
        if self.sphere and self.sense == "released":
            raise OptionError(
                "CCFV: the released code does not project to the sphere; leave sphere=True out, "
                "or take sense='paper'"
            )

    @property
    def title(self) -> str:
        return titled(
            self,
            "ccfv",
            sense="{}",
            labels="{}",
            sphere="sphere",
            vectors="{} px",
            images="{} images",
            layers="@{}",
        )

    @property
    def needs(self) -> Needs:
        return Needs(truth=self.labels != "pseudo", taps=self.layers)

    @property
    def measures(self) -> str:
        return f"ccfv {self.layers} {self.vectors} {self.labels}"

    def measure(self, seen: Observation) -> Evidence:
        classes = class_map(seen, self.labels)
        found, pixels = np.unique(classes, return_counts=True)
        # Two vectors are the least of which there is a covariance.
        kept = found[(found != 0) & (pixels >= 2)]
        widths = [feature_map(seen, layer).channels for layer in self.layers]
        share = self._share(widths, pixels[np.isin(found, kept)])
        evidence: dict[str, Any] = {
            "image": seen.image,
            "order": float(generator(seen.seed, seen.image, "ccfv order").random()),
            "share": share,
            "classes": kept.astype(np.int64),
            **seen_by(seen.reference),
        }
        for number, (layer, most) in enumerate(zip(self.layers, self.vectors, strict=True)):
            rng = generator(seen.seed, seen.image, f"ccfv {layer}")
            places = draw_positions(classes, max(2, int(share * most)), rng)
            drawn = classes[tuple(places.T)]
            features = features_at(seen, layer, places)
            clouds = [gaussian(features[drawn == label]) for label in kept]
            evidence |= {
                f"global{number}": features.mean(axis=0, dtype=np.float64).astype(np.float32),
                f"means{number}": _stacked([mean for mean, _ in clouds], features.shape[1]),
                f"rows{number}": np.array([len(factor) for _, factor in clouds], np.int64),
                f"factors{number}": np.concatenate(
                    [np.empty(0, np.float32), *(packed(factor) for _, factor in clouds)]
                ),
            }
        return evidence

    def score(self, bank: Bank) -> Mapping[str, float]:
        counts = bank.counts
        return {
            model: self._of_layers([self._layer(pairs, counts) for pairs in layers])
            for model, layers in self._pairs(bank).items()
        }

    def remarks(self, bank: Bank) -> tuple[str, ...]:
        """Whether fewer images or vectors were taken than there are, or were asked for."""
        found = []
        shares = [seen["share"] for row in bank.values() for seen in row if seen is not None]
        if min(shares, default=1) < 1:
            found.append(
                f"down to {min(shares):.0%} of the vectors asked for were drawn, to keep "
                "evidence below 1 MB an image; name fewer layers or classes"
            )
        most = max(
            (len({seen["image"] for seen in _shown(row)}) for row in bank.values()), default=0
        )
        if most > self.images:
            found.append(
                f"{self.images} of {most} images are compared with each other; more with the "
                "option images"
            )
        return tuple(found)

    def _share(self, widths: Sequence[int], pixels: NDArray[np.integer]) -> float:
        """How much of the vectors asked for are drawn, so that the evidence stays small."""

        def size(share: float) -> int:
            total = _OVERHEAD
            for width, most in zip(widths, self.vectors, strict=True):
                total += 4 * width
                for available in pixels:
                    count = min(max(2, int(share * most)), int(available))
                    total += 4 * width + 8 + 4 * packed_size(min(count - 1, width), width)
            return total

        share = 1.0
        while size(share) > MOST_BYTES:
            share *= 0.95
            if share * max(self.vectors) < 2:
                raise ModelError(
                    f"CCFV: the features of {len(pixels)} classes at {', '.join(self.layers)} take "
                    "more than 1 MB an image however few are drawn; name fewer layers"
                )
        return share

    def _pairs(self, bank: Bank) -> dict[str, list[ImagePairs]]:
        key = f"{self.measures} {self.images} {self.sphere}"
        return bank.derived(key, lambda whole: {m: self._crossed(whole[m]) for m in whole})

    def _crossed(self, row: Sequence[Evidence | None]) -> list[ImagePairs]:
        """Every layer's distances between the images of one model."""
        shown = _shown(row)
        # One image may be there twice; it is drawn, or is not, as one.
        last = max(sorted({seen["order"] for seen in shown})[: self.images], default=-1.0)
        images, taken = [], []
        for number, seen in enumerate(row):
            if seen is not None and len(seen["classes"]) and seen["order"] <= last:
                images.append(seen)
                taken.append(number)
        return [
            image_pairs(images, np.array(taken, np.intp), number, self.sphere)
            for number in range(len(self.layers))
        ]

    def _layer(self, pairs: ImagePairs, counts: NDArray[np.float64]) -> float:
        """One layer's term; NaN if undefined."""
        drawn = counts[pairs.taken]
        sums, numbers = [], []
        for distances, shown in zip(pairs.distances, pairs.shown, strict=True):
            weight = drawn * shown
            if not weight.any():
                continue  # not among the classes of these images
            sums.append(float(weight @ distances @ weight) / 2)
            numbers.append(float(weight @ pairs.different @ weight) / 2)
        everyone = float(drawn @ pairs.different @ drawn) / 2
        if not any(sums) or not everyone:
            return math.nan
        energy = float(drawn @ pairs.energies @ drawn) / 2 / everyone
        if self.sense == "paper":
            means = [total / number for total, number in zip(sums, numbers, strict=True) if number]
            return -math.log(energy * (sum(means) / len(means)))
        images, total = float(drawn.sum()), 0.0
        for part in sums:
            total += part
            total += total / (images**2 / 2) / len(sums)
        return math.log(energy / total)

    def _of_layers(self, terms: Sequence[float]) -> float:
        return sum(terms) / (len(terms) if self.sense == "paper" else 1)


def _shown(row: Sequence[Evidence | None]) -> list[Evidence]:
    """Evidence of the images that show a class of the foreground."""
    return [seen for seen in row if seen is not None and len(seen["classes"])]


def _tuple_of(given: Any, kind: type, option: str, wanted: str) -> tuple[Any, ...]:
    """A tuple of what may be given as a list, or as a single one."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    found = tuple(given) if several else (given,)
    if not found or not all(isinstance(one, kind) and not isinstance(one, bool) for one in found):
        raise OptionError(f"CCFV: {option} are {wanted}, one at least, not {given!r}")
    return found


def _stacked(means: Sequence[NDArray[np.float64]], width: int) -> NDArray[np.float32]:
    """Means as rows, shape (classes, width), also of no class."""
    return np.array(means, np.float32).reshape(len(means), width)
