"""One topic that the node subscribes to while it is active."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import time_ns
from typing import Any, Callable, Collection, Mapping, Optional, Union

from rclpy.node import Node
from rclpy.qos import (
    qos_check_compatible,
    qos_policy_name_from_kind,
    qos_profile_sensor_data,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
)
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.node.deferred_destruction import (
    CallbackInReserve, NodeOfDeferredDestruction)
from resnet_trt_node.node.distribution import (
    SubscriptionEventCallbacks, UnsupportedEventTypeError)
from resnet_trt_node.node.ros.parameters.qos_overrides import (
    OPTIONS, overrides_explained, qos_overrides)
from resnet_trt_node.node.ros.receiving.availability import chosen_way, MESSAGE, SERIALISED
from resnet_trt_node.node.ros.receiving.message_buffers import (
    Allocate, allocate_pageable, MessageBuffers)
from resnet_trt_node.node.ros.receiving.rcl_take import ReceiveError, SerialisedTake
from resnet_trt_node.node.ros.receiving.receiver import Receiver
from resnet_trt_node.node.ros.ros_errors import refusals_explained
from resnet_trt_node.node.ros.stamps import now_ns
from resnet_trt_node.node.ros.topics.arrivals import Arrivals
from resnet_trt_node.node.ros.topics.reception import (
    DamagedMessage, read_message, waited_ns, with_wait)
from resnet_trt_node.node.ros.transports import base_topic
from resnet_trt_node.text.printable import LINE_LIMIT, printable, some

#: The remedy for incompatible QoS: only overrides of the user can request too much.
_QOS_REMEDY = (
    'set the parameter image_reliability to best_effort and remove qos_overrides, '
    'or change the QoS of the publisher')
#: What rmw calls the node of an endpoint while discovery has not told of the node.
_UNKNOWN_NODE = '_NODE_NAME_UNKNOWN_'
#: How many topics are offered in place of one without a publisher.
_OFFERED = 3


@dataclass(frozen=True)
class LargeMessages:
    """
    How messages are received that are worth a thread of their own.

    :param most_held: as many messages are held at a time, if all goes well.
    :param wanted: the parameter `receive`.
    :param most_bytes: of an image; no memory is kept for more.
    """

    most_held: int
    wanted: str
    most_bytes: int = MAX_IMAGE_BYTES


class InputTopic:
    """
    A topic, and the subscription to it while there is one.

    :param node: creates and destroys the subscription.
    :param kind: class of the messages.
    :param topic: the name, relative so that remapping and namespaces work.
    :param depth: how many messages the middleware keeps at least.
    :param reliable: whether the subscription is reliable.
    :param read: makes of a serialised message, bytes or a memoryview of them, what `subscribe`
        hands on, which has a header. Where it raises, a `DamagedMessage` is handed on. It may keep
        the view; the memory is kept for as long as it does.
    :param hints: a remedy for publishers of another type, by that type.
    :param hint: the remedy for types that are not in `hints`.
    :param large: how large messages are received, None for small ones.
    :raises UsageError: for an invalid name, or a way of receiving that there is not.
    """

    def __init__(
            self, node: Node, kind: Any, topic: str, depth: int, reliable: bool,
            read: Callable[[Any], Any], hints: Optional[Mapping[str, str]] = None,
            hint: str = '', large: Optional[LargeMessages] = None) -> None:
        self._node = node
        self._kind = kind
        self._topic = topic
        self._qos = QoSProfile(
            depth=max(qos_profile_sensor_data.depth, depth),
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT)
        self._hints = hints or {}
        self._hint = hint
        self._read = read
        self._large = large
        self._subscription: Optional[Any] = None
        self._receiver: Optional[Receiver] = None
        self._buffers: Optional[MessageBuffers] = None
        # Of the subscriptions that were.
        self._extra = 0
        with refusals_explained(topic):
            #: The full name of the topic.
            self.name = node.resolve_topic_name(topic)
        #: How messages are received: `SERIALISED`, on a thread, or `MESSAGE`, by the executor.
        self.way = MESSAGE if large is None else chosen_way(node, large.wanted)
        #: The messages that arrived since the last `subscribe`.
        self.arrivals = self._no_arrivals()

    def _no_arrivals(self) -> Arrivals:
        clock = self._node.get_clock()
        return Arrivals(lambda: now_ns(clock))

    @property
    def extra_buffers(self) -> int:
        """Return how many messages got memory of their own, see `MessageBuffers`."""
        return self._extra + (self._buffers.extra if self._buffers is not None else 0)

    @property
    def publishers(self) -> int:
        """Return the number of publishers of the topic, of any type."""
        return int(self._node.count_publishers(self.name))

    def subscribe(
            self, callback: Callable[..., None],
            on_lost: Optional[Callable[[int], None]] = None,
            allocate: Optional[Allocate] = None) -> None:
        """
        Subscribe to the topic.

        :param callback: called with a message and `waited_ns`, see `with_wait`.
        :param on_lost: called with the number of messages that DDS lost, if the middleware
            reports it.
        :param allocate: returns memory for large messages; None takes any.
        :raises UsageError: for invalid qos_overrides, or a topic of another type.
        """
        arrivals = self.arrivals = self._no_arrivals()

        def on_serialised(data: Union[bytes, memoryview], waited_ns: int) -> None:
            message = read_message(self._read, data)
            arrivals.add(message.header.stamp)
            callback(message, waited_ns=waited_ns)

        if self.way == SERIALISED:
            self._receive_serialised(
                on_serialised, callback, on_lost, allocate or allocate_pageable)
        else:
            self._subscription = self._create(with_wait(on_serialised), on_lost)

    def _receive_serialised(
            self, on_serialised: Callable[[Union[bytes, memoryview], int], None],
            callback: Callable[..., None], on_lost: Optional[Callable[[int], None]],
            allocate: Allocate) -> None:
        """Have a thread receive; if that fails one day, the executor from then on."""
        node, large = self._node, self._large
        assert large is not None
        # Or this was not chosen.
        assert isinstance(node, NodeOfDeferredDestruction)

        def on_taken(data: memoryview, received_ns: int) -> None:
            on_serialised(data, waited_ns(received_ns, time_ns()))

        def on_failure(error: Exception, handing_on: bool) -> None:
            counts_as = ''
            if handing_on:
                counts_as = 'malformed'
            elif isinstance(error, ReceiveError):
                counts_as = 'lost_in_transport'
            node.get_logger().error(
                f'{self.name}: receive: {MESSAGE} from now on, as {SERIALISED} failed: '
                f'{printable(f"{type(error).__name__}: {error}", LINE_LIMIT)}'
                + (f'; the message in hand counts as {counts_as}' if counts_as else ''))
            self.way = MESSAGE
            node.serve(subscription)
            if handing_on:
                callback(DamagedMessage('the message cannot be handed on', error), waited_ns=0)
            elif counts_as and on_lost is not None:
                on_lost(1)

        self._buffers = buffers = MessageBuffers(
            large.most_held, allocate, large.most_bytes)
        self._subscription = subscription = self._create(
            CallbackInReserve(with_wait(on_serialised)), on_lost)
        take = SerialisedTake(subscription.handle.pointer, buffers)
        self._receiver = Receiver(
            node.context, subscription.handle, take,
            partial(node.take_events, subscription.event_handlers), on_taken, on_failure)

    def _create(
            self, callback: Callable[..., None],
            on_lost: Optional[Callable[[int], None]]) -> Any:
        # Declared only if the user overrides it: rclpy would keep the values of the first
        # activation, and a later change of image_reliability would have no effect.
        overridden = bool(qos_overrides(self._node, self._topic, 'subscription'))

        def on_event(event: Any) -> None:
            assert on_lost is not None
            on_lost(lost_messages(event))

        def create(message_lost: Optional[Callable[[Any], None]]) -> Any:
            events = SubscriptionEventCallbacks(
                message_lost=message_lost, incompatible_qos=self._on_incompatible_qos)
            # `problems` reports a topic of another type, with a remedy. Assigned here because the
            # constructor of ROS 2 Humble lacks the argument.
            events.incompatible_type = lambda event: None
            return self._node.create_subscription(
                self._kind, self._topic, callback, self._qos, event_callbacks=events,
                qos_overriding_options=OPTIONS if overridden else None, raw=True)

        with refusals_explained(self._topic), \
                overrides_explained(self._node, self._topic, 'subscription'):
            try:
                return create(on_event if on_lost else None)
            except UnsupportedEventTypeError:
                return create(None)

    def _on_incompatible_qos(self, event: Any) -> None:
        self._node.get_logger().warning(
            f'{self.name}: a publisher offers an incompatible '
            f'{qos_policy_name_from_kind(event.last_policy_kind)} policy, its messages are not '
            f'received: {_QOS_REMEDY}')

    def unsubscribe(self) -> None:
        """Destroy the subscription; no message is handed on any more."""
        if self._receiver is not None:
            self._receiver.stop()
            self._extra = self.extra_buffers
            # What a frame is still in is freed with it.
            self._receiver = self._buffers = None
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def problems(self) -> list[str]:
        """Return why messages of publishers of the topic do not arrive, in words."""
        wanted = type_name(self._kind)
        notes: set[str] = set()
        for publisher in self._node.get_publishers_info_by_topic(self.name):
            carried = publisher.topic_type
            if carried != wanted:
                hint = self._hints.get(carried, self._hint)
                notes.add(
                    f'{self.name} carries {printable(carried)}, this node wants {wanted}'
                    + (f': {hint}' if hint else ''))
            elif self._subscription is not None:
                fits, reason = qos_check_compatible(
                    publisher.qos_profile, self._subscription.qos_profile)
                if fits == QoSCompatibility.ERROR:
                    name = publisher.node_name
                    whose = 'a publisher' if name == _UNKNOWN_NODE else printable(name)
                    notes.add(
                        f'{self.name}: {whose} offers an incompatible QoS '
                        f'({reason.removeprefix("ERROR: ").rstrip("; ")}): {_QOS_REMEDY}')
        return sorted(notes)

    def published_instead(self, used: Collection[str]) -> str:
        """
        Return what other nodes publish that this topic could be, as a remedy; '' if nothing.

        :param used: topics that this node reads already.
        """
        wanted, own = type_name(self._kind), self._node.get_fully_qualified_name()
        found = []
        for topic, types in self._node.get_topic_names_and_types():
            twin = topic != self.name and base_topic(topic) == base_topic(self.name)
            hint = next((self._hints[kind] for kind in types if kind in self._hints), None)
            if topic in used or not (wanted in types or (twin and hint)):
                continue
            if all(own == f'{info.node_namespace.rstrip("/")}/{info.node_name}'
                   for info in self._node.get_publishers_info_by_topic(topic)):
                continue
            if wanted not in types:
                return f'{printable(topic)} is published: {hint}'
            found.append(printable(topic))
        if not found:
            return ''
        return f'{wanted} is published on {some(found, _OFFERED)}: -r {self._topic}:={found[0]}'


def type_name(kind: Any) -> str:
    """Return how the ROS graph names a class of messages, such as sensor_msgs/msg/Image."""
    return f'{kind.__module__.partition(".")[0]}/msg/{kind.__name__}'


def lost_messages(event: Any) -> int:
    """
    Return the number of messages lost since the previous event; 0 where the event has none.

    Fast DDS counts in int32 and at times adds -2^31, which arrives here as 2^64 - 2^31. Once in an
    hour under load the rest was 2^31 - 1: an overflow or -1, but not the loss of so many images.
    """
    change = int(event.total_count_change) & 0x7fff_ffff
    return change if change < 1 << 30 else 0
