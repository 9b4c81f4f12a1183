"""A model that is no ONNX file: anything that can be called."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import OptionError
from onnx_cte.needs import Needs
from onnx_cte.postprocessing import as_decoder, refusal
from onnx_cte.preprocessing import named_steps
from onnx_cte.segmenters.decoding import Decoding, decoding_by_channels, told
from onnx_cte.segmenters.network import layout
from onnx_cte.segmenters.pipeline import Predict, Recipe, adaptation, observe
from onnx_cte.types import BACKGROUND, FOREGROUND, Decoder, Device, Image, Observation


class BlackBox:
    """A callable as a model: ranked beside ONNX models, disturbed at its input.

    Parameters
    ----------
    name : str
        Unique in its ranking.
    predict : callable
        Takes a normalised (1, C, H, W) float32 tensor, returns (1, C', H, W) probabilities; on
        volumes (1, C, D, H, W) and (1, C', D, H, W).
    roles : tuple of str
        Meaning of the C' channels: one ``foreground``, or classes of which one is ``background``.
    channels : int
        C, usually 1 or 3; grey and RGB images are turned into each other.
    dimensions : {2, 3}
        Whether it takes planes or volumes.
    normalize : {"percentile", "zscore", "minmax", "none"}
        Applied to each image before `predict` sees it.
    size : (int, int)
        Sides it takes: (minimum, step); images are padded to it. A step of 0 fixes the side.
    decoder : Decoder, str or None
        What makes objects of the probabilities (see `onnx_cte.postprocessing.parse_decoder`).
        None: by the roles.
    halo : int
        Px at a tile's seams that are not to be trusted, when an image is cut into tiles.
    threshold : float
        Foreground is where its probability is strictly greater.
    identity : str
        Something that changes whenever the predictions would (a version, a hash). Without it,
        measurements are not kept for a later run, for nobody can tell whether they still hold.

    Raises
    ------
    OptionError
        If the name is empty, no role can be judged, the threshold is no probability, or the
        decoder is unknown or cannot serve the roles.

    Examples
    --------
    >>> BlackBox("bright", predict=lambda tensor: tensor.clip(0, 1))
    BlackBox('bright')
    """

    def __init__(
        self,
        name: str,
        predict: Predict,
        *,
        roles: tuple[str, ...] = (FOREGROUND,),
        channels: int = 1,
        dimensions: Literal[2, 3] = 2,
        normalize: Literal["percentile", "zscore", "minmax", "none"] = "percentile",
        size: tuple[int, int] = (1, 1),
        halo: int = 0,
        threshold: float = 0.5,
        decoder: Decoder | str | None = None,
        identity: str = "",
    ) -> None:
        if not name:
            raise OptionError("a model needs a name, by which the ranking can list it")
        if FOREGROUND not in roles and (BACKGROUND not in roles or len(roles) < 2):
            raise OptionError(
                f"model '{name}': roles are {', '.join(roles)}; expected one to be "
                f"'{FOREGROUND}', or '{BACKGROUND}' among two or more classes"
            )
        if dimensions not in (2, 3):
            raise OptionError(
                f"model '{name}': dimensions is {dimensions!r}, expected 2 (planes) or 3 (volumes)"
            )
        if not 0 <= threshold < 1:
            raise OptionError(
                f"model '{name}': the threshold is a probability in [0, 1), not {threshold}"
            )
        minimum, step = size
        side = (minimum, step) if step else minimum
        self.name = name
        decoder = as_decoder(decoder)
        if decoder is None:
            self._decoding = decoding_by_channels(roles, roles, dimensions)
        elif reason := refusal(decoder, roles, dimensions):
            raise OptionError(f"model '{name}': {reason}")
        else:
            self._decoding = Decoding(decoder, "", (f"objects by decoder {told(decoder)}",))
        self.decoded_by = repr(self._decoding.decoder)
        self._notes, self._objects = (f"normalised by {normalize}",), False
        self._predict = predict
        self._recipe = Recipe(
            channels=channels,
            before=named_steps(normalize, layout(dimensions)[2:]),
            after=(),
            roles=roles,
            threshold=threshold,
            sizes=(side,) * dimensions,
            halo=(halo,) * dimensions,
            border=(0,) * dimensions,
            decoder=self._decoding.decoder,
        )
        # The recipe is part of what determines the predictions.
        self.identity = f"{identity} {replace(self._recipe, decoder=None)!r}" if identity else ""
        self._record = {"kind": "black box", "identity": identity}

    def __repr__(self) -> str:
        return f"BlackBox({self.name!r})"

    def open(self, device: Device, threads: int | None) -> "BlackBox":
        """Return itself: where a callable runs is its own affair."""
        self._objects = False
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self._notes, *(self._decoding.notes if self._objects else ()))

    @property
    def record(self) -> Mapping[str, Any]:
        return {**self._record, **({"decoder": self.decoded_by} if self._objects else {})}

    def adapts(self, image: Image) -> str:
        return adaptation(self._recipe, image)

    def refuses(self, needs: Needs) -> str:
        self._objects = self._objects or needs.instances
        if needs.instances and self._decoding.decoder is None:
            return self._decoding.reason
        if looked_at := (*needs.taps, *(tap for view in needs.views for tap in view.taps)):
            return (
                f"a black box shows no feature maps, and {', '.join(dict.fromkeys(looked_at))} "
                "would be looked at; use an estimator that looks at predictions alone, such as "
                "cte or leep"
            )
        if not needs.features:
            return ""
        taps = dict.fromkeys(tap for p in needs.features for tap in p.taps)
        return (
            f"a black box can be disturbed at its input only, not at {', '.join(taps)}; use an "
            "input perturbation such as --perturb noise=0.1"
        )

    def observe(self, image: Image, needs: Needs, seed: int) -> Observation:
        return observe(self._recipe, self._checked, image, needs, seed)

    def close(self) -> None:
        """Do nothing: it may be ranked again."""

    def _checked(self, tile: NDArray[np.float32]) -> NDArray[Any]:
        # A copy, for a callable may work in place, and the tile is the image's own memory.
        return np.asarray(self._predict(tile.copy()))
