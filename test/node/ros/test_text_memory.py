"""Texts of messages have any length: what is kept of them has bounds."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import pytest
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.regions.detections_cdr import DetectionsCdr
from resnet_trt_node.regions.region import RegionAnswer

messages = pytest.importorskip(
    'resnet_trt_node.node.ros.messages', reason='ROS 2 is not installed')

pytestmark = pytest.mark.slow

#: Texts that all differ, and their length.
_NUMBER, _LENGTH = 200, 100_000


def grown_bytes(work, letter):
    """Return how much more memory is in use after the work with texts of a letter."""
    work('the first one')
    tracemalloc.start()
    try:
        for number in range(_NUMBER):
            work(f'{number:08d}' + letter * _LENGTH)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_of_long_frame_ids_and_labels_nothing_is_kept():
    def work(text):
        header = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=2), frame_id=text)
        made = messages.classification(header, [Prediction(1, text, 0.5)], 'label')
        assert made.count(text.encode()) == 2
    assert grown_bytes(work, 'x') < 10 * _LENGTH


def test_of_long_ids_and_classes_of_detections_nothing_is_kept():
    vision = pytest.importorskip('vision_msgs.msg')
    serialization = pytest.importorskip('rclpy.serialization')

    def work(text):
        detection = vision.Detection2D(id=text, results=[vision.ObjectHypothesisWithPose()])
        detection.results[0].hypothesis.class_id = text
        message = vision.Detection2DArray(detections=[detection])
        message.header.frame_id = text
        made = DetectionsCdr(serialization.serialize_message(message)).classified(
            [RegionAnswer('answered')], 'label', True)
        # Frame of the message and of the detection, id and class.
        assert made.count(text.encode()) == 4
    assert grown_bytes(work, 'y') < 10 * _LENGTH
