"""Read feature maps of a network, tile by tile, together with its output where that is safe.

A value that is made an output may keep ONNX Runtime from fusing what surrounds it, and so change
the last bits of the prediction. Whether it does is tried on probe images; where it does, the
network runs untouched and its features are read in a run of their own, so that no estimator's
numbers depend on which others are asked for.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnx_cte.features import FeatureMap, Piece
from onnx_cte.graph.editing import serialised
from onnx_cte.graph.maps import Tap
from onnx_cte.graph.surgery import tap, tap_outputs
from onnx_cte.segmenters.engine import Inside, probe_images
from onnx_cte.segmenters.network import Network, arrange
from onnx_cte.segmenters.pipeline import Recipe, judged, stitched, tiles_of
from onnx_cte.sessions import Session

Maps = dict[str, NDArray[np.float32]]


class Reader:
    """A network whose feature maps at some taps are outputs.

    Parameters
    ----------
    inside : Inside
    taps : sequence of Tap
    network : Network
        The untouched network.
    predicts : bool
        Whether its own output is wanted too.

    Attributes
    ----------
    together : bool
        Whether output and features come from one run.
    """

    def __init__(
        self, inside: Inside, taps: Sequence[Tap], network: Network, *, predicts: bool
    ) -> None:
        self._inside, self._taps, self._network = inside, tuple(taps), network
        self._tensors = list(dict.fromkeys(found.tensor for found in taps))
        self.together = False
        self._predicts = predicts
        if predicts:
            whole = self._opened(tap(inside.model, self._tensors, inside.probe.values))
            self.together = all(self._changes_nothing(whole, i) for i in probe_images(inside))
            if self.together:
                self._session = whole
                return
            whole.close()
        part = tap_outputs(inside.model, self._tensors, inside.probe.values)
        self._session = self._opened(part)

    def run(self, tile: NDArray[np.float32]) -> tuple[NDArray[np.floating] | None, Maps]:
        """Raw (1, C, h, w) output of a tile, if wanted, and each tensor's (C', *sides) map."""
        image = arrange(tile, self._network.tile, self._network.source.axes)
        feeds = {self._inside.probe.source: image}
        out: NDArray[np.floating] | None = None
        if self.together:
            raw, *maps = self._session.run(feeds, [self._inside.output, *self._tensors])
            out = self._network.arranged(raw)
        else:
            if self._predicts:
                out = self._network(tile)
            maps = self._session.run(feeds, self._tensors)
        axes = {found.tensor: found.axis for found in self._taps}
        return out, {
            name: np.asarray(np.moveaxis(found, axes[name], 1)[0], np.float32)
            for name, found in zip(self._tensors, maps, strict=True)
        }

    def close(self) -> None:
        """Free its session."""
        self._session.close()

    def _opened(self, model: object) -> Session:
        inside = self._inside
        packed = serialised(model, inside.path.name)
        return Session(
            inside.path, inside.device, inside.threads, model=packed, folder=inside.folder
        )

    def _changes_nothing(self, whole: Session, image: NDArray[np.float32]) -> bool:
        """Whether the output with taps is, bit for bit, the untouched network's."""
        wanted = [self._inside.output, *self._tensors]
        found = whole.run({self._inside.probe.source: image}, wanted)[0]
        return np.array_equal(found, self._network.native(image), equal_nan=True)


def read_maps(
    reader: Reader, taps: Mapping[str, Tap], recipe: Recipe, tensor: NDArray[np.float32]
) -> dict[str, FeatureMap]:
    """Feature maps of a normalised image, by the names in `taps`; no prediction."""
    tiles = [tile for _, tile in tiles_of(recipe, tensor)]
    return _mapped(taps, recipe, tensor, [reader.run(tile)[1] for tile in tiles])


def read_and_predict(
    reader: Reader, taps: Mapping[str, Tap], recipe: Recipe, tensor: NDArray[np.float32]
) -> tuple[NDArray[np.float32], dict[str, FeatureMap]]:
    """Probabilities (C', H, W) of a normalised image, and its feature maps."""
    found: list[Maps] = []

    def predict(tile: NDArray[np.float32]) -> NDArray[np.floating]:
        raw, maps = reader.run(tile)
        found.append(maps)
        assert raw is not None  # the reader was made to predict
        return raw

    return judged(recipe, stitched(recipe, predict, tensor)), _mapped(taps, recipe, tensor, found)


def _mapped(
    taps: Mapping[str, Tap], recipe: Recipe, tensor: NDArray[np.float32], found: Sequence[Maps]
) -> dict[str, FeatureMap]:
    """Maps of all tiles as one feature map a tap."""
    places = [place for place, _ in tiles_of(recipe, tensor)]
    shape = tensor.shape[2:]
    frame: Callable[..., tuple[tuple[float, ...], tuple[float, ...]]]
    frame = _centred if any(recipe.border) else _covering
    pieces: dict[str, list[Piece]] = {name: [] for name in taps}
    for place, maps in zip(places, found, strict=True):
        for name, at in taps.items():
            values = maps[at.tensor]
            start, extent = frame(place.start, place.extent, values.shape[1:], at.stride)
            pieces[name].append(Piece(values, start, extent, place.pixels))
    return {name: FeatureMap(shape, tuple(each)) for name, each in pieces.items()}


def _covering(
    start: Sequence[int], extent: Sequence[int], sides: Sequence[int], stride: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A map that covers its tile."""
    return tuple(start), tuple(extent)


def _centred(
    start: Sequence[int], extent: Sequence[int], sides: Sequence[int], stride: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A map of a network that loses a border: its positions lie in the middle of the tile."""
    covered = [side * step for side, step in zip(sides, stride, strict=True)]
    begins = (
        low + (full - have) / 2 for low, full, have in zip(start, extent, covered, strict=True)
    )
    return tuple(begins), tuple(covered)
