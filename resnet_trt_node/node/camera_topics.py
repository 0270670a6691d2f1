"""The topics of one camera: what the node subscribes to and publishes for it."""

from __future__ import annotations

from typing import Any, Callable, Optional

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from resnet_trt_node.inference.annotate import annotate
from resnet_trt_node.inference.classifier import Prediction
from resnet_trt_node.inference.frame import Frame
from resnet_trt_node.node.messages import classification, rgb_image
from resnet_trt_node.node.parameters import NodeParameters
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification

#: The last results get this long to reach their listeners.
_ACK_TIMEOUT = Duration(nanoseconds=200_000_000)


class CameraTopics:
    """
    One camera's publishers, and its subscription while the node is active.

    Topic names are relative, so that remapping and namespaces work.

    :param node: creates and destroys them.
    :param name: the camera's name, '' for the only one.
    :param parameters: transport, reliability and depth of the subscription.
    """

    def __init__(self, node: Node, name: str, parameters: NodeParameters) -> None:
        self._node = node
        self._parameters = parameters
        self._subscription: Optional[Any] = None
        prefix = f'{name}/' if name else ''
        self._compressed = parameters.image_transport == 'compressed'
        self._image_topic = f'{prefix}image/compressed' if self._compressed else f'{prefix}image'
        overridable = QoSOverridingOptions.with_default_policies()
        self._results = node.create_publisher(
            Classification, f'{prefix}classification', 10, qos_overriding_options=overridable)
        self._annotated = node.create_publisher(
            Image, f'{prefix}image_annotated', 2, qos_overriding_options=overridable)

    @property
    def image_topic(self) -> str:
        """Return the full name of the image topic."""
        return self._node.resolve_topic_name(self._image_topic)

    @property
    def listeners(self) -> int:
        """Return how many subscriptions to the results there are."""
        return self._results.get_subscription_count()

    def subscribe(self, callback: Callable[[Any], None]) -> None:
        """Have a callback called with each image message."""
        parameters = self._parameters
        qos = QoSProfile(
            depth=max(qos_profile_sensor_data.depth, parameters.queue_depth),
            reliability=ReliabilityPolicy.RELIABLE if parameters.image_reliability == 'reliable'
            else ReliabilityPolicy.BEST_EFFORT)
        # Declared only where the user overrides it: rclpy would keep the first activation's
        # values for good, and a later change of image_reliability would do nothing.
        prefix = f'qos_overrides.{self.image_topic}.subscription'
        overridden = bool(self._node.get_parameters_by_prefix(prefix))
        self._subscription = self._node.create_subscription(
            CompressedImage if self._compressed else Image, self._image_topic, callback, qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies()
            if overridden else None)

    def unsubscribe(self) -> None:
        """Hear no more images."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def publish(
            self, message: Any, predictions: list[Prediction],
            to_frame: Callable[[Any], Frame]) -> None:
        """
        Publish a result, and the picture with it drawn on if someone listens.

        :param message: the source message; its header goes onto the result.
        :param predictions: falling scores.
        :param to_frame: decodes the message, which is needed for the picture only.
        """
        self._results.publish(classification(
            message.header, predictions, self._parameters.class_id_format))
        if self._annotated.get_subscription_count():
            pixels = annotate(to_frame(message), predictions)
            self._annotated.publish(rgb_image(message.header, pixels))

    def flush(self) -> None:
        """Wait a moment until the listeners have the last results."""
        # Publishing returns before they do, and destroying a publisher does not wait.
        self._results.wait_for_all_acked(_ACK_TIMEOUT)

    def wrong_types(self) -> dict[str, str]:
        """Say which other types the image topic carries; DDS keeps them apart without a word."""
        kinds = {True: 'sensor_msgs/msg/CompressedImage', False: 'sensor_msgs/msg/Image'}
        wanted, topic = kinds[self._compressed], self.image_topic
        types = {info.topic_type for info in self._node.get_publishers_info_by_topic(topic)}
        notes = {}
        for other in sorted(types - {wanted}):
            notes[other] = f'{topic} carries {other}, this node wants {wanted}'
            if other == kinds[not self._compressed]:
                notes[other] += ': set the parameter image_transport to match'
        return notes

    def close(self) -> None:
        """Destroy what there is."""
        self.unsubscribe()
        self._node.destroy_publisher(self._results)
        self._node.destroy_publisher(self._annotated)
