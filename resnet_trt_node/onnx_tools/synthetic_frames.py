"""Synthetic pictures: what models are checked and calibrated on where no photographs are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from resnet_trt_node.errors import ModelError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: No classifier's input is larger; a file from elsewhere may ask for any size.
_MOST_SIDE = 4096


def sample_frames(count: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """
    Draw pictures of coloured clouds.

    Like photographs they vary as much from one quarter to the next as from pixel to pixel. Noise
    alone looks the same to a network whatever the seed, and colour fields alone change with the
    picture's size; these do neither.

    :param count: how many, N.
    :param height: rows, H.
    :param width: columns, W.
    :param seed: same seed, same pictures.
    :returns: uint8 (N, H, W, 3), values 0 to 255, owned by the caller.
    :raises UsageError: for a seed that PyTorch could not take either.
    :raises ModelError: for sides that no classifier's input has.
    """
    if not 0 <= seed < 2**64:
        raise UsageError(f'--seed {seed}: choose 0 to {2**64 - 1}')
    if max(height, width) > _MOST_SIDE:
        raise ModelError(
            f'its input of {width}x{height} pixels is too large to be tried: export it with at '
            f'most {_MOST_SIDE} a side')
    random = np.random.default_rng(seed)
    frames = np.empty((count, height, width, 3), np.uint8)
    for frame in frames:
        clouds = random.normal(128.0, 35.0, (3, 1, 1)) + np.zeros((3, height, width))
        cells = 2
        while cells < max(height, width):
            colours = random.normal(0.0, 22.0, (3, cells, cells))
            down, across = _blend(height, cells), _blend(width, cells)
            # Matrix products: (H, i) x (3, i, j) x (j, W) -> (3, H, W).
            clouds += down @ colours @ across.T
            cells *= 2
        frame[:] = np.clip(clouds, 0, 255).transpose(1, 2, 0)
    return frames


def _blend(length: int, cells: int) -> NDArray[np.float64]:
    """Return (length, cells) weights of linear interpolation, each row sums to 1."""
    places = np.linspace(0, cells - 1, length)
    return np.stack([np.interp(places, np.arange(cells), row) for row in np.eye(cells)], axis=1)
