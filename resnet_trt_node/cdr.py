"""
Reads a serialised message field by field, and writes texts.

The format is CDR, version 1, as the middlewares of ROS 2 use it: 4 bytes that tell the byte order,
then the fields one behind another, each aligned to its own size. A text is its length, its bytes
and a NUL; a sequence is its length and its elements.
"""

from __future__ import annotations

from functools import lru_cache
import struct
from typing import NamedTuple, Union

from resnet_trt_node.errors import FrameError

_BIG_ENDIAN, LITTLE_ENDIAN = b'\x00\x00', b'\x00\x01'
#: The byte order and two bytes without a meaning; alignment counts from behind them.
_ENCAPSULATION_BYTES = 4
_NUMBER_BYTES = 8
#: Texts of messages have any length; longer ones, in characters, are not kept in a cache.
_CACHED_TEXT = 256
_U32 = {False: struct.Struct('<I'), True: struct.Struct('>I')}


def text_bytes(text: str) -> bytes:
    """Return a text in little endian; what is behind a NUL is left out, as by rclpy."""
    return (_cached_text_bytes if len(text) <= _CACHED_TEXT else _text_bytes)(text)


def _text_bytes(text: str) -> bytes:
    data = text.encode().partition(b'\0')[0] + b'\0'
    return _U32[False].pack(len(data)) + data


# The same class names and ids come again and again.
_cached_text_bytes = lru_cache(maxsize=4096)(_text_bytes)


class Stamp(NamedTuple):
    """A builtin_interfaces/Time."""

    sec: int
    nanosec: int


class Header(NamedTuple):
    """A std_msgs/Header."""

    stamp: Stamp
    frame_id: str


class CdrReader:
    """
    Reads one field after another; all methods raise FrameError if the message is cut.

    :param data: the message, of either byte order; bytes, or a memoryview of them.
    :param subject: begins an error: 'the image is' or 'the detections are'.
    """

    def __init__(self, data: Union[bytes, memoryview], subject: str) -> None:
        self._data = data
        self._subject = subject
        self._is_big_endian = data[:2] == _BIG_ENDIAN
        self._u32 = _U32[self._is_big_endian]
        self._place = _ENCAPSULATION_BYTES

    def header(self) -> Header:
        """
        Read the header of the message, and what is in front of it.

        :raises FrameError: also if this is no CDR.
        """
        order = bytes(self._data[:2])
        if order not in (_BIG_ENDIAN, LITTLE_ENDIAN):
            raise FrameError(
                f'{self._subject} no CDR: the message begins with {order.hex() or "nothing"}, not '
                'with 0000 or 0001')
        return Header(Stamp(self._signed(), self.number()), self.text())

    def skip_header(self) -> None:
        """Read a header that is not needed."""
        self._place += -self._place % 4 + 8
        self.take(self.number())

    def length(self, least: int) -> int:
        """
        Read the length of a sequence, before memory is taken for it.

        :param least: bytes that an element takes at least.
        """
        length, left = self.number(), len(self._data) - self._place
        if length * least > left:
            raise FrameError(
                f'{self._subject} cut: {length} elements of {least} bytes and more in the last '
                f'{left} bytes')
        return length

    def text(self) -> str:
        """Read a text, as rclpy does: up to a NUL, with U+FFFD for what is no UTF-8."""
        return bytes(self.take(self.number())).partition(b'\0')[0].decode('utf-8', 'replace')

    def numbers(self, count: int) -> bytes:
        """Read so many float64; return their bytes in little endian."""
        self._place += (_ENCAPSULATION_BYTES - self._place) % 8
        found = bytes(self.take(count * _NUMBER_BYTES))
        if not self._is_big_endian:
            return found
        # As integers: a conversion of floats may change a NaN.
        return struct.pack(f'<{count}Q', *struct.unpack(f'>{count}Q', found))

    def number(self) -> int:
        """Read a uint32."""
        place = self._place + -self._place % 4
        self._place = place + 4
        try:
            number: int = self._u32.unpack_from(self._data, place)[0]
        except struct.error:
            raise self._cut() from None
        return number

    def _signed(self) -> int:
        number = self.number()
        return number - 2**32 if number >= 2**31 else number

    def take(self, count: int) -> Union[bytes, memoryview]:
        """Read so many bytes; of a memoryview the result is a view too."""
        start = self._place
        self._place = end = start + count
        if end > len(self._data):
            raise self._cut()
        return self._data[start:end]

    def _cut(self) -> FrameError:
        return FrameError(
            f'{self._subject} cut: the message ends after {len(self._data)} bytes, within a field')
