"""A decoded frame: pixels and what their channels mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, TYPE_CHECKING

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
    :param reduction: how many times smaller a side is than that of the picture which was sent:
        each pixel is the mean of so many squared. A power of two.
    :param full_size: that picture's height and width, None where it was not reduced. Sides that
        the reduction does not divide are rounded up, and then the last pixels stand for fewer.
    """

    pixels: NDArray[np.uint8]
    order: str
    reduction: int = 1
    full_size: Optional[tuple[int, int]] = None

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width of the picture that was sent."""
        return self.full_size or (self.pixels.shape[0], self.pixels.shape[1])


def to_8_bit(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """
    Scale 16-bit values to 8 bits as cv_bridge does: v * 255 / 65535, rounded.

    :param pixels: uint16 of any shape.
    :returns: uint8 of that shape, owned by the caller.
    """
    scaled: Any = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    return np.asarray(scaled, np.uint8).reshape(pixels.shape)
