"""Pictures pasted into frames at known places, cropped out of them, and resized alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import Resizer
from resnet_trt_node.regions.crop import RegionCropper
from resnet_trt_node.regions.region import Box

RULE = ResizeRule(64, 56, 56)
#: Of the frames.
HEIGHT, WIDTH = 300, 400
#: Of the pasted picture in the frame.
LEFT, TOP = 150, 90


def picture(height: int, width: int) -> np.ndarray:
    """Return an RGB picture of slow waves, another in each channel and direction."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.rint(np.dstack([
        128 + 100 * np.sin(rows / 9), 128 + 100 * np.cos(columns / 11),
        128 + 100 * np.sin((rows + 2 * columns) / 25)])).astype(np.uint8)


def frame_with(pasted: np.ndarray, left: int = LEFT, top: int = TOP) -> np.ndarray:
    """Return an RGB frame of noise with a picture in it."""
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frame[top:top + pasted.shape[0], left:left + pasted.shape[1]] = pasted
    return frame


def box_of(width: int, height: int) -> Box:
    """Return the box of a pasted picture of this size."""
    return Box(LEFT + width / 2, TOP + height / 2, width, height)


def cropped(
        frame: Frame, box: Box, rule: ResizeRule = RULE, method: Any = 'fast',
        aspect: str = 'model', margin: float = 0.0) -> np.ndarray:
    """Return the crop, from a batch row whose old content would show."""
    out = np.full((3, rule.crop_height, rule.crop_width, 3), 255, np.uint8)
    RegionCropper(rule, method, aspect, margin).crop(frame, box, out[1])
    assert (out[::2] == 255).all()
    return out[1]


def alone(pixels: np.ndarray, rule: ResizeRule = RULE, method: Any = 'fast') -> np.ndarray:
    """Return a picture of its own, resized by a rule."""
    out = np.empty((rule.crop_height, rule.crop_width, 3), np.uint8)
    Resizer(rule, method, many=True).resize(Frame(np.ascontiguousarray(pixels), 'rgb'), out)
    return out
