"""Reads images and detections of a bag: rosbag2 in mcap or sqlite3, or ROS 1; without ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
import logging
from pathlib import Path
from typing import Any, cast, Optional, TYPE_CHECKING, Union

from resnet_trt_node.bag.counting import MessageCount, UnreadableMessage
from resnet_trt_node.bag.decoder import MessageDecoder
from resnet_trt_node.bag.foxglove import image_type
from resnet_trt_node.bag.messages import (
    BagDetections, BagImage, BagMessage, StampedMessage, TopicInfo)
from resnet_trt_node.bag.recording import (
    CDR, DETECTION_ARRAYS, encoding_of, IMAGES, Kind, Recording, ROS1)
from resnet_trt_node.bag.storage.merging import EVERYTHING, Span, Stored
from resnet_trt_node.closing import Closing
from resnet_trt_node.errors import BagError
from rosbags.interfaces import Connection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)


class BagReader(Closing):
    """
    An open bag; a context manager.

    Images are read whatever the other topics hold, and even if metadata.yaml has wrong types or
    QoS.

    :param path: a rosbag2 folder, a bare .mcap or .db3 file, or a ROS 1 .bag file.
    :param warn: called with each warning about missing data or an assumption; logs it by default.
    :param scratch: the folder for decompressed files, made if necessary; None for that of TMPDIR.
    :raises BagError: if there is no bag, or it is damaged or empty.
    """

    def __init__(
            self, path: Union[str, Path],
            warn: Callable[[str], None] = _LOG.warning,
            scratch: Optional[Path] = None) -> None:
        #: Warnings about missing data and assumptions; reading adds to them.
        self.warnings: list[str] = []
        self._warn = warn
        with ExitStack() as stack:
            self._recording = Recording(Path(path), stack, scratch)
            self._stack = stack.pop_all()
        #: The bag's folder or file.
        self.path = self._recording.path
        self._decoder = MessageDecoder(self.path)
        #: Log time of the first message of any topic, in nanoseconds.
        self.start_ns = self._recording.start_ns
        #: Nanoseconds from the first to the last message of any topic.
        self.duration_ns = max(0, self._recording.end_ns - self.start_ns)
        for note in self._recording.notes:
            self.warn_once(note)

    @property
    def topics(self) -> dict[str, TopicInfo]:
        """Return every topic of the bag, name to type and count, in the order of the names."""
        found: dict[str, TopicInfo] = {}
        for connection in sorted(self._recording.connections, key=lambda one: one.topic):
            before = found.get(connection.topic, TopicInfo(connection.msgtype, 0))
            types = dict.fromkeys([*before.msgtype.split(' and '), connection.msgtype])
            found[connection.topic] = TopicInfo(
                ' and '.join(types), before.count + connection.msgcount)
        return found

    def image_topics(self) -> list[str]:
        """Return the names of the image topics, raw and compressed, sorted."""
        return self._topics_of(IMAGES)

    def image_types(self, topic: str) -> list[str]:
        """
        Return the types of a topic's images, sorted; more than one is rare.

        :param topic: an image topic; images of Foxglove are read as those of sensor_msgs.
        """
        return sorted({
            image_type(one.msgtype) for one in self.connections(topic) if IMAGES.has(one)})

    def choose_images(self, topics: Optional[Sequence[str]]) -> list[str]:
        """
        Return the full names of image topics, in the given order.

        :param topics: image topics, None for all of them; the leading slash may be left out.
        :raises BagError: if a topic is not there or is not of images, or if the bag has no images.
        """
        return self._choose(IMAGES, topics)

    def detection_topics(self) -> list[str]:
        """Return the names of the topics of vision_msgs/Detection2DArray, sorted."""
        return self._topics_of(DETECTION_ARRAYS)

    def choose_detections(self, topics: Optional[Sequence[str]]) -> list[str]:
        """
        Return the full names of topics of vision_msgs/Detection2DArray, in the given order.

        :param topics: such topics, None for all of them; the leading slash may be left out.
        :raises BagError: if a topic is not there, is of another type or was recorded with another
            version than vision_msgs 4, or if the bag has no detections.
        """
        names = self._choose(DETECTION_ARRAYS, topics)
        for name in names:
            for connection in self.connections(name):
                if DETECTION_ARRAYS.has(connection):
                    self._decoder.check_detections(connection)
        return names

    def connections(self, topic: str) -> list[Connection]:
        """Return the distinct connections of a topic: its definitions and offered QoS."""
        found: list[Connection] = []
        for connection in self._recording.connections:
            # Each file of a split recording has its own, which differ by id and count.
            if connection.topic == topic and connection not in [
                    one._replace(id=connection.id, msgcount=connection.msgcount)
                    for one in found]:
                found.append(connection)
        return found

    def image_count(self, topics: Optional[Sequence[str]] = None) -> int:
        """
        Return the number of images that `images` yields.

        :param topics: image topics, None for all of them.
        :raises BagError: as `images`.
        """
        return self._count(IMAGES, self.choose_images(topics))

    def images(self, topics: Optional[Sequence[str]] = None) -> Iterator[BagImage]:
        """
        Yield images in the order of their log times, topics interleaved.

        At the end the number of images is compared with the counts of the bag. A difference, such
        as an image that is not readable, is a warning.

        :param topics: image topics, None for all of them; the leading slash may be left out.
        :raises BagError: at once if a topic is not there or is not of images, or if the bag has
            no images; while iterating if the bag is damaged or no image is readable.
        """
        chosen = {IMAGES: self.choose_images(topics)}
        return cast(Iterator[BagImage], self._stamped(chosen, with_listed=topics is None))

    def detections(self, topics: Optional[Sequence[str]] = None) -> Iterator[BagDetections]:
        """
        Yield what detectors found, in the order of the log times, as `images` yields images.

        :param topics: topics of vision_msgs/Detection2DArray, None for all of them.
        :raises BagError: at once as `choose_detections`; while iterating as `images`.
        """
        chosen = {DETECTION_ARRAYS: self.choose_detections(topics)}
        return cast(Iterator[BagDetections], self._stamped(chosen, with_listed=topics is None))

    def images_and_detections(
            self, images: Optional[Sequence[str]],
            detections: Optional[Sequence[str]]) -> Iterator[Union[BagImage, BagDetections]]:
        """
        Yield both in the order of their log times, the file being read once.

        :param images: as in `images`.
        :param detections: as in `detections`.
        :raises BagError: as `images` and `detections`.
        """
        chosen = {IMAGES: self.choose_images(images),
                  DETECTION_ARRAYS: self.choose_detections(detections)}
        return cast(
            Iterator[Union[BagImage, BagDetections]], self._stamped(chosen, with_listed=False))

    def log_times(self, images: Sequence[str]) -> Optional[dict[str, NDArray[np.int64]]]:
        """
        Return the log times of images by topic, rising, in nanoseconds.

        :param images: full names of image topics.
        :returns: None if they are not known without reading all images.
        :raises BagError: if the index of a file is damaged.
        """
        return self._recording.log_times(lambda one: one.topic in images and IMAGES.has(one))

    def stored(
            self, images: Sequence[str], detections: Sequence[str],
            span: Span) -> Iterator[tuple[Kind, Stored]]:
        """
        Yield messages as the files have them, with what they are, in the order of the log times.

        :param images: full names of image topics.
        :param detections: full names of topics of vision_msgs/Detection2DArray.
        :param span: the log times that are wanted.
        :raises BagError: while iterating, if the bag is damaged.
        """
        return self._stored({IMAGES: images, DETECTION_ARRAYS: detections}, span)

    def stamped(self, stored: Stored, kind: Kind) -> StampedMessage:
        """
        Return a deserialised message.

        :param stored: a message of this bag.
        :param kind: what it is.
        :raises UnreadableMessage: if it does not follow its definition.
        """
        return self._decoder.stamped(stored, kind)

    def raw_messages(self, topics: Optional[Sequence[str]] = None) -> Iterator[BagMessage]:
        """
        Yield messages of any type, in the order of their log times.

        :param topics: topics, None for all of them; the leading slash may be left out.
        :raises BagError: at once if a topic is not there; while iterating if the bag is damaged.
        """
        names = list(self.topics) if topics is None else [self._name(topic) for topic in topics]
        return map(self._decoder.message, self._recording.messages(lambda one: one.topic in names))

    def deserialize(self, message: BagMessage) -> Any:
        """
        Return a message as an object with the fields of its ROS message.

        :param message: a message of this bag; the bag's own type definitions are used.
        :raises BagError: if it does not follow its definition, or there is none.
        """
        return self._decoder.deserialize(message)

    def wire_bytes(self, image: BagImage) -> bytes:
        """
        Return an image as little-endian CDR with its encapsulation.

        :param image: an image of this bag.
        :returns: `image.raw` itself unless it was recorded on a big-endian machine.
        """
        return self._decoder.little_endian(image)

    def warn_once(self, line: str) -> None:
        """
        Add a warning, unless the bag has it already.

        :param line: what is missing, or what was assumed.
        """
        if line not in self.warnings:  # a looping replay reads the bag repeatedly
            self.warnings.append(line)
            self._warn(line)

    def close(self) -> None:
        """Remove decompressed files; calling it again does nothing."""
        self._stack.close()

    def _topics_of(self, kind: Kind) -> list[str]:
        return sorted({one.topic for one in self._recording.connections if kind.has(one)})

    def _choose(self, kind: Kind, topics: Optional[Sequence[str]]) -> list[str]:
        available = self._topics_of(kind)
        if not available:
            raise BagError(
                f'{self.path} has no {kind.noun} topic: it has {self._describe_topics()}')
        names = available if topics is None else [self._name(topic) for topic in topics]
        for name in names:
            if name not in available:
                raise BagError(
                    f'{self.path}: topic {name} is a {self.topics[name].msgtype}, not '
                    f'{kind.article} {kind.noun}: choose of {", ".join(available)}')
        if names and not self._count(kind, names):
            raise BagError(
                f'{self.path} has no {kind.noun} on {", ".join(names)}: it has '
                f'{self._describe_topics()}')
        return list(dict.fromkeys(names))

    def _count(self, kind: Kind, names: Sequence[str]) -> int:
        return sum(one.msgcount for one in self._recording.connections
                   if one.topic in names and kind.has(one))

    def _stamped(
            self, chosen: dict[Kind, list[str]], with_listed: bool) -> Iterator[StampedMessage]:
        """Yield the messages of each kind on its topics."""
        counts = {kind: self._recording.counts(kind, names, with_listed)
                  for kind, names in chosen.items()}
        for kind, stored in self._stored(chosen, EVERYTHING):
            count = counts[kind][stored.connection.topic]
            try:
                message = self._decoder.stamped(stored, kind)
            except UnreadableMessage as error:
                count.unreadable += 1
                count.error = count.error or error
                continue
            count.read += 1
            yield message
        for of_kind in counts.values():
            self._compare(of_kind)

    def _stored(
            self, chosen: Mapping[Kind, Sequence[str]],
            span: Span) -> Iterator[tuple[Kind, Stored]]:
        def kind_of(connection: Connection) -> Optional[Kind]:
            return next((kind for kind, names in chosen.items()
                         if connection.topic in names and kind.has(connection)), None)
        for stored in self._recording.messages(lambda one: kind_of(one) is not None, span):
            kind = kind_of(stored.connection)
            assert kind is not None
            yield kind, stored

    def _compare(self, counts: dict[str, MessageCount]) -> None:
        """Warn of messages that are missing, and fail if none could be read."""
        errors = [count.error for count in counts.values() if count.error is not None]
        if errors and not any(count.read for count in counts.values()):
            raise errors[0]
        differences = [
            f'{name}: {count.difference()}' for name, count in counts.items()
            if count.difference()]
        if differences:
            self.warn_once(
                f'{self.path}: {"; ".join(differences)}: check that the bag was recorded and '
                'copied whole')

    def _name(self, topic: str) -> str:
        for name in (topic, f'/{topic}'):
            if name in self.topics:
                return name
        raise BagError(f'{self.path} has no topic {topic}: it has {self._describe_topics()}')

    def _describe_topics(self) -> str:
        foreign = {
            one.topic: f' in {encoding_of(one)!r}' for one in self._recording.connections
            if encoding_of(one) not in (CDR, ROS1) and not IMAGES.has(one)}
        return ', '.join(
            f'{name} ({info.msgtype}{foreign.get(name, "")}, {info.count})'
            for name, info in self.topics.items())
