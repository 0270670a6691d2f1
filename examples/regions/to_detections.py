"""
Turns what other detectors publish into vision_msgs/Detection2DArray, with the same header.

    python3 examples/regions/to_detections.py yolo_msgs/msg/DetectionArray \
        --ros-args -r in:=/yolo/tracking -r detections:=/front/detections
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
import signal
import sys
from typing import Any

from grid_detector import detections
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.qos import qos_profile_sensor_data, QoSProfile
from rclpy.utilities import remove_ros_args
from resnet_trt_node.regions.region import Box, Region
from vision_msgs.msg import Detection2DArray

#: By traffic_light_type of tier4_perception_msgs/TrafficLightRoi.
_TRAFFIC_LIGHTS = {0: 'car_traffic_light', 1: 'pedestrian_traffic_light'}


def from_yolo_ros(message: Any) -> Detection2DArray:
    """Convert a yolo_msgs/DetectionArray; the ids are those of its tracker."""
    found = message.detections
    return detections(message.header, [
        Region(
            Box(one.bbox.center.position.x, one.bbox.center.position.y, one.bbox.size.x,
                one.bbox.size.y, one.bbox.center.theta), one.id, one.class_name)
        for one in found], [one.score for one in found])


def from_traffic_light_rois(message: Any) -> Detection2DArray:
    """Convert a tier4_perception_msgs/TrafficLightRoiArray; the ids are those of the map."""
    return detections(message.header, [
        Region(_box(one.roi), str(one.traffic_light_id),
               _TRAFFIC_LIGHTS.get(one.traffic_light_type, str(one.traffic_light_type)))
        for one in message.rois])


def from_objects_with_feature(message: Any) -> Detection2DArray:
    """Convert a tier4_perception_msgs/DetectedObjectsWithFeature; a class is its number."""
    regions, scores = [], []
    for one in message.feature_objects:
        best = max(one.object.classification, key=lambda found: found.probability, default=None)
        regions.append(Region(_box(one.feature.roi), '', str(best.label) if best else ''))
        scores.append(best.probability if best else 0.0)
    return detections(message.header, regions, scores)


def _box(roi: Any) -> Box:
    """Convert a sensor_msgs/RegionOfInterest; one of nothing stays empty."""
    return Box(roi.x_offset + roi.width / 2, roi.y_offset + roi.height / 2,
               float(roi.width), float(roi.height))


CONVERTERS: dict[str, Callable[[Any], Detection2DArray]] = {
    'yolo_msgs/msg/DetectionArray': from_yolo_ros,
    'tier4_perception_msgs/msg/TrafficLightRoiArray': from_traffic_light_rois,
    'tier4_perception_msgs/msg/DetectedObjectsWithFeature': from_objects_with_feature}


def main() -> int:
    """Convert until Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('type', choices=CONVERTERS, help='type of the messages on the topic `in`')
    name = parser.parse_args(remove_ros_args(sys.argv)[1:]).type
    package, _, message = name.split('/')
    try:
        kind = getattr(import_module(f'{package}.msg'), message)
    except (ImportError, AttributeError) as error:
        print(f'to_detections: {error}: source the workspace that has {name}', file=sys.stderr)
        return 2
    # rclpy ends the spinning. KeyboardInterrupt would come anywhere in it, and then it prints a
    # traceback of an object that is half made.
    signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init()
    try:
        node = rclpy.create_node('to_detections')
        publisher = node.create_publisher(Detection2DArray, 'detections', QoSProfile(depth=10))
        convert = CONVERTERS[name]
        node.create_subscription(
            kind, 'in', lambda message: publisher.publish(convert(message)),
            qos_profile_sensor_data)
        rclpy.spin(node)
    except ExternalShutdownException:
        pass
    except rclpy_implementation.RCLError:
        # A signal that ends the process makes whatever is being published fail.
        if rclpy.ok():
            raise
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
