"""YUV in planes of which OpenCV has no conversion: 4:4:4, row padding and odd sides."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def from_nv24(lines: NDArray[Any]) -> Any:
    """
    Convert a plane of luma and one of interleaved chroma, both of the picture's size.

    :param lines: uint8 (3 * H, W), a view whose rows follow each other without a gap but that of
        the step.
    :returns: uint8 (H, W, 3) RGB, owned by the caller.
    """
    height, width, step = len(lines) // 3, lines.shape[1], lines.strides[0]
    # A row of chroma is as long as two of luma, its padding included.
    chroma = np.lib.stride_tricks.as_strided(
        lines[height:], (height, width, 2), (2 * step, 2, 1), writeable=False)
    # OpenCV has no 4:4:4 of video range. Each pixel twice is 4:2:2, U Y V Y, of double width.
    luma = lines[:height]
    packed: Any = cv2.merge([
        cv2.extractChannel(chroma, 0), luma, cv2.extractChannel(chroma, 1), luma])
    doubled = cv2.cvtColor(packed.reshape(height, 2 * width, 2), cv2.COLOR_YUV2RGB_UYVY)
    # Nearest neighbour takes every second column.
    return cv2.resize(doubled, (width, height), interpolation=cv2.INTER_NEAREST)


def from_three_planes(
        data: NDArray[np.uint8], size: tuple[int, int], step: int, order: str) -> NDArray[Any]:
    """
    Convert a plane of luma and two of chroma, which have half the rows, columns and step of it.

    Halves are rounded up: of odd sides the last row or column has chroma of its own.

    :param data: uint8 (bytes,), as many as the planes take.
    :param size: rows and columns of the picture.
    :param step: bytes from one row of luma to the next.
    :param order: of the planes of chroma, 'uv' or 'vu'.
    :returns: uint8 (H, W, 3) RGB, owned by the caller.
    """
    height, width = size
    rows, columns, half_step = -(-height // 2), -(-width // 2), -(-step // 2)
    if (2 * rows, 2 * columns) == size and step == width:
        packed = data.reshape(3 * rows, width)
    else:
        # OpenCV takes even sides without padding. The added luma is cut off again.
        packed = np.zeros((3 * rows, 2 * columns), np.uint8)
        packed[:height, :width] = data[:height * step].reshape(height, step)[:, :width]
        packed[2 * rows:].reshape(2 * rows, columns)[:] = data[height * step:].reshape(
            2 * rows, half_step)[:, :columns]
    code = cv2.COLOR_YUV2RGB_I420 if order == 'uv' else cv2.COLOR_YUV2RGB_YV12
    pixels = np.asarray(cv2.cvtColor(packed, code), np.uint8)
    return pixels[:height, :width]
