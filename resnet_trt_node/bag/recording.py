"""The files of a bag as one recording: their topics, and their messages by log time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.bag.counting import MessageCount
from resnet_trt_node.bag.foxglove import PROTOBUF, PROTOBUF_IMAGES, ROS_IMAGES
from resnet_trt_node.bag.message_types import DETECTIONS, IMAGE_TYPES
from resnet_trt_node.bag.storage.files import MessageFile, open_file, unreadable
from resnet_trt_node.bag.storage.layout import find_bag
from resnet_trt_node.bag.storage.merging import EVERYTHING, merge, Part, Span, Stored
from resnet_trt_node.errors import BagError
from rosbags.interfaces import Connection, ConnectionExtRosbag2

CDR, ROS1 = 'cdr', 'ros1'


@dataclass(frozen=True)
class Kind:
    """
    Messages that are read alike.

    :param article: of the noun.
    :param noun: one of them in words.
    :param types: their types.
    :param encodings: how they may be serialised.
    :param protobuf_types: types that are read if they are serialised as protobuf.
    """

    article: str
    noun: str
    types: tuple[str, ...]
    encodings: tuple[str, ...]
    protobuf_types: tuple[str, ...] = ()

    def has(self, connection: Connection) -> bool:
        """Return whether a topic's messages are of these and can be read."""
        encoding = encoding_of(connection)
        if encoding == PROTOBUF:
            return connection.msgtype in self.protobuf_types
        return connection.msgtype in self.types and encoding in self.encodings


IMAGES = Kind(
    'an', 'image', (*IMAGE_TYPES, *ROS_IMAGES), (CDR, ROS1), tuple(PROTOBUF_IMAGES))
#: Those of ROS 1 have other fields.
DETECTION_ARRAYS = Kind('a', 'Detection2DArray', (DETECTIONS,), (CDR,))


class Recording:
    """
    All files of a bag.

    The topics are those of the files. metadata.yaml only names the files, gives the QoS that a
    file lacks, and its counts are compared with what was read.

    :param path: the path that the user gave.
    :param stack: removes decompressed files at the end.
    :param scratch: the folder for these, as for `open_file`.
    :raises BagError: if there is no bag, or it cannot be read, or has no message.
    """

    def __init__(self, path: Path, stack: ExitStack, scratch: Optional[Path] = None) -> None:
        #: The folder or file, and warnings about missing files and messages.
        self.path, self._paths, self._metadata, self.notes = find_bag(path)
        self._files = [open_file(file, stack, scratch) for file in self._paths]
        self.notes += [
            f'{file}: {one.note}' for file, one in zip(self._paths, self._files) if one.note]
        self._topics = [[self._with_qos(one) for one in file.connections] for file in self._files]
        #: The topics of all files, with the number of their messages there.
        self.connections = [one for topics in self._topics for one in topics]
        filled = [file for file in self._files if any(one.msgcount for one in file.connections)]
        if not filled:
            raise BagError('; '.join([
                f'the bag {self.path} is empty: record it again, no message is in it',
                *self.notes]))
        #: Log time of the first and of the last message of any topic, in nanoseconds.
        self.start_ns = min(file.start_ns for file in filled)
        self.end_ns = max(file.end_ns for file in filled)

    def messages(
            self, wanted: Callable[[Connection], bool],
            span: Span = EVERYTHING) -> Iterator[Stored]:
        """
        Yield messages in the order of their log times.

        :param wanted: returns whether the messages of a connection are wanted.
        :param span: the log times that are wanted.
        :raises BagError: while iterating, if a file is damaged.
        """
        parts = []
        for path, file, topics in zip(self._paths, self._files, self._topics):
            chosen = {one.id: one for one in topics if wanted(one)}
            if chosen:
                parts.append(Part(file.start_ns, partial(_read, path, file, chosen, span)))
        return merge(parts)

    def log_times(
            self, wanted: Callable[[Connection], bool]) -> Optional[dict[str, NDArray[np.int64]]]:
        """
        Return the log times of messages by topic, rising.

        :param wanted: as in `messages`.
        :returns: None if a file has no index of them, or has to be unpacked to be read.
        :raises BagError: if a file is damaged.
        """
        found: dict[str, list[NDArray[np.int64]]] = {}
        for path, file, topics in zip(self._paths, self._files, self._topics):
            chosen = {one.id: one for one in topics if wanted(one)}
            if file.path != path:
                return None
            try:
                times = file.log_times(chosen)
            except Exception as error:  # the libraries do not wrap the errors of their parsers
                raise unreadable(path, error) from error
            if times is None:
                return None
            for number, one in chosen.items():
                found.setdefault(one.topic, []).append(times[number])
        return {topic: np.sort(np.concatenate(parts)) for topic, parts in found.items()}

    def counts(
            self, kind: Kind, names: Sequence[str], with_listed: bool) -> dict[str, MessageCount]:
        """
        Return the expected number of messages by topic.

        :param kind: which messages.
        :param names: topics.
        :param with_listed: include topics of the kind that only metadata.yaml lists.
        """
        listed = self._metadata.topics
        if with_listed:
            names = [*names, *(
                name for name, topic in listed.items()
                if name not in names and topic.msgtype in kind.types)]
        counts = {
            name: MessageCount(kind.noun, False, listed[name].count) if name in listed
            else MessageCount(kind.noun, bool(listed), None) for name in names}
        for connection in self.connections:
            if connection.topic in counts:
                counts[connection.topic].stored += connection.msgcount
                if kind.has(connection):
                    counts[connection.topic].expected += connection.msgcount
        return counts

    def _with_qos(self, connection: Connection) -> Connection:
        ext = connection.ext
        listed = self._metadata.topics.get(connection.topic)
        if listed is None or not isinstance(ext, ConnectionExtRosbag2) or ext.offered_qos_profiles:
            return connection
        return connection._replace(ext=ext._replace(offered_qos_profiles=list(listed.qos)))


def encoding_of(connection: Connection) -> str:
    """Return the serialisation of a topic's messages: CDR, ROS1 or another recorded one."""
    ext = connection.ext
    return ext.serialization_format if isinstance(ext, ConnectionExtRosbag2) else ROS1


def _read(
        path: Path, file: MessageFile, wanted: Mapping[int, Connection],
        span: Span) -> Iterator[Stored]:
    try:
        yield from file.messages(wanted, span)
    except BagError:
        raise
    except Exception as error:  # the libraries do not wrap the errors of their parsers
        raise unreadable(path, error) from error
