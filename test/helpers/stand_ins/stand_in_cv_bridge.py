"""
A stand-in for cv_bridge, which the test installs under that name.

It has cv_bridge's interface and some of its encodings, converts by OpenCV as it does, and keeps
in a file beside it what it was asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

COLOURS = {
    'bayer_rggb8': cv2.COLOR_BayerBG2RGB, 'bayer_bggr8': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg8': cv2.COLOR_BayerGR2RGB, 'bayer_grbg8': cv2.COLOR_BayerGB2RGB,
    'yuv422': cv2.COLOR_YUV2RGB_UYVY, 'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2}


class CvBridge:
    """Converts messages as cv_bridge.CvBridge does."""

    def imgmsg_to_cv2(self, img_msg: Any, desired_encoding: str = 'passthrough') -> Any:
        """Return the pixels in the desired encoding; raise RuntimeError for unknown ones."""
        with open(Path(__file__).with_name('asked.txt'), 'a', encoding='utf-8') as file:
            file.write(img_msg.encoding + '\n')
        channels = 2 if img_msg.encoding.startswith('yuv') else 1
        kind = np.dtype('<u2' if img_msg.encoding == 'mono16' else 'u1')
        # Like cv_bridge it takes the step for a whole number of pixels.
        rows: Any = np.ndarray(
            (img_msg.height, img_msg.step // kind.itemsize // channels, channels), kind,
            img_msg.data)
        pixels = np.ascontiguousarray(rows[:, :img_msg.width])
        if (img_msg.encoding, desired_encoding) == ('mono16', 'mono8'):
            return cv2.convertScaleAbs(pixels[..., 0], alpha=255 / 65535)
        if img_msg.encoding not in COLOURS or desired_encoding != 'rgb8':
            raise RuntimeError(f'no conversion from {img_msg.encoding} to {desired_encoding}')
        return cv2.cvtColor(pixels, COLOURS[img_msg.encoding])
