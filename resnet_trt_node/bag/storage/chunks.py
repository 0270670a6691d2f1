"""Reads chunks of mcap files, and the complete messages of one that is cut off."""

from __future__ import annotations

from collections.abc import Iterator
import struct
from typing import BinaryIO, Union

import lz4.frame
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import breakup_chunk
import zstandard

#: Opcode and length before every record.
RECORD = struct.Struct('<BQ')
# rosbag2 and the mcap libraries begin another one after 1 MiB or one message.
_MAX_BYTES = 2**30

Record = Union[Channel, Message, Schema]


def chunk_records(file: BinaryIO, offset: int, finished: bool) -> Iterator[Record]:
    """
    Yield the records in a chunk.

    :param file: an open file.
    :param offset: of the chunk in it.
    :param finished: whether the file has its end; without, of a chunk that is cut off the
        complete records are yielded.
    :raises Exception: of mcap or the decompressor, if the chunk is damaged.
    """
    size = file.seek(0, 2)
    file.seek(offset)
    _, length = RECORD.unpack(file.read(RECORD.size))
    is_cut = offset + RECORD.size + length > size
    if is_cut and finished:
        raise McapError(f'its chunk at byte {offset} is longer than the file')
    stream = ReadDataStream(file)
    chunk = _cut_chunk(file, stream, length) if is_cut else Chunk.read(stream)
    for record in breakup_chunk(chunk, validate_crc=True):
        if isinstance(record, (Channel, Message, Schema)):
            yield record


def _cut_chunk(file: BinaryIO, stream: ReadDataStream, length: int) -> Chunk:
    """Return the chunk at the position of a file, with its complete records alone."""
    if length > _MAX_BYTES:
        raise McapError(f'a chunk of {length} bytes')
    start_time, end_time = stream.read8(), stream.read8()
    most = min(stream.read8(), _MAX_BYTES)
    stream.read4()  # the checksum of the whole chunk
    compression = str(stream.read(stream.read4()), 'utf-8')
    stream.read8()
    data = file.read()
    if compression == 'zstd':
        data = zstandard.ZstdDecompressor().stream_reader(data).read(most)
    elif compression == 'lz4':
        data = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=most)
    elif compression:
        raise McapError(f'unknown compression {compression!r}')
    end = 0
    while end + RECORD.size <= len(data):
        after = end + RECORD.size + RECORD.unpack_from(data, end)[1]
        if after > len(data):
            break
        end = after
    return Chunk('', data[:end], end_time, start_time, 0, end)
