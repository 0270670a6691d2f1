"""The topics of one camera: what the node subscribes to and publishes for it."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Optional

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import (
    qos_check_compatible,
    qos_policy_name_from_kind,
    qos_profile_sensor_data,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
)
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.imaging.annotate import annotate
from resnet_trt_node.node.annotator import Annotator
from resnet_trt_node.node.distribution import (
    SubscriptionEventCallbacks, UnsupportedEventTypeError)
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.ros.messages import classification
from resnet_trt_node.node.ros.parameters import NodeParameters
from resnet_trt_node.node.ros.qos_overrides import OPTIONS, overrides_explained, qos_overrides
from resnet_trt_node.node.ros.reception import with_wait
from resnet_trt_node.node.ros.ros_errors import refusals_explained
from resnet_trt_node.node.ros.stamps import stamp_age_ms
from resnet_trt_node.printable import printable
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification

#: The remedy for incompatible QoS: only overrides of the user can request too much.
_QOS_REMEDY = (
    'set the parameter image_reliability to best_effort and remove qos_overrides, '
    'or have the publisher offer more')


class CameraTopics:
    """
    One camera's publishers, and its subscription while the node is active.

    Topic names are relative, so that remapping and namespaces work.

    :param node: creates and destroys them.
    :param name: the camera's name, '' if `cameras` is empty.
    :param parameters: transport, reliability and depth of the subscription.
    :param annotator: draws the annotated pictures of all cameras.
    :raises UsageError: for an invalid name or invalid qos_overrides of a publisher.
    """

    def __init__(
            self, node: Node, name: str, parameters: NodeParameters,
            annotator: Annotator) -> None:
        self._node = node
        self._name = name
        self._parameters = parameters
        self._annotator = annotator
        self._subscription: Optional[Any] = None
        prefix = f'{name}/' if name else ''
        self._compressed = parameters.image_transport == 'compressed'
        self._image_topic = f'{prefix}image/compressed' if self._compressed else f'{prefix}image'
        with refusals_explained(self._image_topic):
            #: The full name of the image topic.
            self.image_topic = node.resolve_topic_name(self._image_topic)
        self._results = self._create_publisher(Classification, f'{prefix}classification', 10)
        try:
            self._annotated = self._create_publisher(Image, f'{prefix}image_annotated', 2)
        except BaseException:
            node.destroy_publisher(self._results)
            raise

    def _create_publisher(self, kind: Any, topic: str, depth: int) -> Any:
        with refusals_explained(topic), overrides_explained(self._node, topic, 'publisher'):
            return self._node.create_publisher(
                kind, topic, depth, qos_overriding_options=OPTIONS)

    @property
    def overridable(self) -> list[tuple[str, str]]:
        """Return topic and entity of all publishers and subscriptions that take qos_overrides."""
        return [
            (self.image_topic, 'subscription'), (self._results.topic_name, 'publisher'),
            (self._annotated.topic_name, 'publisher')]

    @property
    def listeners(self) -> int:
        """Return the number of subscriptions to the results."""
        return int(self._results.get_subscription_count())

    @property
    def publishers(self) -> int:
        """Return the number of publishers of the image topic, of any type."""
        return int(self._node.count_publishers(self.image_topic))

    def subscribe(self, pipeline: Pipeline) -> None:
        """
        Subscribe to the image topic.

        :param pipeline: receives the frames, and counts the messages that DDS lost, if the
            middleware reports it.
        :raises UsageError: for invalid qos_overrides, or a topic of another type.
        """
        parameters = self._parameters
        qos = QoSProfile(
            depth=max(qos_profile_sensor_data.depth, parameters.queue_depth),
            reliability=ReliabilityPolicy.RELIABLE if parameters.image_reliability == 'reliable'
            else ReliabilityPolicy.BEST_EFFORT)
        # Declared only if the user overrides it: rclpy would keep the values of the first
        # activation, and a later change of image_reliability would have no effect.
        overridden = bool(qos_overrides(self._node, self._image_topic, 'subscription'))

        def on_lost(event: Any) -> None:
            pipeline.counters.count_at(self._name, 'lost_in_transport', lost_messages(event))

        def create(message_lost: Optional[Callable[[Any], None]]) -> Any:
            events = SubscriptionEventCallbacks(
                message_lost=message_lost, incompatible_qos=self._on_incompatible_qos)
            # `problems` reports a topic of another type, with a remedy. Assigned here because the
            # constructor of ROS 2 Humble lacks the argument.
            events.incompatible_type = lambda event: None
            return self._node.create_subscription(
                CompressedImage if self._compressed else Image, self._image_topic,
                with_wait(partial(pipeline.offer, self._name)), qos, event_callbacks=events,
                qos_overriding_options=OPTIONS if overridden else None)

        with refusals_explained(self._image_topic), \
                overrides_explained(self._node, self._image_topic, 'subscription'):
            try:
                self._subscription = create(on_lost)
            except UnsupportedEventTypeError:
                self._subscription = create(None)

    def _on_incompatible_qos(self, event: Any) -> None:
        self._node.get_logger().warning(
            f'{self.image_topic}: a publisher offers an incompatible '
            f'{qos_policy_name_from_kind(event.last_policy_kind)} policy, its messages are not '
            f'received: {_QOS_REMEDY}')

    def unsubscribe(self) -> None:
        """Destroy the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def publish(self, message: Any, predictions: list[Prediction]) -> Optional[float]:
        """
        Publish a result; if image_annotated has a subscription, have the picture drawn.

        :param message: the source message; the result gets its header.
        :param predictions: by descending score.
        :returns: milliseconds from the header's stamp to the publication, see `stamp_age_ms`.
        """
        self._results.publish(classification(
            message.header, predictions, self._parameters.class_id_format))
        age_ms = stamp_age_ms(self._node.get_clock().now().nanoseconds, message.header.stamp)
        if self._annotated.get_subscription_count():
            self._annotator.offer(
                self._name, message, partial(annotate, predictions=predictions),
                self._annotated.publish)
        return age_ms

    def flush(self, timeout_sec: float) -> None:
        """Wait until all subscriptions have the last results."""
        # Publishing is asynchronous, and destroying a publisher drops what is not yet delivered.
        self._results.wait_for_all_acked(Duration(nanoseconds=int(timeout_sec * 1e9)))

    def problems(self) -> list[str]:
        """Return why messages of publishers of the image topic do not arrive, in words."""
        kinds = {True: 'sensor_msgs/msg/CompressedImage', False: 'sensor_msgs/msg/Image'}
        wanted, other_transport = kinds[self._compressed], kinds[not self._compressed]
        topic = self.image_topic
        notes = set()
        for publisher in self._node.get_publishers_info_by_topic(topic):
            if publisher.topic_type != wanted:
                carried = printable(publisher.topic_type)
                note = f'{topic} carries {carried}, this node wants {wanted}'
                if publisher.topic_type == other_transport:
                    note += ': set the parameter image_transport to match'
                notes.add(note)
            elif self._subscription is not None:
                fits, reason = qos_check_compatible(
                    publisher.qos_profile, self._subscription.qos_profile)
                if fits == QoSCompatibility.ERROR:
                    notes.add(
                        f'{topic}: {printable(publisher.node_name)} offers an incompatible QoS ('
                        f'{reason.removeprefix("ERROR: ").rstrip("; ")}): {_QOS_REMEDY}')
        return sorted(notes)

    def close(self) -> None:
        """Destroy the subscription and the publishers."""
        self.unsubscribe()
        self._node.destroy_publisher(self._results)
        self._node.destroy_publisher(self._annotated)


def lost_messages(event: Any) -> int:
    """
    Return the number of messages lost since the previous event; 0 where the event has none.

    Fast DDS counts in int32 and at times adds -2^31, which arrives here as 2^64 - 2^31. Once in an
    hour under load the rest was 2^31 - 1: an overflow or -1, but not the loss of so many images.
    """
    change = int(event.total_count_change) & 0x7fff_ffff
    return change if change < 1 << 30 else 0
