"""Listening to the node's results, as any other ROS node would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Thread
import time
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from vision_msgs.msg import Classification, Detection2DArray, LabelInfo


@dataclass(frozen=True)
class Result:
    """
    One answer of the node.

    :param received_ns: when it arrived, on `time.perf_counter_ns`.
    :param classes: (name, score), falling scores.
    """

    received_ns: int
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class RegionResult:
    """
    What the node answered for a region.

    :param classes: (name, score), falling scores; one of an empty name where it could not be
        classified.
    :param age_ns: of the inference when it was published, by the stamps of the images.
    """

    classes: tuple[tuple[str, float], ...]
    age_ns: int


class Listener:
    """
    Collects classifications in a thread of its own; a context manager.

    :param cameras: names; NAME/classification is subscribed for each.
    """

    def __init__(self, cameras: Sequence[str] = ()) -> None:
        #: (camera, source stamp in nanoseconds) to the answers to that frame.
        self.results: dict[tuple[str, int], list[Result]] = {}
        #: Id of a region to the answers for it, of nodes that classify regions.
        self.regions: dict[str, list[RegionResult]] = {}
        #: Whether the node has warmed its model: it latches its class names then.
        self.ready = False
        self._context = Context()
        rclpy.init(
            args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('demo_listener', context=self._context)
        for camera in cameras:
            self._node.create_subscription(
                Classification, f'{camera}/classification', partial(self._take, camera), 100)
        self._node.create_subscription(
            Detection2DArray, 'classified_detections', self._take_regions, 100)
        self._node.create_subscription(
            LabelInfo, 'label_info', self._take_labels,
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = Thread(target=self._spin, name='listener', daemon=True)
        self._thread.start()

    def __enter__(self) -> Listener:
        """Return the listener itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread and leave ROS."""
        rclpy.try_shutdown(context=self._context)
        self._thread.join()
        self._node.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass  # the context manager ended

    def _take(self, camera: str, message: Classification) -> None:
        classes = tuple((one.class_id, one.score) for one in message.results)
        self.results.setdefault((camera, _stamp_ns(message)), []).append(
            Result(time.perf_counter_ns(), classes))

    def _take_regions(self, message: Detection2DArray) -> None:
        for detection in message.detections:
            classes = tuple(
                (one.hypothesis.class_id, one.hypothesis.score) for one in detection.results)
            self.regions.setdefault(detection.id, []).append(
                RegionResult(classes, _stamp_ns(message) - _stamp_ns(detection)))

    def _take_labels(self, _: LabelInfo) -> None:
        self.ready = True


def _stamp_ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec * 10**9 + stamp.nanosec)
