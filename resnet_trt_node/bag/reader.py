"""Reading the images of a bag: rosbag2 in mcap or sqlite3, or ROS 1; no ROS needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Union

from resnet_trt_node.bag.layout import find_bag
from resnet_trt_node.bag.message_types import (
    COMPRESSED_IMAGE, default_typestore, IMAGE_TYPES, typestore_for)
from resnet_trt_node.errors import BagError
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.typesys.store import Typestore

# Second byte of the encapsulation that starts every CDR message.
_LITTLE_ENDIAN = 1


@dataclass(frozen=True)
class TopicInfo:
    """
    A topic of a bag.

    :param msgtype: such as 'sensor_msgs/msg/Image'.
    :param count: messages on it.
    """

    msgtype: str
    count: int


@dataclass(frozen=True)
class BagMessage:
    """
    A message as it was recorded.

    :param topic: the topic's recorded name.
    :param msgtype: such as 'sensor_msgs/msg/Image'.
    :param log_time_ns: when the recorder received it, in nanoseconds since the epoch.
    :param raw: its CDR serialisation with the 4 bytes of encapsulation, as DDS sends it; a
        message of a ROS 1 bag is converted.
    :param connection: the topic's definition and QoS, for copying it into another bag.
    """

    topic: str
    msgtype: str
    log_time_ns: int
    raw: bytes = field(repr=False)
    connection: Connection = field(repr=False, compare=False)


@dataclass(frozen=True)
class BagImage(BagMessage):
    """
    A recorded image.

    :param stamp_ns: the header's stamp, when the picture was taken, in nanoseconds.
    :param frame_id: the header's frame.
    :param compressed: whether it is a CompressedImage, an Image if not.
    :param message: the deserialised message, with the fields of the ROS message of its type;
        `message.data` is a uint8 (n,) array that may be a read-only view of `raw`.
    """

    stamp_ns: int
    frame_id: str
    compressed: bool
    message: Any = field(repr=False, compare=False)


class BagReader:
    """
    An open bag; a context manager.

    :param path: a rosbag2 folder, a bare .mcap or .db3 file, or a ROS 1 .bag file.
    :raises BagError: if there is no bag, or it is unindexed, cut off, damaged or empty.
    """

    def __init__(self, path: Union[str, Path]) -> None:
        self.path = find_bag(Path(path))
        # A rosbag2 folder may be called so too.
        self._ros1 = self.path.suffix == '.bag' and not self.path.is_dir()
        self._stores: dict[str, Typestore] = {}
        #: Types that the bag defines as ROS 2 does.
        self._standard: set[str] = set()
        self._reader: Union[Ros1Reader, Ros2Reader]
        try:
            self._reader = Ros1Reader(self.path) if self._ros1 else Ros2Reader(self.path)
            self._reader.open()
        except Exception as error:  # rosbags lets its parsers' errors through
            raise _unreadable(self.path, error) from error
        self._closed = False
        if not self._reader.message_count:
            self.close()
            raise BagError(f'the bag {self.path} is empty: record it again, no message is in it')

    @property
    def topics(self) -> dict[str, TopicInfo]:
        """Return every topic of the bag, name to type and count, in the order of the names."""
        found: dict[str, TopicInfo] = {}
        for connection in sorted(self._reader.connections, key=lambda one: one.topic):
            before = found.get(connection.topic, TopicInfo(connection.msgtype, 0))
            types = dict.fromkeys([*before.msgtype.split(' and '), connection.msgtype])
            found[connection.topic] = TopicInfo(
                ' and '.join(types), before.count + connection.msgcount)
        return found

    @property
    def duration_ns(self) -> int:
        """Return the nanoseconds from the first to the last message of any topic."""
        # rosbags counts to just after the last one.
        return max(0, self._reader.duration - 1)

    def image_topics(self) -> list[str]:
        """Return the names of the image topics, raw and compressed, sorted."""
        return [name for name, info in self.topics.items() if info.msgtype in IMAGE_TYPES]

    def choose_images(self, topics: Optional[Sequence[str]]) -> list[str]:
        """
        Return the full names of image topics, in the given order.

        :param topics: image topics, None for all of them; the leading slash may be left out.
        :raises BagError: if a topic is not there or is not of images, or if the bag has no images.
        """
        available = self.image_topics()
        if not available:
            raise BagError(f'{self.path} has no image topic: it has {self._describe_topics()}')
        if topics is None:
            return available
        names = [self._name(topic) for topic in topics]
        for name in names:
            if name not in available:
                raise BagError(
                    f'{self.path}: topic {name} is a {self.topics[name].msgtype}, not an image: '
                    f'choose of {", ".join(available)}')
        return list(dict.fromkeys(names))

    def connections(self, topic: str) -> list[Connection]:
        """Return how a topic was recorded: its definition and the QoS that was offered."""
        return [one for one in self._reader.connections if one.topic == topic]

    def image_count(self, topics: Optional[Sequence[str]] = None) -> int:
        """
        Return how many images `images` will yield.

        :param topics: image topics, None for all of them.
        :raises BagError: as `images`.
        """
        return sum(self.topics[name].count for name in self.choose_images(topics))

    def images(self, topics: Optional[Sequence[str]] = None) -> Iterator[BagImage]:
        """
        Yield images in the order of their log times, topics interleaved.

        :param topics: image topics, None for all of them; the leading slash may be left out.
        :raises BagError: at once if a topic is not there or is not of images, or if the bag has
            no images; while iterating if the bag is damaged, or defines its images otherwise than
            ROS 2 does.
        """
        return (self._to_image(message) for message in self._messages(self.choose_images(topics)))

    def raw_messages(self, topics: Optional[Sequence[str]] = None) -> Iterator[BagMessage]:
        """
        Yield messages of any type as they were recorded, in the order of their log times.

        :param topics: topics, None for all of them; the leading slash may be left out.
        :raises BagError: at once if a topic is not there; while iterating if the bag is damaged.
        """
        return self._messages(
            list(self.topics) if topics is None else [self._name(topic) for topic in topics])

    def deserialize(self, message: BagMessage) -> Any:
        """
        Return a message as an object with the fields of its ROS message.

        :param message: one of this bag; types are taken from the bag's own definitions.
        :raises BagError: if it does not follow its definition, or there is none.
        """
        try:
            # A view, since rosbags cuts the encapsulation off, which would copy bytes.
            return self._store(message).deserialize_cdr(
                memoryview(message.raw), message.msgtype)
        except Exception as error:  # rosbags lets its parsers' errors through
            raise BagError(
                f'{self.path}: the message on {message.topic} logged at {message.log_time_ns} ns '
                f'is not a readable {message.msgtype} ({_one_line(error)}): leave that topic out '
                'or record the bag again') from error

    def wire_bytes(self, image: BagImage) -> bytes:
        """
        Return an image as bytes that any ROS 2 of today can publish.

        :param image: one of this bag.
        :returns: little-endian CDR with its encapsulation; `image.raw` itself unless it was
            recorded on a big-endian machine.
        """
        if image.raw[1] == _LITTLE_ENDIAN:
            return image.raw
        return bytes(self._store(image).serialize_cdr(
            image.message, image.msgtype, little_endian=True))

    def close(self) -> None:
        """Close the bag; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._reader.close()

    def __enter__(self) -> BagReader:
        """Return the reader itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """Close the bag."""
        self.close()

    def _store(self, message: BagMessage) -> Typestore:
        if message.msgtype not in self._stores:
            self._stores[message.msgtype] = (
                default_typestore() if self._ros1 else typestore_for(message.connection))
        return self._stores[message.msgtype]

    def _messages(self, names: Sequence[str]) -> Iterator[BagMessage]:
        wanted = [one for one in self._reader.connections if one.topic in names]
        if not wanted:
            return  # rosbags would take it for all of them
        try:
            for connection, log_time_ns, data in self._reader.messages(connections=wanted):
                raw = bytes(
                    default_typestore().ros1_to_cdr(data, connection.msgtype)
                    if self._ros1 else data)
                yield BagMessage(
                    connection.topic, connection.msgtype, log_time_ns, raw, connection)
        except Exception as error:  # rosbags lets its parsers' errors through
            raise _unreadable(self.path, error) from error

    def _check_definition(self, message: BagMessage) -> None:
        """Refuse a type that the bag defines otherwise than ROS 2 does."""
        name = message.msgtype
        store, standard = self._store(message), default_typestore()
        if store is not standard and name not in self._standard:
            if store.hash_rihs01(name) != standard.hash_rihs01(name):
                raise BagError(
                    f'{self.path}: its definition of {name} on {message.topic} is not that of '
                    'ROS 2: leave that topic out, or convert the bag')
            self._standard.add(name)

    def _to_image(self, message: BagMessage) -> BagImage:
        image = self.deserialize(message)
        # After the message was read: by then its definition is known to be one.
        self._check_definition(message)
        stamp = image.header.stamp
        return BagImage(
            message.topic, message.msgtype, message.log_time_ns, message.raw, message.connection,
            stamp.sec * 10**9 + stamp.nanosec, image.header.frame_id,
            message.msgtype == COMPRESSED_IMAGE, image)

    def _name(self, topic: str) -> str:
        for name in (topic, f'/{topic}'):
            if name in self.topics:
                return name
        raise BagError(f'{self.path} has no topic {topic}: it has {self._describe_topics()}')

    def _describe_topics(self) -> str:
        return ', '.join(
            f'{name} ({info.msgtype}, {info.count})' for name, info in self.topics.items())


def _unreadable(path: Path, error: Exception) -> BagError:
    return BagError(
        f'cannot read the bag {path} ({_one_line(error)}): check it with `ros2 bag info`, '
        'copy or record it again')


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split()).rstrip('.') or type(error).__name__
