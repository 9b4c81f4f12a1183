"""The zoo's pre- and postprocessing steps as pure functions, and steps chosen by name.

Formulas and defaults are those of the BioImage Model Zoo's format 0.5 [1]_, with one difference:
statistics are always those of one image. Where the zoo's own runtime would take them over all the
images it has seen (axes left out, or with the batch among them), results would depend on the order
of images.

A tensor has one letter per dimension: b(atch), c(hannel), i(ndex), t(ime), z, y, x.

References
----------
.. [1] https://bioimage-io.github.io/spec-bioimage-io
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from onnx_cte.errors import DescriptorError, ImageError, OptionError, unknown_name
from onnx_cte.steps import STATISTICAL, STEPS, Array

LETTERS = "bcitzyx"
"""Every letter that can name a dimension."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name in the zoo and its options, sorted by name, all of them plain data.

    Examples
    --------
    >>> step = Step.of("scale_range", min_percentile=1.0, axes="yx")
    >>> print(step)
    scale_range(axes=yx, min_percentile=1)
    >>> step.get("axes"), step.get("eps", 1e-6)
    ('yx', 1e-06)
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, name: str, **options: Any) -> Self:
        """A step from keyword options; lists become tuples."""
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        return cls(name, tuple(sorted(plain.items())))

    def get(self, option: str, default: Any = None) -> Any:
        """An option's value, or the default where it is not given."""
        return dict(self.options).get(option, default)

    def __str__(self) -> str:
        texts = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.options]
        return f"{self.name}({', '.join(texts)})"


NORMALISATIONS: dict[str, tuple[Step, ...]] = {
    "percentile": (Step.of("scale_range", axes="yx", min_percentile=1.0, max_percentile=99.8),),
    "zscore": (Step.of("zero_mean_unit_variance", axes="yx"),),
    "minmax": (Step.of("scale_range", axes="yx", min_percentile=0.0, max_percentile=100.0),),
    "none": (),
}
"""What `named_steps` knows, as it is for planes."""


def apply_steps(
    tensor: Array, axes: str, steps: Sequence[Step], sample: Array | None = None
) -> Array:
    """Run steps on one image, or on a network's output for it.

    Parameters
    ----------
    tensor : ndarray of any real dtype, finite values
        One dimension per letter of `axes`. It stays as it is.
    axes : str
        Letters, each at most once.
    steps : sequence of Step
    sample : ndarray or None, same axes
        Where statistics are taken from when `tensor` is only a part of an image: the thinned whole.
        Every step is applied to it too. Statistics of single pixels (over channels only) are those
        of `tensor` itself.

    Returns
    -------
    ndarray of float32, shape of `tensor`
        Always new memory. If the last step is an ``ensure_dtype``: of that dtype.

    Raises
    ------
    DescriptorError
        For an unknown step or option, or letters that do not fit the tensor.
    ImageError
        If the tensor's values are not real numbers.

    Examples
    --------
    >>> pixels = np.array([[0, 10], [20, 40]], np.uint8)
    >>> apply_steps(pixels, "yx", named_steps("minmax")).round(3).tolist()
    [[0.0, 0.25], [0.5, 1.0]]
    """
    if tensor.ndim != len(axes) or len(set(axes)) < len(axes) or not set(axes) <= set(LETTERS):
        raise DescriptorError(
            f"axes '{axes}' do not fit a tensor of shape {tensor.shape}; expected one letter of "
            f"'{LETTERS}' per dimension, each at most once"
        )
    values, reference = _real(tensor), None if sample is None else _real(sample)
    for position, step in enumerate(steps):
        function, options = _bound(step), dict(step.options)
        result = function(values, axes, reference, **options)
        if reference is not None and any(s.name in STATISTICAL for s in steps[position + 1 :]):
            reference = function(reference, axes, None, **options)
        values = result
    last = steps[-1] if steps else None
    dtype = last.get("dtype") if last and last.name == "ensure_dtype" else np.float32
    return values.astype(dtype, copy=np.may_share_memory(values, tensor))


def check_steps(steps: Sequence[Step], axes: str, channels: int | None) -> None:
    """Find out before any image is read whether steps can be run, by running them on a blank one.

    Parameters
    ----------
    steps : sequence of Step
    axes : str
        Letters of the tensors that the steps will see.
    channels : int or None
        How many channels those have.

    Raises
    ------
    DescriptorError
        As `apply_steps` does; also for lists of values that do not match the channels.

    Examples
    --------
    >>> check_steps([Step.of("sigmoid")], "bcyx", 2)
    """
    sides = {"b": 1, "c": channels or 1}
    apply_steps(np.zeros([sides.get(letter, 2) for letter in axes], np.float32), axes, steps)


def named_steps(normalize: str, over: str = "yx") -> tuple[Step, ...]:
    """Preprocessing chosen by a word, for models that come without a description.

    Every channel is normalised on its own.

    Parameters
    ----------
    normalize : {"percentile", "zscore", "minmax", "none"}
        ``percentile`` maps the 1st and the 99.8th percentile to 0 and 1, ``minmax`` the extremes;
        ``zscore`` gives mean 0 and standard deviation 1.
    over : {"yx", "zyx"}
        Axes that statistics are taken over: those of planes, or of whole volumes, whose slices
        keep their brightness among each other. ``yx`` would normalise each slice of a volume alone.

    Returns
    -------
    tuple of Step

    Raises
    ------
    OptionError
        For another word, or other axes.

    Examples
    --------
    >>> print(*named_steps("percentile"))
    scale_range(axes=yx, max_percentile=99.8, min_percentile=1)
    >>> print(*named_steps("zscore", "zyx"))
    zero_mean_unit_variance(axes=zyx)
    """
    if normalize not in NORMALISATIONS:
        raise unknown_name("normalisation", normalize, NORMALISATIONS)
    if over not in ("yx", "zyx"):
        raise OptionError(
            f"normalisation over axes '{over}': expected 'yx' (planes) or 'zyx' (volumes)"
        )
    steps = NORMALISATIONS[normalize]
    return tuple(Step.of(step.name, **{**dict(step.options), "axes": over}) for step in steps)


def _bound(step: Step) -> Callable[..., Array]:
    """The function of a step, once it is known that the step's options fit it."""
    if step.name not in STEPS:
        raise DescriptorError(
            f"step '{step.name}' is not supported; supported are: {', '.join(STEPS)}"
        )
    try:
        inspect.signature(STEPS[step.name]).bind(None, "", None, **dict(step.options))
    except TypeError as error:
        raise DescriptorError(f"step {step}: {error}") from error
    return STEPS[step.name]


def _real(tensor: Array) -> Array:
    """The tensor in one of the dtypes that the steps are written for."""
    if tensor.dtype.kind not in "buif":
        raise ImageError(f"pixels are of type {tensor.dtype}; expected real numbers")
    if tensor.dtype.kind == "b":
        return tensor.view(np.uint8)
    if tensor.dtype.kind == "f" and tensor.dtype.itemsize not in (4, 8):
        return tensor.astype(np.float32 if tensor.dtype.itemsize < 4 else np.float64)
    return tensor
