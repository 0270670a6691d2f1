"""Detections to regions and back: every detection stays, in its order, with its id and box."""

from __future__ import annotations

from math import inf, nan
from typing import Any, Optional

import pytest

from resnet_trt_node.bag.message_types import default_typestore, DETECTIONS
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.regions.detections import classified_message, regions_of
from resnet_trt_node.regions.detections_cdr import DetectionsCdr
from resnet_trt_node.regions.region import Box, Region, RegionAnswer, UNUSABLE

pytestmark = pytest.mark.slow

messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
cdr = pytest.importorskip('rclpy.serialization', reason='rclpy is not installed')

#: The array's stamp, and that of an earlier image.
NOW, BEFORE = (1_700_000_000, 123_456_789), (1_699_999_999, 900_000_000)
NOW_NS, BEFORE_NS = (seconds * 10**9 + nanoseconds for seconds, nanoseconds in (NOW, BEFORE))
CAT, DOG = Prediction(281, 'tabby', 0.75), Prediction(207, 'golden retriever', 0.125)


def hypothesis(class_id: str, score: float, x: float = 0.0) -> Any:
    """Return what a detector takes an object for, and where it is."""
    result = messages.ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = class_id, score
    result.pose.pose.position.x = x
    return result


def detection(
        track_id: str, box: tuple[float, float, float, float, float],
        *results: tuple[str, float]) -> Any:
    """Return a detection whose own header is of another frame and time."""
    result = messages.Detection2D(
        id=track_id, results=[hypothesis(*one, x=3.5) for one in results])
    result.header.frame_id, result.header.stamp.sec = 'foreign', 7
    bbox = result.bbox
    bbox.center.position.x, bbox.center.position.y, bbox.size_x, bbox.size_y = box[:4]
    bbox.center.theta = box[4]
    return result


def array(*found: Any) -> Any:
    """Return a detector's message."""
    result = messages.Detection2DArray(detections=list(found))
    result.header.frame_id = 'front_camera'
    result.header.stamp.sec, result.header.stamp.nanosec = NOW
    return result


def regions(message: Any) -> list[Region]:
    """Return the regions of what rclpy sends."""
    found = DetectionsCdr(cdr.serialize_message(message)).regions()
    assert repr(found) == repr(regions_of(message))
    return found


def classified(
        message: Any, answers: Any, class_id_format: str, keep_source_results: bool) -> Any:
    """Return what rclpy receives of the answers; the bytes that it would send, padding apart."""
    source = DetectionsCdr(cdr.serialize_message(message))
    data = source.classified(answers, class_id_format, keep_source_results)
    sent = cdr.serialize_message(classified_message(
        message, answers, class_id_format, keep_source_results,
        messages.ObjectHypothesisWithPose()))
    # rclpy leaves in the padding what was in memory there, rosbags writes zeros.
    store = default_typestore()
    assert data == store.serialize_cdr(store.deserialize_cdr(sent, DETECTIONS), DETECTIONS)
    return cdr.deserialize_message(data, messages.Detection2DArray)


@pytest.fixture
def source() -> Any:
    """Return a message with three detections, one of which has two hypotheses."""
    return array(
        detection('7', (10.0, 20.0, 4.0, 8.0, 0.5), ('light', 0.5), ('sign', 0.75)),
        detection('', (-3.0, 0.0, 1.0, 2.0, 0.0), ('car', 0.25)),
        detection('x9', (100.0, 50.0, 0.0, 0.0, -1.0)))


def results_of(one: Any) -> list[tuple[str, float, float]]:
    """Return the hypotheses of a detection: class, score and place."""
    return [(each.hypothesis.class_id, each.hypothesis.score, each.pose.pose.position.x)
            for each in one.results]


def stamp_of(one: Any) -> tuple[int, int]:
    """Return the seconds and nanoseconds of a header."""
    return one.header.stamp.sec, one.header.stamp.nanosec


def test_regions_have_box_id_and_best_class(source: Any) -> None:
    """In the order of the detections."""
    assert regions(source) == [
        Region(Box(10.0, 20.0, 4.0, 8.0, 0.5), '7', 'sign'),
        Region(Box(-3.0, 0.0, 1.0, 2.0, 0.0), '', 'car'),
        Region(Box(100.0, 50.0, 0.0, 0.0, -1.0), 'x9', '')]
    assert regions(array()) == []


@pytest.mark.parametrize(('scores', 'best'), [
    ((0.5,), 0), ((0.25, 0.5, 0.375), 1), ((0.5, 0.5), 0), ((0.0, -1.0), 0), ((-2.0, -1.0), 1),
    ((nan, 0.25), 1), ((0.25, nan), 0), ((nan, -inf), 1), ((nan, nan), 0), ((nan,), 0),
    ((1.0, inf, nan), 1), ((-inf, nan, -inf), 0), ((nan, 0.25, 0.5, nan), 2)])
def test_best_class_is_that_of_the_highest_score(scores: tuple[float, ...], best: int) -> None:
    """The first of equal scores; a NaN loses to whatever is a number."""
    one = detection('', (0.0,) * 5, *((str(place), score) for place, score in enumerate(scores)))
    assert [region.class_id for region in regions(array(one))] == [str(best)]


def test_boxes_may_be_anything() -> None:
    """What cannot be cropped is for the selection to say."""
    region, = regions(array(detection('1', (nan, inf, -1.0, -inf, 1e300))))
    assert repr(region.box) == (
        'Box(center_x=nan, center_y=inf, width=-1.0, height=-inf, theta=1e+300)')


@pytest.mark.parametrize(('keep', 'class_id_format', 'expected'), [
    (False, 'label', [[('tabby', 0.75, 0.0), ('golden retriever', 0.125, 0.0)],
                      [('tabby', 0.75, 0.0)], []]),
    (False, 'index', [[('281', 0.75, 0.0), ('207', 0.125, 0.0)], [('281', 0.75, 0.0)], []]),
    (True, 'label', [
        [('light', 0.5, 3.5), ('sign', 0.75, 3.5), ('tabby', 0.75, 0.0),
         ('golden retriever', 0.125, 0.0)],
        [('car', 0.25, 3.5), ('tabby', 0.75, 0.0)], []])])
def test_answers_become_hypotheses(
        source: Any, keep: bool, class_id_format: str, expected: list[Any]) -> None:
    """The detector's come first where they are kept; an answer below the threshold has none."""
    result = classified(source, [
        RegionAnswer('answered', (CAT, DOG), NOW_NS), RegionAnswer('cached', (CAT,), BEFORE_NS),
        RegionAnswer('answered', (), NOW_NS)], class_id_format, keep)
    assert [results_of(one) for one in result.detections] == expected
    assert [one.id for one in result.detections] == ['7', '', 'x9']
    assert [one.bbox for one in result.detections] == [one.bbox for one in source.detections]
    assert result.header == source.header
    assert [stamp_of(one) for one in result.detections] == [NOW, BEFORE, NOW]
    assert [one.header.frame_id for one in result.detections] == ['front_camera'] * 3


def test_an_unknown_object_has_the_index_minus_one(source: Any) -> None:
    """A result of `unknown_below` belongs to no output of the model."""
    source.detections = source.detections[:1]
    answers = [RegionAnswer('answered', (Prediction(-1, 'unknown', 0.25),), NOW_NS)]
    for form, class_id in (('label', 'unknown'), ('index', '-1')):
        result = classified(source, answers, form, False)
        assert results_of(result.detections[0]) == [(class_id, 0.25, 0.0)]


@pytest.mark.parametrize('keep', [False, True])
@pytest.mark.parametrize('outcome', UNUSABLE)
def test_unusable_regions_are_marked(source: Any, outcome: str, keep: bool) -> None:
    """One empty hypothesis, and the array's stamp, since nothing was inferred."""
    result = classified(source, [RegionAnswer(outcome)] * 3, 'label', keep)
    kept = [results_of(one) for one in source.detections] if keep else [[], [], []]
    assert [results_of(one) for one in result.detections] == [
        [*one, ('', 0.0, 0.0)] for one in kept]
    assert [stamp_of(one) for one in result.detections] == [NOW] * 3
    assert [one.header.frame_id for one in result.detections] == ['front_camera'] * 3
    assert [one.id for one in result.detections] == ['7', '', 'x9']


@pytest.mark.parametrize('keep', [False, True])
def test_regions_that_are_not_selected_keep_their_results(source: Any, keep: bool) -> None:
    """Whatever keep_source_results says; only the header is that of the array."""
    result = classified(source, [RegionAnswer('not_selected')] * 3, 'label', keep)
    for one, before in zip(result.detections, source.detections, strict=True):
        assert (one.results, one.bbox, one.id) == (before.results, before.bbox, before.id)
        assert (stamp_of(one), one.header.frame_id) == (NOW, 'front_camera')


def test_the_source_may_be_asked_again(source: Any) -> None:
    """The picture is drawn with its regions after the answers are out."""
    asked = DetectionsCdr(cdr.serialize_message(source))
    found = asked.regions()
    answers = [RegionAnswer('answered', (CAT,), BEFORE_NS), RegionAnswer('outside'),
               RegionAnswer('not_selected')]
    first = asked.classified(answers, 'label', True)
    assert asked.classified(answers, 'label', True) == first
    assert asked.regions() == found
    assert len(asked) == 3


@pytest.mark.parametrize(('inferred_ns', 'stamp'), [
    (0, (0, 0)), (-1, (-1, 999_999_999)), (10**9, (1, 0)),
    # A Time may have more than a second in its nanoseconds.
    (2**31 * 10**9, (2**31 - 1, 10**9)),
    ((2**31 - 1) * 10**9 + 2**32 - 1, (2**31 - 1, 2**32 - 1)),
    (10**30, (2**31 - 1, 2**32 - 1)), (-10**30, (-2**31, 0))])
def test_any_stamp_can_be_written(
        source: Any, inferred_ns: Optional[int], stamp: tuple[int, int]) -> None:
    """An image's stamp is foreign, and must not end the node."""
    result = classified(
        source, [RegionAnswer('answered', (), inferred_ns)] * 3, 'label', False)
    assert [stamp_of(one) for one in result.detections] == [stamp] * 3


def test_one_answer_for_each_detection(source: Any) -> None:
    """Anything else would give objects the names of others."""
    for count in (2, 4):
        with pytest.raises(ValueError, match=f'{count} answers to 3 detections'):
            classified(source, [RegionAnswer('failed')] * count, 'label', False)


def test_a_hundred_thousand_boxes() -> None:
    """A detector gone wild is answered in its order too."""
    wild = array(*(messages.Detection2D(id=str(number)) for number in range(100_000)))
    found = regions(wild)
    assert [one.track_id for one in found] == [str(number) for number in range(100_000)]
    result = classified(wild, [RegionAnswer('too_many')] * 100_000, 'label', False)
    assert [one.id for one in result.detections] == [one.track_id for one in found]
    assert {len(one.results) for one in result.detections} == {1}
