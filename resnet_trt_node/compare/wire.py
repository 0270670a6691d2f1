"""
How two Pythons of different versions talk over a pair of pipes.

A message is a fixed head (magic, length of the header, length of the payload), a header in JSON
and raw bytes. No pickle: versions of Python and NumPy differ at the two ends.
"""

from __future__ import annotations

import json
from pathlib import Path
import struct
from typing import Any, BinaryIO, Mapping, Tuple, TYPE_CHECKING

import numpy as np

from resnet_trt_node.errors import BackendError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Said by both ends at the start; a worker of another number is refused.
PROTOCOL = 1
_HEAD = struct.Struct('<4sIQ')
_MAGIC = b'RTC1'
#: Class names are the longest header; a batch of 1024 large frames the longest payload.
_MAX_HEADER_BYTES = 64 << 20
_MAX_PAYLOAD_BYTES = 8 << 30


class WireError(BackendError):
    """What comes over the pipe is not a message."""


def send(stream: BinaryIO, header: dict[str, Any], payload: Any = b'') -> None:
    """
    Write one message.

    :param stream: a pipe.
    :param header: what JSON can say.
    :param payload: bytes, or a C-contiguous array whose bytes are sent.
    :raises OSError: if the other end is gone.
    """
    text = json.dumps(header).encode('utf-8')
    size = memoryview(payload).nbytes
    stream.write(_HEAD.pack(_MAGIC, len(text), size))
    stream.write(text)
    if size:
        stream.write(memoryview(payload).cast('B'))
    stream.flush()


def receive(stream: BinaryIO) -> Tuple[dict[str, Any], bytes]:
    """
    Read one message.

    :param stream: a pipe.
    :raises EOFError: if the other end is gone, before or within a message.
    :raises WireError: if it is no message.
    """
    head = _exactly(stream, _HEAD.size)
    magic, header_bytes, payload_bytes = _HEAD.unpack(head)
    if magic != _MAGIC:
        raise WireError(f'it says {head!r}, which is no message of a worker')
    if header_bytes > _MAX_HEADER_BYTES or payload_bytes > _MAX_PAYLOAD_BYTES:
        raise WireError(f'a message of {header_bytes} and {payload_bytes} bytes is too long')
    try:
        header = json.loads(_exactly(stream, header_bytes))
    except ValueError as error:
        raise WireError(f'its message has no header: {error}') from error
    if not isinstance(header, dict):
        raise WireError(f'the header of its message is a {type(header).__name__}, not a mapping')
    return header, _exactly(stream, payload_bytes)


def to_array(
        header: dict[str, Any], payload: bytes, dtype: type[np.generic]) -> NDArray[Any]:
    """
    Return a payload as the array that its header's `shape` says, read-only.

    :raises WireError: if the two do not fit.
    """
    try:
        return np.frombuffer(payload, dtype).reshape([int(side) for side in header['shape']])
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f'an array came that does not fit its header: {error}') from error


def options_to_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as what JSON can say; `log` stays behind."""
    return {
        name: {'path': str(value.absolute())} if isinstance(value, Path) else value
        for name, value in options.items() if name != 'log'}


def options_from_json(values: dict[str, Any], **others: Any) -> dict[str, Any]:
    """
    Return the options that `options_to_json` gave.

    :param others: options in their place, such as `log`.
    """
    decoded = {
        name: Path(value['path']) if isinstance(value, dict)
        else tuple(value) if isinstance(value, list) else value
        for name, value in values.items()}
    return {**decoded, **others}


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError(f'the pipe ended after {len(data)} of {size} bytes')
    return data
