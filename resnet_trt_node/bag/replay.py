"""Publishes the images of a bag through ROS, at their recorded spacing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
import struct
from threading import Event
import time
from typing import Any, Optional

from builtin_interfaces.msg import Time
import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, IMAGE, STAMP_SECONDS
from resnet_trt_node.bag.messages import BagImage
from resnet_trt_node.bag.pacing import mean_spacing_ns, paced, SINGLE_ITEM_PERIOD_NS
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.replay_qos import DEFAULT_DEPTH, replay_qos
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.ros.ros_errors import own_node, refusals_explained
from rosbags.interfaces import Connection
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

NODE_NAME = 'resnet_trt_replay'

_CLASSES: dict[str, Any] = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage}
# As often as `ros2 bag play --clock`.
_CLOCK_HZ = 40
_POLL_S = 0.02
# A DDS writer knows when it has matched a reader, but not when the reader has matched the writer.
# Messages published in between arrive late or, at best-effort readers, not at all.
_DISCOVERY_S = 0.5
# How long to wait until the readers acknowledge the last images. Fast DDS sends heartbeats every
# 3 s, so an interrupted replay, whose last images may be lost, waits less.
_FLUSH_S = 10.0
_FLUSH_INTERRUPTED_S = 0.5
# Offset of the header's stamp in a serialised image: after the encapsulation, in both types.
_STAMP_OFFSET = 4
_STAMP_FORMAT = '<iI'
# A longer gap in the recording is logged.
_LONG_GAP_S = 60


@dataclass(frozen=True)
class TopicReport:
    """
    The result of one recorded topic.

    :param topic: the name it was published under.
    :param msgtype: the message type.
    :param published: number of published images in all rounds.
    :param subscriptions: number of matched subscriptions at the end.
    :param acknowledged: whether all reliable readers acknowledged the last images in time.
    """

    topic: str
    msgtype: str
    published: int
    subscriptions: int
    acknowledged: bool


@dataclass(frozen=True)
class ReplayReport:
    """
    The result of a replay.

    :param topics: recorded topic to its result.
    :param seconds: from the start, after the wait for subscriptions, to the last image.
    :param interrupted: whether it was stopped before the end of the bag.
    """

    topics: dict[str, TopicReport]
    seconds: float
    interrupted: bool

    @property
    def published(self) -> int:
        """Return the number of published images on all topics."""
        return sum(topic.published for topic in self.topics.values())


def replay(
        bag: BagReader, *, rate: float = 1.0, loop: bool = False,
        remap: Optional[Mapping[str, str]] = None, topics: Optional[Sequence[str]] = None,
        wait_for_subscribers: Optional[float] = None, restamp: bool = False, clock: bool = False,
        reliability: str = 'reliable', depth: int = DEFAULT_DEPTH,
        enclave: Optional[str] = None, stop: Optional[Event] = None,
        on_progress: Optional[Callable[[BagImage], None]] = None) -> ReplayReport:
    """
    Publish a bag's images in their recorded serialisation, stamps included.

    It has its own ROS context and node, so it can run beside others in the process. Ctrl-C ends
    it like `stop`.

    :param bag: an open bag.
    :param rate: 2 is twice as fast as recorded.
    :param loop: start again after the last image, until stopped.
    :param remap: recorded topic to the name to publish it under.
    :param topics: recorded topics to publish, None for all image topics.
    :param wait_for_subscribers: seconds to wait until each topic has a matching subscription; a
        topic without one by then is logged. The first image follows half a second later, after
        the discovery of DDS. None starts at once.
    :param restamp: replace header stamps with the time of publishing.
    :param clock: publish the bag's time on /clock, for nodes with use_sim_time.
    :param reliability: 'reliable', which is compatible with every subscription, 'best_effort', or
        'recorded' for that of the bag.
    :param depth: history depth of the publishers.
    :param enclave: the SROS2 enclave, as in `own_node`.
    :param stop: ends the replay early when set.
    :param on_progress: called after each published image, in this thread.
    :raises BagError: if a topic does not exist or has no images, or the bag is damaged.
    :raises UsageError: for an invalid rate, name or choice.
    """
    if restamp and clock:
        raise UsageError(
            'restamp gives images the wall time, clock gives nodes the time of the bag: '
            'choose one of them')
    end_ns = bag.start_ns + bag.duration_ns
    if clock and any(time_ns // 10**9 not in STAMP_SECONDS for time_ns in (bag.start_ns, end_ns)):
        raise UsageError(
            f'{bag.path} was logged from {bag.start_ns} to {end_ns} ns, which no clock of ROS '
            'can show: leave --clock out')
    # All checks come before ROS starts.
    targets = _targets(bag, bag.choose_images(topics), remap or {})
    classes = {name: _class_of(_msgtype(bag, name), name) for name in targets}
    if depth < 1:
        raise UsageError(f'depth is {depth}: it must be at least 1')
    profiles = {name: _profile(bag.connections(name), reliability, depth) for name in targets}
    stop = Event() if stop is None else stop
    # Without rclpy's signal handlers Ctrl-C raises KeyboardInterrupt, which is handled below.
    node = own_node(NODE_NAME, enclave)
    with ExitStack() as stack:
        stack.callback(rclpy.try_shutdown, context=node.context)
        stack.callback(node.destroy_node)
        publishers = {}
        for name, target in targets.items():
            with refusals_explained(f'cannot publish {name} as {target!r}'):
                publishers[name] = node.create_publisher(
                    classes[name], target, profiles[name])
        run = _Replay(node, bag, publishers, restamp, clock, rate)
        return run.play(loop, wait_for_subscribers, stop, on_progress)


class _Replay:
    """The publishers of one replay and the number of published images."""

    def __init__(
            self, node: Node, bag: BagReader, publishers: dict[str, Publisher[Any]],
            restamp: bool, clock: bool, rate: float) -> None:
        self._node = node
        self._bag = bag
        self._restamp = restamp
        self._rate = rate
        self._publishers = publishers
        with refusals_explained('/clock'):
            self._clock = node.create_publisher(
                Clock, '/clock', DEFAULT_DEPTH) if clock else None
        self._published: Counter[str] = Counter()
        # From the last image of a round to the first of the next one.
        self._gap_ns = SINGLE_ITEM_PERIOD_NS

    def play(
            self, loop: bool, wait_s: Optional[float], stop: Event,
            on_progress: Optional[Callable[[BagImage], None]]) -> ReplayReport:
        """Publish all images, wait for the readers and report; arguments as in `replay`."""
        interrupted = False
        items = paced(
            self._round, lambda item: item[0], rate=self._rate, loop=loop, stop=stop,
            gap_ns=lambda: self._gap_ns)
        start_s = time.perf_counter()
        try:
            if wait_s is not None:
                self._wait_for_subscribers(wait_s, stop)
            start_s = time.perf_counter()
            for time_ns, image in items:
                if image is not None:
                    self._publish(image)
                    if on_progress is not None:
                        on_progress(image)
                elif self._clock is not None:
                    seconds, nanoseconds = divmod(time_ns, 10**9)
                    self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))
        except KeyboardInterrupt:
            interrupted = True
        elapsed_s = time.perf_counter() - start_s
        interrupted = interrupted or stop.is_set()
        return ReplayReport(self._flush(interrupted), elapsed_s, interrupted)

    def _round(self) -> Iterator[tuple[int, Optional[BagImage]]]:
        """Yield the log times and images of the bag once, and times of /clock without images."""
        counts: Counter[str] = Counter()
        start_ns = tick_ns = end_ns = 0
        period_ns = max(1, round(self._rate * 1e9 / _CLOCK_HZ))
        for image in self._bag.images(list(self._publishers)):
            time_ns = image.log_time_ns
            if not counts:
                start_ns = tick_ns = end_ns = time_ns
            gap_s = (time_ns - end_ns) / 1e9 / self._rate
            if gap_s > _LONG_GAP_S:
                self._node.get_logger().warning(
                    f'the next image, of {image.topic}, is logged {gap_s:.0f} s later: waiting '
                    'for its time')
            if self._clock is not None:
                while tick_ns < time_ns:
                    yield tick_ns, None
                    tick_ns += period_ns
                # No node may receive an image before its log time on /clock.
                yield time_ns, None
            counts[image.topic] += 1
            end_ns = time_ns
            yield time_ns, image
        if counts:
            # The busiest camera keeps its period from one round to the next.
            self._gap_ns = mean_spacing_ns(end_ns - start_ns, max(counts.values()))

    def _publish(self, image: BagImage) -> None:
        data = self._bag.wire_bytes(image)
        if self._restamp:
            stamped = bytearray(data)
            now_ns = self._node.get_clock().now().nanoseconds
            struct.pack_into(_STAMP_FORMAT, stamped, _STAMP_OFFSET, *divmod(now_ns, 10**9))
            data = bytes(stamped)
        self._publishers[image.topic].publish(data)
        self._published[image.topic] += 1

    def _wait_for_subscribers(self, wait_s: float, stop: Event) -> None:
        deadline_s = time.monotonic() + wait_s
        while True:
            missing = [
                one for one in self._publishers.values() if not one.get_subscription_count()]
            remaining_s = max(0.0, deadline_s - time.monotonic())
            if not missing or not remaining_s or stop.wait(min(_POLL_S, remaining_s)):
                break
        if len(missing) < len(self._publishers):
            stop.wait(_DISCOVERY_S)
        for publisher in [] if stop.is_set() else missing:
            name = publisher.topic_name
            why = (
                'a subscription requests another QoS or type, see `ros2 topic info -v`'
                if self._node.count_subscribers(name) else 'nobody subscribes to it')
            self._node.get_logger().warning(
                f'no matching subscription on {name} after {wait_s:g} s, {why}: going on')

    def _flush(self, interrupted: bool) -> dict[str, TopicReport]:
        reports = {}
        deadline_s = time.monotonic() + (_FLUSH_INTERRUPTED_S if interrupted else _FLUSH_S)
        for name, publisher in self._publishers.items():
            remaining_s = max(0.0, deadline_s - time.monotonic())
            acknowledged = publisher.wait_for_all_acked(Duration(seconds=remaining_s))
            if not acknowledged and not interrupted:
                self._node.get_logger().warning(
                    f'a subscription on {publisher.topic_name} has not acknowledged the last '
                    'images: it may have lost some')
            reports[name] = TopicReport(
                publisher.topic_name, _msgtype(self._bag, name), self._published[name],
                publisher.get_subscription_count(), acknowledged)
        return reports


def _targets(bag: BagReader, names: Sequence[str], remap: Mapping[str, str]) -> dict[str, str]:
    wanted = {bag.choose_images([source])[0]: target for source, target in remap.items()}
    unused = [source for source in wanted if source not in names]
    if unused:
        raise UsageError(f'{unused[0]} is renamed but not among the topics to publish: add it')
    targets = {name: wanted.get(name, name) for name in names}
    types: dict[str, str] = {}
    for name, target in targets.items():
        msgtype = _msgtype(bag, name)
        if types.setdefault(target, msgtype) != msgtype:
            raise UsageError(
                f'{target} would carry both {types[target]} and {msgtype}: choose another name '
                f'for {name}')
    return targets


def _msgtype(bag: BagReader, name: str) -> str:
    types = bag.image_types(name)
    if len(types) > 1:
        raise UsageError(
            f'{name} has {" and ".join(types)}, and a topic is published with one type: choose '
            'others with --topic')
    return types[0]


def _class_of(msgtype: str, name: str) -> Any:
    """Return the class of a message type; those of video are in packages of their own."""
    if msgtype in _CLASSES:
        return _CLASSES[msgtype]
    package, _, kind = msgtype.partition('/msg/')
    try:
        return getattr(import_module(f'{package}.msg'), kind)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f'{name} has messages of {msgtype}, and {package} is not installed ({error}): '
            f'install ros-$ROS_DISTRO-{package.replace("_", "-")}, or choose other topics with '
            '--topic') from error


def _profile(connections: Sequence[Connection], reliability: str, depth: int) -> QoSProfile:
    offered, durability = replay_qos(connections, reliability)
    # rosbags numbers the policies as ROS does.
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth,
        reliability=ReliabilityPolicy(offered.value),
        durability=DurabilityPolicy(durability.value))
