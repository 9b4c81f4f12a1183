"""Simulated fluorescence images of nuclei with known truth, for the demo and the tests.

The image is built as a widefield microscope builds it: nuclei of stained chromatin, blurred by the
optics, some out of focus, some of their light spread far as haze, over the glow of the medium, lit
unevenly, counted as photons and read out by a camera.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy  # its parts are imported when first used: slow, and only simulating needs them
from numpy.random import Generator
from numpy.typing import NDArray

from onnx_cte.errors import OptionError

Labels = NDArray[np.int32]  # a label image: 0 is background
OFFSET = 100
"""Counts that the camera adds to every pixel; beyond it, one count is one photon."""

SMALLEST = 20
"""Fewest visible px of a labelled nucleus."""

_TRIES = 200  # places tried for a nucleus before there is no room for it
_CLUMPED = 0.25  # share of places that are tried beside another nucleus
_CONDENSED = 0.04  # share of nuclei that are small and very bright: dividing or dying
_BRIGHT = 0.2  # share of the others that are brighter by half: about to divide
_LOBED = 0.1  # share of nuclei of an odd shape
_FOCUS = ((1.0, 0.83), (1.8, 0.13), (3.0, 0.04))  # widths of the blur, in psf_sigma; their shares
_OUTSIDE = -1  # label of the margin around the frame


@dataclass(frozen=True, slots=True)
class NucleiField:
    """A field of fluorescent nuclei and the conditions under which it is taken.

    Attributes
    ----------
    shape : pair of int
        Height and width in px, 16 or more.
    nuclei : pair of int
        Fewest and most nuclei, 1 or more; how many is drawn.
    radius : pair of float
        Smallest and largest radius in px, of a circle of the same area, 3 or more; the few
        condensed nuclei are smaller by a third, but not below 3.
    overlap : float
        Largest share of a nucleus that may lie over others, or be hidden by them, in [0, 0.8].
    texture : float
        Relative contrast (standard deviation) of the chromatin, in [0, 1].
    photons : float
        Mean per px within an ordinary nucleus in the best light, in [0, 50000].
    background : float
        Mean photons per px beside nuclei in the best light, in [0, 50000].
    haze : float
        Share of the nuclei's light that is spread far, in [0, 0.95].
    unevenness : float
        Relative loss of light from the best to the worst lit place, in [0, 0.95].
    debris : float
        Mean number of dim specks, which are not labelled, in [0, 10000].
    read_noise : float
        Standard deviation of the camera's noise in photons, in [0, 10000].
    psf_sigma : float
        Standard deviation of the blur in px, in [0, 50].

    Raises
    ------
    OptionError
        If a value is out of its range.
    """

    shape: tuple[int, int] = (256, 256)
    nuclei: tuple[int, int] = (20, 40)
    radius: tuple[float, float] = (8, 14)
    overlap: float = 0.2
    texture: float = 0.25
    photons: float = 200
    background: float = 20
    haze: float = 0.15
    unevenness: float = 0.2
    debris: float = 3
    read_noise: float = 3
    psf_sigma: float = 1.2

    def __post_init__(self) -> None:
        _check("shape (the smaller side)", min(self.shape), 16, math.inf)
        for name, least in (("nuclei", 1), ("radius", 3)):
            low, high = getattr(self, name)
            if not least <= low <= high < math.inf:
                raise OptionError(
                    f"{name} is {low} to {high}, expected {least} or more and the smaller first"
                )
        shares = {"overlap": 0.8, "texture": 1, "haze": 0.95, "unevenness": 0.95}
        light = {"photons": 50_000, "background": 50_000, "read_noise": 10_000}
        for name, most in {**shares, **light, "debris": 10_000, "psf_sigma": 50}.items():
            _check(name, getattr(self, name), 0, most)


@dataclass(frozen=True, slots=True)
class _Nucleus:
    """One nucleus on a square patch, and its place on the canvas, the frame with a margin."""

    radius: float  # px, of the circle of the same area
    brightness: float  # relative to an ordinary nucleus
    mask: NDArray[np.bool_]
    light: NDArray[np.float64]  # mean of `brightness` within the mask
    window: tuple[slice, slice] = (slice(0), slice(0))


def simulate_nuclei(
    seed: int | Sequence[int], field: NucleiField | None = None
) -> tuple[NDArray[np.uint16], Labels]:
    """Take an image of a field of nuclei; also say where they are.

    Nuclei are ellipses with bumps, with granular chromatin, dark nucleoli and bright spots. Where
    they overlap their light adds up, and the pixel belongs to the brighter one. What lies where
    does not depend on photons, background, haze, unevenness and noise: the same seed gives the
    same nuclei in another light.

    Parameters
    ----------
    seed : int or sequence of int
        0 or more.
    field : NucleiField, optional
        What to simulate; without, the defaults.

    Returns
    -------
    image : ndarray of uint16, shape (H, W)
        Counts: photons plus `OFFSET`; saturated at 65535.
    labels : ndarray of int32, shape (H, W)
        Nuclei are 1 to K, the dimmest first; each is one piece of `SMALLEST` px or more.

    Raises
    ------
    OptionError
        If there is no room for the fewest nuclei, or the seed is negative.

    Examples
    --------
    >>> image, labels = simulate_nuclei(0, NucleiField(shape=(64, 96), nuclei=(5, 5)))
    >>> image.shape, image.dtype.name, labels.dtype.name, int(labels.max())
    ((64, 96), 'uint16', 'int32', 5)
    """
    field = field or NucleiField()
    _check("seed", np.min(seed, initial=0), 0, math.inf)
    layout, optics, camera = np.random.default_rng(seed).spawn(3)
    margin = 2 * math.ceil(field.radius[1]) + 2
    frame = (slice(margin, -margin), slice(margin, -margin))
    canvas = np.pad(np.zeros(field.shape, np.int32), margin, constant_values=_OUTSIDE)
    placed = _layout(layout, field, canvas, margin)
    light = _through_optics(optics, field, placed, canvas.shape)[frame]
    # Light and glow change slowly over the field, each in its own way.
    y, x = np.indices(field.shape) / np.reshape(field.shape, (2, 1, 1))
    dark = (y - optics.uniform(0.3, 0.7)) ** 2 + (x - optics.uniform(0.3, 0.7)) ** 2
    zoom = np.divide(field.shape, 3)
    waves = optics.uniform(-0.3, 0.3, (3, 3))
    waves = scipy.ndimage.zoom(waves, zoom, mode="reflect", grid_mode=True)
    expected = field.photons * light + field.background * (1 + waves)
    expected *= 1 - field.unevenness * dark / dark.max()
    counts = OFFSET + camera.poisson(expected) + camera.normal(0, field.read_noise, field.shape)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16), canvas[frame].copy()


def simulate_images(
    count: int,
    seed: int,
    *,
    shape: tuple[int, int] = (256, 256),
    radius: tuple[float, float] = (8, 14),
    hard: float = 0.15,
) -> Iterator[tuple[str, NDArray[np.uint16], Labels]]:
    """Images as one experiment gives them: density, brightness, blur, haze and noise vary.

    Parameters
    ----------
    count : int
        Number of images, 0 or more.
    seed : int
        Image i depends on the seed, on i and on the options below; not on `count`.
    shape, radius : pair of int, pair of float
        See `NucleiField`.
    hard : float
        Share of images, in [0, 1], that are dim, blurred, hazy or crowded.

    Returns
    -------
    iterator of (name, image, labels)
        ``simulated_0000`` and so on; image and labels as of `simulate_nuclei`.

    Raises
    ------
    OptionError
        If an option is out of its range; at the call, not at the first image.

    Examples
    --------
    >>> [name for name, image, labels in simulate_images(2, seed=0, shape=(64, 64))]
    ['simulated_0000', 'simulated_0001']
    """
    _check("count", count, 0, math.inf)
    _check("seed", seed, 0, math.inf)
    _check("hard", hard, 0, 1)
    plain = NucleiField(shape=shape, radius=radius)

    def taken(index: int) -> tuple[str, NDArray[np.uint16], Labels]:
        # Numbers from 1 tell the two apart; to NumPy, [seed, index, 0] is [seed, index].
        field = _conditions(np.random.default_rng([seed, index, 1]), plain, hard)
        return f"simulated_{index:04d}", *simulate_nuclei([seed, index, 2], field)

    return map(taken, range(count))


def _conditions(rng: Generator, field: NucleiField, hard: float) -> NucleiField:
    """The field under the conditions of one image, in a share of them with a trouble."""
    room = math.prod(field.shape) / (math.pi * (sum(field.radius) / 2) ** 2)
    most = max(2, round(room * 10 ** rng.uniform(-1, -0.5)))
    full = max(2, round(0.55 * room))
    photons = 10 ** rng.uniform(1.9, 2.7)
    field = replace(
        field,
        nuclei=(max(1, most // 2), most),
        texture=rng.uniform(0.12, 0.3),
        photons=photons,
        background=photons * rng.uniform(0.03, 0.15),
        haze=rng.uniform(0.08, 0.25),
        unevenness=rng.uniform(0.05, 0.35),
        debris=6 * rng.random(),
        read_noise=rng.uniform(2, 5),
        psf_sigma=rng.uniform(0.8, 1.6),
    )
    troubles = (
        replace(field, photons=15, background=5),
        replace(field, psf_sigma=min(50, 0.3 * field.radius[0])),
        replace(field, haze=0.6, background=photons),
        replace(field, nuclei=(full // 2, full), overlap=0.4),
    )
    return troubles[rng.integers(len(troubles))] if rng.random() < hard else field


def _layout(rng: Generator, field: NucleiField, canvas: Labels, margin: int) -> list[_Nucleus]:
    """Find places for nuclei, dimmest first, and paint their labels on the canvas."""
    height, width = field.shape
    drawn = [_nucleus(rng, field) for _ in range(rng.integers(*field.nuclei, endpoint=True))]
    placed: list[_Nucleus] = []
    for nucleus in sorted(drawn, key=lambda one: one.brightness):
        half = nucleus.mask.shape[0] // 2
        for _ in range(_TRIES):
            y, x = margin + int(rng.integers(height)), margin + int(rng.integers(width))
            if placed and rng.random() < _CLUMPED:
                other = placed[rng.integers(len(placed))]
                far = (other.radius + nucleus.radius) * rng.uniform(0.8, 1.2)
                where = rng.uniform(0, 2 * math.pi)
                y, x = ((span.start + span.stop) // 2 for span in other.window)
                y, x = round(y + far * math.sin(where)), round(x + far * math.cos(where))
            if not (margin <= y < margin + height and margin <= x < margin + width):
                continue
            window = slice(y - half, y + half + 1), slice(x - half, x + half + 1)
            if _painted(canvas, placed, replace(nucleus, window=window), field.overlap):
                break
    if len(placed) < field.nuclei[0]:
        raise OptionError(
            f"an image of {height} x {width} px had room for {len(placed)} nuclei, not for "
            f"{field.nuclei[0]}: ask for fewer or smaller nuclei, more overlap or a larger image"
        )
    return placed


def _painted(canvas: Labels, placed: list[_Nucleus], new: _Nucleus, overlap: float) -> bool:
    """Put a nucleus over those that are there, if it hides, and lies over, no more than it may."""
    under = canvas[new.window].copy()
    mine = new.mask & (under != _OUTSIDE)
    shared = mine & (under > 0)
    if shared.sum() > overlap * mine.sum():
        return False
    placed.append(new)
    canvas[new.window][mine] = len(placed)
    for label in (*np.unique(under[shared]), len(placed)):
        one = placed[label - 1]
        here = canvas[one.window]
        area = (one.mask & (here != _OUTSIDE)).sum()
        least = max(SMALLEST, (1 - overlap) * area)
        if (here == label).sum() < least or scipy.ndimage.label(here == label)[1] > 1:
            canvas[new.window] = under
            placed.pop()
            return False
    return True


def _nucleus(rng: Generator, field: NucleiField) -> _Nucleus:
    """A nucleus of random shape, chromatin and brightness."""
    size, brightness = rng.uniform(*field.radius), math.exp(rng.normal(0, 0.2))
    if rng.random() < _CONDENSED:
        size, brightness = max(3, size / 1.5), brightness * rng.uniform(2, 3.5)
    elif rng.random() < _BRIGHT:
        brightness *= 1.5
    half = math.ceil(2 * size)
    y, x = np.mgrid[-half : half + 1, -half : half + 1] + rng.uniform(-0.5, 0.5, (2, 1, 1))
    turn, stretch = rng.uniform(0, math.pi), math.exp(rng.uniform(0, 0.3))
    u = (x * math.cos(turn) + y * math.sin(turn)) / size / stretch
    v = (y * math.cos(turn) - x * math.sin(turn)) / size * stretch
    swing = 0.6 if rng.random() < _LOBED else 0.2
    edge = np.ones_like(u)
    for wave in range(2, 6):
        phase = rng.uniform(0, 2 * math.pi)
        edge += rng.normal(0, swing / wave**2) * np.cos(wave * np.arctan2(v, u) + phase)
    outward = np.hypot(u, v) / edge.clip(0.6, 1.4)
    mask = outward < 1
    grain = np.zeros_like(u)
    for scale in (0.07, 0.25):
        noise = scipy.ndimage.gaussian_filter(rng.standard_normal(u.shape), max(0.6, scale * size))
        grain += noise / noise.std()
    for _ in range(rng.integers(1, 7)):  # nucleoli, dark, and chromocentres, bright
        far, where = 0.65 * size * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
        distance = np.hypot(y - far * math.sin(where), x - far * math.cos(where)) / (0.14 * size)
        grain += rng.choice([-3, 3]) * np.exp(-(distance**2) / 2)
    grain = (grain - grain[mask].mean()) / grain[mask].std()
    # The thickness of a flattened body, which ends within the pixels at its edge.
    body = np.clip(1 - outward**2, 0.02, 1) ** 0.25 * np.clip((1 - outward) * size + 0.5, 0, 1)
    light = body * np.clip(1 + field.texture * grain, 0.1, None)
    return _Nucleus(size, brightness, mask, light * (brightness / light[mask].mean()))


def _through_optics(
    rng: Generator, field: NucleiField, placed: Sequence[_Nucleus], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Light of nuclei and debris on the canvas; within an ordinary nucleus in focus about 1."""
    depths = np.zeros((len(_FOCUS), *shape))
    for one in placed:
        depth = rng.choice(len(_FOCUS), p=[share for _, share in _FOCUS])
        depths[depth][one.window] += one.light
    specks = np.zeros(shape)
    for _ in range(rng.poisson(field.debris)):
        # The height that is left of it once it is as wide as the filter below makes it.
        specks[tuple(rng.integers(shape))] += rng.uniform(0.05, 0.3) * 2 * math.pi * 1.5**2
    depths[0] += scipy.ndimage.gaussian_filter(specks, 1.5)
    light = field.haze * scipy.ndimage.gaussian_filter(depths.sum(axis=0), 1.5 * field.radius[1])
    for depth, (width, _) in zip(depths, _FOCUS, strict=True):
        light += (1 - field.haze) * scipy.ndimage.gaussian_filter(depth, width * field.psf_sigma)
    return light


def _check(name: str, value: float, low: float, high: float) -> None:
    """Refuse a value outside of a range."""
    if not low <= value <= high:
        end = "or more" if math.isinf(high) else f"to {high:g}"
        raise OptionError(f"{name} is {value}, expected {low:g} {end}")
