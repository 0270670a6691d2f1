"""The topics of one camera: what the node subscribes to and publishes for it."""

from __future__ import annotations

from typing import Any, Collection, Optional, Sequence, Union

from rclpy.duration import Duration
from rclpy.node import Node
from resnet_trt_node.node.annotator import Annotator
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.parameters.qos_overrides import OPTIONS, overrides_explained
from resnet_trt_node.node.ros.ros_errors import refusals_explained
from resnet_trt_node.node.ros.stamps import now_ns, stamp_age_ms
from resnet_trt_node.node.ros.topics.arrivals import ArrivalRates
from resnet_trt_node.node.ros.topics.camera_inputs import ImageInput, RegionInput
from resnet_trt_node.node.ros.topics.camera_results import ImageResults, RegionResults
from resnet_trt_node.node.ros.topics.image_source import topic_of
from sensor_msgs.msg import Image


class CameraTopics:
    """
    One camera's publishers, and its subscriptions while the node is active.

    Topic names are relative, so that remapping and namespaces work.

    :param node: creates and destroys them.
    :param name: the camera's name, '' if `cameras` is empty.
    :param parameters: whether whole images or regions are classified, and topic settings.
    :param annotator: draws the annotated pictures of all cameras.
    :raises UsageError: for an invalid name or invalid qos_overrides of a publisher.
    """

    def __init__(
            self, node: Node, name: str, parameters: NodeParameters,
            annotator: Annotator) -> None:
        self._node = node
        self._name = name
        self._annotator = annotator
        self._input: Union[ImageInput, RegionInput]
        self._format: Union[ImageResults, RegionResults]
        if parameters.has_regions:
            self._input = RegionInput(node, name, parameters)
            self._format = RegionResults(parameters)
        else:
            self._input = ImageInput(node, name, parameters)
            self._format = ImageResults(parameters)
        self._results = self._create_publisher(self._format.kind, self._format.topic, 10)
        try:
            self._annotated = self._create_publisher(Image, 'image_annotated', 2)
        except BaseException:
            node.destroy_publisher(self._results)
            raise

    def _create_publisher(self, kind: Any, topic: str, depth: int) -> Any:
        relative = topic_of(self._name, topic)
        with refusals_explained(relative), \
                overrides_explained(self._node, relative, 'publisher'):
            return self._node.create_publisher(
                kind, relative, depth, qos_overriding_options=OPTIONS)

    @property
    def image_topic(self) -> str:
        """Return the full name of the image topic."""
        return self.input_topics[0]

    @property
    def input_topics(self) -> list[str]:
        """Return the full names of the topics that are subscribed to, that of the images first."""
        return [topic.name for topic in self._input.topics]

    @property
    def overridable(self) -> list[tuple[str, str]]:
        """Return topic and entity of all publishers and subscriptions that take qos_overrides."""
        return [(topic, 'subscription') for topic in self.input_topics] + [
            (self._results.topic_name, 'publisher'), (self._annotated.topic_name, 'publisher')]

    @property
    def listeners(self) -> int:
        """Return the number of subscriptions to the results."""
        return int(self._results.get_subscription_count())

    @property
    def publishers(self) -> int:
        """Return the number of publishers of the image topic, of any type."""
        return self._input.topics[0].publishers

    @property
    def arrival_rates(self) -> ArrivalRates:
        """Return how often images arrive, and how old they are then."""
        return self._input.topics[0].arrivals.rates()

    @property
    def codec(self) -> str:
        """Return the codec of the last packet of video, '' where none came."""
        return self._input.codec

    @property
    def receive(self) -> str:
        """Return how images are received: `message` or `serialised`."""
        return self._input.topics[0].way

    @property
    def extra_buffers(self) -> int:
        """Return how many images got memory of their own, see `MessageBuffers`."""
        return self._input.topics[0].extra_buffers

    def subscribe(self, pipeline: Pipeline) -> None:
        """
        Subscribe to the camera.

        :param pipeline: receives the frames, and counts the messages that DDS lost, if the
            middleware reports it.
        :raises UsageError: for invalid qos_overrides, or a topic of another type.
        """
        self._input.subscribe(pipeline)

    def unsubscribe(self) -> None:
        """Destroy the subscriptions."""
        self._input.unsubscribe()

    def expire(self) -> None:
        """Count what has waited for too long in vain; to be called some times a second."""
        self._input.expire()

    def publish(self, message: Any, answer: Sequence[Any]) -> Optional[float]:
        """
        Publish a result; if image_annotated has a subscription, have the picture drawn.

        :param message: what the pipeline was offered.
        :param answer: the image's `Prediction`s by descending score, or with regions a
            `RegionAnswer` for each detection.
        :returns: milliseconds from the image's stamp to the publication, see `stamp_age_ms`.
        """
        self._results.publish(self._format.message(message, answer))
        age_ms = stamp_age_ms(now_ns(self._node.get_clock()), message.header.stamp)
        if self._annotated.get_subscription_count():
            image, draw = self._format.picture(message, answer)
            self._annotator.offer(self._name, image, draw, self._annotated.publish)
        return age_ms

    def flush(self, timeout_sec: float) -> None:
        """Wait until all subscriptions have the last results."""
        # Publishing is asynchronous, and destroying a publisher drops what is not yet delivered.
        self._results.wait_for_all_acked(Duration(nanoseconds=int(timeout_sec * 1e9)))

    def problems(self) -> list[str]:
        """Return why frames do not arrive, in words."""
        return self._input.problems()

    def published_instead(self, used: Collection[str]) -> str:
        """Return what could be meant by an image topic without publisher, see `InputTopic`."""
        return self._input.topics[0].published_instead(used)

    def close(self) -> None:
        """Destroy the subscriptions and the publishers."""
        self.unsubscribe()
        self._node.destroy_publisher(self._results)
        self._node.destroy_publisher(self._annotated)
