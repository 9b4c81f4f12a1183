"""Which pre-trained segmentation model will do best on these images? Ranked without labels.

>>> import onnx_cte as oc
>>> models = oc.open_models("models/nuclei")  # doctest: +SKIP
>>> ranking = oc.rank(models, oc.Images("plate7/*.tif"), oc.CTE())  # doctest: +SKIP
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
    NotOffered,
    OptionError,
    OutputError,
    SelfTestFailed,
)
from onnx_cte.estimators import CTE, Accuracy, Confidence
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
from onnx_cte.needs import FeaturePerturbation, InputPerturbation, Needs
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
from onnx_cte.postprocessing import parse_decoder
from onnx_cte.predicting import Predicted, predict
from onnx_cte.ranking import Ranking, Score
from onnx_cte.report import read_ranking, write_evaluation, write_report
from onnx_cte.runner import rank, rank_each
from onnx_cte.segmenters import BlackBox, OnnxModel, open_models
from onnx_cte.separation import Separation
from onnx_cte.simulation import NucleiField, simulate_images, simulate_nuclei
from onnx_cte.sweep import Sweep, SweepRow, sweep, sweep_each
from onnx_cte.types import Decoder, Estimator, Image, Model, Observation, Prediction, Segmenter

__all__ = [
    "CTE",
    "Accuracy",
    "Agreement",
    "Bank",
    "BlackBox",
    "Brightness",
    "CTEError",
    "Confidence",
    "Contrast",
    "Decoder",
    "DescriptorError",
    "DeviceError",
    "Dropout",
    "Estimator",
    "FeatureDrop",
    "FeatureNoise",
    "FeaturePerturbation",
    "Flip",
    "Gamma",
    "GaussianNoise",
    "GraphError",
    "Image",
    "ImageError",
    "Images",
    "InferenceError",
    "InputPerturbation",
    "LabelsError",
    "Model",
    "ModelError",
    "Needs",
    "NotOffered",
    "NothingToRank",
    "NucleiField",
    "Observation",
    "OnnxModel",
    "OptionError",
    "OutputError",
    "Predicted",
    "Prediction",
    "Ranking",
    "Rotation",
    "Score",
    "Segmenter",
    "SelfTestFailed",
    "Separation",
    "Sweep",
    "SweepRow",
    "agreement",
    "average_precision",
    "bundled_models",
    "effective_invariance",
    "f1",
    "f1_50",
    "f1_classes",
    "mean_confidence",
    "mean_entropy",
    "normalized_hamming",
    "open_models",
    "parse_decoder",
    "predict",
    "rand_fscore",
    "rank",
    "rank_each",
    "read_ranking",
    "simulate_images",
    "simulate_nuclei",
    "sweep",
    "sweep_each",
    "write_evaluation",
    "write_report",
]
