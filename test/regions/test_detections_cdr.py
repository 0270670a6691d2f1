"""Detections as they go over the wire: either byte order, odd texts, damaged messages."""

from __future__ import annotations

from math import isnan, nan
import struct
from typing import Any

import numpy as np
import pytest

from resnet_trt_node.bag.message_types import (
    default_typestore, DETECTIONS, HYPOTHESIS_WITH_POSE)
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import FrameError
from resnet_trt_node.regions.detections import classified_message
from resnet_trt_node.regions.detections_cdr import DetectionsCdr
from resnet_trt_node.regions.region import Box, Region, RegionAnswer

STORE = default_typestore()
TYPES = STORE.types
SECOND = 10**9
ANSWERS = [
    RegionAnswer('cached', (Prediction(3, 'stra\u00dfe', 0.75), Prediction(1, '', 0.25)), SECOND),
    RegionAnswer('not_selected'), RegionAnswer('too_small')]


def hypothesis(class_id: str, score: float) -> Any:
    """Return one of rosbags' messages."""
    pose = TYPES['geometry_msgs/msg/Pose'](
        TYPES['geometry_msgs/msg/Point'](0.0, 0.0, 0.0),
        TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0))
    return TYPES[HYPOTHESIS_WITH_POSE](
        TYPES['vision_msgs/msg/ObjectHypothesis'](class_id, score),
        TYPES['geometry_msgs/msg/PoseWithCovariance'](pose, np.zeros(36)))


def header(frame_id: str) -> Any:
    """Return a header of the year 1969."""
    return TYPES['std_msgs/msg/Header'](TYPES['builtin_interfaces/msg/Time'](-2, 5), frame_id)


def detection(track_id: str, x: float, *results: tuple[str, float]) -> Any:
    """Return one of rosbags' messages, of another frame than the array."""
    center = TYPES['vision_msgs/msg/Pose2D'](TYPES['vision_msgs/msg/Point2D'](x, 2.0), 0.5)
    return TYPES['vision_msgs/msg/Detection2D'](
        header('foreign'), [hypothesis(*one) for one in results],
        TYPES['vision_msgs/msg/BoundingBox2D'](center, 30.0, 40.0), track_id)


MESSAGE = TYPES[DETECTIONS](header('camera'), [
    detection('7', 10.0, ('car', 0.25), ('van', 0.5)), detection('', nan, ('truck', nan)),
    detection('id', -1.0)])


def wire(message: Any, little_endian: bool = True) -> bytes:
    """Return a message as it is sent."""
    return bytes(STORE.serialize_cdr(message, DETECTIONS, little_endian=little_endian))


@pytest.mark.parametrize('keep', [False, True])
@pytest.mark.parametrize('class_id_format', ['label', 'index'])
@pytest.mark.parametrize('little_endian', [False, True])
def test_what_is_written_is_what_another_library_writes(
        little_endian: bool, class_id_format: str, keep: bool) -> None:
    source = DetectionsCdr(wire(MESSAGE, little_endian))
    assert source.header == ((-2, 5), 'camera')
    first, second, third = source.regions()
    assert first == Region(Box(10.0, 2.0, 30.0, 40.0, 0.5), '7', 'van')
    assert (isnan(second.box.center_x), second.track_id, second.class_id) == (True, '', 'truck')
    assert third == Region(Box(-1.0, 2.0, 30.0, 40.0, 0.5), 'id', '')
    assert source.classified(ANSWERS, class_id_format, keep) == wire(classified_message(
        MESSAGE, ANSWERS, class_id_format, keep, hypothesis('', 0.0)))


def test_a_message_without_detections() -> None:
    data = wire(TYPES[DETECTIONS](header(''), []))
    source = DetectionsCdr(data)
    assert (len(source), source.regions()) == (0, [])
    assert source.classified([], 'label', False) == data


def test_one_answer_for_each_detection() -> None:
    with pytest.raises(ValueError, match='2 answers to 3 detections'):
        DetectionsCdr(wire(MESSAGE)).classified(ANSWERS[:2], 'label', False)


def test_a_number_keeps_its_bits_in_either_byte_order() -> None:
    """A NaN has 52 bits to tell something by."""
    odd = struct.unpack('<d', bytes.fromhex('010203040506f07f'))[0]
    message = TYPES[DETECTIONS](header(''), [detection('', odd)])
    data = wire(message)
    place = data.index(struct.pack('<d', 2.0)) - 8
    swapped = bytearray(wire(message, little_endian=False))
    swapped[place:place + 8] = bytes.fromhex('010203040506f07f')[::-1]
    result = DetectionsCdr(bytes(swapped)).classified(
        [RegionAnswer('not_selected')], 'label', False)
    assert bytes.fromhex('010203040506f07f') in result


def test_texts_end_at_a_nul_and_have_no_broken_characters() -> None:
    """As rclpy reads them."""
    data = wire(TYPES[DETECTIONS](header('abcd'), [detection('efgh', 1.0)]))
    source = DetectionsCdr(data.replace(b'abcd', b'a\xffcd').replace(b'efgh', b'ef\0h'))
    assert source.header.frame_id == 'a\ufffdcd'
    assert source.regions()[0].track_id == 'ef'
    result = source.classified([RegionAnswer('answered')], 'label', False)
    assert result.count('a\ufffdcd'.encode() + b'\0') == 2
    assert b'\x03\0\0\0ef\0' in result


@pytest.mark.parametrize('little_endian', [False, True])
def test_a_message_that_is_cut_anywhere_is_refused(little_endian: bool) -> None:
    data = wire(MESSAGE, little_endian)
    assert len(DetectionsCdr(data).regions()) == 3
    for size in range(len(data)):
        source = DetectionsCdr(data[:size])
        with pytest.raises(FrameError, match=r'the detections are (cut|no CDR)'):
            source.regions()
        with pytest.raises(FrameError):
            source.classified(ANSWERS, 'label', False)


def test_a_header_that_cannot_be_read_matches_no_image() -> None:
    for data in (b'', b'\0', b'\0\1\0\0', wire(MESSAGE)[:14], b'\0\7' + wire(MESSAGE)[2:]):
        source = DetectionsCdr(data)
        assert source.header == ((0, 0), '')
        assert len(source) == 0


@pytest.mark.parametrize('number', [9, 1000, 2**31, 2**32 - 1])
def test_lengths_that_a_message_has_no_room_for_are_refused(number: int) -> None:
    """Before memory is taken for so many."""
    data = bytearray(wire(TYPES[DETECTIONS](header('abc'), [detection('', 1.0, ('car', 0.5))])))
    for place in (20, 44):
        damaged = data.copy()
        assert damaged[place:place + 4] == b'\1\0\0\0'
        damaged[place:place + 4] = struct.pack('<I', number)
        source = DetectionsCdr(bytes(damaged))
        with pytest.raises(FrameError, match=f'{number} elements of'):
            source.regions()
        assert len(source) == (0 if place == 20 else 1)
