"""The images of one camera, by whichever transport they come; video is decoded on the way."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Callable, Optional

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from resnet_trt_node.errors import UsageError
from resnet_trt_node.imaging.video.decoder import import_av
from resnet_trt_node.imaging.video.packets import video_codec
from resnet_trt_node.node.import_errors import import_failure
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.pipeline.video_stage import MOST_WAITING, VideoHooks, VideoStage
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.receiving.image_cdr import READERS
from resnet_trt_node.node.ros.topics.input_topic import InputTopic, LargeMessages
from resnet_trt_node.node.ros.transports import Transport, TRANSPORTS
from resnet_trt_node.text.printable import printable
from std_msgs.msg import Header


class ImageSource:
    """
    Hands on the images of a camera; packets of video as decoded pictures.

    :param node: creates and destroys the subscription.
    :param camera: the camera's name, '' if `cameras` is empty.
    :param parameters: transport, reliability and depth of the subscription.
    :raises UsageError: for an invalid name, or where what the transport takes is not installed.
    """

    def __init__(self, node: Node, camera: str, parameters: NodeParameters) -> None:
        self._camera = camera
        self._parameters = parameters
        self._transport = transport = TRANSPORTS[parameters.image_transport]
        if transport.is_video:
            import_av()
        kind = _message_class(transport)
        others = {
            one.kind: 'set the parameter image_transport to match'
            for one in TRANSPORTS.values() if one is not transport}
        self.topic = InputTopic(
            node, kind, topic_of(camera, f'image{transport.suffix}'),
            # A packet that is lost costs all until the next key frame.
            max(parameters.queue_depth, MOST_WAITING if transport.is_video else 1),
            parameters.image_reliability == 'reliable', _reader(kind), others,
            large=_large_messages(kind, parameters))
        self._stage: Optional[VideoStage] = None

    @property
    def codec(self) -> str:
        """Return the codec of the last packet of video, '' where none came."""
        stage = self._stage
        return stage.codec if stage is not None else ''

    def subscribe(self, pipeline: Pipeline, offer: Callable[..., None]) -> None:
        """
        Subscribe to the images.

        :param pipeline: counts packets that become no picture, and the messages that DDS lost, if
            it reports them.
        :param offer: called with a message that has a picture, and `waited_ns`.
        :raises UsageError: for invalid qos_overrides, or a topic of another type.
        """
        camera, transport = self._camera, self._transport
        self._stage = stage = VideoStage(VideoHooks(
            lambda message, waited_ns: offer(message, waited_ns=waited_ns),
            partial(pipeline.drop, camera),
            lambda: self._parameters.max_image_mib << 20), self._parameters.queue_depth)

        def take(message: Any, waited_ns: int) -> None:
            codec = video_codec(getattr(message, transport.codec_field))
            # A picture, as before, also where the format calls it mjpeg.
            if codec and (transport.is_video or codec != 'mjpeg'):
                # Its packets are counted when they are decoded: a camera would seem silent.
                pipeline.counters.arrived(camera)
                stage.take(message, codec, waited_ns)
            elif transport.is_video:
                name = printable(repr(getattr(message, transport.codec_field)), 80)
                pipeline.drop(
                    camera, message, 'malformed', waited_ns,
                    f'{transport.codec_field} {name} is no codec that is known: send h264 or h265')
            else:
                offer(message, waited_ns=waited_ns)

        def lost(number: int) -> None:
            pipeline.counters.count_at(camera, 'lost_in_transport', number)
            if number:
                stage.note_gap()

        hand_on = take if transport.codec_field else offer

        def take_sound(message: Any, waited_ns: int) -> None:
            damage = getattr(message, 'damage', None)
            if damage is None:
                hand_on(message, waited_ns=waited_ns)
            else:
                # Of a stream of video, packets depend on it.
                stage.note_gap()
                pipeline.drop(camera, message, 'malformed', waited_ns, str(damage))

        # What the device decodes it is given as it is.
        self.topic.subscribe(
            take_sound, lost,
            None if transport.codec_field else pipeline.backend.allocate_message)

    def unsubscribe(self) -> None:
        """Destroy the subscription; packets that are not decoded yet are refused."""
        self.topic.unsubscribe()
        if self._stage is not None:
            self._stage.close()


def with_header(data: bytes, kind: Any) -> SimpleNamespace:
    """
    Return a message that has its stamp beside its other fields, as if it had a header.

    :param data: a foxglove_msgs/CompressedVideo, serialised.
    :param kind: its class.
    :raises Exception: rclpy's, if it is damaged.
    """
    message = deserialize_message(data, kind)
    return SimpleNamespace(
        header=Header(stamp=message.timestamp, frame_id=message.frame_id),
        data=message.data, format=message.format)


def _reader(kind: Any) -> Callable[[Any], Any]:
    """
    Return what reads serialised messages of a class.

    rclpy reads the messages of video, which are small. It is handed what it receives itself: of a
    damaged message that it was to convert, nobody would hear.
    """
    if kind.__name__ in READERS:
        return READERS[kind.__name__]
    if hasattr(kind, 'header'):
        return partial(deserialize_message, message_type=kind)
    return partial(with_header, kind=kind)


def _large_messages(kind: Any, parameters: NodeParameters) -> Optional[LargeMessages]:
    """Return how messages are received, None for those that are small."""
    if kind.__name__ not in READERS:
        return None
    # A frame that waits, those in batches that are filled and inferred, one whose picture is
    # drawn, and one that is being received.
    most = parameters.queue_depth + 2 * parameters.batch_limit + 2
    if parameters.has_regions:
        most += parameters.regions_queue
    if kind.__name__ == 'CompressedImage':
        # Packets of video.
        most += MOST_WAITING
    return LargeMessages(most, parameters.receive, parameters.max_image_mib << 20)


def topic_of(camera: str, topic: str) -> str:
    """Return the relative name of a camera's topic."""
    return f'{camera}/{topic}' if camera else topic


def _message_class(transport: Transport) -> Any:
    """
    Return the class of a transport's messages.

    :raises UsageError: if its package is not installed.
    """
    package, name = transport.message
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except ImportError as error:
        raise UsageError(f'image_transport: {import_failure(error)}') from error
