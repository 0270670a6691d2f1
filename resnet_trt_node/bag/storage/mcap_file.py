"""One mcap file, with or without an index or an end; topics of any encoding may be in it."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
import os
from pathlib import Path
import re
import struct
from typing import BinaryIO, Optional

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import MAGIC_SIZE
import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.bag.foxglove import PROTOBUF, schema_definition
from resnet_trt_node.bag.storage.chunks import chunk_records, RECORD
from resnet_trt_node.bag.storage.merging import EVERYTHING, merge, Part, Span, Stored
from resnet_trt_node.bag.storage.metadata import definition_of, read_qos
from rosbags.interfaces import Connection, ConnectionExtRosbag2

# Of a topic whose file does not describe its type.
_NO_SCHEMA = Schema(id=0, data=b'', encoding='', name='unknown')
_DESCRIPTIONS = {Opcode.SCHEMA: Schema.read, Opcode.CHANNEL: Channel.read}
# Channel, sequence and log time at the start of a message.
_MESSAGE = struct.Struct('<HIQ')
# Channel and length of the entries at the start of an index of a chunk's messages, and an entry.
_MESSAGE_INDEX = struct.Struct('<HI')
_INDEX_ENTRY = np.dtype([('time', '<u8'), ('offset', '<u8')])
# Channel, sequence, log time, publish time.
_MESSAGE_HEAD_BYTES = 22
# The first bytes of every file, and the last ones of a finished one.
_MAGIC = b'\x89MCAP0\r\n'


@dataclass
class _Index:
    """
    The index of a file.

    :param bounds: of the log times within chunks.
    :param chunks: lowest and highest log time, offset and, if known, channels of each chunk.
    :param message_indexes: offsets of the indexes of the chunks' messages, with their channels.
    :param offsets: offsets of the messages outside of chunks, like `times` and `channel_ids`.
    :param is_cut: whether the file was cut off before the end of its messages.
    """

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    bounds: list[int] = field(default_factory=list)
    chunks: list[tuple[int, int, int, Optional[frozenset[int]]]] = field(default_factory=list)
    message_indexes: list[tuple[int, int]] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array('Q'))
    times: array[int] = field(default_factory=lambda: array('q'))
    channel_ids: array[int] = field(default_factory=lambda: array('H'))
    is_cut: bool = False


class McapFile:
    """
    An mcap file; the file is open only while it is read.

    Of a file without an end, whose recorder was killed, all complete messages are read.

    :param path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open('rb') as file:
            self._finished = finished = _is_finished(file)
            try:
                index = _read_summary(file) if finished else None
            # A damaged summary may raise anything; the messages before it may be intact.
            except Exception:
                index = None
            self._index = index or _scan(file, finished)
        #: What is missing, '' if nothing is.
        self.note = '' if finished else _describe_end(self._index)
        #: The topics, with the number of their messages; a topic may have several.
        self.connections = [
            _connection(channel, self._index) for channel in self._index.channels.values()]
        self.start_ns = min(chain(self._index.bounds, self._index.times), default=0)
        self.end_ns = max(chain(self._index.bounds, self._index.times), default=0)

    def log_times(
            self, wanted: Mapping[int, Connection]) -> Optional[dict[int, NDArray[np.int64]]]:
        """
        Return the log times of connections, by their ids, in any order.

        :returns: None if the file's index does not have them all.
        :raises Exception: of mcap, if the index is damaged.
        """
        index = self._index
        found: dict[int, list[NDArray[np.int64]]] = {one: [] for one in wanted}
        with self.path.open('rb') as file:
            for channel, offset in index.message_indexes:
                if channel in wanted:
                    found[channel].append(_indexed_times(file, channel, offset))
        times = {channel: np.concatenate(parts) if parts else np.empty(0, np.int64)
                 for channel, parts in found.items()}
        complete = all(len(times[channel]) == index.counts[channel] for channel in wanted)
        return times if complete else None

    def messages(
            self, wanted: Mapping[int, Connection], span: Span = EVERYTHING) -> Iterator[Stored]:
        """Yield the messages of connections, by their ids, in the order of their log times."""
        with self.path.open('rb') as file:
            # One part for each chunk, and one for all messages outside of chunks.
            parts = [
                Part(start_ns, partial(_chunk, file, offset, self._finished, wanted))
                for start_ns, last_ns, offset, channels in self._index.chunks
                if start_ns < span.end_ns and last_ns >= span.start_ns
                and (channels is None or channels & wanted.keys())]
            if self._index.times:
                parts.append(Part(min(self._index.times), partial(self._loose, file, wanted)))
            for stored in merge(parts):
                if stored.time_ns >= span.end_ns:
                    return
                if stored.time_ns >= span.start_ns:
                    yield stored

    def _loose(self, file: BinaryIO, wanted: Mapping[int, Connection]) -> Iterator[Stored]:
        index = self._index
        # A stable sort: messages of equal times stay in the order of the file.
        for place in np.argsort(np.frombuffer(index.times, np.int64), kind='stable'):
            connection = wanted.get(index.channel_ids[place])
            if connection is not None:
                message = Message.read(*_body(file, index.offsets[place]))
                yield Stored(index.times[place], connection, message.data)


def _connection(channel: Channel, index: _Index) -> Connection:
    schema = index.schemas.get(channel.schema_id, _NO_SCHEMA)
    name = schema.name
    # ROS 1 names types without msg/; some tools do so for ROS 2 too.
    if channel.message_encoding in ('cdr', 'ros1') and re.fullmatch(r'\w+/\w+', name):
        name = name.replace('/', '/msg/')
    return Connection(
        channel.id, channel.topic, name,
        schema_definition(schema.data) if schema.encoding == PROTOBUF
        else definition_of(schema.encoding, schema.data.decode('utf-8', 'replace')),
        channel.metadata.get('topic_type_hash', ''), index.counts[channel.id],
        ConnectionExtRosbag2(
            channel.message_encoding, read_qos(channel.metadata.get('offered_qos_profiles'))),
        None)


def _read_summary(file: BinaryIO) -> Optional[_Index]:
    """Return the index from the file's summary, None if that is missing or incomplete."""
    size = file.seek(0, 2)
    file.seek(0)
    summary = SeekingReader(file, record_size_limit=size).get_summary()
    statistics = None if summary is None else summary.statistics
    if summary is None or statistics is None or not summary.chunk_indexes:
        return None
    index = _Index(summary.schemas, summary.channels, Counter(statistics.channel_message_counts))
    whole = (
        len(summary.chunk_indexes) == statistics.chunk_count
        and sum(index.counts.values()) == statistics.message_count
        and index.counts.keys() <= index.channels.keys()
        and all(one.schema_id in (0, *index.schemas) for one in index.channels.values()))
    if not whole:
        return None
    for chunk in summary.chunk_indexes:
        first_ns, last_ns = _chunk_range(chunk.message_start_time, chunk.message_end_time)
        channels = frozenset(chunk.message_index_offsets) or None
        index.chunks.append((first_ns, last_ns, chunk.chunk_start_offset, channels))
        index.message_indexes += chunk.message_index_offsets.items()
        if channels is not None or last_ns:  # an empty chunk has the times 0
            index.bounds += (first_ns, last_ns)
    return index


def _is_finished(file: BinaryIO) -> bool:
    """Return whether a file has its end."""
    size = file.seek(0, 2)
    file.seek(max(0, size - len(_MAGIC)))
    return size >= 2 * len(_MAGIC) and file.read() == _MAGIC


def _describe_end(index: _Index) -> str:
    """Return in words how a file without an end is read."""
    if not index.is_cut:
        return 'it was cut off behind its last message: all can be read'
    count = sum(index.counts.values())
    found = (f'its first {count} messages are' if count > 1 else 'its first message is' if count
             else 'no message is')
    return (f'it was cut off, as by a killed recorder or an incomplete copy: {found} complete and '
            'can be read')


def _scan(file: BinaryIO, finished: bool) -> _Index:
    """
    Read a file without an index, and return its index.

    :param file: an open file.
    :param finished: whether it has its end; without, it is read up to the first broken record.
    """
    index = _Index()
    size = file.seek(0, 2)
    offset = MAGIC_SIZE
    while True:
        file.seek(offset)
        try:
            length = _scan_record(file, offset, size, finished, index)
        # The library does not wrap the errors of its parsers and of decompression. A disk that
        # cannot be read is no end of a file.
        except Exception as error:  # noqa: B902
            if finished or isinstance(error, OSError):
                raise
            index.is_cut = True
            return index
        if length is None:
            return index
        offset += RECORD.size + length


def _scan_record(
        file: BinaryIO, offset: int, size: int, finished: bool, index: _Index) -> Optional[int]:
    """Add a record to the index, and return its length, None behind the last message."""
    head = file.read(RECORD.size)
    if len(head) < RECORD.size:
        raise McapError(f'it ends at byte {offset}')
    opcode, length = RECORD.unpack(head)
    if opcode in (Opcode.DATA_END, Opcode.FOOTER):
        return None
    if opcode == 0:  # after a power failure a file may end with zeros
        raise McapError(f'it has no record at byte {offset}')
    if opcode == Opcode.CHUNK:
        _scan_chunk(file, offset, finished, index)
    if offset + RECORD.size + length > size:
        raise McapError(f'its record at byte {offset} is longer than the file')
    if opcode == Opcode.MESSAGE:
        if length < _MESSAGE_HEAD_BYTES:
            raise McapError(f'its message at byte {offset} is too short')
        channel_id, _, time = _MESSAGE.unpack(file.read(_MESSAGE.size))
        index.offsets.append(offset)
        index.times.append(_signed(time))
        index.channel_ids.append(channel_id)
        index.counts[channel_id] += 1
    elif opcode in _DESCRIPTIONS:
        _note(_DESCRIPTIONS[opcode](_body(file, offset)[0]), index)
    return int(length)


def _scan_chunk(file: BinaryIO, offset: int, finished: bool, index: _Index) -> None:
    times = []
    found = set()
    for record in chunk_records(file, offset, finished):
        if isinstance(record, Message):
            times.append(_signed(record.log_time))
            found.add(record.channel_id)
            index.counts[record.channel_id] += 1
        else:
            _note(record, index)
    if times:
        index.chunks.append((min(times), max(times), offset, frozenset(found)))
        index.bounds += (min(times), max(times))


def _note(record: object, index: _Index) -> None:
    if isinstance(record, Schema):
        index.schemas.setdefault(record.id, record)
    elif isinstance(record, Channel):
        index.channels.setdefault(record.id, record)


def _chunk(
        file: BinaryIO, offset: int, finished: bool,
        wanted: Mapping[int, Connection]) -> Iterator[Stored]:
    """Yield a chunk's messages by log time, and release each one."""
    waiting = deque(sorted((
        Stored(_signed(record.log_time), wanted[record.channel_id], record.data)
        for record in chunk_records(file, offset, finished)
        if isinstance(record, Message) and record.channel_id in wanted),
        key=lambda one: one.time_ns))
    while waiting:
        yield waiting.popleft()


def _indexed_times(file: BinaryIO, channel: int, offset: int) -> NDArray[np.int64]:
    """Return the log times of a channel's messages in a chunk, from their index."""
    _, length = _body(file, offset)
    found, size = _MESSAGE_INDEX.unpack(file.read(_MESSAGE_INDEX.size))
    if found != channel or size != length - _MESSAGE_INDEX.size or size % _INDEX_ENTRY.itemsize:
        raise McapError(f'its index at byte {offset} is damaged')
    entries = np.frombuffer(file.read(size), _INDEX_ENTRY)
    # Signed as in ROS, see `_signed`.
    return entries['time'].astype(np.int64)


def _body(file: BinaryIO, offset: int) -> tuple[ReadDataStream, int]:
    """Return a stream positioned at the content of a record, and the length of that."""
    file.seek(offset)
    head = file.read(RECORD.size)
    length = RECORD.unpack(head)[1] if len(head) == RECORD.size else 0
    # The library does not check for a truncated record.
    if not head or offset + RECORD.size + length > os.fstat(file.fileno()).st_size:
        raise McapError(f'its record at byte {offset} is longer than the file')
    return ReadDataStream(file), length


def _signed(time: int) -> int:
    """Return the signed log time of ROS: mcap stores times before 1970 as unsigned numbers."""
    return time - 2**64 if time >= 2**63 else time


def _chunk_range(start: int, end: int) -> tuple[int, int]:
    """Return bounds of a chunk's log times, from its index."""
    if end < 2**63 or start >= 2**63:
        return _signed(start), _signed(end)
    return -2**63, 2**63 - 1  # messages before and after 1970
