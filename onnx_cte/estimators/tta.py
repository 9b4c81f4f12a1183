"""Agreement under flips and right-angle rotations of the image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError
from onnx_cte.estimators.cte import CTE
from onnx_cte.needs import Needs
from onnx_cte.perturbations import Flip, Rotation
from onnx_cte.types import Observation


@dataclass(frozen=True)
class TestTimeAgreement:
    """How well a model agrees with itself on the mirrored and the turned image [1]_.

    Of an image: the consistency of the prediction on the transformed image, turned back, with that
    on the image as it is, averaged over the transformations. Of a model: the median over the
    images, silence as for `CTE`. In microscopy there is no upright, so a good model has no reason
    to answer otherwise; one trained without such augmentation still may.

    Parameters
    ----------
    metric : str
        A consistency metric, as for `CTE`: ``nhd``, ``ei`` or ``rand_fscore``.
    transforms : tuple of Flip and Rotation
        At least one; each is a pass of the network, hence one alone by default.

    References
    ----------
    .. [1] Aithal, S. K. et al. (2021), Robustness to augmentations as a generalization metric,
       arXiv:2101.06459.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.TestTimeAgreement())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    metric: str = "nhd"
    transforms: tuple[Flip | Rotation, ...] = (Rotation(90),)

    name: ClassVar[str] = "tta"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "consistency under flips and right-angle rotations"
    __test__: ClassVar[bool] = False  # a name that begins with Test is no test

    def __post_init__(self) -> None:
        given: Any = self.transforms
        several = isinstance(given, Iterable) and not isinstance(given, str)
        object.__setattr__(self, "transforms", tuple(given) if several else (given,))
        for transform in self.transforms:
            if not isinstance(transform, Flip | Rotation):
                raise OptionError(
                    f"tta: transforms are flips and rotations, as Flip('x') and Rotation(90), not "
                    f"{transform!r}; other perturbations are for cte"
                )
        if not self.transforms:
            raise OptionError("tta without transforms; give at least one, as Flip('x')")
        try:
            self._cte  # noqa: B018 - its checks
        except OptionError as error:
            raise OptionError(f"tta, which measures as CTE does: {error}") from None

    @property
    def title(self) -> str:
        return f"tta {self.metric} {'+'.join(t.name for t in self.transforms)}"

    @property
    def needs(self) -> Needs:
        return self._cte.needs

    def measure(self, seen: Observation) -> Evidence:
        return self._cte.measure(seen)

    def score(self, bank: Bank) -> Mapping[str, float]:
        return self._cte.score(bank)

    @property
    def _cte(self) -> CTE:
        return CTE(self.metric, self.transforms, draws=1)
