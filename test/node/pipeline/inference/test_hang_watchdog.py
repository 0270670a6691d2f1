"""When a call counts as hung, by a clock under control."""

from __future__ import annotations

import re

import pytest
from resnet_trt_node.node.pipeline.inference.hang_watchdog import CallAbandonedError, HangWatchdog


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 10**18

    def __call__(self) -> int:
        return self.now_ns


def age(clock, watch, milliseconds, timeout_ms, step_ms=500):
    """Let time pass as a node's timer sees it; return what the last check reported."""
    reported = None
    for _ in range(milliseconds // step_ms):
        clock.now_ns += step_ms * 10**6
        reported = watch.check(timeout_ms)
    return reported


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(clock):
    return HangWatchdog(clock)


def abandoned(watch, body, extra_ms=0.0):
    """Run a call that must be abandoned; return the reason."""
    def call():
        with watch.call('collecting a batch of 4', extra_ms):
            body()
    with pytest.raises(CallAbandonedError) as caught:
        call()
    return str(caught.value)


def test_a_call_that_is_too_long_is_hung_and_its_result_does_not_come_out(clock, watch):
    def body():
        assert age(clock, watch, 5000, 5000) is None
        assert watch.hung is None
        assert age(clock, watch, 500, 5000) == watch.hung
    why = abandoned(watch, body)
    assert re.search(r'collecting a batch of 4 .*5\.5 s', why)
    # It stays hung: another call gets nothing out either, and nobody asks how old that is.
    assert age(clock, watch, 500, 5000) == why
    assert abandoned(watch, lambda: None) == why


def test_its_own_error_does_not_come_out_of_a_hung_call_either(clock, watch):
    def body():
        age(clock, watch, 6000, 5000)
        raise ValueError('the device is gone')
    abandoned(watch, body)


@pytest.mark.parametrize(('slowest_ms', 'extra_ms', 'limit_ms'), [
    (0.0, 0.0, 5000), (499.0, 0.0, 5000), (900.0, 0.0, 9000), (0.0, 2000.0, 7000)])
def test_the_limit_is_the_time_out_but_at_least_ten_slow_batches(
        clock, watch, slowest_ms, extra_ms, limit_ms):
    def body():
        assert age(clock, watch, limit_ms, 5000) is None
        assert age(clock, watch, 500, 5000) is not None
    watch.slowest_ms = slowest_ms
    abandoned(watch, body, extra_ms)


def test_each_call_has_the_time_for_itself_and_between_calls_none_passes(clock, watch):
    for _ in range(3):
        with watch.call('collecting'):
            assert age(clock, watch, 4500, 5000) is None
        assert age(clock, watch, 60_000, 5000) is None


def test_what_the_cpu_does_within_a_call_is_no_age_of_it(clock, watch):
    def body():
        assert age(clock, watch, 3000, 5000) is None
        # Between two checks.
        clock.now_ns += 900 * 10**6
        with watch.pause():
            assert age(clock, watch, 60_000, 5000) is None
            assert watch.overdue() is None
        assert age(clock, watch, 1000, 5000) is None
        assert age(clock, watch, 500, 5000) is not None
    abandoned(watch, body)
    with watch.pause():
        assert watch.hung is not None


def test_a_process_that_was_stopped_did_not_hang(clock, watch):
    with watch.call('collecting'):
        assert age(clock, watch, 3_600_000, 5000, step_ms=3_600_000) is None
        assert age(clock, watch, 3500, 5000) is None


def test_without_a_time_out_it_is_only_reported_that_a_call_is_overdue(clock, watch):
    watch.slowest_ms = 150.0
    assert watch.overdue() is None
    with watch.call('collecting a batch of 1'):
        assert age(clock, watch, 1500, 0) is None
        assert watch.overdue() is None
        assert age(clock, watch, 3_600_000, 0) is None
        assert re.search(r'collecting a batch of 1 .*3601\.5 s', watch.overdue())
    assert watch.overdue() is None
