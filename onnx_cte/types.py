"""The nouns that flow through the package, and the protocols strangers may implement.

Dataclasses here are frozen: what is measured once is never changed. Protocols are structural, so
a model or an estimator from outside need not import, let alone inherit, anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.features import FeatureMap
from onnx_cte.needs import Needs

Device = Literal["auto", "cpu", "cuda"]
BACKGROUND = "background"
FOREGROUND = "foreground"
BOUNDARY = "boundary"


@dataclass(frozen=True, slots=True)
class Image:
    """One plane, or one volume, to segment, as read.

    Attributes
    ----------
    name : str
        Stable name; results, seeds and evidence refer to it.
    data : ndarray, shape (H, W), (C, H, W), (D, H, W) or (C, D, H, W), any real dtype
        Pixels as read.
    axes : {"yx", "cyx", "zyx", "czyx"}
        What the dimensions of `data` are.
    truth : ndarray of int or None, shape (H, W) of the window, or (D, H, W)
        Label image, 0 is background; only when evaluating.
    group : str
        Planes, volumes and windows of one file share a group; the bootstrap draws groups. Empty:
        the name.
    fingerprint : str
        Hash of all that determines this image's content (and truth); empty means that evidence on
        it cannot be kept for a later run.
    window : tuple of two slices or None
        For a part of a large image: where, within `data`, the part lies that is to be judged; the
        rest of `data` is context for the network. None: all of it.
    whole : ndarray or None
        For a part of a large image: the whole image thinned to a regular grid, in `axes`, from
        which normalisation takes its statistics, so that an empty part is not blown up to noise.
    colours : bool
        Whether three channels are red, green and blue, or nobody knows. False: they are channels
        of their own, which make no grey image.

    Examples
    --------
    >>> image = Image("cells", np.zeros((8, 9)), "yx")
    >>> image.load() is image  # a list of images is ranked on like files
    True
    """

    name: str
    data: NDArray[Any]
    axes: str
    truth: NDArray[np.integer] | None = None
    group: str = ""
    fingerprint: str = ""
    window: tuple[slice, slice] | None = None
    whole: NDArray[Any] | None = None
    colours: bool = True

    def load(self) -> "Image":
        """Return itself, so that a list of images in memory serves as a source of images."""
        return self


class ImageRef(Protocol):
    """An image that can be read when its turn comes; cheap to keep."""

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...

    def load(self) -> Image:
        """Read it; ImageError says why it cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network says of one image, as probabilities.

    Attributes
    ----------
    maps : ndarray of float32, shape (C, H, W)
        One map a channel; classes, or the foreground, are in [0, 1].
    roles : tuple of str
        What each channel means. A channel ``background`` makes the channels mutually exclusive
        classes that sum to one; otherwise the channel ``foreground`` is judged.
    threshold : float
        Foreground is where its probability is strictly greater. Not used between classes.
    labels : ndarray of int32 or int64, or None, shape (H, W)
        Instances, 0 is background; only when an estimator needs them.

    On volumes, (D, H, W) stands for (H, W) throughout.

    Examples
    --------
    >>> maps = np.array([[[0.2, 0.9]]], np.float32)
    >>> Prediction(maps, ("foreground",)).classes
    array([[False,  True]])
    """

    maps: NDArray[np.float32]
    roles: tuple[str, ...]
    threshold: float = 0.5
    labels: NDArray[np.integer] | None = None

    def __getitem__(self, role: str) -> NDArray[np.float32]:
        """The (H, W) map of a role; KeyError names the roles there are."""
        if role not in self.roles:
            raise KeyError(f"no channel '{role}'; there are: {', '.join(self.roles)}")
        plane: NDArray[np.float32] = self.maps[self.roles.index(role)]
        return plane

    @property
    def exclusive(self) -> bool:
        """Whether the channels are classes of which exactly one holds at a pixel."""
        return BACKGROUND in self.roles

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(H, W) foreground probability, or (C, H, W) with the background first if exclusive."""
        if not self.exclusive:
            return self[FOREGROUND]
        first = self.roles.index(BACKGROUND)
        if first == 0:
            return self.maps
        return self.maps[[first, *(i for i in range(len(self.roles)) if i != first)]]

    @property
    def classes(self) -> NDArray[Any]:
        """(H, W) hard decision, 0 (False) is background: a bool mask, or int class indices."""
        hard: NDArray[Any] = (
            np.argmax(self.probabilities, axis=0)
            if self.exclusive
            else self[FOREGROUND] > np.float32(self.threshold)
        )
        return hard


class Decoder(Protocol):
    """Makes objects of a prediction; its ``repr`` is all that determines its labels."""

    name: ClassVar[str]

    def refuses(self, roles: tuple[str, ...], dimensions: int) -> str:
        """Why it cannot serve channels of these roles on planes (2) or volumes (3); or empty."""
        ...

    def decode(self, prediction: Prediction) -> NDArray[np.int32]:
        """Label image of the maps' (H, W): 0 is background, objects are 1 to n; or all is 0."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """All that any estimator ever sees of a model on an image.

    Attributes
    ----------
    image : str
        The image's name.
    pixels : ndarray, shape (H, W) or (D, H, W)
        The image itself, one grey plane as read: the same for every model.
    reference : Prediction
        On the undisturbed image.
    perturbed : mapping of str to Prediction
        By perturbation name, already turned back into the reference's frame.
    truth : ndarray of int or None, shape (H, W)
        Label image, 0 is background; only when an estimator needs it.
    features : mapping of str to FeatureMap
        Of the undisturbed image, by the tap as it was asked for.
    views : mapping of str to mapping of str to FeatureMap
        Of disturbed inputs, by perturbation name and by tap; in the disturbed image's frame.
    domain : {"target", "source"}
        Whether this is one of the images ranked on, or one of the model's own training domain.
    seed : int
        Of the run: what an estimator draws itself, it draws from ``generator(seed, image, ...)``,
        so that it draws the same for every model.

    Examples
    --------
    >>> from onnx_cte.estimators.boundary import Boundary
    >>> pixels = np.zeros((32, 32))
    >>> pixels[8:24, 8:24] = 1
    >>> marked = Prediction(pixels[None].astype(np.float32), ("foreground",))
    >>> seen = Observation("square.png", pixels, marked)
    >>> round(Boundary().measure(seen)["value"], 2)
    0.94
    """

    image: str
    pixels: NDArray[Any]
    reference: Prediction
    perturbed: Mapping[str, Prediction] = field(default_factory=dict)
    truth: NDArray[np.integer] | None = None
    features: Mapping[str, FeatureMap] = field(default_factory=dict)
    views: Mapping[str, Mapping[str, FeatureMap]] = field(default_factory=dict)
    domain: Literal["target", "source"] = "target"
    seed: int = 0


class Segmenter(Protocol):
    """A model that is ready to run.

    `identity` is a hash of all that determines its predictions (empty: evidence is not kept for a
    later run); one that makes objects says by ``decoded_by``, a str, what makes them. `notes` says
    what was assumed about it; `record` goes into the provenance: JSON values such as its file's
    hash and the provider that executes it.
    """

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def record(self) -> Mapping[str, Any]: ...

    def adapts(self, image: Image) -> str:
        """What is done to this image so that the model can take it; empty if nothing is."""
        ...

    def refuses(self, needs: Needs) -> str:
        """Why it cannot show what is needed; empty if it can.

        Asked before any image is run. A segmenter without this method refuses nothing.
        """
        ...

    def observe(self, image: Image, needs: Needs, seed: int) -> Observation:
        """Run the model on an image and on its perturbed versions.

        Raises ImageError if the image cannot be used, ModelError if the model cannot.
        """
        ...

    def close(self) -> None:
        """Give back what it holds; it is not used afterwards."""
        ...


class Model(Protocol):
    """A model that can be opened: only one is open at a time."""

    @property
    def name(self) -> str: ...

    def open(self, device: Device, threads: int | None) -> Segmenter:
        """Ready to run, on so many CPU threads (None: all there are); ModelError says why not."""
        ...


class Estimator(Protocol):
    """Scores models by what it measured on each image; see README, "How to add an estimator".

    Optional, and found by name:

    * ``score_by_draw(bank)`` gives a sequence of what `score` gives, from each random draw alone,
      or an empty one where nothing was drawn twice. `onnx_cte.separation` tells by it how stable
      the ranking is. With ``judged_by_draw = True`` its draws are alternatives rather than parts
      of one score (a few labelled images, say): agreement with the truth is the mean over them.
    * ``parts(bank)`` gives, by model, what its score is made of: numbers by name, the same names
      for every model, which stand beside the score.
    * ``agreed_by_image(bank)`` gives, by model, a number for each image, in their order: how far
      the others agree with it there. Images to look at are chosen by it (`onnx_cte.telling`).
    * ``remarks(bank)`` gives texts: reasons to doubt the scores, which are shown as warnings.
    * ``measures``, a str: all that `measure` depends on. Estimators of equal ``measures`` share
      their evidence: it is measured, kept and crossed once. Without it, that is the ``repr``.
    * ``resamples``, an int: bootstrap draws, for one whose `score` is slow. 0: none.
    * ``unavailable()`` gives a text: why it cannot be used in this installation (a package that is
      not there), or an empty one. Asked before anything is run.

    `measure` may be called in another thread than that of the network; of one estimator, for one
    image at a time.
    """

    name: ClassVar[str]
    greater_is_better: ClassVar[bool]

    @property
    def title(self) -> str:
        """A few words for tables; ``repr`` is what makes the estimator again."""
        ...

    @property
    def needs(self) -> Needs: ...

    def measure(self, seen: Observation) -> Evidence:
        """Small evidence of one image; the observation is dropped afterwards."""
        ...

    def score(self, bank: Bank) -> Mapping[str, float]:
        """A number a model, from every model's evidence.

        NaN is "undefined". An estimator may judge a model by the others' evidence too.
        """
        ...
