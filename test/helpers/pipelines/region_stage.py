"""A camera's topics for regions over real DDS: a node, its peer and a stand-in pipeline."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from types import SimpleNamespace
from typing import Any, Callable, Optional

from nodes.node_process import image
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from resnet_trt_node.node.annotator import Annotator
from resnet_trt_node.node.deferred_destruction import NodeOfDeferredDestruction
from resnet_trt_node.node.pipeline.counters import (
    CAMERA_EVENTS, DETECTIONS_EVENTS, DROP_REASONS)
from resnet_trt_node.node.ros.conversion import Converter
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.topics.camera_topics import CameraTopics
from resnet_trt_node.node.ros.topics.stamp_matcher import RegionsMessage
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D, Detection2DArray

RELIABLE = QoSProfile(depth=100)
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
#: What no test waits for.
PATIENT = {'input': 'regions', 'regions_wait_ms': 60_000.0}


def picture(number: int) -> Image:
    return image(np.zeros((60, 80, 3)), number)


def boxes(number: int, *ids: str) -> Detection2DArray:
    """Return detections of 20x10 pixels about (40, 30) in the image of that number."""
    message = Detection2DArray(header=picture(number).header)
    for name in ids:
        detection = Detection2D(header=message.header, id=name)
        detection.bbox.center.position.x, detection.bbox.center.position.y = 40.0, 30.0
        detection.bbox.size_x, detection.bbox.size_y = 20.0, 10.0
        message.detections.append(detection)
    return message


class StandInPipeline:
    """Keeps what it is offered."""

    def __init__(self) -> None:
        self.pairs: list[RegionsMessage] = []
        self.unmatched: list[Any] = []
        self.reasons: list[str] = []
        self.waited_ns: list[int] = []
        self.arrived: list[str] = []
        self.events: Counter[tuple[str, str]] = Counter()
        self.counters = SimpleNamespace(
            count_at=self._count_at, arrived=self.arrived.append)
        self.backend = SimpleNamespace(allocate_message=None)

    def offer(self, camera: str, message: Any, waited_ns: int = 0) -> None:
        assert camera == 'front'
        self.pairs.append(message)
        self.waited_ns.append(waited_ns)

    def drop(self, camera: str, message: Any, reason: str, waited_ns: int = 0) -> None:
        assert camera == 'front'
        assert reason in DROP_REASONS
        self.unmatched.append(message)
        self.reasons.append(reason)
        self.waited_ns.append(waited_ns)

    def _count_at(self, camera: str, event: str, number: int = 1) -> None:
        assert event in DETECTIONS_EVENTS
        assert event in CAMERA_EVENTS
        self.events[camera, event] += number

    @property
    def unmatched_detections(self) -> int:
        return sum(self.events['front', event] for event in DETECTIONS_EVENTS)


class Stage:
    """A node, another that publishes to it and hears it, and what spins both."""

    def __init__(self, make_executor: Callable[..., Any]) -> None:
        # One each: in one of DDS's participants a topic has one type only.
        self._contexts = [rclpy.Context(), rclpy.Context()]
        for context in self._contexts:
            rclpy.init(context=context)
        self.node: Any = NodeOfDeferredDestruction('classifier', context=self._contexts[0])
        self.peer = rclpy.create_node('detector', context=self._contexts[1])
        self._executors = [
            make_executor(context=self._contexts[0]),
            SingleThreadedExecutor(context=self._contexts[1])]
        for executor, node in zip(self._executors, (self.node, self.peer), strict=True):
            executor.add_node(node)
        self.annotator = Annotator(Converter(print, print).to_frame, print, print)
        self.pipeline: Any = StandInPipeline()
        self.topics: Optional[CameraTopics] = None

    def camera(self, **parameters: Any) -> CameraTopics:
        self.topics = CameraTopics(
            self.node, 'front', NodeParameters(**{**PATIENT, **parameters}), self.annotator)
        return self.topics

    def spin_until(self, condition: Callable[[], Any]) -> Any:
        deadline = monotonic() + 60
        while not (value := condition()):
            assert monotonic() < deadline
            for executor in self._executors:
                executor.spin_once(timeout_sec=0.005)
        return value

    def publisher(
            self, kind: Any, topic: str, qos: QoSProfile = RELIABLE, heard: bool = True) -> Any:
        publisher = self.peer.create_publisher(kind, topic, qos)
        if heard:
            self.spin_until(publisher.get_subscription_count)
            self.spin_until(lambda: self.node.count_publishers(topic))
        return publisher

    def listen(self, kind: Any, topic: str) -> list[Any]:
        heard: list[Any] = []
        self.peer.create_subscription(kind, topic, heard.append, RELIABLE)
        self.spin_until(lambda: self.peer.count_publishers(topic))
        return heard

    def close(self) -> None:
        if self.topics is not None:
            self.topics.close()
        self.annotator.close(1.0)
        for executor in self._executors:
            executor.shutdown()
        for node in (self.node, self.peer):
            node.destroy_node()
        for context in self._contexts:
            rclpy.shutdown(context=context)


def feed(stage: Stage, kind: Any = Image, topic: str = '/front/image') -> tuple[Any, Any]:
    """Return a camera's publisher and a detector's."""
    return stage.publisher(kind, topic), stage.publisher(Detection2DArray, '/front/detections')
