"""The topics of the configured node: those of its cameras, and label_info."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Callable, Optional

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # Humble has it there
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from resnet_trt_node.imaging.depth_images import warn_of_depth_topic
from resnet_trt_node.node.annotator import Annotator
from resnet_trt_node.node.async_configure import OpeningCancelled
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.ros.messages import label_info
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.parameters.qos_overrides import warn_of_idle_overrides
from resnet_trt_node.node.ros.ros_errors import refusals_explained
from resnet_trt_node.node.ros.topics.camera_topics import CameraTopics
from vision_msgs.msg import LabelInfo

#: How long destroying the publishers waits for the annotated picture that is being drawn.
_PICTURE_SEC = 0.1
#: Period at which what waits in vain for its detections or image is counted.
_EXPIRY_SEC = 0.1
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class NodeTopics:
    """
    Creates and destroys the topics, and publishes label_info.

    :param node: creates publishers and subscriptions, and logs.
    :param still_wanted: asked before each camera, since hundreds of them take seconds.
    """

    def __init__(self, node: Node, still_wanted: Callable[[], bool]) -> None:
        self._node = node
        self._still_wanted = still_wanted
        self._annotator: Optional[Annotator] = None
        self._has_regions = False
        self._labels: Optional[Publisher[LabelInfo]] = None
        #: The cameras' topics by name, none while the node is unconfigured.
        self.cameras: dict[str, CameraTopics] = {}
        self._expiry_timer = node.create_timer(
            _EXPIRY_SEC, self._expire, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._expiry_timer.cancel()

    def _expire(self) -> None:
        for camera in list(self.cameras.values()):
            camera.expire()

    def create(self, parameters: NodeParameters, annotator: Annotator) -> None:
        """
        Create all publishers; call `close` after an error too.

        :param parameters: camera names and topic settings.
        :param annotator: draws the annotated pictures.
        :raises UsageError: for names and QoS that ROS does not accept.
        :raises OpeningCancelled: if the process is about to end.
        """
        self._annotator = annotator
        self._has_regions = parameters.has_regions
        for name in parameters.cameras or ('',):
            self._check_still_wanted()
            self.cameras[name] = camera = CameraTopics(self._node, name, parameters, annotator)
            warn_of_depth_topic(camera.image_topic, self._node.get_logger().warning)
        warn_of_idle_overrides(
            self._node, [end for camera in self.cameras.values() for end in camera.overridable])
        with refusals_explained('label_info'):
            self._labels = self._node.create_publisher(LabelInfo, 'label_info', _LATCHED)

    def subscribe(self, pipeline: Pipeline) -> str:
        """
        Subscribe to all cameras.

        :param pipeline: receives the frames.
        :returns: the topics, separated by commas.
        :raises UsageError: for QoS that ROS does not accept.
        :raises OpeningCancelled: if the process is about to end.
        """
        for camera in self.cameras.values():
            self._check_still_wanted()
            camera.subscribe(pipeline)
        if self._has_regions:
            self._expiry_timer.reset()
        return ', '.join(
            topic for camera in self.cameras.values() for topic in camera.input_topics)

    def unsubscribe(self) -> None:
        """Destroy the subscriptions to all cameras."""
        self._expiry_timer.cancel()
        for camera in self.cameras.values():
            camera.unsubscribe()

    def publish_labels(self, labels: Sequence[str], score_threshold: float) -> None:
        """Publish label_info, latched."""
        assert self._labels is not None
        message = label_info(
            self._node.get_clock().now().to_msg(), labels, score_threshold)
        if message is None:
            self._node.get_logger().warning(
                'too many classes for label_info, which counts in uint16')
        else:
            self._labels.publish(message)

    def flush(self, timeout_sec: float) -> None:
        """
        Wait until all subscriptions have the last results; skip pictures not yet drawn.

        :param timeout_sec: for all of them together.
        """
        end = monotonic() + timeout_sec
        if self._annotator is not None:
            self._annotator.drain(timeout_sec)
        for camera in self.cameras.values():
            camera.flush(max(0.0, end - monotonic()))

    def close(self) -> None:
        """Destroy all publishers and subscriptions."""
        if self._annotator is not None:
            self._annotator.close(_PICTURE_SEC)
        for camera in self.cameras.values():
            camera.close()
        self.cameras = {}
        if self._labels is not None:
            self._node.destroy_publisher(self._labels)
            self._labels = None

    def _check_still_wanted(self) -> None:
        if not self._still_wanted():
            raise OpeningCancelled('the process is to end')
