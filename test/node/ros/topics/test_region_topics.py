"""A camera whose regions are classified: its topics over real DDS, with a stand-in pipeline."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from types import SimpleNamespace
from typing import Any, Callable, Iterator, Optional

from node_process import compressed, image
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.node.annotator import Annotator
from resnet_trt_node.node.deferred_destruction import NodeOfDeferredDestruction
from resnet_trt_node.node.distribution import events_executor
from resnet_trt_node.node.ros.conversion import Converter
from resnet_trt_node.node.ros.parameters import NodeParameters
from resnet_trt_node.node.ros.topics import camera_inputs
from resnet_trt_node.node.ros.topics.camera_topics import CameraTopics
from resnet_trt_node.node.ros.topics.node_topics import NodeTopics
from resnet_trt_node.node.ros.topics.stamp_matcher import RegionsMessage
from resnet_trt_node.regions.region import RegionAnswer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2D, Detection2DArray

pytestmark = pytest.mark.slow

RELIABLE = QoSProfile(depth=100)
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
#: What no test waits for.
PATIENT = {'input': 'regions', 'regions_wait_ms': 60_000.0}


def picture(number: int) -> Image:
    return image(np.zeros((60, 80, 3)), number)


def boxes(number: int, *ids: str) -> Detection2DArray:
    """Return detections of 20x10 pixels about (40, 30) in the image of that number."""
    message = Detection2DArray(header=picture(number).header)
    for name in ids:
        detection = Detection2D(header=message.header, id=name)
        detection.bbox.center.position.x, detection.bbox.center.position.y = 40.0, 30.0
        detection.bbox.size_x, detection.bbox.size_y = 20.0, 10.0
        message.detections.append(detection)
    return message


class StandInPipeline:
    """Keeps what it is offered."""

    def __init__(self) -> None:
        self.pairs: list[RegionsMessage] = []
        self.unmatched: list[Any] = []
        self.waited_ns: list[int] = []
        self.events: Counter[tuple[str, str]] = Counter()
        self.counters = SimpleNamespace(count_at=self._count_at)

    def offer(self, camera: str, message: Any, waited_ns: int = 0) -> None:
        assert camera == 'front'
        self.pairs.append(message)
        self.waited_ns.append(waited_ns)

    def offer_unmatched(self, camera: str, message: Any, waited_ns: int = 0) -> None:
        assert camera == 'front'
        self.unmatched.append(message)
        self.waited_ns.append(waited_ns)

    def _count_at(self, camera: str, event: str, number: int = 1) -> None:
        self.events[camera, event] += number

    @property
    def unmatched_detections(self) -> int:
        return self.events['front', 'unmatched_detections']


class Stage:
    """A node, another that publishes to it and hears it, and what spins both."""

    def __init__(self, make_executor: Callable[..., Any]) -> None:
        # One each: in one of DDS's participants a topic has one type only.
        self._contexts = [rclpy.Context(), rclpy.Context()]
        for context in self._contexts:
            rclpy.init(context=context)
        self.node: Any = NodeOfDeferredDestruction('classifier', context=self._contexts[0])
        self.peer = rclpy.create_node('detector', context=self._contexts[1])
        self._executors = [
            make_executor(context=self._contexts[0]),
            SingleThreadedExecutor(context=self._contexts[1])]
        for executor, node in zip(self._executors, (self.node, self.peer), strict=True):
            executor.add_node(node)
        self.annotator = Annotator(Converter(print, print).to_frame, print, print)
        self.pipeline: Any = StandInPipeline()
        self.topics: Optional[CameraTopics] = None

    def camera(self, **parameters: Any) -> CameraTopics:
        self.topics = CameraTopics(
            self.node, 'front', NodeParameters(**{**PATIENT, **parameters}), self.annotator)
        return self.topics

    def spin_until(self, condition: Callable[[], Any]) -> Any:
        deadline = monotonic() + 60
        while not (value := condition()):
            assert monotonic() < deadline
            for executor in self._executors:
                executor.spin_once(timeout_sec=0.005)
        return value

    def publisher(
            self, kind: Any, topic: str, qos: QoSProfile = RELIABLE, heard: bool = True) -> Any:
        publisher = self.peer.create_publisher(kind, topic, qos)
        if heard:
            self.spin_until(publisher.get_subscription_count)
            self.spin_until(lambda: self.node.count_publishers(topic))
        return publisher

    def listen(self, kind: Any, topic: str) -> list[Any]:
        heard: list[Any] = []
        self.peer.create_subscription(kind, topic, heard.append, RELIABLE)
        self.spin_until(lambda: self.peer.count_publishers(topic))
        return heard

    def close(self) -> None:
        if self.topics is not None:
            self.topics.close()
        self.annotator.close(1.0)
        for executor in self._executors:
            executor.shutdown()
        for node in (self.node, self.peer):
            node.destroy_node()
        for context in self._contexts:
            rclpy.shutdown(context=context)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Give what a camera's topics need, under the executor of the node."""
    stage = Stage(events_executor() or SingleThreadedExecutor)
    yield stage
    stage.close()


def feed(stage: Stage, kind: Any = Image, topic: str = '/front/image') -> tuple[Any, Any]:
    """Return a camera's publisher and a detector's."""
    return stage.publisher(kind, topic), stage.publisher(Detection2DArray, '/front/detections')


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
    assert [[one.id for one in pair.detections.detections] for pair in stage.pipeline.pairs] == [
        ['b', 'c'], ['a']]
    assert all(isinstance(pair.image, kind) for pair in stage.pipeline.pairs)
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
    assert stage.pipeline.unmatched_detections == 4
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
    assert stage.pipeline.unmatched_detections == 1
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


def test_slop_matches_stamps_that_differ(stage):
    topics = stage.camera(image_reliability='reliable', regions_slop_ms=0.001)
    topics.subscribe(stage.pipeline)
    images, detections = feed(stage)
    images.publish(picture(5000))
    detections.publish(boxes(3999, 'far'))
    detections.publish(boxes(6000, 'near'))
    stage.spin_until(lambda: stage.pipeline.pairs)
    assert stage.pipeline.pairs[0].detections.detections[0].id == 'near'


def test_answers_are_published_and_drawn(stage):
    topics = stage.camera(class_id_format='label')
    results = stage.listen(Detection2DArray, '/front/classified_detections')
    pictures = stage.listen(Image, '/front/image_annotated')
    stage.spin_until(lambda: topics.listeners == 1)
    stage.spin_until(lambda: topics._annotated.get_subscription_count())
    source = RegionsMessage(picture(9), boxes(9, 'a', 'b'))
    answers = [
        RegionAnswer('answered', (Prediction(3, 'cat', 0.75),), 1700000000 * 10**9 + 9),
        RegionAnswer('too_small')]
    # A stamp of 2023 is of another time base.
    assert topics.publish(source, answers) is None
    topics.flush(10.0)
    stage.spin_until(lambda: results and pictures)
    assert results[0].header == source.detections.header
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


def test_problems_name_topics_and_remedies(stage):
    topics = stage.camera(image_reliability='reliable')
    topics.subscribe(stage.pipeline)
    assert topics.problems() == []
    images = stage.publisher(Image, '/front/image')
    foreign = stage.publisher(String, '/front/detections', heard=False)
    stage.spin_until(topics.problems)
    assert topics.problems() == [
        '/front/detections carries std_msgs/msg/String, this node wants '
        'vision_msgs/msg/Detection2DArray']
    stage.peer.destroy_publisher(foreign)
    stage.spin_until(lambda: not topics.problems())
    unreliable = stage.publisher(
        Detection2DArray, '/front/detections', BEST_EFFORT, heard=False)
    stage.spin_until(topics.problems)
    note, = topics.problems()
    assert note.startswith('/front/detections: detector offers an incompatible QoS')
    assert 'image_reliability to best_effort' in note
    stage.peer.destroy_publisher(unreliable)
    stage.spin_until(lambda: not topics.problems())

    unstamped = picture(0)
    unstamped.header.stamp.sec = 0
    images.publish(unstamped)
    stage.spin_until(lambda: stage.pipeline.unmatched)
    note, = topics.problems()
    assert note.startswith('/front/image: the header stamp is 0')
    detections = stage.publisher(Detection2DArray, '/front/detections')
    images.publish(picture(1))
    detections.publish(boxes(1))
    stage.spin_until(lambda: stage.pipeline.pairs)
    assert topics.problems() == []


def test_missing_detectors_and_foreign_stamps_are_reported(stage, monkeypatch):
    topics = stage.camera(image_reliability='reliable')
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
        '/front/detections: no stamp is that of an image of /front/image: have the detector')
    images.publish(picture(519))
    stage.spin_until(lambda: stage.pipeline.pairs)
    assert topics.problems() == []


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
