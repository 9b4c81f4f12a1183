"""Every exception of the package.

::

    CTEError
      OptionError (ValueError)      an option, name or value the user gave cannot be used
      DeviceError                   the device asked for is not there
      NothingToRank                 no model, or no image, is left to work on
      LabelsError                   labels and images do not belong together
      NotInstalled (ImportError)    a package that only some things need is not there
      OutputError                   results or evidence cannot be written or read back
      ImageError                    one image cannot be used: it becomes a skipped row
      ModelError                    one model cannot be used: it becomes a failed row
        DescriptorError             its description cannot be read, or asks for what we cannot do
        GraphError                  its ONNX file is broken or is no segmentation network
        SelfTestFailed              it does not reproduce its own test tensors
        InferenceError              ONNX Runtime failed while running it
        NotOffered                  it cannot show what one estimator needs: failed for that alone

``ImageError`` and ``ModelError`` never end a run (unless ``strict=True``): the runner lists them
with their text, so the text names the thing, what was found, what was expected and the way out.
"""

import difflib
from collections.abc import Iterable


class CTEError(Exception):
    """Root of all errors this package raises on purpose."""


class OptionError(CTEError, ValueError):
    """An option, a name or a value given by the user cannot be used."""


class DeviceError(CTEError):
    """The device asked for is not available."""


class NothingToRank(CTEError):
    """No model or no image is left to work on."""


class LabelsError(CTEError):
    """Labels and images do not belong together."""


class NotInstalled(CTEError, ImportError):
    """A package that only some things need is not installed."""


class OutputError(CTEError):
    """Results or evidence cannot be written or read back."""


class ImageError(CTEError):
    """One image cannot be used; the run goes on without it."""


class ModelError(CTEError):
    """One model cannot be used; the run goes on without it."""


class DescriptorError(ModelError):
    """A model description cannot be read, or asks for what we cannot do."""


class GraphError(ModelError):
    """An ONNX file is broken, or is not a segmentation network."""


class SelfTestFailed(ModelError):
    """A model does not reproduce its own test tensors."""


class InferenceError(ModelError):
    """ONNX Runtime failed while running a model."""


class NotOffered(ModelError):
    """A model cannot show what an estimator needs; others may still rank it."""


FATAL = (DeviceError, OutputError)
"""These concern a whole run: no row for one model or one image could stand for them."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> OptionError:
    """Error for a name that is not in a registry, with the nearest known name.

    Parameters
    ----------
    kind : str
        What the name should be, in the singular: "metric".
    name : str
        The name as given.
    known : iterable of str
        The names there are.

    Returns
    -------
    OptionError
        To be raised by the caller.

    Examples
    --------
    >>> print(unknown_name("metric", "nhdd", ["nhd", "ei"]))
    unknown metric 'nhdd': did you mean 'nhd'? There are: ei, nhd
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f": did you mean '{near[0]}'?" if near else "."
    return OptionError(f"unknown {kind} '{name}'{hint} There are: {', '.join(names)}")


def reason_of(error: BaseException) -> str:
    r"""One line for a row of results; an error that is not ours is named by its type.

    Examples
    --------
    >>> reason_of(ModelError("no\nmodel")), reason_of(ValueError("odd"))
    ('no model', 'ValueError: odd')
    """
    text = " ".join(str(error).split())
    return text if isinstance(error, CTEError) else f"{type(error).__name__}: {text}"
