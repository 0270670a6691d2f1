"""
A classifier of regions as one usually writes it first: crop and infer one by one in a callback.

Usage: python -m bench.plain_regions_node NAMESPACE CAMERAS MODEL SIMULATED_MS

CAMERAS are names with commas between them. As in `plain_node` it is written with care and without
tricks: images and detections are matched by their stamps, as message_filters' TimeSynchronizer
does; the image is converted to RGB once; each box is cut out, resized to the network's input by
OpenCV's default, normalised and inferred; the answers go out with the source's header, ids and
boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import sys
from typing import Any

from bench.plain_node import Classifier, PlainClassifier, serve, SIDE, to_rgb
import cv2
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from vision_msgs.msg import (
    Detection2D, Detection2DArray, ObjectHypothesis, ObjectHypothesisWithPose)

#: Messages of each kind that wait for their counterpart.
_QUEUE = 10


class _StampPairs:
    """Calls back with two messages of the same stamp, whichever came first."""

    def __init__(self, callback: Callable[[Any, Any], None]) -> None:
        self._callback = callback
        self._waiting: tuple[dict[tuple[int, int], Any], dict[tuple[int, int], Any]] = ({}, {})

    def add(self, kind: int, message: Any) -> None:
        """Take a message; kind is 0 or 1."""
        key = message.header.stamp.sec, message.header.stamp.nanosec
        own, others = self._waiting[kind], self._waiting[1 - kind]
        own[key] = message
        if key in others:
            pair = (own.pop(key), others.pop(key))
            self._callback(*(pair if kind == 0 else pair[::-1]))
        elif len(own) > _QUEUE:
            del own[min(own)]


class PlainRegionsNode(Node):
    """
    Classifies the regions of several cameras.

    :param namespace: its namespace.
    :param cameras: CAMERA/image and CAMERA/detections are subscribed, and
        CAMERA/classified_detections published.
    :param classifier: infers one region.
    """

    def __init__(
            self, namespace: str, cameras: Sequence[str], classifier: Classifier) -> None:
        super().__init__('plain', namespace=namespace)
        self._classifier = classifier
        self._publishers_of_results = [self._subscribe(camera) for camera in cameras]

    def _subscribe(self, camera: str) -> Any:
        publisher = self.create_publisher(
            Detection2DArray, f'{camera}/classified_detections', 10)
        pairs = _StampPairs(
            lambda image, detections: publisher.publish(self._classify(image, detections)))
        for kind, (message_type, topic) in enumerate(
                ((Image, 'image'), (Detection2DArray, 'detections'))):
            self.create_subscription(
                message_type, f'{camera}/{topic}',
                lambda message, kind=kind: pairs.add(kind, message),  # type: ignore[misc]
                qos_profile_sensor_data)
        return publisher

    def _classify(self, image: Image, detections: Detection2DArray) -> Detection2DArray:
        pixels = to_rgb(image)
        return Detection2DArray(header=detections.header, detections=[
            Detection2D(header=image.header, id=found.id, bbox=found.bbox,
                        results=self._infer(pixels, found.bbox))
            for found in detections.detections])

    def _infer(self, pixels: Any, box: Any) -> list[ObjectHypothesisWithPose]:
        height, width = pixels.shape[:2]
        centre = box.center.position
        left, right = (min(max(round(centre.x + side * box.size_x / 2), 0), width)
                       for side in (-1, 1))
        top, bottom = (min(max(round(centre.y + side * box.size_y / 2), 0), height)
                       for side in (-1, 1))
        if left >= right or top >= bottom:
            return []
        resized = cv2.resize(pixels[top:bottom, left:right], (SIDE, SIDE))
        names, scores = self._classifier.infer(self._classifier.normalise(resized))
        return [ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=name, score=score))
                for name, score in zip(names, scores)]

    def tell(self) -> dict[str, Any]:
        """Return how many listen to the camera that has fewest listeners."""
        return {'listeners': min(
            publisher.get_subscription_count() for publisher in self._publishers_of_results)}


def main() -> int:
    """Classify until the input ends."""
    namespace, cameras, model, simulated_ms = sys.argv[1:]
    return serve(lambda: PlainRegionsNode(
        namespace, cameras.split(','), PlainClassifier(model, float(simulated_ms))))


if __name__ == '__main__':
    sys.exit(main())
