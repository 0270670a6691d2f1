"""
Tell, in a process of its own, which encodings the installed cv_bridge converts as OpenCV does.

A cv_bridge built for NumPy 1 may kill the process that calls it under NumPy 2. So the node has
it tried out here, and uses it only for what this program prints: a JSON list of encodings.
"""

from __future__ import annotations

from array import array
import json
import sys
from types import SimpleNamespace
from typing import Any, Optional

import numpy as np

from resnet_trt_node.imaging.decode import decode_image
from resnet_trt_node.imaging.image_encodings import DEEP, PIXEL_BYTES, ZERO_COPY


def target_encoding(encoding: str) -> str:
    """Return the 8-bit encoding that gives the frame that `decode_image` gives."""
    if encoding not in DEEP:
        return 'rgb8'
    order = DEEP[encoding][0]
    return 'mono8' if order == 'gray' else f'{order}8'


def find_equal_encodings(bridge: Any) -> list[str]:
    """
    Try every encoding that needs conversion.

    :param bridge: an object like cv_bridge.CvBridge.
    :returns: the encodings whose pixels are equal to those of `decode_image`.
    :raises Exception: the bridge's own first error if it converts nothing at all: its C++ half,
        which it loads when it first converts, may be missing or built for other libraries.
    """
    random = np.random.default_rng(0)
    equal = []
    converted = 0
    first_error: Optional[Exception] = None
    for encoding in sorted(set(PIXEL_BYTES) - set(ZERO_COPY)):
        # Rows are padded by two pixels, as drivers do it.
        height, width, step = 12, 16, 18 * PIXEL_BYTES[encoding]
        data = array('B', random.integers(0, 256, height * step, np.uint8).tobytes())
        message = SimpleNamespace(
            height=height, width=width, step=step, encoding=encoding, is_bigendian=0, data=data)
        try:
            pixels = bridge.imgmsg_to_cv2(message, target_encoding(encoding))
        except Exception as error:  # noqa: B902  cv_bridge raises whatever its C++ half throws
            # Not converted, hence not in the list.
            first_error = first_error or error
            continue
        converted += 1
        if np.array_equal(pixels, decode_image(message).pixels):
            equal.append(encoding)
    if first_error is not None and not converted:
        raise first_error
    return equal


def main() -> int:
    """Print the list; cv_bridge's errors are left to end the process with their text."""
    from cv_bridge import CvBridge
    json.dump(find_equal_encodings(CvBridge()), sys.stdout)
    return 0
