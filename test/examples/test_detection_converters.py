"""The example of regions: messages of other detectors become Detection2DArray."""

from __future__ import annotations

from importlib import import_module
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from repository import REPOSITORY

pytestmark = pytest.mark.slow

sensor_msgs = pytest.importorskip('sensor_msgs.msg', reason='ROS 2 is not installed')
std_msgs = pytest.importorskip('std_msgs.msg', reason='ROS 2 is not installed')
vision_msgs = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not built')

FOLDER = REPOSITORY / 'examples' / 'regions'


@pytest.fixture
def converter(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return import_module('to_detections')


def boxes(message):
    return [(one.id, one.bbox.center.position.x, one.bbox.center.position.y, one.bbox.size_x,
             one.bbox.size_y, one.bbox.center.theta, one.results[0].hypothesis.class_id)
            for one in message.detections]


def test_detections_of_yolo_ros_are_converted(converter):
    """Field for field, the ids of its tracker too."""
    def numbers(**fields):
        return SimpleNamespace(**fields)
    header = std_msgs.Header(frame_id='front')
    message = converter.from_yolo_ros(numbers(header=header, detections=[numbers(
        class_id=9, class_name='traffic light', score=0.75, id='12', bbox=numbers(
            center=numbers(position=numbers(x=10.0, y=20.0), theta=0.5),
            size=numbers(x=30.0, y=40.0)))]))
    assert message.header == header
    assert boxes(message) == [('12', 10, 20, 30, 40, 0.5, 'traffic light')]
    assert message.detections[0].results[0].hypothesis.score == 0.75


def roi(x, y, width, height):
    return sensor_msgs.RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)


def test_traffic_lights_of_autoware_are_converted(converter):
    """One that was not detected is an empty box in both."""
    message = converter.from_traffic_light_rois(SimpleNamespace(header=std_msgs.Header(), rois=[
        SimpleNamespace(roi=roi(10, 20, 30, 41), traffic_light_id=88, traffic_light_type=0),
        SimpleNamespace(roi=roi(0, 0, 0, 0), traffic_light_id=89, traffic_light_type=1)]))
    assert boxes(message) == [
        ('88', 25, 40.5, 30, 41, 0, 'car_traffic_light'),
        ('89', 0, 0, 0, 0, 0, 'pedestrian_traffic_light')]


def test_objects_of_autoware_are_converted(converter):
    """The class is the number of the most probable one; one without a class has none."""
    classes = [SimpleNamespace(label=1, probability=0.25),
               SimpleNamespace(label=7, probability=0.5)]
    objects = [SimpleNamespace(object=SimpleNamespace(classification=found),
                               feature=SimpleNamespace(roi=roi(10, 20, 30, 40)))
               for found in (classes, [])]
    message = converter.from_objects_with_feature(
        SimpleNamespace(header=std_msgs.Header(), feature_objects=objects))
    assert boxes(message) == [('', 25, 40, 30, 40, 0, '7'), ('', 25, 40, 30, 40, 0, '')]
    assert [one.results[0].hypothesis.score for one in message.detections] == [0.5, 0.0]


def test_a_type_that_is_not_installed_is_one_line():
    """The message says what to source."""
    process = subprocess.run(
        [sys.executable, str(FOLDER / 'to_detections.py'), 'yolo_msgs/msg/DetectionArray'],
        env={**os.environ, 'PYTHONPATH': str(REPOSITORY)}, capture_output=True, text=True,
        timeout=120, check=False)
    assert process.returncode == 2
    assert process.stderr == (
        "to_detections: No module named 'yolo_msgs': source the workspace that has "
        'yolo_msgs/msg/DetectionArray\n')
