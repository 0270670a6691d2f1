"""A decoded frame: pixels and what their channels mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Channel orders of a frame, with the number of channels; 'gray' has no third axis.
CHANNELS = {'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4, 'gray': 1}


@dataclass(frozen=True)
class Frame:
    """
    A decoded picture.

    :param pixels: uint8 (H, W, 3) or (H, W, 4), or (H, W) where `order` is 'gray'; values 0 to
        255. Often a view of a message's bytes: read only, rows may be padded, and valid as long
        as the message.
    :param order: one of `CHANNELS`.
    """

    pixels: NDArray[np.uint8]
    order: str


def to_8_bit(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """
    Scale 16-bit values to 8 bits as cv_bridge does: v * 255 / 65535, rounded.

    :param pixels: uint16 of any shape.
    :returns: uint8 of that shape, owned by the caller.
    """
    scaled: Any = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    return np.asarray(scaled, np.uint8).reshape(pixels.shape)
