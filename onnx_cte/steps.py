"""The zoo's pre- and postprocessing steps as functions of one tensor.

Every function takes the tensor, its letters, the sample that statistics are taken from (None: the
tensor itself) and the options of the step. It leaves the tensor as it is; what it returns may
share its memory. Formulas and defaults are those of the BioImage Model Zoo's format 0.5 [1]_.

References
----------
.. [1] https://bioimage-io.github.io/spec-bioimage-io
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnx_cte.errors import DescriptorError
from onnx_cte.percentiles import percentiles

Array = NDArray[Any]

FIXED_EPS = 1e-6
"""What the zoo's runtime adds to a fixed standard deviation."""


def _ensure_dtype(x: Array, letters: str, sample: Array | None, *, dtype: str) -> Array:
    """Cast; a widening that keeps all values is left to the end, as integers are faster."""
    target = np.dtype(dtype)
    if np.can_cast(x.dtype, target, "safe"):
        return x
    if x.dtype.kind == "f" and target.kind in "iu":
        # Out of range, a direct cast is undefined; by way of int64 it wraps around everywhere.
        x = np.clip(np.nan_to_num(x), -(2.0**62), 2.0**62).astype(np.int64)
    return x.astype(target)


def _zero_mean_unit_variance(
    x: Array, letters: str, sample: Array | None, *, axes: str | None = None, eps: float = 1e-6
) -> Array:
    """(x - mean) / (std + eps)."""
    over, source = _statistics(x, letters, sample, axes)
    mean = np.mean(source, axis=over, dtype=np.float64, keepdims=True)
    std = np.std(source, axis=over, dtype=np.float64, keepdims=True, mean=mean)
    return _scaled(x, mean, std + eps)


def _fixed_zero_mean_unit_variance(
    x: Array,
    letters: str,
    sample: Array | None,
    *,
    mean: ArrayLike,
    std: ArrayLike,
    axis: str | None = None,
) -> Array:
    """(x - mean) / (std + 1e-6) with given mean and std, one for all or one per channel."""
    return _scaled(x, _along(mean, x, letters, axis), _along(std, x, letters, axis) + FIXED_EPS)


def _scale_range(
    x: Array,
    letters: str,
    sample: Array | None,
    *,
    axes: str | None = None,
    min_percentile: float = 0.0,
    max_percentile: float = 100.0,
    eps: float = 1e-6,
) -> Array:
    """(x - low) / (high - low + eps) with low, high at two percentiles; not clipped."""
    over, source = _statistics(x, letters, sample, axes)
    low, high = percentiles(source, over, (min_percentile, max_percentile), "linear")
    return _scaled(x, low, high - low + eps)


def _scale_linear(
    x: Array,
    letters: str,
    sample: Array | None,
    *,
    gain: ArrayLike = 1.0,
    offset: ArrayLike = 0.0,
    axis: str | None = None,
) -> Array:
    """Multiply by gain, then add offset: one for all or one per channel."""
    out = np.empty_like(x, _work(x))
    np.multiply(x, _along(gain, x, letters, axis), out=out, dtype=np.float64, casting="same_kind")
    out += _along(offset, x, letters, axis).astype(out.dtype)
    return out


def _clip(
    x: Array,
    letters: str,
    sample: Array | None,
    *,
    min: float | None = None,
    max: float | None = None,
    min_percentile: float | None = None,
    max_percentile: float | None = None,
    axes: str | None = None,
) -> Array:
    """Limit to values, or to those at percentiles (which are always values of pixels)."""
    asked = tuple(p for p in (min_percentile, max_percentile) if p is not None)
    bounds: list[ArrayLike | None] = [min, max]
    if asked:
        over, source = _statistics(x, letters, sample, axes)
        found: list[ArrayLike] = [*percentiles(source, over, asked, "inverted_cdf")]
        bounds[0] = min if min_percentile is None else found[0]
        bounds[1] = max if max_percentile is None else found[-1]
    dtype = x.dtype
    if dtype.kind in "iu" and not all(_fits(bound, dtype) for bound in bounds):
        dtype = np.dtype(_work(x))
    low, high = (None if bound is None else np.asarray(bound, dtype) for bound in bounds)
    clipped: Array = np.clip(x.astype(dtype, copy=False), low, high)
    return clipped


def _binarize(
    x: Array,
    letters: str,
    sample: Array | None,
    *,
    threshold: ArrayLike,
    axis: str | None = None,
) -> Array:
    """1 where strictly greater than the threshold, else 0."""
    return (x > _along(threshold, x, letters, axis).astype(_work(x))).view(np.uint8)


def _sigmoid(
    x: Array, letters: str, sample: Array | None, *, channels: Sequence[int] | None = None
) -> Array:
    """1 / (1 + exp(-x)); of some channels only, where others hold distances or flows."""
    if channels is not None:
        out = x.astype(_work(x))
        chosen = (slice(None),) * _position("c", letters) + (list(channels),)
        out[chosen] = _sigmoid(out[chosen], letters, sample)
        return out
    out = np.negative(x, dtype=_work(x))
    np.minimum(out, 87, out=out)  # exp(88.8) is more than float32 holds
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


def _softmax(x: Array, letters: str, sample: Array | None, *, axis: str = "c") -> Array:
    """exp(x) / sum(exp(x)) along an axis."""
    along = _position(axis, letters)
    out = x.astype(_work(x))
    out -= out.max(axis=along, keepdims=True)
    np.exp(out, out=out)
    out /= out.sum(axis=along, keepdims=True)
    return out


def _work(x: Array) -> type[np.floating]:
    """The float type that holds all values of a tensor well enough to compute with."""
    wide = x.dtype.itemsize > (4 if x.dtype.kind == "f" else 2)
    return np.float64 if wide else np.float32


def _fits(bound: ArrayLike | None, dtype: np.dtype[Any]) -> bool:
    """Whether a limit, or a missing one, can be written in an integer type."""
    if bound is None:
        return True
    span, values = np.iinfo(dtype), np.asarray(bound, np.float64)
    return bool(np.all((values == np.rint(values)) & (values >= span.min) & (values <= span.max)))


def _scaled(x: Array, shift: ArrayLike, divisor: ArrayLike) -> Array:
    """(x - shift) / divisor; the difference in float64, for dim detail on a bright background."""
    out = np.empty_like(x, _work(x))
    np.subtract(x, shift, out=out, dtype=np.float64, casting="same_kind")
    out /= np.asarray(divisor, out.dtype)
    return out


def _position(letter: str, letters: str) -> int:
    """Which dimension a letter names."""
    if letter not in letters or len(letter) != 1:
        raise DescriptorError(f"a step names axis '{letter}'; the tensor has axes '{letters}'")
    return letters.index(letter)


def _along(values: ArrayLike, x: Array, letters: str, axis: str | None) -> NDArray[np.float64]:
    """One value for all, or one per position along an axis, broadcastable to the tensor."""
    array = np.asarray(values, np.float64)
    if axis is None:
        if array.ndim:
            raise DescriptorError(f"a step has {array.size} values but does not name their axis")
        return array
    dimension = _position(axis, letters)
    if array.size not in (1, x.shape[dimension]):
        raise DescriptorError(
            f"a step has {array.size} values along axis '{axis}'; the tensor has "
            f"{x.shape[dimension]} there"
        )
    return array.reshape([-1 if d == dimension else 1 for d in range(x.ndim)])


def _statistics(
    x: Array, letters: str, sample: Array | None, axes: str | None
) -> tuple[tuple[int, ...], Array]:
    """The dimensions that statistics are taken over, and the array they are taken from."""
    named = (set(letters) if axes is None else set(axes)) - {"b"}
    over = tuple(sorted(_position(letter, letters) for letter in named))
    plane, volume = set(letters) & set("yx"), set(letters) & set("zyx")
    if not over or (named & volume and not plane <= named):
        volumes = ", over whole volumes (z, y and x)" if "z" in letters else ""
        raise DescriptorError(
            f"a step takes statistics over axes '{axes}' of a tensor with axes '{letters}'; "
            f"supported are those over whole planes (y and x){volumes}, over channels, or both"
        )
    return over, sample if sample is not None and named & plane else x


STEPS: dict[str, Callable[..., Array]] = {
    "binarize": _binarize,
    "clip": _clip,
    "ensure_dtype": _ensure_dtype,
    "fixed_zero_mean_unit_variance": _fixed_zero_mean_unit_variance,
    "scale_linear": _scale_linear,
    "scale_range": _scale_range,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "zero_mean_unit_variance": _zero_mean_unit_variance,
}
"""By the zoo's name: function(tensor, its letters, sample or None, **options) -> tensor."""

STATISTICAL = frozenset({"clip", "scale_range", "zero_mean_unit_variance"})
"""Steps that can depend on statistics of the image."""
