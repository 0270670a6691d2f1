"""Where a box lies in an image; right for any finite numbers, without a warning."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

from resnet_trt_node.regions.region import Box

#: Huge numbers are added as eighths, since the sum of a few of them would overflow.
_EIGHTH = 0.125
#: Sums are rounded: a box that lacks less than this of min_px has it, in pixels.
_ROUNDING_PX = 1e-6


class Placed(NamedTuple):
    """
    A box as an interval along each of its own axes, in pixels from the image's middle.

    Its x axis points along (cos, sin) in the image, its y axis along (-sin, cos). An end is
    infinite where it is too large for a float.
    """

    cos: float
    sin: float
    left: float
    right: float
    top: float
    bottom: float


def place(box: Box, height: int, width: int, margin: float = 0.0) -> Placed:
    """
    Place a box in an image.

    :param box: finite numbers.
    :param height: rows of the image.
    :param width: columns of the image.
    :param margin: share of the box's size that is added on each of its sides.
    :returns: where it is.
    """
    cos, sin = math.cos(box.theta), math.sin(box.theta)
    x = _EIGHTH * box.center_x - _EIGHTH * 0.5 * width
    y = _EIGHTH * box.center_y - _EIGHTH * 0.5 * height
    x, y = x * cos + y * sin, y * cos - x * sin
    half_width = _EIGHTH * box.width * (0.5 + margin)
    half_height = _EIGHTH * box.height * (0.5 + margin)
    return Placed(
        cos, sin, 8.0 * (x - half_width), 8.0 * (x + half_width),
        8.0 * (y - half_height), 8.0 * (y + half_height))


def why_unusable(box: Box, min_px: int, height: int, width: int) -> Optional[str]:
    """
    Tell why a box cannot be cropped from an image.

    :param box: any numbers.
    :param min_px: the least width and height of its part inside the image; of a rotated box the
        upright rectangle around it counts.
    :param height: rows of the image.
    :param width: columns of the image.
    :returns: 'not_finite', 'empty', 'outside' or 'too_small'; None if it can.
    """
    isfinite = math.isfinite
    box_width, box_height = box.width, box.height
    if not (isfinite(box.center_x) and isfinite(box.center_y) and isfinite(box_width)
            and isfinite(box_height) and isfinite(box.theta)):
        return 'not_finite'
    if box_width <= 0.0 or box_height <= 0.0:
        return 'empty'
    half_width, half_height = 0.5 * box_width, 0.5 * box_height
    if box.theta:
        if _apart(place(box, height, width), height, width):
            return 'outside'
        cos, sin = abs(math.cos(box.theta)), abs(math.sin(box.theta))
        half_width, half_height = (
            half_width * cos + half_height * sin, half_width * sin + half_height * cos)
    # Infinite ends are cut off by the image's.
    inside_width = (
        min(box.center_x + half_width, float(width)) - max(box.center_x - half_width, 0.0))
    inside_height = (
        min(box.center_y + half_height, float(height)) - max(box.center_y - half_height, 0.0))
    if inside_width <= 0.0 or inside_height <= 0.0:
        return 'outside'
    if min(inside_width, inside_height) < min_px - _ROUNDING_PX:
        return 'too_small'
    return None


def _apart(placed: Placed, height: int, width: int) -> bool:
    """Tell whether the box's own axes show a gap between it and the image."""
    cos, sin = abs(placed.cos), abs(placed.sin)
    half_width = 0.5 * (width * cos + height * sin)
    half_height = 0.5 * (width * sin + height * cos)
    return (placed.right <= -half_width or placed.left >= half_width
            or placed.bottom <= -half_height or placed.top >= half_height)


def clip(placed: Placed, height: int, width: int) -> Optional[Placed]:
    """
    Cut off what lies outside the image.

    :param placed: where a box is.
    :param height: rows of the image.
    :param width: columns of the image.
    :returns: the smallest box of the same rotation around the part that is inside; None if
        nothing is.
    """
    cos, sin = placed.cos, placed.sin
    corners = [
        (x * cos + y * sin, y * cos - x * sin)
        for x, y in ((-0.5 * width, -0.5 * height), (0.5 * width, -0.5 * height),
                     (0.5 * width, 0.5 * height), (-0.5 * width, 0.5 * height))]
    for axis, end, sign in ((0, placed.left, 1.0), (0, placed.right, -1.0),
                            (1, placed.top, 1.0), (1, placed.bottom, -1.0)):
        corners = _cut_off(corners, axis, end, sign)
    if not corners:
        return None
    across, down = zip(*corners)
    return Placed(cos, sin, min(across), max(across), min(down), max(down))


def _cut_off(
        corners: list[tuple[float, float]], axis: int, end: float,
        sign: float) -> list[tuple[float, float]]:
    """Return the part of a convex polygon at or beyond an end along an axis."""
    kept = []
    for before, corner in zip(corners[-1:] + corners[:-1], corners):
        gap_before, gap = sign * (before[axis] - end), sign * (corner[axis] - end)
        if (gap_before < 0.0) != (gap < 0.0):
            # Both gaps are finite: of an infinite end, all corners are on the same side.
            share = gap_before / (gap_before - gap)
            middle = [first + share * (last - first) for first, last in zip(before, corner)]
            middle[axis] = end
            kept.append((middle[0], middle[1]))
        if gap >= 0.0:
            kept.append(corner)
    return kept
