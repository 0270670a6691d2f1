"""Messages of a detector as a bag holds them."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnet_trt_node.bag.message_types import default_typestore, DETECTIONS, HYPOTHESIS_WITH_POSE
from resnet_trt_node.bag.writer import header
from resnet_trt_node.regions.region import Box, Region


def detections_of(stamp_ns: int, *regions: Region, frame_id: str = 'camera') -> Any:
    """Return a vision_msgs/Detection2DArray; a region with a class has it with the score 0.5."""
    types = default_typestore().types
    found = []
    for region in regions:
        box = region.box
        center = types['vision_msgs/msg/Pose2D'](
            types['vision_msgs/msg/Point2D'](box.center_x, box.center_y), box.theta)
        pose = types['geometry_msgs/msg/Pose'](
            types['geometry_msgs/msg/Point'](0.0, 0.0, 0.0),
            types['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0))
        results = [types[HYPOTHESIS_WITH_POSE](
            types['vision_msgs/msg/ObjectHypothesis'](region.class_id, 0.5),
            types['geometry_msgs/msg/PoseWithCovariance'](pose, np.zeros(36)))]
        found.append(types['vision_msgs/msg/Detection2D'](
            header(stamp_ns, frame_id), results if region.class_id else [],
            types['vision_msgs/msg/BoundingBox2D'](center, box.width, box.height),
            region.track_id))
    return types[DETECTIONS](header(stamp_ns, frame_id), found)


def at(left: float, top: float, width: float, height: float, theta: float = 0.0) -> Box:
    """Return a box by its upper left corner."""
    return Box(left + width / 2, top + height / 2, float(width), float(height), theta)
