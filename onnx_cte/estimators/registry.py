"""The estimators there are, by name: classes, and classes with some of their options set."""

from dataclasses import dataclass, field
from typing import Any

from onnx_cte.estimators.accuracy import Accuracy
from onnx_cte.estimators.atc import ATC
from onnx_cte.estimators.boundary import Boundary
from onnx_cte.estimators.ccfv import CCFV
from onnx_cte.estimators.confidence import Confidence
from onnx_cte.estimators.consensus import Consensus
from onnx_cte.estimators.contrastive import Contrastive
from onnx_cte.estimators.credibility import Credibility
from onnx_cte.estimators.cte import CTE
from onnx_cte.estimators.dispersion import Dispersion
from onnx_cte.estimators.doc import DoC
from onnx_cte.estimators.gbc import GBC
from onnx_cte.estimators.h_score import HScore
from onnx_cte.estimators.image_evidence import ImageEvidence
from onnx_cte.estimators.labelled import Labelled
from onnx_cte.estimators.leep import LEEP
from onnx_cte.estimators.logme import LogME
from onnx_cte.estimators.mano import MaNo
from onnx_cte.estimators.nce import NCE
from onnx_cte.estimators.ncti import NCTI
from onnx_cte.estimators.nleep import NLEEP
from onnx_cte.estimators.nuclear_norm import NuclearNorm
from onnx_cte.estimators.otce import OTCE
from onnx_cte.estimators.pairwise import PairwiseAgreement
from onnx_cte.estimators.spectral import Spectral
from onnx_cte.estimators.staple import STAPLE
from onnx_cte.estimators.transfer_score import TransferScore
from onnx_cte.estimators.tta import TestTimeAgreement
from onnx_cte.estimators.variance import PerturbationVariance
from onnx_cte.estimators.vote import Vote
from onnx_cte.types import Estimator


@dataclass(frozen=True)
class Offer:
    """How to make what a name stands for.

    Attributes
    ----------
    kind : type
        The estimator's class; it can be made without arguments.
    options : mapping of str to object
        Those that make it what the name says; what a caller states comes first.
    says : str
        One line; empty: what the class says of itself.
    performance : str
        The option that takes the metric of performance, of one that measures performance itself:
        an evaluation sets it to its own metric. Empty: there is none.
    objects : mapping of str to object
        Options with which it looks at objects, and not at classes: an evaluation by a metric of
        objects sets them. Empty: there are none.
    """

    kind: type[Any]
    options: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    performance: str = ""
    objects: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> Estimator:
        """Make it, with these options beside, or instead of, its own."""
        made: Estimator = self.kind(**{**self.options, **options})
        return made

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return self.says or str(self.kind.summary)


ESTIMATORS: dict[str, Offer] = {
    Credibility.name: Offer(Credibility, objects={"metric": "rand_fscore"}),
    CTE.name: Offer(CTE),
    Boundary.name: Offer(Boundary, objects={"objects": True}),
    Vote.name: Offer(Vote, objects={"objects": True}),
    Confidence.name: Offer(Confidence, says="mean confidence of the predicted foreground"),
    "entropy": Offer(
        Confidence, {"kind": "entropy"}, "1 - entropy of the predicted foreground, normalised"
    ),
    PerturbationVariance.name: Offer(PerturbationVariance),
    TestTimeAgreement.name: Offer(TestTimeAgreement),
    Contrastive.name: Offer(Contrastive),
    PairwiseAgreement.name: Offer(PairwiseAgreement),
    Consensus.name: Offer(Consensus),
    STAPLE.name: Offer(STAPLE),
    Spectral.name: Offer(Spectral),
    ImageEvidence.name: Offer(ImageEvidence),
    "between": Offer(
        ImageEvidence, {"kind": "between"}, "image variance between foreground and background"
    ),
    "ring": Offer(
        ImageEvidence, {"kind": "ring"}, "image variance between foreground and a ring around it"
    ),
    "zeboudj": Offer(
        ImageEvidence, {"kind": "zeboudj"}, "Zeboudj's contrast of the predicted regions"
    ),
    "f": Offer(ImageEvidence, {"kind": "f"}, "Liu and Yang's F of the predicted regions"),
    "e": Offer(ImageEvidence, {"kind": "e"}, "Zhang's entropy E of the predicted regions"),
    NuclearNorm.name: Offer(NuclearNorm),
    MaNo.name: Offer(MaNo),
    Dispersion.name: Offer(Dispersion),
    TransferScore.name: Offer(TransferScore),
    CCFV.name: Offer(CCFV),
    "ccfv_released": Offer(
        CCFV, {"sense": "released"}, "CCFV as its released code computes it: variety counts against"
    ),
    LEEP.name: Offer(LEEP),
    NLEEP.name: Offer(NLEEP),
    NCE.name: Offer(NCE),
    LogME.name: Offer(LogME),
    GBC.name: Offer(GBC),
    HScore.name: Offer(HScore),
    "h_score_regularised": Offer(
        HScore, {"regularised": True}, "H-score with a shrunk covariance, for few pixels"
    ),
    NCTI.name: Offer(NCTI),
    **{
        f"labelled_{k}": Offer(Labelled, {"k": k}, f"performance on {of}", performance="metric")
        for k, of in (
            (1, "one labelled image: what labelling it would buy"),
            (3, "three labelled images"),
            (5, "five labelled images"),
            (10, "ten labelled images"),
        )
    },
    OTCE.name: Offer(OTCE),
    "jc_otce": Offer(
        OTCE, {"kind": "jc_otce"}, "OTCE with distances of classes in its cost (JC-OTCE)"
    ),
    ATC.name: Offer(ATC),
    DoC.name: Offer(DoC),
    Accuracy.name: Offer(Accuracy),
}
"""In the order in which tables show them where nothing else decides it."""
