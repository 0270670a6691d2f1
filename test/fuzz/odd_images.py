"""
Serialised images that no sound camera sends, through the reader of the receiving thread.

Where ROS 2 is there, rclpy reads them too and must agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Callable, Optional

from hypothesis import strategies as st
import numpy as np
from resnet_trt_node.bag.message_types import default_typestore

_STORE = default_typestore()
_TYPES = _STORE.types
_TEXTS = (
    '', 'a', 'ab', 'abc', 'camera', 'rgb8', 'bgr8', 'jpeg', 'mono8',
    'bayer_rggb8; jpeg compressed ', '\x00', 'a\x00b', '\x1b[2J', '\u202e', '\U0001f4f7',
    'x' * 300)
_SECONDS = (0, -1, -2**31, 2**31 - 1, 1_700_000_000)
_NANOSECONDS = (0, 1, 999_999_999, 10**9, 2**32 - 1)
_SIDES = (0, 1, 2, 480, 640, 2**16, 2**31, 2**32 - 1)
_KINDS = ('Image', 'CompressedImage')
#: Fields to compare, that of the pixels apart.
_FIELDS = {'Image': ('height', 'width', 'encoding', 'is_bigendian', 'step'),
           'CompressedImage': ('format',)}


@dataclass(frozen=True)
class Damage:
    """
    A serialised message, whole or in which bytes are others, are missing or follow the end.

    :param seed: of the message, and of the place of each change.
    :param kind: Image or CompressedImage.
    :param is_little_endian: the byte order that it is written in.
    :param values: numbers written over what is there, of the given size.
    :param end: how many bytes follow the message, or how many thousandths of it are missing.
    """

    seed: int
    kind: str
    is_little_endian: bool
    values: list[tuple[int, int]]
    end: int

    def message(self) -> Any:
        """Return the message before it is damaged, of rosbags' types."""
        random = Random(self.seed)

        def text() -> str:
            return random.choice(_TEXTS)

        header = _TYPES['std_msgs/msg/Header'](
            _TYPES['builtin_interfaces/msg/Time'](
                random.choice([*_SECONDS, random.randrange(-2**31, 2**31)]),
                random.choice([*_NANOSECONDS, random.getrandbits(32)])), text())
        data = np.frombuffer(random.randbytes(random.choice([0, 1, 7, 48, 300])), np.uint8)
        if self.kind == 'CompressedImage':
            return _TYPES['sensor_msgs/msg/CompressedImage'](header, text(), data)
        sides = [random.choice([*_SIDES, random.getrandbits(32)]) for _ in range(3)]
        return _TYPES['sensor_msgs/msg/Image'](
            header, sides[0], sides[1], text(), random.choice([0, 1, 255]), sides[2], data)

    def wire(self) -> bytes:
        """Return the message as it arrives."""
        order = 'little' if self.is_little_endian else 'big'
        data = bytearray(_STORE.serialize_cdr(
            self.message(), f'sensor_msgs/msg/{self.kind}',
            little_endian=self.is_little_endian))
        random = Random(self.seed)
        for value, size in self.values:
            # The fields come first; of the pixels each change is as good as any other.
            place = random.randrange(0, min(len(data), 120), size)
            data[place:place + size] = (value % 256**size).to_bytes(size, order)
        if self.end < 0:
            del data[len(data) * (1000 + self.end) // 1000:]
        return bytes(data) + random.randbytes(max(self.end, 0))


_VALUES = (0, 1, 2, 7, 0x80, 0xff, 0xffff, 2**31, 2**32 - 1)


def _damage(seed: int) -> Damage:
    """Return a message of random parts; hypothesis would take longer to draw each part."""
    random = Random(seed)
    values = [(random.choice(_VALUES), random.choice([1, 4])) for _ in range(random.choice(
        [0, 0, 1, 2, 3]))]
    end = random.choice([0, 0, random.randrange(1, 9), -random.randrange(1, 1001)])
    return Damage(seed, random.choice(_KINDS), random.random() < 0.5, values, end)


CASES = st.integers(0, 2**64 - 1).map(_damage)


def check(damage: Damage) -> None:
    """Have a message read: as rclpy reads it, or refused in one line."""
    ros = _ros()
    if ros is None:
        return
    readers, deserialise = ros
    wire = damage.wire()
    found = readers[damage.kind](memoryview(wire))
    assert found.data.readonly
    assert len(found.data) <= len(wire)
    if found.damage is not None:
        # Not given to rclpy, which reads half of what has no room for a sequence, and may crash.
        assert '\n' not in str(found.damage)
        assert damage.values or damage.end < 0, f'a sound message is refused: {found.damage}'
        return
    # These two bytes have no meaning, but Fast CDR wants zeros.
    if not any(wire[2:4]):
        expected = deserialise(wire, damage.kind)
        assert found.header == expected.header
        assert bytes(found.data) == expected.data.tobytes()
        for field in _FIELDS[damage.kind]:
            assert getattr(found, field) == getattr(expected, field), field


@cache
def _ros() -> Optional[tuple[Any, Callable[[bytes, str], Any]]]:
    """Return what the node uses and what rclpy does, None without ROS 2."""
    try:
        from rclpy.serialization import deserialize_message
        from resnet_trt_node.node.ros.receiving.image_cdr import READERS
        import sensor_msgs.msg
    except ImportError:
        return None
    return READERS, lambda wire, kind: deserialize_message(wire, getattr(sensor_msgs.msg, kind))
