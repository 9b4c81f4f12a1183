"""What estimators ask to see: perturbations, labels, objects, feature maps, source images."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import OptionError


class InputPerturbation(Protocol):
    """Disturbs the normalised input of a network, and turns the prediction back.

    `name` is unique to the perturbation and its strength: it is shown, it seeds the generator and
    it keys the perturbed predictions.
    """

    @property
    def name(self) -> str: ...

    def apply(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Disturbed copy of a normalised (1, C, H, W) tensor, or (1, C, D, H, W); it stays."""
        ...

    def restore(self, maps: NDArray[Any]) -> NDArray[Any]:
        """(C, H, W) maps of the disturbed input, turned back into the reference's frame.

        Also (1, H, W) label images, whose values have to stay as they are.
        """
        ...


class FeaturePerturbation(Protocol):
    """Disturbs feature maps inside a network by a factor; `taps` says which maps.

    `name` is unique to the perturbation, its strength and its taps: it is shown, it seeds the
    generator and it keys the perturbed predictions. `taps` are as ``onnx-cte inspect`` lists them
    ("bottleneck", "encoder/2", "decoder/4", "skip/1"), or the groups "skips", "encoder" and
    "decoder". `reads_features` says whether `factor` has to see the undisturbed features, which
    costs a run of the network more.
    """

    @property
    def name(self) -> str: ...
    @property
    def taps(self) -> tuple[str, ...]: ...
    @property
    def reads_features(self) -> bool: ...

    def factor(
        self,
        shape: tuple[int, ...],
        features: NDArray[np.float32] | None,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Factor for one map of shape (1, C, *spatial), such as (1, C, 1, 1): it is broadcast.

        `features` is the undisturbed map if `reads_features`, else it may be None.
        """
        ...


Perturbation = InputPerturbation | FeaturePerturbation
"""One may also say by ``random``, a bool, whether it draws anything; unsaid, it is taken to."""


def disturbs_input(perturbation: Perturbation) -> TypeGuard[InputPerturbation]:
    """Whether a perturbation disturbs the input (it has ``apply``) rather than features."""
    return hasattr(perturbation, "apply")


def disturbs_features(perturbation: Perturbation) -> TypeGuard[FeaturePerturbation]:
    """Whether a perturbation disturbs features rather than the input."""
    # Not by ``factor``: that of a contrast is a number.
    return not disturbs_input(perturbation)


@dataclass(frozen=True, slots=True)
class View:
    """A disturbed input of which only feature maps are looked at, and no prediction.

    Attributes
    ----------
    perturbation : InputPerturbation
        One with an attribute ``shared`` that is true draws the same for every image.
    taps : tuple of str
        As in `Needs`.

    Examples
    --------
    >>> from onnx_cte.perturbations import GaussianNoise
    >>> View(GaussianNoise(0.1), taps=("bottleneck",)).perturbation.name
    'noise=0.1'
    """

    perturbation: InputPerturbation
    taps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """What an estimator asks to see of every image; the needs of several unite with ``|``.

    Attributes
    ----------
    perturbations : tuple of Perturbation
        Of which predictions are looked at.
    truth : bool
        Labels.
    instances : bool
        Objects of the reference and of all `perturbations`; `decoded` keeps the names of these,
        for after a union there may be others of which only maps are asked for.
    taps : tuple of str
        Feature maps of the undisturbed image: "bottleneck", "encoder/2" and so on, as
        ``onnx-cte inspect`` lists them, or "encoder#1", "decoder#1", "decoder#-1": the first, ...,
        or the last of that part in the order in which they are computed (the bottleneck is in
        neither), which exist in networks of any depth.
    views : tuple of View
        Disturbed inputs of which only feature maps are looked at.
    source : bool
        The same of the model's own training domain, with its labels, beside the images ranked on.

    Examples
    --------
    >>> Needs(truth=True).supplied, Needs(source=True).supplied, Needs().supplied
    (('labels',), ('source',), ())
    """

    perturbations: tuple[Perturbation, ...] = ()
    truth: bool = False
    instances: bool = False
    decoded: frozenset[str] | None = None
    taps: tuple[str, ...] = ()
    views: tuple[View, ...] = ()
    source: bool = False

    def __post_init__(self) -> None:
        if self.decoded is None:
            names = frozenset(p.name for p in self.perturbations if self.instances)
            object.__setattr__(self, "decoded", names)

    @property
    def supplied(self) -> tuple[str, ...]:
        """What a user has to give beside models and images: "labels", "source", both or nothing."""
        return ("labels",) * self.truth + ("source",) * self.source

    def decodes(self, name: str) -> bool:
        """Whether objects are asked for of the prediction under the perturbation of that name."""
        return name in (self.decoded or ())

    @property
    def inputs(self) -> tuple[InputPerturbation, ...]:
        """Those of the perturbations that disturb the input, in order."""
        return tuple(filter(disturbs_input, self.perturbations))

    @property
    def features(self) -> tuple[FeaturePerturbation, ...]:
        """Those of the perturbations that disturb features, in order."""
        return tuple(filter(disturbs_features, self.perturbations))

    def __or__(self, other: "Needs") -> "Needs":
        by_name: dict[str, Perturbation] = {}
        for perturbation in (*self.perturbations, *other.perturbations):
            _agree(perturbation, by_name.setdefault(perturbation.name, perturbation))
        views: dict[str, View] = {}
        for view in (*self.views, *other.views):
            known = views.get(view.perturbation.name, view)
            _agree(view.perturbation, known.perturbation)
            taps = tuple(dict.fromkeys((*known.taps, *view.taps)))
            views[view.perturbation.name] = View(known.perturbation, taps)
        return Needs(
            tuple(by_name.values()),
            self.truth or other.truth,
            self.instances or other.instances,
            (self.decoded or frozenset()) | (other.decoded or frozenset()),
            tuple(dict.fromkeys((*self.taps, *other.taps))),
            tuple(views.values()),
            self.source or other.source,
        )


def _agree(one: Perturbation, other: Perturbation) -> None:
    """Refuse two perturbations of one name: predictions could not be told apart."""
    if one != other:
        raise OptionError(
            f"two different perturbations have the name '{one.name}'; a name has to tell the "
            "strength too, for it seeds the draw and keys the predictions"
        )
