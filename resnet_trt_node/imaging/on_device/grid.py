"""How a picture, or a part of it, becomes the model's input on the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from struct import Struct
from typing import Any, Optional

import numpy as np

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.on_device.job import GRID
from resnet_trt_node.imaging.resampling.blur import SUPPORT
from resnet_trt_node.imaging.resampling.crop_plan import place_crop, Placement

#: Source pixels that an output pixel may read along an axis; the kernel has no room for more.
MAX_TAPS = 128
#: By their numbers in the kernel.
_FILTERS = ('nearest', 'bilinear', 'bicubic')
# Packed, since NumPy takes ten times as long to set each field.
_RECORD = Struct('=d6id6ii4B')


@dataclass(frozen=True, eq=False)
class Grid:
    """
    How a picture becomes a row of a batch: Pillow's resize, then the crop.

    :param rows: the frame's rows that are read.
    :param columns: the frame's columns that are read.
    :param record: what the kernel is told, of dtype `GRID`.
    """

    rows: slice
    columns: slice
    record: Any

    def write(self, job: Any) -> None:
        """
        Set the job's fields about the grid.

        :param job: an element of an array of dtype `JOB`.
        """
        job['grid'] = self.record


@lru_cache(maxsize=256)
def plan_grid(rule: ResizeRule, height: int, width: int) -> Optional[Grid]:
    """
    Plan how a whole frame becomes the model's input.

    :param rule: by which it does.
    :param height: rows of the frame.
    :param width: columns of the frame.
    :returns: None where the kernel cannot, see `make_grid`.
    """
    return make_grid(place_crop(rule, height, width), rule.interpolation)


def make_grid(
        axes: tuple[Placement, Placement], interpolation: str, source: tuple[int, int] = (0, 0),
        start: tuple[int, int] = (0, 0), pad: tuple[int, int, int] = (0, 0, 0)) -> Optional[Grid]:
    """
    Make a grid of where a picture lies.

    :param axes: the vertical and the horizontal axis of the picture.
    :param interpolation: one of the rule's.
    :param source: row and column of the frame where the picture begins.
    :param start: row and column of the output where the crop begins.
    :param pad: the RGB of output around the crop.
    :returns: None where an output pixel would read more than `MAX_TAPS` source pixels a row or a
        column.
    """
    windows, fields = [], []
    for placed, low, begin in zip(axes, source, start):
        scale = placed.scale
        # The nearest pixel is not always the one around the middle: Pillow rounds otherwise.
        support = SUPPORT.get(interpolation, 0.0) * max(1.0, scale) or 1.0
        if 2 * math.ceil(support) + 1 > MAX_TAPS:
            return None
        window = placed.window(support)
        windows.append(slice(low + window.start, low + window.stop))
        fields += [scale, low, placed.length, placed.first, begin, placed.count, 0]
    record = _RECORD.pack(*fields, _FILTERS.index(interpolation), *pad, 0)
    return Grid(windows[0], windows[1], np.frombuffer(record, GRID)[0])
