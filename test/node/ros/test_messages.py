"""What the node publishes of an image, byte for byte beside what rclpy makes of it."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
import pytest

from resnet_trt_node.bag.message_types import CLASSIFICATION, default_typestore
from resnet_trt_node.contract.prediction import Prediction

pytestmark = pytest.mark.slow

vision = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
cdr = pytest.importorskip('rclpy.serialization', reason='rclpy is not installed')
std = pytest.importorskip('std_msgs.msg', reason='std_msgs is not installed')

STORE = default_typestore()
TEXTS = st.text(st.characters(exclude_categories=('Cs',)), max_size=12)
PREDICTIONS = st.lists(st.builds(
    Prediction, st.integers(-1, 2**31), TEXTS, st.floats(allow_nan=False, allow_infinity=False)),
    max_size=7)


def header(sec: int, nanosec: int, frame_id: str) -> object:
    """Return one of rclpy's."""
    made = std.Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = sec, nanosec
    return made


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(-2**31, 2**31 - 1), st.integers(0, 2**32 - 1), TEXTS, PREDICTIONS,
       st.sampled_from(['label', 'index']))
@example(1, 2, 'front', [Prediction(7, 'straße', 0.75), Prediction(12, '', 0.25)], 'label')
@example(0, 0, '', [], 'index')
@example(0, 0, 'cut\0off', [Prediction(3, 'a\0b', 1.0)], 'label')
def test_a_classification_is_what_rclpy_sends(sec, nanosec, frame_id, predictions, form):
    from resnet_trt_node.node.ros.messages import classification
    source = header(sec, nanosec, frame_id)
    made = classification(source, predictions, form)
    sent = cdr.serialize_message(vision.Classification(header=source, results=[
        vision.ObjectHypothesis(
            class_id=one.label if form == 'label' else str(one.index), score=one.score)
        for one in predictions]))
    # rclpy leaves in the padding what was in memory there, rosbags writes zeros.
    assert made == STORE.serialize_cdr(STORE.deserialize_cdr(sent, CLASSIFICATION), CLASSIFICATION)
    assert len(made) == len(sent)
    found = cdr.deserialize_message(made, vision.Classification)
    assert found == cdr.deserialize_message(sent, vision.Classification)
    assert found.header.stamp == source.stamp


def test_a_text_that_no_message_can_carry_is_an_error_as_with_rclpy():
    from resnet_trt_node.node.ros.messages import classification
    for frame_id, label in (('\ud800', 'a'), ('a', '\ud800')):
        with pytest.raises(UnicodeEncodeError):
            classification(header(0, 0, frame_id), [Prediction(0, label, 1.0)], 'label')
