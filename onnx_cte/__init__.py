"""Which pre-trained segmentation model will do best on these images? Ranked without labels.

>>> import onnx_cte as oc
>>> models = oc.open_models("models/nuclei")  # doctest: +SKIP
>>> ranking = oc.rank(models, oc.Images("plate7/*.tif"), oc.Credibility())  # doctest: +SKIP
>>> print(ranking)  # doctest: +SKIP
"""

from onnx_cte.agreement import Agreement, agreement
from onnx_cte.bank import Bank
from onnx_cte.bundled import bundled_models
from onnx_cte.errors import (
    CTEError,
    DescriptorError,
    DeviceError,
    GraphError,
    ImageError,
    InferenceError,
    LabelsError,
    ModelError,
    NothingToRank,
    NotInstalled,
    NotOffered,
    OptionError,
    OutputError,
    SelfTestFailed,
)
from onnx_cte.estimators import (
    CTE,
    Accuracy,
    Confidence,
    Credibility,
    estimator_named,
    parse_estimator,
)
from onnx_cte.estimators.atc import ATC
from onnx_cte.estimators.boundary import Boundary
from onnx_cte.estimators.ccfv import CCFV
from onnx_cte.estimators.consensus import Consensus
from onnx_cte.estimators.contrastive import Contrastive
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
from onnx_cte.evaluations import write_evaluation
from onnx_cte.features import FeatureMap
from onnx_cte.images import Images
from onnx_cte.metrics.masks import (
    effective_invariance,
    f1,
    f1_classes,
    mean_confidence,
    mean_entropy,
    normalized_hamming,
)
from onnx_cte.metrics.matching import average_precision, f1_50
from onnx_cte.metrics.rand import rand_fscore
from onnx_cte.needs import FeaturePerturbation, InputPerturbation, Needs, View
from onnx_cte.packaging import Package, write_package
from onnx_cte.perturbations import (
    Brightness,
    Contrast,
    Dropout,
    FeatureDrop,
    FeatureNoise,
    Flip,
    Gamma,
    GaussianNoise,
    Rotation,
)
from onnx_cte.pictures import Picture
from onnx_cte.picturing import take_pictures
from onnx_cte.postprocessing import parse_decoder
from onnx_cte.predicting import Predicted, predict
from onnx_cte.progress import Progress
from onnx_cte.ranking import Ranking, Score
from onnx_cte.report import read_ranking, write_page, write_report
from onnx_cte.runner import rank, rank_each
from onnx_cte.segmenters import BlackBox, OnnxModel, open_models
from onnx_cte.separation import Separation
from onnx_cte.simulation import NucleiField, simulate_images, simulate_nuclei
from onnx_cte.sweep import Sweep, SweepRow, sweep, sweep_each
from onnx_cte.types import Decoder, Estimator, Image, Model, Observation, Prediction, Segmenter

__all__ = [
    "ATC",
    "CCFV",
    "CTE",
    "GBC",
    "LEEP",
    "NCE",
    "NCTI",
    "NLEEP",
    "OTCE",
    "STAPLE",
    "Accuracy",
    "Agreement",
    "Bank",
    "BlackBox",
    "Boundary",
    "Brightness",
    "CTEError",
    "Confidence",
    "Consensus",
    "Contrast",
    "Contrastive",
    "Credibility",
    "Decoder",
    "DescriptorError",
    "DeviceError",
    "Dispersion",
    "DoC",
    "Dropout",
    "Estimator",
    "FeatureDrop",
    "FeatureMap",
    "FeatureNoise",
    "FeaturePerturbation",
    "Flip",
    "Gamma",
    "GaussianNoise",
    "GraphError",
    "HScore",
    "Image",
    "ImageError",
    "ImageEvidence",
    "Images",
    "InferenceError",
    "InputPerturbation",
    "Labelled",
    "LabelsError",
    "LogME",
    "MaNo",
    "Model",
    "ModelError",
    "Needs",
    "NotInstalled",
    "NotOffered",
    "NothingToRank",
    "NuclearNorm",
    "NucleiField",
    "Observation",
    "OnnxModel",
    "OptionError",
    "OutputError",
    "Package",
    "PairwiseAgreement",
    "PerturbationVariance",
    "Picture",
    "Predicted",
    "Prediction",
    "Progress",
    "Ranking",
    "Rotation",
    "Score",
    "Segmenter",
    "SelfTestFailed",
    "Separation",
    "Spectral",
    "Sweep",
    "SweepRow",
    "TestTimeAgreement",
    "TransferScore",
    "View",
    "Vote",
    "agreement",
    "average_precision",
    "bundled_models",
    "effective_invariance",
    "estimator_named",
    "f1",
    "f1_50",
    "f1_classes",
    "mean_confidence",
    "mean_entropy",
    "normalized_hamming",
    "open_models",
    "parse_decoder",
    "parse_estimator",
    "predict",
    "rand_fscore",
    "rank",
    "rank_each",
    "read_ranking",
    "simulate_images",
    "simulate_nuclei",
    "sweep",
    "sweep_each",
    "take_pictures",
    "write_evaluation",
    "write_package",
    "write_page",
    "write_report",
]
