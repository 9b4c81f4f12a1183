"""Every pair of images, crossed once: a bootstrap draw only weighs what is found here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Evidence
from onnx_cte.estimators.wasserstein import (
    Gaussian,
    energy_matrix,
    on_sphere,
    packed_size,
    unpacked,
    wasserstein_matrix,
)


@dataclass(frozen=True, slots=True)
class ImagePairs:
    """One layer of one model: what each pair of images adds; 0 where a pair adds nothing.

    Attributes
    ----------
    taken : ndarray of int, shape (n,)
        Which images of the bank these are.
    different : ndarray of float, shape (n, n)
        1 for a pair of different images, 0 for an image and itself, by name.
    energies : ndarray of float, shape (n, n)
    distances : ndarray of float, shape (classes, n, n)
        Of the foreground's classes, in rising order.
    shown : ndarray of float, shape (classes, n)
        1 for an image that shows the class.
    """

    taken: NDArray[np.intp]
    different: NDArray[np.float64]
    energies: NDArray[np.float64]
    distances: NDArray[np.float64]
    shown: NDArray[np.float64]


def image_pairs(
    images: Sequence[Evidence], taken: NDArray[np.intp], number: int, sphere: bool
) -> ImagePairs:
    """Cross images that show something, by the evidence of CCFV.

    Parameters
    ----------
    images : sequence of mapping
        ``image``, the name; ``classes``; and of the layer k ``global{k}``, ``means{k}``,
        ``rows{k}`` and ``factors{k}``.
    taken : ndarray of int
        Which of the bank they are.
    number : int
        Of the layer, k.
    sphere : bool
        Project mean vectors to the unit sphere.

    Returns
    -------
    ImagePairs
    """
    names = np.array([seen["image"] for seen in images], dtype=object)
    means = np.array([seen[f"global{number}"] for seen in images], np.float64)
    means = means.reshape(len(images), -1 if images else 0)
    classes = sorted({int(label) for seen in images for label in seen["classes"]})
    distances = np.zeros((len(classes), len(images), len(images)))
    shown = np.zeros((len(classes), len(images)))
    clouds = [_clouds(seen, number) for seen in images]
    for place, label in enumerate(classes):
        have = [i for i, found in enumerate(clouds) if label in found]
        shown[place, have] = 1
        matrix = wasserstein_matrix([clouds[i][label] for i in have])
        distances[place][np.ix_(have, have)] = matrix
    different = (names[:, None] != names).astype(np.float64)
    energies = energy_matrix(on_sphere(means) if sphere else means)
    return ImagePairs(taken, different, energies * different, distances * different, shown)


def _clouds(seen: Evidence, number: int) -> dict[int, Gaussian]:
    """Gaussians at a layer, by class, from the evidence."""
    means, rows = seen[f"means{number}"].astype(np.float64), seen[f"rows{number}"]
    sizes = [packed_size(int(count), means.shape[1]) for count in rows]
    parts = np.split(seen[f"factors{number}"], np.cumsum(sizes)[:-1])
    return {
        int(label): (mean, unpacked(part, int(count), len(mean)))
        for label, mean, count, part in zip(seen["classes"], means, rows, parts, strict=True)
    }
