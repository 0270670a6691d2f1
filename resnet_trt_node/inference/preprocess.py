"""From a frame of any size to the model's input: one resize and one centre crop."""

from __future__ import annotations

from typing import Literal, TYPE_CHECKING

import numpy as np
from PIL import Image

from resnet_trt_node.errors import FrameError
from resnet_trt_node.inference.frame import Frame
from resnet_trt_node.inference.spec import ResizeRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How frames are fitted, see `Resizer`.
FitMethod = Literal['fast', 'exact']

_FILTERS = {
    'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC,
    'nearest': Image.Resampling.NEAREST}


class Resizer:
    """
    Fits frames to a model's input by its resize rule.

    :param rule: how a picture becomes the model's input.
    :param method: 'fast' or 'exact'.
    """

    def __init__(self, rule: ResizeRule, method: FitMethod = 'fast') -> None:
        self.rule = rule
        self.method = method

    def fit(self, frame: Frame, out: NDArray[np.uint8]) -> None:
        """
        Write the fitted frame.

        :param frame: any decoded frame; not changed.
        :param out: uint8 (crop_height, crop_width, 3), RGB, the caller's; wholly overwritten.
        :raises FrameError: if the frame has no pixels.
        """
        rule = self.rule
        height, width = frame.pixels.shape[:2]
        if not height or not width:
            raise FrameError(f'{width}x{height} frame: it has no pixels')
        image = Image.fromarray(_to_rgb(frame))
        box = (0.0, 0.0, float(width), float(height))
        if rule.short_side is not None:
            short, long = min(height, width), max(height, width)
            long = int(rule.short_side * long / short)
            new_w, new_h = (
                (rule.short_side, long) if width <= height else (long, rule.short_side))
            top = round((new_h - rule.crop_height) / 2.0)
            left = round((new_w - rule.crop_width) / 2.0)
            sx, sy = width / new_w, height / new_h
            box = (left * sx, top * sy, min(width, (left + rule.crop_width) * sx),
                   min(height, (top + rule.crop_height) * sy))
        fitted = image.resize(
            (rule.crop_width, rule.crop_height), _FILTERS[rule.interpolation], box)
        out[...] = np.asarray(fitted)


def _to_rgb(frame: Frame) -> NDArray[np.uint8]:
    pixels = frame.pixels
    if frame.order == 'gray':
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if frame.order.startswith('bgr'):
        return np.ascontiguousarray(pixels[:, :, 2::-1])
    return np.ascontiguousarray(pixels[:, :, :3])
