"""A camera whose regions are classified: what is offered to the pipeline, and its answers."""

from __future__ import annotations

from typing import Any

from nodes.node_process import compressed
import numpy as np
from pipelines.region_stage import boxes, feed, picture
import pytest
from rclpy.serialization import serialize_message
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.topics import camera_inputs
from resnet_trt_node.node.ros.topics.node_topics import NodeTopics
from resnet_trt_node.node.ros.topics.stamp_matcher import RegionsMessage
from resnet_trt_node.regions.detections_cdr import DetectionsCdr
from resnet_trt_node.regions.region import RegionAnswer
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_an_image_and_its_detections_are_offered_together_whichever_comes_first(stage, transport):
    topics = stage.camera(image_transport=transport, image_reliability='reliable')
    topics.subscribe(stage.pipeline)
    if transport == 'raw':
        make, kind, topic = picture, Image, '/front/image'
    else:
        def make(number):
            return compressed(b'jpeg', number)
        kind, topic = CompressedImage, '/front/image/compressed'
    assert topics.input_topics == [topic, '/front/detections']
    assert topics.image_topic == topic
    images, detections = feed(stage, kind, topic)
    images.publish(make(1))
    detections.publish(boxes(2, 'a'))
    detections.publish(boxes(1, 'b', 'c'))
    stage.spin_until(lambda: len(stage.pipeline.pairs) == 1)
    images.publish(make(2))
    stage.spin_until(lambda: len(stage.pipeline.pairs) == 2)
    assert [pair.header.stamp.nanosec for pair in stage.pipeline.pairs] == [1, 2]
    assert [[one.track_id for one in pair.detections.regions()]
            for pair in stage.pipeline.pairs] == [['b', 'c'], ['a']]
    assert all(hasattr(pair.image, 'encoding') == (kind is Image)
               for pair in stage.pipeline.pairs)
    assert all(0 <= waited_ns < 60 * 10**9 for waited_ns in stage.pipeline.waited_ns)
    assert topics.publishers == 1
    topics.unsubscribe()
    assert stage.pipeline.unmatched == []
    assert stage.pipeline.unmatched_detections == 0


def test_what_waits_in_vain_is_counted(stage, monkeypatch):
    topics = stage.camera(
        image_reliability='reliable', regions_wait_ms=500.0, regions_queue=2)
    topics.subscribe(stage.pipeline)
    images, detections = feed(stage)
    now_ns = 10**12
    monkeypatch.setattr(camera_inputs, 'perf_counter_ns', lambda: now_ns)
    for number in (1, 2, 3):
        images.publish(picture(number))
    stage.spin_until(lambda: stage.pipeline.unmatched)
    # A camera that sends is not silent, whatever becomes of its images.
    assert stage.pipeline.arrived == ['front'] * 3
    # One more than regions_queue.
    assert [one.header.stamp.nanosec for one in stage.pipeline.unmatched] == [1]
    for number in (11, 12, 13, 14):
        detections.publish(boxes(number))
    stage.spin_until(lambda: stage.pipeline.unmatched_detections == 2)
    now_ns += 500_000_000
    topics.expire()
    assert len(stage.pipeline.unmatched) == 1
    now_ns += 1
    topics.expire()
    assert [one.header.stamp.nanosec for one in stage.pipeline.unmatched] == [1, 2, 3]
    assert stage.pipeline.waited_ns[-1] >= 500_000_001
    assert stage.pipeline.reasons == [
        'unmatched_overflow', 'unmatched_expired', 'unmatched_expired']
    assert stage.pipeline.events == {
        ('front', 'detections_unmatched_overflow'): 2,
        ('front', 'detections_unmatched_expired'): 2}
    assert stage.pipeline.pairs == []


def test_deactivating_counts_what_waits_and_is_deaf_until_activated_again(stage):
    topics = stage.camera(image_reliability='reliable')
    topics.subscribe(stage.pipeline)
    images, detections = feed(stage)
    # The second has an effect that shows that the first has arrived.
    for number in (1, 2):
        images.publish(picture(number))
        detections.publish(boxes(number + 1))
    stage.spin_until(lambda: stage.pipeline.pairs)
    stage.spin_until(lambda: sum(topics._input._matcher.waiting.values()) == 2)
    topics.unsubscribe()
    assert [one.header.stamp.nanosec for one in stage.pipeline.unmatched] == [1]
    assert stage.pipeline.reasons == ['refused']
    assert stage.pipeline.events == {('front', 'detections_refused'): 1}
    stage.spin_until(lambda: not images.get_subscription_count())
    stage.spin_until(lambda: not detections.get_subscription_count())
    topics.expire()
    assert topics.problems() == []
    topics.subscribe(stage.pipeline)
    for publisher, message in ((images, picture(7)), (detections, boxes(7))):
        stage.spin_until(publisher.get_subscription_count)
        publisher.publish(message)
    stage.spin_until(lambda: len(stage.pipeline.pairs) == 2)
    assert len(stage.pipeline.unmatched) == 1


def test_another_thread_may_deactivate_while_messages_are_taken(stage, monkeypatch):
    topics = stage.camera()
    topics.subscribe(stage.pipeline)
    found = topics._input
    for number in (1, 2, 3):
        found._offer('image', picture(number), 0)
    drop = stage.pipeline.drop

    def deactivated(camera: str, message: Any, reason: str, waited_ns: int = 0) -> None:
        topics.unsubscribe()
        drop(camera, message, reason, waited_ns)

    monkeypatch.setattr(stage.pipeline, 'drop', deactivated)
    monkeypatch.setattr(camera_inputs, 'perf_counter_ns', lambda: 10**18)
    topics.expire()
    assert [one.header.stamp.nanosec for one in stage.pipeline.unmatched] == [1, 2, 3]


def test_a_message_that_is_taken_while_others_are_cleared_away_waits_no_longer(
        stage, monkeypatch):
    topics = stage.camera()
    topics.subscribe(stage.pipeline)
    matcher = topics._input._matcher
    offer = matcher.offer

    def late(*arguments: Any) -> Any:
        topics.unsubscribe()
        return offer(*arguments)

    monkeypatch.setattr(matcher, 'offer', late)
    topics._input._offer('image', picture(1), 0)
    topics._input._offer('detections', boxes(2), 0)
    assert matcher.waiting == {'image': 0, 'detections': 0}
    assert [one.header.stamp.nanosec for one in stage.pipeline.unmatched] == [1]


def test_slop_matches_stamps_that_differ(stage):
    topics = stage.camera(image_reliability='reliable', regions_slop_ms=0.001)
    topics.subscribe(stage.pipeline)
    images, detections = feed(stage)
    images.publish(picture(5000))
    detections.publish(boxes(3999, 'far'))
    detections.publish(boxes(6000, 'near'))
    stage.spin_until(lambda: stage.pipeline.pairs)
    assert stage.pipeline.pairs[0].detections.regions()[0].track_id == 'near'


def test_answers_are_published_and_drawn(stage):
    topics = stage.camera(class_id_format='label')
    results = stage.listen(Detection2DArray, '/front/classified_detections')
    pictures = stage.listen(Image, '/front/image_annotated')
    stage.spin_until(lambda: topics.listeners == 1)
    stage.spin_until(lambda: topics._annotated.get_subscription_count())
    source = RegionsMessage(
        picture(9), DetectionsCdr(serialize_message(boxes(9, 'a', 'b'))))
    answers = [
        RegionAnswer('answered', (Prediction(3, 'cat', 0.75),), 1700000000 * 10**9 + 9),
        RegionAnswer('too_small')]
    # A stamp of 2023 is of another time base.
    assert topics.publish(source, answers) is None
    topics.flush(10.0)
    stage.spin_until(lambda: results and pictures)
    assert results[0].header == boxes(9).header
    assert [one.id for one in results[0].detections] == ['a', 'b']
    first, second = ([(one.hypothesis.class_id, one.hypothesis.score) for one in found.results]
                     for found in results[0].detections)
    assert first == [('cat', 0.75)]
    assert second == [('', 0.0)]
    drawn = np.frombuffer(pictures[0].data, np.uint8).reshape(60, 80, 3)
    assert pictures[0].header == source.image.header
    # The edges of the box, and nothing inside; the label is above or below.
    assert drawn[30, 30].any()
    assert drawn[30, 49].any()
    assert not drawn[30, 40].any()


def test_the_timer_of_the_node_counts_what_waits_in_vain_while_it_is_active(stage):
    topics = NodeTopics(stage.node, lambda: True)
    parameters = NodeParameters(
        input='regions', cameras=('front',), image_reliability='reliable', regions_wait_ms=1.0)
    topics.create(parameters, stage.annotator)
    assert topics.subscribe(stage.pipeline) == '/front/image, /front/detections'
    assert not topics._expiry_timer.is_canceled()
    images, _ = feed(stage)
    images.publish(picture(1))
    # Nothing else comes.
    stage.spin_until(lambda: stage.pipeline.unmatched)
    topics.unsubscribe()
    assert topics._expiry_timer.is_canceled()
    topics.close()
    topics.create(NodeParameters(cameras=('front',)), stage.annotator)
    assert topics.subscribe(stage.pipeline) == '/front/image'
    assert topics._expiry_timer.is_canceled()
    topics.close()
