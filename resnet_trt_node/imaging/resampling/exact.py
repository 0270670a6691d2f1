"""The exact method: what Pillow makes of the whole picture, of the pixels of the crop alone."""

from __future__ import annotations

from functools import lru_cache
import math
from typing import Any, TYPE_CHECKING

import numpy as np
from PIL import Image

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.frame import Frame, to_rgb
from resnet_trt_node.imaging.resampling.blur import SUPPORT
from resnet_trt_node.imaging.resampling.crop_plan import place_crop, plan_crop

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pillow before 9.1, which Ubuntu 22.04 has, knows the filters by their plain names only.
_RESAMPLING: Any = getattr(Image, 'Resampling', Image)
_FILTERS = {'bilinear': _RESAMPLING.BILINEAR, 'bicubic': _RESAMPLING.BICUBIC}


def resize_filtered(frame: Frame, rule: ResizeRule, out: NDArray[np.uint8]) -> None:
    """
    Resample by Pillow, first along the rows, then along the columns.

    :param frame: not changed.
    :param rule: how a picture becomes the model's input, by a filter.
    :param out: uint8 (crop_height, crop_width, 3), wholly overwritten.
    """
    # One axis a call: Pillow 13 chooses the order by the sizes, and a cubic's overshoot is cut
    # off in between, so that the order shows.
    resize = _resize_whole if frame.reduction == 1 else _resize_reduced
    to_rgb(np.asarray(resize(frame, rule)), frame.order, out)


def _resize_whole(frame: Frame, rule: ResizeRule) -> Image.Image:
    """
    Return the crop of the resized picture, bit for bit.

    Pillow has the box that it resizes in float32, which moves one that begins anywhere. So boxes
    begin at the picture's edge, and what the crop does not need is computed of any pixels.
    """
    vertical, horizontal = place_crop(rule, *frame.size)
    kind, support = _FILTERS[rule.interpolation], SUPPORT[rule.interpolation]
    rows = vertical.window(support * max(1.0, vertical.scale))
    image = _to_image(np.ascontiguousarray(frame.pixels[rows]))
    # The box ends behind the crop, where the edges of an output and of a source pixel meet.
    meetings = math.gcd(horizontal.length, horizontal.resized)
    period, left = horizontal.resized // meetings, horizontal.first
    periods = -(-(left + horizontal.count) // period)
    image = image.resize(
        (periods * period, image.height), kind,
        (0, 0, periods * (horizontal.length // meetings), image.height))
    lines = Image.new(image.mode, (horizontal.count, vertical.length), None)
    lines.paste(
        image.crop((left, 0, left + horizontal.count, image.height)), (0, rows.start))
    image = lines.resize((horizontal.count, vertical.resized), kind)
    return image.crop((0, vertical.first, horizontal.count, vertical.first + vertical.count))


def _resize_reduced(frame: Frame, rule: ResizeRule) -> Image.Image:
    """Return the crop of a picture that was decoded at reduced size, on the whole one's grid."""
    vertical, horizontal = plan_crop(rule, *frame.size, frame.reduction)
    windows = [
        axis.window(SUPPORT[rule.interpolation] * max(1.0, axis.scale) + 1)
        for axis in (vertical, horizontal)]
    image = _to_image(np.ascontiguousarray(frame.pixels[windows[0], windows[1]]))
    kind = _FILTERS[rule.interpolation]
    left, top = horizontal.start - windows[1].start, vertical.start - windows[0].start
    right, bottom = horizontal.end - windows[1].start, vertical.end - windows[0].start
    image = image.resize(
        (rule.crop_width, image.height), kind, (left, 0.0, right, float(image.height)))
    return image.resize(
        (rule.crop_width, rule.crop_height), kind, (0.0, top, float(rule.crop_width), bottom))


def _to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return C-contiguous pixels as Pillow's picture, whatever their colour order."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return Image.fromarray(pixels)
    # As RGBA, Pillow would weigh colours by alpha; RGBX are just four channels, and not copied.
    height, width = pixels.shape[:2]
    return Image.frombuffer('RGBX', (width, height), pixels, 'raw', 'RGBX', 0, 1)


def resize_nearest(frame: Frame, rule: ResizeRule, out: NDArray[np.uint8]) -> None:
    """
    Take the pixels that Pillow's nearest neighbour takes.

    :param frame: not changed.
    :param rule: how a picture becomes the model's input, by the nearest pixels.
    :param out: uint8 (crop_height, crop_width, 3), wholly overwritten.
    """
    rows, columns = _nearest_pixels(rule, *frame.size, frame.reduction)
    to_rgb(frame.pixels[rows[:, None], columns], frame.order, out)


@lru_cache(maxsize=16)
def _nearest_pixels(
        rule: ResizeRule, height: int, width: int,
        reduction: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the row and column numbers that Pillow's nearest neighbour takes."""
    numbers = []
    for axis in plan_crop(rule, height, width, reduction):
        first = round(axis.start / axis.scale)
        # Pillow adds the scale again and again; its rounding errors decide ties.
        steps = np.full(first + axis.count, axis.scale)
        steps[0] = 0.5 * axis.scale
        centres = np.cumsum(steps)[first:]
        numbers.append(np.minimum(centres.astype(np.intp), axis.length - 1))
    return numbers[0], numbers[1]
