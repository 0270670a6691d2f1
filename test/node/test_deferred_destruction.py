"""Publishers and subscriptions are destroyed behind the back of no executor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import subprocess
import sys
from time import monotonic

import pytest
import rclpy
from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from resnet_trt_node.node.deferred_destruction import NodeOfDeferredDestruction
from resnet_trt_node.node.distribution import events_executor, SubscriptionEventCallbacks
from std_msgs.msg import String

pytestmark = pytest.mark.slow

EventsExecutor = events_executor()
_EXECUTORS = [one for one in (EventsExecutor, SingleThreadedExecutor, MultiThreadedExecutor)
              if one is not None]


@pytest.mark.skipif(EventsExecutor is None, reason='this rclpy has no EventsExecutor')
def test_it_can_be_deactivated_under_losses_on_the_default_transport(repository):
    # Ends otherwise in its first cycles.
    done = subprocess.run(
        [sys.executable, str(repository / 'tools' / 'deactivate_cycles.py'), '--cycles', '20'],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(': ')[0] for line in lines] == ['auto', 'single_threaded']
    assert all('20 cycles, exit code 0' in line for line in lines)


@pytest.fixture(params=_EXECUTORS)
def spun(request):
    """Give a node, and what spins it until a condition is true."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = NodeOfDeferredDestruction('spun', context=context)
    executor = request.param(context=context)
    executor.add_node(node)

    def spin_until(condition):
        deadline = monotonic() + 60
        while not condition():
            assert monotonic() < deadline
            executor.spin_once(timeout_sec=0.02)

    yield node, spin_until
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def _is_destroyed(entity):
    try:
        with entity.handle:
            return False
    except InvalidHandle:
        return True


def test_a_subscription_is_hidden_then_destroyed_and_deaf_meanwhile(spun):
    node, spin_until = spun
    heard = []
    subscription = node.create_subscription(String, 'words', heard.append, 10)
    publisher = node.create_publisher(String, 'words', 10)
    spin_until(publisher.get_subscription_count)
    publisher.publish(String(data='first'))
    spin_until(lambda: heard)
    publisher.publish(String(data='second'))
    assert node.destroy_subscription(subscription)
    assert subscription not in list(node.subscriptions)
    assert not _is_destroyed(subscription)
    spin_until(lambda: _is_destroyed(subscription))
    assert [message.data for message in heard] == ['first']
    spin_until(lambda: not publisher.get_subscription_count())


def test_a_publisher_stays_until_what_is_queued_is_done_and_then_goes(spun):
    node, spin_until = spun
    publisher = node.create_publisher(String, 'words', 10)
    assert node.destroy_publisher(publisher)
    assert not _is_destroyed(publisher)
    # Another one of the topic, at once, as reconfiguring creates it.
    successor = node.create_publisher(String, 'words', 10)
    spin_until(lambda: _is_destroyed(publisher))
    assert not _is_destroyed(successor)
    assert node.count_publishers('words') == 1


def test_what_is_hidden_ends_with_the_node_where_nobody_spins():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = NodeOfDeferredDestruction('unspun', context=context)
    subscription = node.create_subscription(String, 'words', print, 10)
    assert node.destroy_subscription(subscription)
    assert not _is_destroyed(subscription)
    node.destroy_node()
    assert _is_destroyed(subscription)
    rclpy.shutdown(context=context)


def test_middleware_events_are_reported_and_never_reach_the_executor(spun):
    node, spin_until = spun
    kinds = []
    events = SubscriptionEventCallbacks(
        incompatible_qos=lambda event: kinds.append(event.total_count))
    node.create_subscription(String, 'words', print, 10, event_callbacks=events)
    assert not list(node.waitables)
    node.create_publisher(
        String, 'words', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    spin_until(lambda: kinds)
    assert kinds == [1]


def test_threads_destroy_beside_an_executor_that_takes_the_same_events(spun):
    node, spin_until = spun
    subscriptions = [node.create_subscription(String, 'words', print, 10) for _ in range(40)]

    def destroy(some):
        for subscription in some:
            node._take_all_events()
            node.destroy_subscription(subscription)

    with ThreadPoolExecutor(4) as threads:
        ends = [threads.submit(destroy, subscriptions[first::4]) for first in range(4)]
        spin_until(lambda: all(end.done() for end in ends))
    assert [end.exception() for end in ends] == [None] * 4
    spin_until(lambda: all(map(_is_destroyed, subscriptions)))


def test_nothing_is_kept_of_what_was_destroyed(spun):
    """A rclpy of its own keeps a weak reference to each, and to its events, for good."""
    node, spin_until = spun
    known = node.default_callback_group.entities
    before = len(known)
    for _ in range(5):
        entities = [node.create_subscription(String, 'words', print, 10) for _ in range(4)]
        assert len(known) > before
        for entity in entities:
            node.destroy_subscription(entity)
        del entity
        spin_until(lambda entities=entities: all(map(_is_destroyed, entities)))
        del entities
    # Those of the last turn are only forgotten once nobody here holds them.
    last = node.create_subscription(String, 'words', print, 10)
    node.destroy_subscription(last)
    del last
    # A thread of the executor may still hold what it has destroyed.
    spin_until(lambda: len(known) - before <= 5 and
               sum(one() is not None for one in list(known)) <= before)
