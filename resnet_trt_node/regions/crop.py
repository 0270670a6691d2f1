"""From a box in a frame to the model's input."""

from __future__ import annotations

import math
from typing import Any, Optional, TYPE_CHECKING

import cv2
import numpy as np

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.frame import CHANNELS, Frame
from resnet_trt_node.imaging.on_device.grid import Grid, make_grid
from resnet_trt_node.imaging.resampling.crop_plan import place_crop
from resnet_trt_node.imaging.resize import check_row, ResizeMethod, Resizer
from resnet_trt_node.regions.geometry import is_upright, ROUNDING_PX, turn, why_unusable
from resnet_trt_node.regions.region import Box
from resnet_trt_node.regions.selection import check_cropping

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What surrounds a crop that is padded, and what a rotated box has outside the image: the mean
#: colour of ImageNet's photographs, which normalisation makes 0.
PAD_RGB = (124, 116, 104)
#: The same as one grey, by the weights of RGB to grey.
PAD_GRAY = 117
_PAD = {
    'rgb': PAD_RGB, 'bgr': PAD_RGB[::-1], 'rgba': (*PAD_RGB, 255), 'bgra': (*PAD_RGB[::-1], 255),
    'gray': (PAD_GRAY,)}


class RegionCropper:
    """
    Crops regions out of frames and resizes them to a model's input.

    A box grows by its margin, is cut off at the image's edges and rounded outwards to whole
    pixels, where it reaches at least a hundredth of a pixel into the next. These pixels alone are
    read: the result is that of resizing them as a picture of their own.

    A rotated box is turned upright first, its own x axis to the right and its y axis down, pixel
    for pixel by a bilinear interpolation, whatever the method is; then it is resized like any
    other crop, so that it is antialiased like it. It is cut off to the smallest box of the same
    rotation around what is inside the image; corners of that outside the image are `PAD_RGB`.

    Any number of threads may use one object; OpenCV and Pillow release the GIL.

    :param rule: how a picture becomes the model's input.
    :param method: 'fast' or 'exact', see `Resizer`.
    :param aspect: 'model' resizes a crop by the rule, usually its short side and then a centre
        crop; 'stretch' stretches it to the model's input; 'pad' scales it so that it just fits,
        centred, and fills the rest with `PAD_RGB`.
    :param margin: share of the box's width that is added on its left and again on its right, and
        of its height above and below.
    :raises UsageError: for an unknown method or aspect, or a margin that no box can have.
    """

    def __init__(
            self, rule: ResizeRule, method: ResizeMethod, aspect: str, margin: float) -> None:
        check_cropping(aspect, margin)
        self._rule = rule
        self._pad = aspect == 'pad'
        self._margin = margin
        self._method: ResizeMethod = method
        whole = ResizeRule(None, rule.crop_height, rule.crop_width, rule.interpolation)
        self._picture_rule = whole if aspect == 'stretch' else rule
        self._resizer = Resizer(self._picture_rule, method, many=True)
        # Copied from, since NumPy repeats three bytes slowly.
        self._padding = np.full((rule.crop_height, rule.crop_width, 3), PAD_RGB, np.uint8)

    def crop(self, frame: Frame, box: Box, out: NDArray[np.uint8]) -> None:
        """
        Write the resized crop.

        :param frame: any decoded frame; not changed. Of one that was decoded at reduced size the
            box is in pixels of the whole one.
        :param box: where; `select` returns None for those that can be cropped.
        :param out: uint8 (crop_height, crop_width, 3), RGB, each row contiguous, the caller's;
            wholly overwritten.
        :raises FrameError: if the box is unusable, see `why_unusable`, or the frame is not what
            its order says.
        :raises UsageError: if `out` cannot take the result.
        """
        pixels = self._cut(frame, box)
        if self._pad:
            check_row(out, self._rule)
            self._resize_padded(pixels, out)
        else:
            self._resizer.resize(pixels, out)

    def grid(self, box: Box, height: int, width: int) -> Optional[Grid]:
        """
        Plan what `crop` does for the GPU: the same pixels, resized as by the 'exact' method.

        :param box: where, in pixels of the frame.
        :param height: rows of the frame, which was not reduced.
        :param width: columns of it.
        :returns: None for a rotated box, and where the kernel cannot, see `make_grid`.
        :raises FrameError: if the box is unusable.
        """
        pixels = self._find(box, height, width)
        if pixels is None:
            return None
        rows, columns = pixels
        size = rows.stop - rows.start, columns.stop - columns.start
        start, rule = (0, 0), self._picture_rule
        if self._pad:
            start, rule = self._fit(*size)
        return make_grid(
            place_crop(rule, *size), rule.interpolation, (rows.start, columns.start), start,
            PAD_RGB)

    def _cut(self, frame: Frame, box: Box) -> Frame:
        """Return the box's pixels, upright."""
        if frame.reduction > 1:
            factor = 1.0 / frame.reduction
            box = Box(factor * box.center_x, factor * box.center_y, factor * box.width,
                      factor * box.height, box.theta)
        pixels = self._find(box, *frame.pixels.shape[:2])
        if pixels is None:
            return self._turn_upright(frame, box)
        return Frame(frame.pixels[pixels], frame.order)

    def _find(self, box: Box, height: int, width: int) -> Optional[tuple[slice, slice]]:
        """Return the rows and columns of a box in an image; None if it is rotated."""
        why = why_unusable(box, 0, height, width, self._margin)
        if why is not None:
            raise FrameError(
                f'a region is {why.replace("_", " ")} ({box}) in a frame of {width}x{height} '
                'pixels: select the regions that can be cropped')
        if not is_upright(box):
            return None
        grow = 0.5 + self._margin
        return (_whole_pixels(box.center_y, grow * box.height, height),
                _whole_pixels(box.center_x, grow * box.width, width))

    def _turn_upright(self, frame: Frame, box: Box) -> Frame:
        """Return the pixels of a rotated box, interpolated at its own grid."""
        height, width = frame.pixels.shape[:2]
        turned = turn(box, height, width, self._margin)
        if turned is None or frame.order not in CHANNELS:
            raise FrameError(
                f'no pixel of a rotated region ({box}) lies in a frame of {width}x{height} '
                f'{frame.order!r} pixels: select the regions that can be cropped')
        clipped, (rows, columns) = turned.clipped, turned.window
        first_x = 0.5 * (clipped.left + clipped.right - turned.width + 1)
        first_y = 0.5 * (clipped.top + clipped.bottom - turned.height + 1)
        cos, sin = clipped.cos, clipped.sin
        # OpenCV counts from the middle of the first pixel.
        affine = np.array([
            [cos, -sin, first_x * cos - first_y * sin + 0.5 * (width - 1) - columns.start],
            [sin, cos, first_x * sin + first_y * cos + 0.5 * (height - 1) - rows.start]])
        nearest = self._rule.interpolation == 'nearest'
        pixels: Any = cv2.warpAffine(
            frame.pixels[rows, columns], affine, (turned.width, turned.height),
            flags=(cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT, borderValue=_PAD[frame.order])
        return Frame(pixels, frame.order)

    def _resize_padded(self, frame: Frame, out: NDArray[np.uint8]) -> None:
        """Scale pixels to fit and surround them with `PAD_RGB`."""
        (top, left), rule = self._fit(*frame.pixels.shape[:2])
        bottom, right = top + rule.crop_height, left + rule.crop_width
        for bands in (slice(None, top), slice(bottom, None)):
            out[bands] = self._padding[bands]
        for bands in (slice(None, left), slice(right, None)):
            out[top:bottom, bands] = self._padding[top:bottom, bands]
        Resizer(rule, self._method, many=True).resize(frame, out[top:bottom, left:right])

    def _fit(self, height: int, width: int) -> tuple[tuple[int, int], ResizeRule]:
        """Return where pixels that are scaled to fit begin, row and column, and their rule."""
        rule = self._rule
        scale = min(rule.crop_height / height, rule.crop_width / width)
        rows, columns = (
            min(count, max(1, round(scale * length)))
            for count, length in ((rule.crop_height, height), (rule.crop_width, width)))
        return ((rule.crop_height - rows) // 2, (rule.crop_width - columns) // 2), ResizeRule(
            None, rows, columns, rule.interpolation)


def _whole_pixels(middle: float, half: float, length: int) -> slice:
    """Return the pixels of an interval of which some part is in the image."""
    start, end = middle - half, middle + half
    first = min(length - 1, math.floor(max(0.0, start + ROUNDING_PX)))
    return slice(first, max(first + 1, math.ceil(min(float(length), end - ROUNDING_PX))))
