"""
Antialiased resampling out of steps that OpenCV vectorises.

Pillow and torchvision weigh all source pixels under a triangle (bilinear) or a cubic (bicubic)
whose width grows with the scale; OpenCV has no such filter. A chain of three steps comes close
at a fraction of the time: halve the picture as often as the scale allows (the mean of 2 x 2
pixels), blur it with a short symmetric kernel, and interpolate at the output's grid, linearly,
by OpenCV's cubic, or a mixture of both. The kernel's taps are those for which the whole chain's
weights come closest, by least squares, to Pillow's, and what still differs is the `misfit` that
tells which interpolation is better, and whether the chain may be used at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Half the width of each antialiasing filter, in output pixels.
SUPPORT = {'bilinear': 1.0, 'bicubic': 2.0}
#: How the chain's last step interpolates, each with the pixels that it reads on either side;
#: 'mixed' is `CUBIC_SHARE` of the cubic's result and the rest of the linear one's.
LAST_STEPS = {'linear': 1, 'cubic': 2, 'mixed': 2}
#: OpenCV's cubic is Keys' with a = -3/4, Pillow's with a = -1/2: this is 2/3 of the former and
#: 1/3 of that with a = 0, from which a linear interpolation differs little.
CUBIC_SHARE = 2 / 3
#: After halving, the scale that remains is at least this, so that the interpolation at
#: the end, whose own blur varies with the grid's phase, stays narrow beside the filter.
MIN_REMAINING_SCALE = 1.75
#: Output positions over which the taps are fitted: enough phases of the grid for any scale.
_POSITIONS = 32


@dataclass(frozen=True)
class Blur:
    """
    A short symmetric kernel, and how well the chain with it imitates Pillow's filter.

    :param taps: float64 (2 * radius + 1,), symmetric, sum 1; owned by the cache, read only.
    :param misfit: norm of the difference of both filters' weights over the norm of Pillow's.
    """

    taps: NDArray[np.float64]
    misfit: float

    @property
    def radius(self) -> int:
        """Return the taps on either side of the middle one."""
        return len(self.taps) // 2


def count_halvings(scale: float) -> int:
    """
    Tell how often a picture may be halved before the rest of the chain.

    :param scale: source pixels an output pixel.
    :returns: 0 or more.
    """
    if scale < 2 * MIN_REMAINING_SCALE:
        return 0
    return int(math.log2(scale / MIN_REMAINING_SCALE))


def filter_weights(
        offsets: NDArray[np.float64], scale: float, interpolation: str) -> NDArray[np.float64]:
    """
    Return Pillow's filter.

    :param offsets: from the output pixel's centre to the source pixels' centres, in source
        pixels, any shape.
    :param scale: source pixels an output pixel; below 1 the filter does not shrink with it.
    :param interpolation: 'bilinear' or 'bicubic', Keys' cubic with a = -1/2.
    :returns: weights of the same shape, not normalised.
    """
    x = np.abs(offsets) / max(scale, 1.0)
    return np.maximum(0.0, 1.0 - x) if interpolation == 'bilinear' else _keys_cubic(x, -0.5)


def _keys_cubic(x: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Return the weights at distances of Keys, 'Cubic convolution interpolation' (1981)."""
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _last_step_weights(offsets: NDArray[np.float64], last_step: str) -> NDArray[np.float64]:
    """Return the weights of OpenCV's interpolation."""
    x = np.abs(offsets)
    cubic_share = {'linear': 0.0, 'cubic': 1.0, 'mixed': CUBIC_SHARE}[last_step]
    linear = np.maximum(0.0, 1.0 - x)
    return linear + cubic_share * (_keys_cubic(x, -0.75) - linear)


@lru_cache(maxsize=1024)
def fit_blur(
        scale: float, halvings: int, interpolation: str, last_step: str = 'linear') -> Blur:
    """
    Find the blur between halving and interpolating along one axis.

    :param scale: source pixels an output pixel along the axis.
    :param halvings: how often the picture was halved before.
    :param interpolation: 'bilinear' or 'bicubic'.
    :param last_step: one of `LAST_STEPS`.
    :returns: the best kernel; a single tap of 1 where the picture is not shrunk, unless a cubic
        has to become linear.
    """
    remaining = scale / 2**halvings
    # Further taps would find nothing under Pillow's filter: the interpolation adds one pixel.
    if scale > 1.0:
        radius = math.ceil(SUPPORT[interpolation] * max(remaining, 1.0) * 0.8)
    else:
        radius = int(last_step != 'linear' and interpolation == 'bilinear')
    reach = math.ceil(SUPPORT[interpolation] * max(remaining, 1.0)) + radius + 3
    # In pixels of the halved picture, whose pixel 0 has its centre at 0.
    centres = np.arange(_POSITIONS)[:, None] * remaining + 0.5 / 2**halvings - 0.5
    pixels = np.floor(centres) + np.arange(-reach, reach + 1, dtype=np.float64)
    target = _block_weights(pixels - centres, scale, halvings, interpolation).ravel()
    # What each pair of taps contributes: the weights of the interpolation, shifted.
    shifts = np.arange(-radius, radius + 1, dtype=np.float64)
    single = _last_step_weights((pixels - centres).ravel()[:, None] - shifts, last_step)
    matrix = single[:, radius:].copy()
    matrix[:, 1:] += single[:, :radius][:, ::-1]
    # The taps sum to 1, which leaves the middle one no freedom.
    side = np.linalg.lstsq(
        matrix[:, 1:] - 2.0 * matrix[:, :1], target - matrix[:, 0], rcond=None)[0]
    half = np.concatenate([[1.0 - 2.0 * side.sum()], side])
    misfit = np.linalg.norm(matrix @ half - target) / np.linalg.norm(target)
    taps = np.concatenate([half[:0:-1], half])
    taps.flags.writeable = False
    return Blur(taps, float(misfit))


def _block_weights(
        offsets: NDArray[np.float64], scale: float, halvings: int,
        interpolation: str) -> NDArray[np.float64]:
    """Return the weight that Pillow's filter gives to each pixel of the halved picture, by row."""
    block = 2**halvings
    within = (np.arange(block) + 0.5) / block - 0.5
    weights = filter_weights((offsets[..., None] + within) * block, scale, interpolation)
    total: NDArray[np.float64] = weights.sum(axis=2) / weights.sum(axis=(1, 2))[:, None]
    return total
