"""One bag of ROS 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from resnet_trt_node.bag.storage.merging import EVERYTHING, Span, Stored
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader


class Ros1File:
    """
    A bag of ROS 1; the file is open only while it is read.

    :param path: the .bag file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: What is missing, '' if nothing is.
        self.note = ''
        with Reader(path) as reader:
            #: The topics, with the number of their messages by the bag's index.
            self.connections = [
                one._replace(msgcount=sum(
                    chunk.connection_counts.get(one.id, 0) for chunk in reader.chunk_infos))
                for one in reader.connections]
            self.start_ns = min((chunk.start_time for chunk in reader.chunk_infos), default=0)
            # rosbags returns 1 ns after the last message.
            self.end_ns = max((chunk.end_time - 1 for chunk in reader.chunk_infos), default=0)

    def log_times(self, wanted: Mapping[int, Connection]) -> None:
        """Return nothing: the log times are not known without reading all messages."""

    def messages(
            self, wanted: Mapping[int, Connection], span: Span = EVERYTHING) -> Iterator[Stored]:
        """Yield the messages of connections, by their ids, in the order of their log times."""
        with Reader(self.path) as reader:
            chosen = [one for one in reader.connections if one.id in wanted]
            # rosbags interprets an empty list as all connections.
            for connection, time_ns, data in reader.messages(chosen) if chosen else ():
                if span.start_ns <= time_ns < span.end_ns:
                    yield Stored(time_ns, wanted[connection.id], bytes(data))
