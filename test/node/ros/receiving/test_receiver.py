"""The receiving thread, with the middleware: what it hands on, keeps and leaves alone."""

from __future__ import annotations

from array import array
from threading import current_thread, enumerate as threads, Event
from time import monotonic, sleep
import weakref

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.deferred_destruction import NodeOfDeferredDestruction
from resnet_trt_node.node.distribution import events_executor
from resnet_trt_node.node.ros.receiving import availability, rcl_take
from resnet_trt_node.node.ros.receiving.image_cdr import READERS
from resnet_trt_node.node.ros.topics.input_topic import InputTopic, LargeMessages
from sensor_msgs.msg import CompressedImage, Image

pytestmark = pytest.mark.slow

_HANGS_SEC = 120.0
_EXECUTORS = [one for one in (events_executor(), SingleThreadedExecutor) if one is not None]


class Spun:
    """A node that is spun, with an input topic, and a publisher to it."""

    def __init__(self, executor, wanted='auto', kind=Image, most_held=4):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = NodeOfDeferredDestruction('spun', context=self.context)
        self.camera = rclpy.create_node('camera', context=self.context)
        self._executor = executor(context=self.context)
        self._executor.add_node(self.node)
        self.kind = kind
        self.topic = InputTopic(
            self.node, kind, 'image', 10, True, READERS[kind.__name__],
            large=LargeMessages(most_held, wanted))
        self.publisher = self.camera.create_publisher(kind, 'image', QoSProfile(depth=1000))
        self.heard, self.threads, self.lost = [], set(), []

    def hear(self, message, waited_ns):
        self.threads.add(current_thread().name)
        self.heard.append(message)

    def subscribe(self, callback=None):
        self.topic.subscribe(callback or self.hear, self.lost.append)
        self.spin_until(self.publisher.get_subscription_count)

    def spin_until(self, condition):
        deadline = monotonic() + _HANGS_SEC
        while not condition():
            assert monotonic() < deadline
            self._executor.spin_once(timeout_sec=0.01)

    def publish(self, value, height=48, width=64):
        message = Image(height=height, width=width, step=3 * width, encoding='rgb8')
        if self.kind is CompressedImage:
            message = CompressedImage(format='jpeg')
        message.header.stamp.sec = 1_700_000_000
        message.header.frame_id = f'camera {value}'
        message.data = array('B', bytes([value % 256]) * (height * width * 3))
        self.publisher.publish(message)

    def send(self, value, **size):
        """Publish until a message arrives: the subscription may not know the publisher yet."""
        number = len(self.heard)

        def arrived():
            self.publish(value, **size)
            self.spin_until_quiet()
            return len(self.heard) > number
        self.spin_until(arrived)

    def spin_until_quiet(self):
        number, since = len(self.heard), monotonic()
        while monotonic() - since < 0.05:
            self._executor.spin_once(timeout_sec=0.01)
            if len(self.heard) != number:
                number, since = len(self.heard), monotonic()

    def close(self):
        self.topic.unsubscribe()
        self._executor.shutdown()
        self.node.destroy_node()
        self.camera.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def spun(request):
    """Give a maker of `Spun`s, which are closed at the end."""
    made = []

    def make(*arguments, **named):
        made.append(Spun(*arguments, **named))
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize('executor', _EXECUTORS)
@pytest.mark.parametrize('kind', [Image, CompressedImage])
@pytest.mark.parametrize(('wanted', 'names'), [
    ('auto', {'receive'}), ('serialised', {'receive'}), ('message', {'MainThread'})])
def test_both_ways_hand_on_the_same(spun, executor, kind, wanted, names):
    one = spun(executor, wanted, kind)
    one.subscribe()
    one.send(200)
    message = one.heard[0]
    assert one.threads == names
    assert one.topic.way == ('message' if wanted == 'message' else 'serialised')
    assert message.header.stamp.sec == 1_700_000_000
    assert message.header.frame_id == 'camera 200'
    assert bytes(message.data) == bytes([200]) * (48 * 64 * 3)
    if kind is Image:
        assert (message.height, message.width, message.step, message.encoding,
                message.is_bigendian) == (48, 64, 192, 'rgb8', 0)
    else:
        assert message.format == 'jpeg'
    assert one.topic.arrivals.rates().delay_ms is None or one.topic.arrivals.rates().delay_ms > 0


def test_frames_that_are_kept_stay_unchanged_while_hundreds_of_others_arrive(spun):
    one = spun(_EXECUTORS[0], most_held=6)
    kept = []

    def hear(message, waited_ns):
        one.heard.append(message.header.frame_id)
        if len(kept) < 4:
            # A view of a view: what the pipeline and the annotator hold.
            kept.append((int(message.header.frame_id.split()[1]),
                         np.frombuffer(message.data, np.uint8).reshape(480, 640, 3)[::2, 100:]))

    one.subscribe(hear)
    one.send(1, height=480, width=640)
    for value in range(2, 400):
        number = len(one.heard)
        one.publish(value, height=480, width=640)
        one.spin_until(lambda number=number: len(one.heard) > number)
    assert len(one.heard) >= 399
    assert len(kept) == 4
    for value, pixels in kept:
        assert pixels.shape == (240, 540, 3)
        assert (pixels == value % 256).all(), value
    assert one.topic.extra_buffers == 0
    # Those that are kept, and one for all others, and one that the thread may be at.
    assert one.topic._buffers.kept <= 6


def test_frames_that_nobody_lets_go_get_memory_of_their_own_and_are_counted(spun):
    one = spun(_EXECUTORS[0], most_held=2)
    one.subscribe()
    for value in range(1, 9):
        one.send(value)
    assert one.topic._buffers.kept == 2
    assert one.topic.extra_buffers >= 6
    for message in one.heard:
        assert set(bytes(message.data)) == {int(message.header.frame_id.split()[1])}


@pytest.mark.parametrize('executor', _EXECUTORS)
def test_many_activations_end_in_silence_and_free_everything(spun, executor):
    one = spun(executor)
    buffers = []
    for cycle in range(15):
        one.subscribe()
        one.send(cycle + 1)
        buffers.append(weakref.ref(one.topic._buffers))
        # While messages come in.
        for value in range(20):
            one.publish(value)
        one.topic.unsubscribe()
        number = len(one.heard)
        one.spin_until_quiet()
        assert len(one.heard) == number
        one.spin_until(lambda: not one.publisher.get_subscription_count())
    assert not [thread for thread in threads() if thread.name == 'receive']
    assert not [found for found in buffers if found() is not None]
    assert set(bytes(one.heard[0].data)) == {1}


def test_unsubscribing_waits_for_the_message_that_is_handed_on(spun):
    one = spun(_EXECUTORS[0])
    begun, ended = Event(), Event()

    def hear(message, waited_ns):
        begun.set()
        sleep(0.3)
        ended.set()

    one.subscribe(hear)

    def arrived():
        one.publish(1)
        return begun.wait(0.05)
    one.spin_until(arrived)
    one.topic.unsubscribe()
    assert ended.is_set()


def test_the_executor_never_sees_the_subscription(spun):
    one = spun(_EXECUTORS[0])
    one.subscribe()
    assert 'image' not in [found.topic for found in one.node.subscriptions]
    one.topic.unsubscribe()
    assert 'image' not in [found.topic for found in one.node.subscriptions]


def test_what_the_middleware_tells_is_taken_by_the_thread(spun, monkeypatch):
    """Or each of its waits would end at once until a timer of the node took it."""
    notes = []
    monkeypatch.setattr(
        InputTopic, '_on_incompatible_qos', lambda topic, event: notes.append(
            (current_thread().name, event.total_count)))
    one = spun(_EXECUTORS[0])
    one.subscribe()
    one.camera.create_publisher(
        Image, 'image', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    deadline = monotonic() + _HANGS_SEC
    # No executor spins.
    while not notes:
        assert monotonic() < deadline
        sleep(0.01)
    assert notes == [('receive', 1)]


def values(messages):
    """Return the numbers of messages that were published by `Spun.publish`."""
    return [int(message.header.frame_id.split()[1]) for message in messages]


def fail_before_the_take(one):
    def broken():
        raise ZeroDivisionError('never seen before')
    one.topic._receiver._take = broken


def fail_within_the_take(one):
    def broken(size):
        raise MemoryError
    one.topic._buffers.grow = broken


@pytest.mark.parametrize('executor', _EXECUTORS)
@pytest.mark.parametrize(('fail', 'cause', 'arrive', 'lost'), [
    (fail_before_the_take, 'ZeroDivisionError: never seen before', [2, 3, 4, 5, 6], []),
    # rcl has taken the second one, for which there was no memory.
    (fail_within_the_take, 'ReceiveError: ', [3, 4, 5, 6], [1])])
def test_what_fails_later_goes_on_by_the_executor_with_what_is_there(
        spun, capfd, executor, fail, cause, arrive, lost):
    one = spun(executor)
    one.subscribe()
    one.send(1)
    assert one.threads == {'receive'}
    subscription, number = one.topic._subscription, len(one.heard)
    fail(one)
    # Larger than the buffers are, so that it needs a larger one.
    one.publish(2, height=480, width=640)
    for value in range(3, 6):
        one.publish(value)
    one.spin_until(lambda: one.topic.way == 'message')
    one.publish(6)
    one.spin_until(lambda: 6 in values(one.heard))
    # `send` may have sent more than one.
    assert [value for value in values(one.heard[number:]) if value != 1] == arrive
    assert bytes(one.heard[-1].data[:1]) == b'\6'
    one.spin_until(lambda: one.lost == lost)
    assert one.threads == {'receive', 'MainThread'}
    # Nothing that an executor may be walking through was changed.
    assert one.topic._subscription is subscription
    assert 'image' in [found.topic for found in one.node.subscriptions]
    told = capfd.readouterr().err
    assert told.count(
        f'/image: receive: message from now on, as serialised failed: {cause}') == 1
    assert ('; the message in hand counts as lost_in_transport' in told) == bool(lost)
    one.topic.unsubscribe()
    one.spin_until(lambda: not one.publisher.get_subscription_count())


def test_a_message_that_cannot_be_handed_on_counts_as_malformed(spun, capfd):
    one = spun(_EXECUTORS[0])

    def hear(message, waited_ns):
        if message.damage is None and values([message]) == [2]:
            raise ZeroDivisionError('only this one')
        one.hear(message, waited_ns)

    one.subscribe(hear)
    one.send(1)
    number = len(one.heard)
    for value in (2, 3):
        one.publish(value)
    one.spin_until(lambda: 3 in values(
        [found for found in one.heard if found.damage is None]))
    one.spin_until(lambda: len(one.heard) - number >= 2)
    assert [str(found.damage) for found in one.heard[number:] if found.damage is not None] == [
        'the message cannot be handed on: ZeroDivisionError: only this one']
    assert '; the message in hand counts as malformed' in capfd.readouterr().err
    assert not one.lost


def test_another_middleware_or_rcl_is_received_as_before_or_refused(spun, monkeypatch, capfd):
    monkeypatch.setattr(availability, 'get_rmw_implementation_identifier', lambda: 'rmw_other')
    assert spun(_EXECUTORS[0], 'auto').topic.way == 'message'
    assert 'not tested with rmw_other; set receive to serialised' in capfd.readouterr().err
    assert spun(_EXECUTORS[0], 'serialised').topic.way == 'serialised'
    monkeypatch.setattr(rcl_take, '_library', _no_library)
    assert spun(_EXECUTORS[0], 'auto').topic.way == 'message'
    with pytest.raises(UsageError, match=r'receive: serialised cannot be used.*no such rcl'):
        spun(_EXECUTORS[0], 'serialised')


def _no_library():
    raise rcl_take.ReceiveError('no such rcl')


def test_structures_of_another_order_are_known_as_such(monkeypatch):
    library = rcl_take._library()
    assert rcl_take._fits(library)
    monkeypatch.setattr(rcl_take._Array, 'capacity', rcl_take._Array.length)
    assert not rcl_take._fits(library)
