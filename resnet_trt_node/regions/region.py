"""A region of a frame, and what became of it; neither ROS nor OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from resnet_trt_node.contract.prediction import Prediction

#: Why a region cannot be classified; it stays in the result, with an empty hypothesis:
#:
#: - not_finite: its box has a NaN or an infinity;
#: - empty: width or height is 0 or less;
#: - outside: no pixel of it lies in the image;
#: - too_small: its part of the image is narrower or lower than min_region_px;
#: - too_large: it is rotated, and has more pixels a side than can be turned upright;
#: - too_many: its frame has more than max_regions, and this one comes after them;
#: - failed: the backend returned no probabilities for it.
UNUSABLE = ('not_finite', 'empty', 'outside', 'too_small', 'too_large', 'too_many', 'failed')
#: What becomes of a region of an answered frame:
#:
#: - answered: it was inferred;
#: - cached: its track's last answer was taken, see `track_cache`;
#: - not_selected: its class is not in region_classes;
#: - or one of `UNUSABLE`.
OUTCOMES = ('answered', 'cached', 'not_selected', *UNUSABLE)


@dataclass(frozen=True)
class Box:
    """
    A box in a frame, as in vision_msgs/BoundingBox2D.

    :param center_x: column of the centre in pixels; 0 is the left edge of the first pixel.
    :param center_y: row of the centre in pixels; 0 is the upper edge of the first pixel.
    :param width: size along the box's own x axis, in pixels.
    :param height: size along the box's own y axis, in pixels.
    :param theta: rotation of the box about its centre in radians, from x (right) to y (down).
    """

    center_x: float
    center_y: float
    width: float
    height: float
    theta: float = 0.0


@dataclass(frozen=True)
class Region:
    """
    A region that a detector found.

    :param box: where.
    :param track_id: the detection's id, '' where nothing tracks it.
    :param class_id: class of the detector's best hypothesis, '' where it has none.
    """

    box: Box
    track_id: str = ''
    class_id: str = ''


@dataclass(frozen=True)
class RegionAnswer:
    """
    What became of a region.

    :param outcome: one of `OUTCOMES`.
    :param predictions: falling scores; none unless it was answered or cached.
    :param inferred_stamp_ns: stamp of the image that was inferred, in nanoseconds; an older one
        than the frame's own where it was cached, None where nothing was inferred.
    """

    outcome: str
    predictions: tuple[Prediction, ...] = ()
    inferred_stamp_ns: Optional[int] = None
