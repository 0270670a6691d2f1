"""What the node receives of a camera: images, or images with the detections in them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from functools import partial
from threading import Lock
from time import perf_counter_ns
from typing import Any, Optional

from rclpy.node import Node
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.receiving.availability import SERIALISED
from resnet_trt_node.node.ros.stamps import stamp_ns
from resnet_trt_node.node.ros.topics.image_source import ImageSource, topic_of
from resnet_trt_node.node.ros.topics.input_topic import InputTopic
from resnet_trt_node.node.ros.topics.stamp_matcher import (
    DETECTIONS, IMAGE, KINDS, Match, StampMatcher, Unmatched)
from resnet_trt_node.regions.detections_cdr import DetectionsCdr
from vision_msgs.msg import Detection2DArray

#: So many of each kind are unmatched in a row when their stamps are taken to be at fault.
_ROW = 5
#: So many stamps of each kind are remembered, to tell messages that come late from foreign stamps:
#: ten seconds at 30 Hz.
_STAMPS = 300


class ImageInput:
    """
    Offers each image of a camera to the pipeline.

    :param node: creates and destroys the subscription.
    :param camera: the camera's name, '' if `cameras` is empty.
    :param parameters: transport, reliability and depth of the subscription.
    :raises UsageError: for an invalid name.
    """

    def __init__(self, node: Node, camera: str, parameters: NodeParameters) -> None:
        self._camera = camera
        self._images = ImageSource(node, camera, parameters)

    @property
    def topics(self) -> tuple[InputTopic, ...]:
        """Return all topics, that of the images first."""
        return (self._images.topic,)

    @property
    def codec(self) -> str:
        """Return the codec of the last packet of video, '' where none came."""
        return self._images.codec

    def subscribe(self, pipeline: Pipeline) -> None:
        """
        Subscribe to the images.

        :param pipeline: receives them, and counts those that DDS lost, if it reports them.
        :raises UsageError: for invalid qos_overrides, or a topic of another type.
        """
        topic = self._images.topic

        def offer(message: Any, waited_ns: int) -> None:
            # Not on the executor's thread, which has other things to do.
            pipeline.offer(self._camera, message, waited_ns, topic.way == SERIALISED)

        self._images.subscribe(pipeline, offer)

    def unsubscribe(self) -> None:
        """Destroy the subscription."""
        self._images.unsubscribe()

    def expire(self) -> None:
        """Do nothing: no image waits here."""

    def problems(self) -> list[str]:
        """Return why images do not arrive, in words."""
        return self._images.topic.problems()


class RegionInput:
    """
    Matches the images of a camera with the detections in them, and offers both to the pipeline.

    A pair has arrived when the later of the two had: from then on the latency counts, and
    `max_age_ms`, as before there was nothing to be done. Images without detections are dropped,
    detections without an image are counted, both by the matcher's reason. The parameters
    are those of `ImageInput`.

    :raises UsageError: for an invalid name.
    """

    def __init__(self, node: Node, camera: str, parameters: NodeParameters) -> None:
        self._camera = camera
        self._images = ImageSource(node, camera, parameters)
        # As reliable as the images; best effort, the default, hears every detector.
        self._detections = InputTopic(
            node, Detection2DArray, topic_of(camera, 'detections'), parameters.regions_queue,
            parameters.image_reliability == 'reliable', DetectionsCdr,
            hint='change the detector, or convert its messages as in '
                 'examples/regions/to_detections.py')
        self._slop_ns = round(parameters.regions_slop_ms * 1e6)
        self._matcher = StampMatcher(
            parameters.regions_queue, round(parameters.regions_wait_ms * 1e6), self._slop_ns)
        self._pipeline: Optional[Pipeline] = None
        # Images come on a thread of their own, detections on the executor's.
        self._notes = Lock()
        # Kind and reason of what was unmatched since the last match, and its stamps by kind.
        self._unmatched: Counter[tuple[str, str]] = Counter()
        self._stamps_ns: dict[str, deque[int]] = {kind: deque(maxlen=_STAMPS) for kind in KINDS}

    @property
    def topics(self) -> tuple[InputTopic, ...]:
        """Return all topics, that of the images first."""
        return (self._images.topic, self._detections)

    @property
    def codec(self) -> str:
        """Return the codec of the last packet of video, '' where none came."""
        return self._images.codec

    def subscribe(self, pipeline: Pipeline) -> None:
        """
        Subscribe to images and detections.

        :param pipeline: receives `RegionsMessage`s, drops unmatched images, and counts unmatched
            detections and the images that DDS lost, if it reports them.
        :raises UsageError: for invalid qos_overrides, or a topic of another type.
        """
        self._pipeline = pipeline
        self._forget_unmatched()
        # Those that DDS loses show in the images, as unmatched.
        self._detections.subscribe(partial(self._offer, DETECTIONS))
        self._images.subscribe(pipeline, partial(self._offer, IMAGE))

    def unsubscribe(self) -> None:
        """Destroy the subscriptions; what still waits is refused."""
        self._images.unsubscribe()
        self._detections.unsubscribe()
        pipeline, self._pipeline = self._pipeline, None
        self._clear(pipeline)

    def expire(self) -> None:
        """Count what has waited for too long; to be called some times a second."""
        now_ns = perf_counter_ns()
        self._take(self._pipeline, self._matcher.expire(now_ns), now_ns)

    def _offer(self, kind: str, message: Any, waited_ns: int) -> None:
        # Another thread may deactivate the node meanwhile, so it is read once.
        pipeline = self._pipeline
        if pipeline is None:
            return
        now_ns = perf_counter_ns()
        if stamp_ns(message.header.stamp):
            with self._notes:
                self._unmatched.pop((kind, 'no_stamp'), None)
        if kind == IMAGE:
            # Or a camera would seem silent while a slow detector has its images wait.
            pipeline.counters.arrived(self._camera)
        outcome = self._matcher.offer(kind, message, now_ns, waited_ns)
        self._take(pipeline, outcome.unmatched, now_ns, outcome.match)
        if self._pipeline is None:
            # The message may have come to wait after the others were cleared away.
            self._clear(pipeline)

    def _clear(self, pipeline: Optional[Pipeline]) -> None:
        self._take(pipeline, self._matcher.clear(), perf_counter_ns())

    def _take(
            self, pipeline: Optional[Pipeline], unmatched: tuple[Unmatched, ...], now_ns: int,
            match: Optional[Match] = None) -> None:
        if pipeline is None:
            return
        for one in unmatched:
            with self._notes:
                self._unmatched[one.kind, one.reason] += 1
                self._stamps_ns[one.kind].append(stamp_ns(one.message.header.stamp))
            # As the frames that wait in the pipeline when the node is deactivated.
            reason = 'refused' if one.reason == 'cleared' else f'unmatched_{one.reason}'
            if one.kind == IMAGE:
                pipeline.drop(self._camera, one.message, reason, now_ns - one.arrived_ns)
            else:
                pipeline.counters.count_at(self._camera, f'detections_{reason}')
        if match is not None:
            self._forget_unmatched()
            pipeline.offer(self._camera, match.message, now_ns - match.arrived_ns)

    def _forget_unmatched(self) -> None:
        with self._notes:
            self._unmatched.clear()
            for stamps_ns in self._stamps_ns.values():
                stamps_ns.clear()

    def _partners_missed_each_other(self) -> bool:
        with self._notes:
            images_ns, detections_ns = (
                [stamp for stamp in self._stamps_ns[kind] if stamp] for kind in KINDS)
        images_ns.sort()
        for stamp in detections_ns:
            nearest = bisect_left(images_ns, stamp - self._slop_ns)
            if nearest < len(images_ns) and images_ns[nearest] <= stamp + self._slop_ns:
                return True
        return False

    def problems(self) -> list[str]:
        """Return why images or detections do not arrive or match, in words."""
        notes = [note for topic in self.topics for note in topic.problems()]
        number = {
            kind: sum(self._unmatched[kind, reason] for reason in ('expired', 'overflow'))
            for kind in KINDS}
        for kind, topic in zip(KINDS, self.topics, strict=True):
            if self._unmatched[kind, 'no_stamp']:
                notes.append(
                    f'{topic.name}: the header stamp is 0, so nothing can match it: '
                    + ('the driver must set it' if kind == IMAGE
                       else "the detector must copy the image's header"))
        if number[IMAGE] and not self._detections.publishers:
            notes.append(
                f'{self._detections.name} has no publisher: start the detector, or remap the '
                'topic')
        elif min(number.values()) >= _ROW:
            notes.append(
                f'{self._detections.name}: detections and their images arrive too far apart: '
                'increase regions_wait_ms and regions_queue'
                if self._partners_missed_each_other() else
                f'{self._detections.name}: no stamp matches an image on '
                f"{self._images.topic.name}: the detector must copy the image's header, or "
                'increase regions_slop_ms')
        return notes
