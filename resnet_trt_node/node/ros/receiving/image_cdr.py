"""
Image and CompressedImage as they go over the wire, their pixels viewed where they lie.

Alone of these two messages more than a few bytes are received: rclpy would copy the pixels into an
array of its own. And it would say nothing of a message that is damaged.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Union

from builtin_interfaces.msg import Time
from resnet_trt_node.cdr import CdrReader
from resnet_trt_node.errors import FrameError
from std_msgs.msg import Header

_NO_BYTES = memoryview(b'')


class _Received:
    """
    What both messages have.

    A message that is damaged keeps what was read before the damage, and never raises.

    :param wire: the serialised message, of either byte order; `data` is a view of it.
    """

    __slots__ = ('__weakref__', 'damage', 'data', 'header')

    def __init__(self, wire: Union[bytes, memoryview]) -> None:
        #: std_msgs/Header; the stamp is 0 where it is damaged.
        self.header = Header()
        #: uint8 (bytes,), read-only; its memory is kept for as long as there is a view of it.
        self.data = _NO_BYTES
        #: Why it cannot be read, None where it can.
        self.damage: Optional[FrameError] = None
        try:
            reader = CdrReader(memoryview(wire), 'the image is')
            stamp, frame_id = reader.header()
            self.header = Header(
                stamp=Time(sec=stamp.sec, nanosec=stamp.nanosec), frame_id=frame_id)
            self._read(reader)
        except FrameError as error:
            self.damage = error

    def _read(self, reader: CdrReader) -> None:
        raise NotImplementedError

    def _read_data(self, reader: CdrReader) -> None:
        data = reader.take(reader.length(1))
        assert isinstance(data, memoryview)
        self.data = data


class ReceivedImage(_Received):
    """A serialised sensor_msgs/Image, with its fields; the parameter is that of `_Received`."""

    __slots__ = ('encoding', 'height', 'is_bigendian', 'step', 'width')

    def __init__(self, wire: Union[bytes, memoryview]) -> None:
        self.height = self.width = self.step = self.is_bigendian = 0
        self.encoding = ''
        super().__init__(wire)

    def _read(self, reader: CdrReader) -> None:
        self.height, self.width = reader.number(), reader.number()
        self.encoding = reader.text()
        self.is_bigendian = reader.take(1)[0]
        self.step = reader.number()
        self._read_data(reader)


class ReceivedCompressedImage(_Received):
    """A serialised sensor_msgs/CompressedImage, likewise."""

    __slots__ = ('format',)

    def __init__(self, wire: Union[bytes, memoryview]) -> None:
        self.format = ''
        super().__init__(wire)

    def _read(self, reader: CdrReader) -> None:
        self.format = reader.text()
        self._read_data(reader)


#: What reads a serialised message, by the name of its class.
READERS: dict[str, Callable[[Union[bytes, memoryview]], Any]] = {
    'Image': ReceivedImage, 'CompressedImage': ReceivedCompressedImage}
