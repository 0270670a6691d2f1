"""How the images of a camera come: the topics and message types of image transports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transport:
    """
    One way in which images come.

    :param suffix: what it adds to the name of the image topic.
    :param kind: the type of its messages.
    :param codec_field: their field that names the codec of a video stream, '' where there is none.
    :param is_video: whether they are always packets of such a stream.
    """

    suffix: str
    kind: str
    codec_field: str = ''
    is_video: bool = False

    @property
    def message(self) -> tuple[str, str]:
        """Return the package and the name of its messages."""
        package, _, name = self.kind.partition('/msg/')
        return package, name


#: Those that the node reads, by the value of `image_transport`.
TRANSPORTS = {
    'raw': Transport('', 'sensor_msgs/msg/Image'),
    'compressed': Transport('/compressed', 'sensor_msgs/msg/CompressedImage', 'format'),
    'ffmpeg': Transport(
        '/ffmpeg', 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket', 'encoding', is_video=True),
    'foxglove': Transport(
        '/foxglove', 'foxglove_msgs/msg/CompressedVideo', 'format', is_video=True)}


def base_topic(topic: str) -> str:
    """Return the name of an image topic without what its transport adds."""
    for transport in TRANSPORTS.values():
        topic = topic.removesuffix(transport.suffix)
    return topic
