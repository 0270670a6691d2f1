"""Bags of detections as other software writes them."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from typing import Any, Optional

from bags.sample_bags import START_NS
import numpy as np
from resnet_trt_node.bag.message_types import default_typestore, DETECTIONS, HYPOTHESIS_WITH_POSE
from resnet_trt_node.bag.writer import header
from resnet_trt_node.regions.region import Box
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys.store import Typestore

TOPIC = '/front/detections'
_TYPES = default_typestore().types


def _hypothesis(class_id: str, score: float) -> Any:
    """Return what a detector takes an object for."""
    pose = _TYPES['geometry_msgs/msg/Pose'](
        _TYPES['geometry_msgs/msg/Point'](1.0, 2.0, 3.0),
        _TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0))
    return _TYPES[HYPOTHESIS_WITH_POSE](
        _TYPES['vision_msgs/msg/ObjectHypothesis'](class_id, score),
        _TYPES['geometry_msgs/msg/PoseWithCovariance'](pose, np.arange(36.0)))


def _detection(track_id: str, box: Box, *results: tuple[str, float]) -> Any:
    """Return a detection."""
    pose = _TYPES['vision_msgs/msg/Pose2D'](
        _TYPES['vision_msgs/msg/Point2D'](box.center_x, box.center_y), box.theta)
    return _TYPES['vision_msgs/msg/Detection2D'](
        header(7, 'front'), [_hypothesis(*one) for one in results],
        _TYPES['vision_msgs/msg/BoundingBox2D'](pose, box.width, box.height), track_id)


def array(stamp_ns: int = START_NS, *found: Any) -> Any:
    """Return a detector's message."""
    return _TYPES[DETECTIONS](header(stamp_ns, 'front'), list(found))


#: A tracked one of two classes, one whose box is none, and one more.
THREE = (
    _detection('7', Box(10.0, 20.0, 4.0, 8.0, 0.5), ('light', 0.5), ('sign', 0.75)),
    _detection('', Box(nan, inf, -1.0, 0.0)),
    _detection('x9', Box(1.0, 2.0, 3.0, 4.0), ('car', 1.0)))


def write(
        path: Path, *messages: Any, store: Optional[Typestore] = None,
        storage: str = 'mcap') -> Path:
    """
    Write messages as foreign software does, with the definitions of its types.

    :param path: of the bag's folder, returned.
    :param messages: one each nanosecond from `START_NS` on.
    :param store: the types and their definitions; those of vision_msgs 4 by default.
    :param storage: 'mcap' or 'sqlite3'.
    """
    types = store or default_typestore()
    plugin = getattr(StoragePlugin, storage.upper())
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        connection = writer.add_connection(TOPIC, DETECTIONS, typestore=types)
        for place, message in enumerate(messages):
            writer.write(connection, START_NS + place, types.serialize_cdr(message, DETECTIONS))
    return path
