"""A decoded frame: pixels and what their channels mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, TYPE_CHECKING

import cv2
import numpy as np

from resnet_trt_node.errors import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Channel orders of a frame, with the number of channels; 'gray' has no third axis.
CHANNELS = {'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4, 'gray': 1}
_TO_RGB = {
    'bgr': cv2.COLOR_BGR2RGB, 'rgba': cv2.COLOR_RGBA2RGB, 'bgra': cv2.COLOR_BGRA2RGB,
    'gray': cv2.COLOR_GRAY2RGB}


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
    :param of_several: whether it is the first frame of several in a file, such as an animation.
    """

    pixels: NDArray[np.uint8]
    order: str
    reduction: int = 1
    full_size: Optional[tuple[int, int]] = None
    of_several: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width of the picture that was sent."""
        return self.full_size or (self.pixels.shape[0], self.pixels.shape[1])


@dataclass(frozen=True, eq=False)
class DecodedMessage:
    """
    A message whose picture is decoded already, such as a packet of a video stream.

    :param header: the message's.
    :param frame: its picture.
    """

    header: Any
    frame: Frame


def to_rgb(
        pixels: NDArray[np.uint8], order: str,
        out: Optional[NDArray[np.uint8]] = None) -> NDArray[np.uint8]:
    """
    Copy pixels as RGB; alpha is left out.

    :param pixels: uint8 in one of `CHANNELS`, of any strides.
    :param order: which.
    :param out: uint8 (H, W, 3), written into; None for a new array.
    :returns: uint8 (H, W, 3), `out` or owned by the caller.
    """
    if order != 'rgb':
        # By NumPy, with its strides of -1 or 4, it takes 20 times as long.
        return np.asarray(cv2.cvtColor(pixels, _TO_RGB[order], dst=out), np.uint8)
    if out is None:
        return np.array(pixels, order='C')
    np.copyto(out, pixels)
    return out


def to_8_bit(pixels: NDArray[Any], white: int = 65535) -> NDArray[np.uint8]:
    """
    Scale values to 8 bits as cv_bridge does: v * 255 / white, rounded.

    :param pixels: uint8 or uint16 of any shape.
    :param white: the value that becomes 255.
    :returns: uint8 of that shape, owned by the caller.
    """
    scaled: Any = cv2.convertScaleAbs(pixels, alpha=255 / white)
    return np.asarray(scaled, np.uint8).reshape(pixels.shape)


def too_large(size_bytes: int, max_bytes: int) -> str:
    """
    Return how much a frame takes, that it is too much and what to do, for messages.

    :param size_bytes: what it takes.
    :param max_bytes: what is allowed.
    """
    return (
        f'{-(-size_bytes // 2**20)} MiB and {max_bytes // 2**20} are allowed: make it '
        'smaller, or raise max_image_mib (--max-image-mib of the commands)')


def view_bytes(data: Any, where: str) -> NDArray[np.uint8]:
    """
    Return a message's data as an array.

    :param data: any object with the buffer protocol.
    :param where: what it is the data of, for the message.
    :returns: uint8 (bytes,), a read-only view: several readers share it, none may draw into it.
    :raises FrameError: for any other object, a list of numbers included.
    """
    try:
        view = np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise FrameError(
            f'{where}: data is {type(data).__name__}, which holds no plain bytes ({error}): '
            "use array.array('B'), bytes or a NumPy array of uint8") from error
    view.flags.writeable = False
    return view
