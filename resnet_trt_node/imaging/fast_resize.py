"""
Antialiased resampling out of steps that OpenCV vectorises.

Pillow and torchvision weigh all source pixels under a triangle (bilinear) or a cubic (bicubic)
whose width grows with the scale; OpenCV has no such filter. A chain of three steps comes close
at a fraction of the time: halve the picture as often as the scale allows (the mean of 2 x 2
pixels), blur it with a short symmetric kernel, and interpolate bilinearly at the output's grid.
The kernel's taps are those for which the whole chain's weights come closest, by least squares,
to Pillow's, and what still differs is the `misfit` that tells whether the chain may be used.
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
#: After halving, the scale that remains is at least this, so that the bilinear interpolation at
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
    if interpolation == 'bilinear':
        return np.maximum(0.0, 1.0 - x)
    # Keys, 'Cubic convolution interpolation for digital image processing' (1981), with a = -1/2.
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


@lru_cache(maxsize=256)
def fit_blur(scale: float, halvings: int, interpolation: str) -> Blur:
    """
    Find the blur between halving and interpolating along one axis.

    :param scale: source pixels an output pixel along the axis.
    :param halvings: how often the picture was halved before.
    :param interpolation: 'bilinear' or 'bicubic'.
    :returns: the best kernel; a single tap of 1 where the picture is not shrunk.
    """
    remaining = scale / 2**halvings
    # Further taps would find nothing under Pillow's filter: the interpolation adds one pixel.
    radius = math.ceil(SUPPORT[interpolation] * max(remaining, 1.0) * 0.8) if scale > 1 else 0
    reach = math.ceil(SUPPORT[interpolation] * max(remaining, 1.0)) + radius + 2
    wanted, columns = [], []
    for position in range(_POSITIONS):
        # In pixels of the halved picture, whose pixel 0 has its centre at 0.
        centre = position * remaining + 0.5 / 2**halvings - 0.5
        pixels = math.floor(centre) + np.arange(-reach, reach + 1, dtype=np.float64)
        wanted.append(_block_weights(pixels, centre, scale, halvings, interpolation))
        # What each pair of taps contributes: the triangle of the interpolation, shifted.
        columns.append(np.stack([
            filter_weights(pixels - shift - centre, 1.0, 'bilinear')
            + (filter_weights(pixels + shift - centre, 1.0, 'bilinear') if shift else 0.0)
            for shift in range(radius + 1)], axis=1))
    target, matrix = np.concatenate(wanted), np.concatenate(columns)
    # The taps sum to 1, which leaves the middle one no freedom.
    counts = np.full(radius, 2.0)
    side = np.linalg.lstsq(
        matrix[:, 1:] - matrix[:, :1] * counts, target - matrix[:, 0], rcond=None)[0]
    half = np.concatenate([[1.0 - 2.0 * side.sum()], side])
    misfit = np.linalg.norm(matrix @ half - target) / np.linalg.norm(target)
    taps = np.concatenate([half[:0:-1], half])
    taps.flags.writeable = False
    return Blur(taps, float(misfit))


def _block_weights(
        pixels: NDArray[np.float64], centre: float, scale: float, halvings: int,
        interpolation: str) -> NDArray[np.float64]:
    """Return the weight that Pillow's filter gives to each pixel of the halved picture."""
    block = 2**halvings
    within = (np.arange(block) + 0.5) / block - 0.5
    offsets = (pixels[:, None] + within - centre) * block
    weights = filter_weights(offsets, scale, interpolation)
    total: NDArray[np.float64] = weights.sum(axis=1) / weights.sum()
    return total
