"""Cameras and detectors of any QoS, and what is said of those that do not fit."""

from __future__ import annotations

from types import SimpleNamespace

from pipelines.region_stage import BEST_EFFORT, boxes, feed, picture, RELIABLE
import pytest
from rclpy.qos import ReliabilityPolicy
from resnet_trt_node.node.ros.topics import camera_inputs
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('qos', [RELIABLE, BEST_EFFORT], ids=['reliable', 'best_effort'])
def test_by_default_every_detector_is_heard(stage, qos):
    topics = stage.camera()
    topics.subscribe(stage.pipeline)
    images = stage.publisher(Image, '/front/image', qos)
    detections = stage.publisher(Detection2DArray, '/front/detections', qos)

    def matched():
        images.publish(picture(1))
        detections.publish(boxes(1))
        return stage.pipeline.pairs
    stage.spin_until(matched)
    assert topics.problems() == []


def test_qos_of_the_detections_is_overridden_by_the_standard_parameters(stage):
    stage.node.declare_parameter(
        'qos_overrides./front/detections.subscription.reliability', 'reliable')
    topics = stage.camera()
    assert topics.overridable == [
        ('/front/image', 'subscription'), ('/front/detections', 'subscription'),
        ('/front/classified_detections', 'publisher'), ('/front/image_annotated', 'publisher')]
    topics.subscribe(stage.pipeline)
    images, detections = (stage.spin_until(
        lambda topic=topic: stage.peer.get_subscriptions_info_by_topic(topic))
        for topic in topics.input_topics)
    assert images[0].qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert detections[0].qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_problems_name_topics_and_remedies(stage):
    topics = stage.camera(image_reliability='reliable')
    topics.subscribe(stage.pipeline)
    assert topics.problems() == []
    images = stage.publisher(Image, '/front/image')
    foreign = stage.publisher(String, '/front/detections', heard=False)
    stage.spin_until(topics.problems)
    assert topics.problems() == [
        '/front/detections carries std_msgs/msg/String, this node wants '
        'vision_msgs/msg/Detection2DArray: change the detector, or convert its messages as '
        'in examples/regions/to_detections.py']
    stage.peer.destroy_publisher(foreign)
    stage.spin_until(lambda: not topics.problems())
    unreliable = stage.publisher(
        Detection2DArray, '/front/detections', BEST_EFFORT, heard=False)
    # Discovery tells of publishers before it tells of their nodes.
    note, = stage.spin_until(lambda: [
        note for note in topics.problems() if 'a publisher' not in note])
    assert note.startswith('/front/detections: detector offers an incompatible QoS')
    assert 'image_reliability to best_effort' in note
    stage.peer.destroy_publisher(unreliable)
    stage.spin_until(lambda: not topics.problems())

    unstamped = picture(0)
    unstamped.header.stamp.sec = 0
    images.publish(unstamped)
    stage.spin_until(lambda: stage.pipeline.unmatched)
    note, = topics.problems()
    assert note == (
        '/front/image: the header stamp is 0, so nothing can match it: the driver must set it')
    detections = stage.publisher(Detection2DArray, '/front/detections')
    unstamped = boxes(0)
    unstamped.header.stamp.sec = 0
    detections.publish(unstamped)
    stage.spin_until(lambda: len(topics.problems()) == 2)
    assert stage.pipeline.reasons == ['unmatched_no_stamp']
    assert stage.pipeline.events == {('front', 'detections_unmatched_no_stamp'): 1}
    assert topics.problems()[1] == (
        '/front/detections: the header stamp is 0, so nothing can match it: the detector '
        "must copy the image's header")
    # It is told no longer than it is so, matched or not.
    images.publish(picture(2))
    detections.publish(boxes(3))
    stage.spin_until(lambda: not topics.problems())
    assert stage.pipeline.pairs == []
    images.publish(picture(1))
    detections.publish(boxes(1))
    stage.spin_until(lambda: stage.pipeline.pairs)
    assert topics.problems() == []


def test_a_publisher_whose_node_is_unknown_is_not_named(stage, monkeypatch):
    topics = stage.camera(image_reliability='reliable')
    topics.subscribe(stage.pipeline)
    endpoint = SimpleNamespace(
        topic_type='vision_msgs/msg/Detection2DArray', node_name='_NODE_NAME_UNKNOWN_',
        qos_profile=BEST_EFFORT)
    monkeypatch.setattr(
        stage.node, 'get_publishers_info_by_topic',
        lambda topic: [endpoint] if topic == '/front/detections' else [])
    note, = topics.problems()
    assert note.startswith('/front/detections: a publisher offers an incompatible QoS (')


def test_missing_detectors_and_foreign_stamps_are_reported(stage, monkeypatch):
    topics = stage.camera(image_reliability='reliable', regions_queue=10)
    topics.subscribe(stage.pipeline)
    images = stage.publisher(Image, '/front/image')
    images.publish(picture(1))
    stage.spin_until(lambda: topics._input._matcher.waiting['image'])
    late_ns = camera_inputs.perf_counter_ns() + 61 * 10**9
    with monkeypatch.context() as patch:
        patch.setattr(camera_inputs, 'perf_counter_ns', lambda: late_ns)
        topics.expire()
    assert topics.problems() == [
        '/front/detections has no publisher: start the detector, or remap the topic']
    detections = stage.publisher(Detection2DArray, '/front/detections')
    assert topics.problems() == []
    for number in range(2, 20):
        images.publish(picture(number))
        detections.publish(boxes(number + 500))
        # One by one: the middleware keeps fewer than wait here.
        stage.spin_until(lambda sent=number - 1: (
            topics._input._matcher.waiting['image'] + len(stage.pipeline.unmatched) == sent + 1
            and topics._input._matcher.waiting['detections']
            + stage.pipeline.unmatched_detections == sent))
    # 18 of each, of which 10 may wait.
    assert stage.pipeline.unmatched_detections == 8
    note, = topics.problems()
    assert note.startswith(
        '/front/detections: no stamp matches an image on /front/image: the detector')
    images.publish(picture(519))
    stage.spin_until(lambda: stage.pipeline.pairs)
    assert topics.problems() == []


@pytest.mark.parametrize(('slop_ms', 'offset_ns', 'words'), [
    (0.0, 0, 'increase regions_wait_ms and regions_queue'),
    (0.002, 1500, 'increase regions_wait_ms and regions_queue'),
    (0.0, 1500, 'increase regions_slop_ms'), (0.001, 1500, 'increase regions_slop_ms'),
    (0.001, -1500, 'increase regions_slop_ms')])
def test_detections_that_come_late_and_foreign_stamps_differ(
        stage, monkeypatch, slop_ms, offset_ns, words):
    topics = stage.camera(
        image_reliability='reliable', regions_wait_ms=500.0, regions_slop_ms=slop_ms)
    topics.subscribe(stage.pipeline)
    images, detections = feed(stage)
    now_ns = 10**12
    monkeypatch.setattr(camera_inputs, 'perf_counter_ns', lambda: now_ns)
    numbers = range(10_000, 60_000, 10_000)
    for publisher, sent in (
            (images, [picture(number) for number in numbers]),
            (detections, [boxes(number + offset_ns) for number in numbers])):
        for message in sent:
            publisher.publish(message)
        stage.spin_until(lambda: sum(topics._input._matcher.waiting.values()) == 5)
        assert topics.problems() == []
        now_ns += 500_000_001
        topics.expire()
    note, = topics.problems()
    assert note.startswith('/front/detections: ')
    assert note.endswith(words)
    images.publish(picture(70_000))
    detections.publish(boxes(70_000))
    stage.spin_until(lambda: stage.pipeline.pairs)
    assert topics.problems() == []
