"""Where a box lies in an image; right for any finite numbers, without a warning."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

from resnet_trt_node.imaging.limits import MAX_WARP_SIDE
from resnet_trt_node.regions.region import Box

#: Huge numbers are added as eighths, since the sum of a few of them would overflow.
_EIGHTH = 0.125
#: Sums are rounded: a box that lacks less than this of min_px has it, in pixels.
_LACKING_PX = 1e-6
#: A box that reaches less than this into a pixel does not take it: that is rounding.
ROUNDING_PX = 0.01
#: A box whose corners a rotation moves by less is upright.
_UPRIGHT_PX = 0.1


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


class Turned(NamedTuple):
    """
    A rotated box, cut off at the image's edges, and what turning it upright takes.

    :param clipped: where it is, see `clip`.
    :param width: columns of the upright picture.
    :param height: rows of it.
    :param window: the rows and columns of the image that are read: those around it, and two more
        on each side.
    """

    clipped: Placed
    width: int
    height: int
    window: tuple[slice, slice]


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


def why_unusable(
        box: Box, min_px: int, height: int, width: int, margin: float = 0.0) -> Optional[str]:
    """
    Tell why a box cannot be cropped from an image.

    :param box: any numbers.
    :param min_px: the least width and height of its part inside the image; of a rotated box the
        upright rectangle around it counts.
    :param height: rows of the image.
    :param width: columns of the image.
    :param margin: share of the box's size that is added on each of its sides before it is cropped.
    :returns: 'not_finite', 'empty', 'outside', 'too_small' or 'too_large', which only a rotated
        box is; None if it can.
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
    if min(inside_width, inside_height) < min_px - _LACKING_PX:
        return 'too_small'
    # Within a smaller image nothing is too large, however it is turned.
    if box.theta and math.hypot(height, width) >= MAX_WARP_SIDE and not is_upright(box):
        turned = turn(box, height, width, margin)
        if turned is not None and max(
                turned.width, turned.height,
                *(one.stop - one.start for one in turned.window)) > MAX_WARP_SIDE:
            return 'too_large'
    return None


def is_upright(box: Box) -> bool:
    """Tell whether a box of finite numbers can be cropped as if it were not rotated."""
    corner = 0.5 * max(box.width, box.height)
    return not box.theta or (
        math.cos(box.theta) >= 0.0 and corner * abs(math.sin(box.theta)) <= _UPRIGHT_PX)


def turn(box: Box, height: int, width: int, margin: float) -> Optional[Turned]:
    """
    Find out what turning a rotated box upright takes.

    :param box: finite numbers.
    :param height: rows of the image.
    :param width: columns of the image.
    :param margin: share of the box's size that is added on each of its sides.
    :returns: None if nothing of it is inside the image.
    """
    clipped = clip(place(box, height, width, margin), height, width)
    if clipped is None:
        return None
    # Whole pixels, around the same middle.
    columns, rows = (
        max(1, math.ceil(end - start - ROUNDING_PX))
        for start, end in ((clipped.left, clipped.right), (clipped.top, clipped.bottom)))
    return Turned(clipped, columns, rows, _window(clipped, height, width))


def _window(clipped: Placed, height: int, width: int) -> tuple[slice, slice]:
    corners = [
        (y * clipped.cos + x * clipped.sin, x * clipped.cos - y * clipped.sin)
        for x in (clipped.left, clipped.right) for y in (clipped.top, clipped.bottom)]
    rows, columns = (
        slice(max(0, min(length - 1, math.floor(min(values) + 0.5 * length) - 2)),
              max(1, min(length, math.ceil(max(values) + 0.5 * length) + 2)))
        for values, length in zip(zip(*corners), (height, width)))
    return rows, columns


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
