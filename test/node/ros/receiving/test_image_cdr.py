"""Serialised images read field by field, against what rclpy reads."""

from __future__ import annotations

from array import array
from itertools import product

import numpy as np
import odd_images
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.node.ros.receiving.image_cdr import ReceivedCompressedImage, ReceivedImage
from sensor_msgs.msg import CompressedImage, Image

pytestmark = pytest.mark.slow

#: rosbags writes both byte orders, rclpy its own.
SEEDS = range(40)


def image(frame_id='camera', encoding='rgb8'):
    message = Image(
        height=3, width=5, encoding=encoding, step=16, is_bigendian=1)
    message.header.stamp.sec, message.header.stamp.nanosec = -7, 999_999_999
    message.header.frame_id = frame_id
    message.data = array('B', range(48))
    return message


@pytest.mark.parametrize('lengths', [*product(range(6), range(6))])
def test_every_alignment_of_the_texts_is_read(lengths):
    message = image('f' * lengths[0], 'e' * lengths[1])
    found = ReceivedImage(memoryview(serialize_message(message)))
    assert found.damage is None
    assert found.header == message.header
    assert (found.height, found.width, found.encoding, found.is_bigendian, found.step) == (
        3, 5, message.encoding, 1, 16)
    assert found.data.tobytes() == message.data.tobytes()


@pytest.mark.parametrize('kind', ['Image', 'CompressedImage'])
@pytest.mark.parametrize('is_little_endian', [True, False])
@pytest.mark.parametrize('end', [0, 5])
def test_both_byte_orders_and_what_follows_the_message(kind, is_little_endian, end):
    for seed in SEEDS:
        damage = odd_images.Damage(seed, kind, is_little_endian, [], end)
        # Refuses a refusal, and compares with rclpy.
        odd_images.check(damage)


@pytest.mark.parametrize('kind', ['Image', 'CompressedImage'])
def test_a_message_that_is_cut_anywhere_keeps_what_came_before(kind):
    message = image() if kind == 'Image' else CompressedImage(
        header=image().header, format='jpeg', data=array('B', range(9)))
    wire = serialize_message(message)
    reader = ReceivedImage if kind == 'Image' else ReceivedCompressedImage
    for length in range(len(wire)):
        found = reader(memoryview(wire)[:length])
        assert str(found.damage).startswith('the image is ' + ('cut' if length >= 2 else 'no CDR'))
        assert bytes(found.data) == b''
        stamped = length >= 23
        assert (found.header == message.header) == stamped
    assert reader(memoryview(wire)).damage is None


def test_a_length_that_is_no_length_takes_no_memory():
    wire = bytearray(serialize_message(image()))
    wire[-52:-48] = b'\xff\xff\xff\xff'
    assert 'the image is cut: 4294967295 elements' in str(ReceivedImage(memoryview(wire)).damage)


@pytest.mark.parametrize('begin', ['0002', '0003', '0007', 'ffff'])
def test_what_is_no_plain_cdr_is_refused(begin):
    wire = bytearray(serialize_message(image()))
    wire[:2] = bytes.fromhex(begin)
    found = ReceivedImage(memoryview(wire))
    assert str(found.damage) == (
        f'the image is no CDR: the message begins with {begin}, not with 0000 or 0001')


def test_pixels_are_viewed_where_they_lie():
    wire = bytearray(serialize_message(image()))
    frame = decode_message(ReceivedImage(memoryview(wire).toreadonly()))
    expected = decode_message(deserialize_message(bytes(wire), Image))
    assert np.array_equal(frame.pixels, expected.pixels)
    assert np.shares_memory(frame.pixels, np.frombuffer(wire, np.uint8))
    assert not frame.pixels.flags.writeable
