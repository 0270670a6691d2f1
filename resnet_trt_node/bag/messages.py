"""Topics, messages and images of a bag."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rosbags.interfaces import Connection


@dataclass(frozen=True)
class TopicInfo:
    """
    A topic of a bag.

    :param msgtype: such as 'sensor_msgs/msg/Image'.
    :param count: number of its messages.
    """

    msgtype: str
    count: int


@dataclass(frozen=True)
class BagMessage:
    """
    A recorded message.

    :param topic: the topic's recorded name.
    :param msgtype: such as 'sensor_msgs/msg/Image'.
    :param log_time_ns: when the recorder received it, in nanoseconds since the epoch.
    :param raw: its CDR serialisation with the 4 bytes of encapsulation; a message of a ROS 1 bag
        is converted.
    :param connection: the topic's definition and QoS, for copying it into another bag.
    """

    topic: str
    msgtype: str
    log_time_ns: int
    raw: bytes = field(repr=False)
    connection: Connection = field(repr=False, compare=False)


@dataclass(frozen=True)
class StampedMessage(BagMessage):
    """
    A recorded message with a header.

    :param stamp_ns: the header's stamp, in nanoseconds.
    :param frame_id: the header's frame.
    :param message: the deserialised message, with the fields of the ROS message of its type.
    """

    stamp_ns: int
    frame_id: str
    message: Any = field(repr=False, compare=False)

    @property
    def header(self) -> Any:
        """Return the message's header."""
        return self.message.header


class BagImage(StampedMessage):
    """A recorded image; `message.data` is uint8 (n,), and may be a read-only view of `raw`."""


class BagDetections(StampedMessage):
    """A recorded vision_msgs/Detection2DArray."""
