"""The reference of every resize: Pillow's of the whole picture, and torchvision's crop."""

from __future__ import annotations

import numpy as np
from PIL import Image

from resnet_trt_node.contract.spec import ResizeRule

FILTERS = {
    'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC,
    'nearest': Image.Resampling.NEAREST}


def resized_by_pillow(pixels: np.ndarray, rule: ResizeRule) -> np.ndarray:
    """Return RGB pixels resized and cropped as torchvision's Resize and CenterCrop do it."""
    height, width = pixels.shape[:2]
    if rule.short_side is None:
        size = (rule.crop_width, rule.crop_height)
    elif width <= height:
        size = (rule.short_side, int(rule.short_side * height / width))
    else:
        size = (int(rule.short_side * width / height), rule.short_side)
    left = round((size[0] - rule.crop_width) / 2.0)
    top = round((size[1] - rule.crop_height) / 2.0)
    # Pillow 13 may begin with the columns.
    kind = FILTERS[rule.interpolation]
    resized = np.asarray(
        Image.fromarray(pixels).resize((size[0], height), kind).resize(size, kind))
    return resized[top:top + rule.crop_height, left:left + rule.crop_width]
