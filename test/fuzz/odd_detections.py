"""
Detection2DArray messages that no sound detector sends, through what reads and answers them.

Twice where ROS 2 is there: with the messages of rosbags and with those of rclpy, which must agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice
from math import inf, isfinite, nan
from random import Random
import struct
from types import SimpleNamespace
from typing import Any, Optional

from hypothesis import strategies as st
import numpy as np
from resnet_trt_node.bag.message_types import (
    default_typestore, DETECTIONS, HYPOTHESIS_WITH_POSE)
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import FrameError
from resnet_trt_node.regions.detections import classified_message, regions_of
from resnet_trt_node.regions.detections_cdr import DetectionsCdr
from resnet_trt_node.regions.region import OUTCOMES, Region, RegionAnswer, UNUSABLE
from resnet_trt_node.regions.selection import RegionRules, select

_STORE = default_typestore()
_TYPES = _STORE.types
_NUMBERS = (
    nan, inf, -inf, 0.0, -0.0, -1.0, 0.5, 1.0, 7.0, 8.0, 32.0, 48.0, 320.5, 640.0, 1e9, -1e9,
    2.0**31, 2.0**63, 2.0**64, 1e308, -1e308, 5e-324)
_TEXTS = ('', '', '7', 'car', '-1', '\x00', 'a\x00b', '\x1b[2J', '\n', '\u202e', 'x' * 5000)
_SECONDS = (0, -1, -2**31, 2**31 - 1, 1_700_000_000)
_NANOSECONDS = (0, 1, 999_999_999, 10**9, 2**32 - 1)
#: How many detections, where it is not a handful: one time in so many.
_CROWDS = ((40, 60), (500, 500), (4000, 5000))


@dataclass(frozen=True)
class Case:
    """
    A message, the frame that it belongs to, and how it is answered.

    :param message: made of rosbags' types.
    :param rules: which of its regions are inferred.
    :param size: height and width of the frame.
    :param answers: one for each detection, unless `select` gives another outcome.
    :param class_id_format: 'label' or 'index'.
    :param keep: whether the source's results are kept.
    """

    message: Any
    rules: RegionRules
    size: tuple[int, int]
    answers: list[RegionAnswer]
    class_id_format: str
    keep: bool


def _pose(x: float, w: float) -> Any:
    pose = _TYPES['geometry_msgs/msg/Pose'](
        _TYPES['geometry_msgs/msg/Point'](x, 0.0, 0.0),
        _TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, w))
    return _TYPES['geometry_msgs/msg/PoseWithCovariance'](pose, np.zeros(36))


def _hypothesis(class_id: str, score: float, x: float, w: float) -> Any:
    named = _TYPES['vision_msgs/msg/ObjectHypothesis'](class_id, score)
    return _TYPES[HYPOTHESIS_WITH_POSE](named, _pose(x, w))


class _Maker:
    """
    Makes messages of random parts.

    Hypothesis would take ten times as long to draw each part as the check takes.

    :param seed: decides everything.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def case(self) -> Case:
        """Return a message with a handful of different detections, now and then very many."""
        random = self._random
        some = [self._found() for _ in range(random.randrange(5))]
        number = len(some)
        for one_in, crowd in _CROWDS:
            if some and not random.randrange(one_in):
                number = crowd
        answers = [self._answer() for _ in range(random.randrange(1, 5))]
        return Case(
            _TYPES[DETECTIONS](self._header(), list(islice(cycle(some), number))), self._rules(),
            (random.choice([1, 480]), random.choice([1, 640, 8000])),
            list(islice(cycle(answers), number)), random.choice(['label', 'index']),
            random.random() < 0.5)

    def _found(self) -> Any:
        results = [
            _hypothesis(self._text(), self._number(), self._number(), 1.0)
            for _ in range(self._random.randrange(4))]
        sound = self._random.random() < 0.5
        x, y, theta, width, height = (
            self._random.uniform(-100, 800) if sound else self._number() for _ in range(5))
        center = _TYPES['vision_msgs/msg/Pose2D'](_TYPES['vision_msgs/msg/Point2D'](x, y), theta)
        return _TYPES['vision_msgs/msg/Detection2D'](
            self._header(), results,
            _TYPES['vision_msgs/msg/BoundingBox2D'](center, width, height),
            self._text())

    def _answer(self) -> RegionAnswer:
        random = self._random
        stamp_ns = random.choice([
            None, random.choice(_SECONDS) * 10**9 + random.choice(_NANOSECONDS),
            random.getrandbits(81) - 2**80])
        return RegionAnswer(random.choice(OUTCOMES), tuple(
            Prediction(random.randrange(-1, 1000), self._text(), random.random())
            for _ in range(random.randrange(4))), stamp_ns)

    def _rules(self) -> RegionRules:
        random = self._random
        return RegionRules(
            classes=tuple(self._text() for _ in range(random.choice([0, 0, 0, 3]))),
            min_px=random.choice([1, 8, 500]), max_regions=random.choice([1, 2, 100, 1000]))

    def _header(self) -> Any:
        random = self._random
        seconds = random.choice([*_SECONDS, random.randrange(-2**31, 2**31)])
        nanoseconds = random.choice([*_NANOSECONDS, random.getrandbits(32)])
        stamp = _TYPES['builtin_interfaces/msg/Time'](seconds, nanoseconds)
        return _TYPES['std_msgs/msg/Header'](stamp, self._text())

    def _number(self) -> float:
        random = self._random
        kind = random.randrange(3)
        if kind == 0:
            return random.choice(_NUMBERS)
        if kind == 1:
            return random.uniform(-100, 800)
        # Any 64 bits are a number, or NaN.
        return float(struct.unpack('d', random.randbytes(8))[0])

    def _text(self) -> str:
        random = self._random
        if random.randrange(3):
            return random.choice(_TEXTS)
        # Latin and rare code points, surrogates apart.
        return ''.join(
            chr(random.choice([random.randrange(256), random.randrange(0xe000, 0x110000)]))
            for _ in range(random.randrange(9)))


#: Each message is made from one number.
CASES = st.integers(0, 2**64 - 1).map(lambda seed: _Maker(seed).case())


def check(case: Case) -> None:
    """Have a message read and answered, and refuse a result that lost or changed anything."""
    raw = _wire(case.message)
    received = _STORE.deserialize_cdr(raw, DETECTIONS)
    found = regions_of(received)
    _check_regions(found, case.message)
    case = replace(case, answers=_selected(case, found))
    result = classified_message(
        received, case.answers, case.class_id_format, case.keep,
        _hypothesis('', 0.0, 0.0, 1.0))
    assert _wire(received) == raw, 'the source has changed'
    published = _wire(result)
    _check_result(case, _STORE.deserialize_cdr(published, DETECTIONS))
    cdr = DetectionsCdr(raw)
    ours = cdr.regions(), cdr.classified(case.answers, case.class_id_format, case.keep)
    # The node ends a text at its first NUL, as rclpy does.
    if not _has_nul(case):
        assert repr(ours) == repr((found, published)), 'the node and a bag differ'
    ros = _ros()
    if ros is not None:
        message = ros.deserialize(raw, ros.type)
        assert repr(regions_of(message)) == repr(ours[0])
        sent = ros.serialize(classified_message(
            message, case.answers, case.class_id_format, case.keep, ros.empty()))
        # rclpy leaves in the padding what was in memory there.
        assert ours[1] == _wire(_STORE.deserialize_cdr(sent, DETECTIONS)), (
            'the node and rclpy differ')


@dataclass(frozen=True)
class Damage:
    """
    A serialised message in which some bytes are others, or whose end is missing.

    :param seed: of the message, and of the place of each change.
    :param is_little_endian: the byte order that it is written in.
    :param values: numbers written over what is there, of the given size.
    :param is_cut: whether the end is missing.
    """

    seed: int
    is_little_endian: bool
    values: list[tuple[int, int]]
    is_cut: bool

    def data(self) -> bytes:
        """Return the damaged message."""
        message = _Maker(self.seed).case().message
        if len(message.detections) > _DAMAGED_DETECTIONS:
            message = replace(message, detections=message.detections[:_DAMAGED_DETECTIONS])
        order = 'little' if self.is_little_endian else 'big'
        data = bytearray(_STORE.serialize_cdr(
            message, DETECTIONS, little_endian=self.is_little_endian))
        random = Random(self.seed)
        for value, size in self.values:
            place = random.randrange(0, len(data), size)
            data[place:place + size] = (value % 256**size).to_bytes(size, order)
        return bytes(data[:random.randrange(len(data))] if self.is_cut else data)


_DAMAGED_DETECTIONS = 4
DAMAGES = st.builds(
    Damage, st.integers(0, 2**64 - 1), st.booleans(), st.lists(st.tuples(
        st.sampled_from([0, 1, 2, 7, 0x80, 0xff, 0xffff, 2**31, 2**32 - 1]),
        st.sampled_from([1, 4])), max_size=3), st.booleans())


def check_damaged(damage: Damage) -> None:
    """Have a damaged message read: as rclpy reads it, or refused."""
    data = damage.data()
    cdr = DetectionsCdr(data)
    found, refusal = [], ''
    try:
        found = cdr.regions()
    except FrameError as error:
        refusal = str(error)
    if refusal:
        # Not given to rclpy, which reads half of what has no room for a sequence, and may crash.
        assert '\n' not in refusal
        return
    assert len(found) == len(cdr)
    answers = [RegionAnswer('not_selected')] * len(found)
    again = DetectionsCdr(cdr.classified(answers, 'label', False))
    assert repr(again.regions()) == repr(found)
    assert again.header == cdr.header
    ros = _ros()
    # These two bytes have no meaning, but Fast CDR wants zeros.
    if ros is not None and not any(data[2:4]):
        assert repr(found) == repr(regions_of(ros.deserialize(data, ros.type)))


def _selected(case: Case, found: list[Region]) -> list[RegionAnswer]:
    """Return the answers that the regions get, those of the selection first."""
    outcomes = select(found, case.rules, *case.size)
    assert len(outcomes) == len(found)
    assert sum(outcome is None for outcome in outcomes) <= case.rules.max_regions
    for outcome, region in zip(outcomes, found):
        box = region.box
        numbers = (box.center_x, box.center_y, box.width, box.height, box.theta)
        if outcome is None:
            assert all(isfinite(one) for one in numbers)
            assert min(box.width, box.height) > 0
            assert not case.rules.classes or region.class_id in case.rules.classes
        else:
            assert outcome in ('not_selected', *UNUSABLE)
    return [answer if outcome is None else RegionAnswer(outcome)
            for outcome, answer in zip(outcomes, case.answers)]


def _wire(message: Any) -> bytes:
    return bytes(_STORE.serialize_cdr(message, DETECTIONS))


def _has_nul(case: Case) -> bool:
    return '\x00' in ''.join([
        case.message.header.frame_id, *(one.label for each in case.answers
                                        for one in each.predictions),
        *(text for one in case.message.detections
          for text in (one.id, one.header.frame_id, *(
              each.hypothesis.class_id for each in one.results)))])


@cache
def _ros() -> Optional[SimpleNamespace]:
    """Return what the node uses, None without ROS 2."""
    try:
        from rclpy.serialization import deserialize_message, serialize_message
        from vision_msgs.msg import Detection2DArray, ObjectHypothesisWithPose
    except ImportError:
        return None
    return SimpleNamespace(
        deserialize=deserialize_message, serialize=serialize_message, type=Detection2DArray,
        empty=ObjectHypothesisWithPose)


def _check_regions(found: list[Region], message: Any) -> None:
    assert len(found) == len(message.detections)
    for region, one in zip(found, message.detections):
        box, bbox, position = region.box, one.bbox, one.bbox.center.position
        assert region.track_id == one.id
        assert repr((box.center_x, box.center_y, box.theta, box.width, box.height)) == repr(
            (position.x, position.y, bbox.center.theta, bbox.size_x, bbox.size_y))
        scores = {each.hypothesis.class_id: each.hypothesis.score for each in one.results}
        assert region.class_id in scores or (not scores and region.class_id == '')


def _check_result(case: Case, result: Any) -> None:
    source = case.message
    assert repr(result.header) == repr(source.header)
    assert len(result.detections) == len(source.detections)
    for one, before, answer in zip(result.detections, source.detections, case.answers):
        assert one.id == before.id
        assert repr(one.bbox) == repr(before.bbox)
        assert one.header.frame_id == source.header.frame_id
        if answer.inferred_stamp_ns is None:
            assert repr(one.header.stamp) == repr(source.header.stamp)
        kept = before.results if case.keep or answer.outcome == 'not_selected' else []
        ours = one.results[len(kept):]
        assert [each.hypothesis.class_id for each in one.results[:len(kept)]] == [
            each.hypothesis.class_id for each in kept]
        if answer.outcome == 'not_selected':
            assert ours == []
        elif answer.outcome in UNUSABLE:
            assert [(each.hypothesis.class_id, each.hypothesis.score) for each in ours] == [
                ('', 0.0)]
        else:
            assert [each.hypothesis.score for each in ours] == [
                each.score for each in answer.predictions]
