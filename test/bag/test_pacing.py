"""Pacing by a clock of the test's own: deadlines, rates, rounds."""

from __future__ import annotations

import math
from threading import Event, TIMEOUT_MAX

import pytest

from resnet_trt_node.bag.pacing import mean_spacing_ns, paced
from resnet_trt_node.errors import UsageError

MS = 1_000_000


class FakeClock:
    """A clock that only moves when somebody waits or works; waits may oversleep."""

    def __init__(self, oversleep_ns: int = 0) -> None:
        self.time_ns = 1_000
        self.oversleep_ns = oversleep_ns
        self.waits_ns: list[int] = []

    def now_ns(self) -> int:
        return self.time_ns

    def wait(self, seconds: float) -> bool:
        self.waits_ns.append(round(seconds * 1e9))
        self.time_ns += round(seconds * 1e9) + self.oversleep_ns
        return False


def yield_times(clock: FakeClock, times_ns, count=None, work_ns=0, **options):
    found = []
    for item in paced(
            lambda: times_ns, lambda item: item, now_ns=clock.now_ns, wait=clock.wait, **options):
        found.append((item, clock.time_ns - 1_000))
        if len(found) == count:
            break
        clock.time_ns += work_ns
    return found


def test_yields_at_the_recorded_spacing_whatever_the_first_time_is():
    times = [7_000 * MS, 7_030 * MS, 7_100 * MS]
    assert yield_times(FakeClock(), times) == [
        (times[0], 0), (times[1], 30 * MS), (times[2], 100 * MS)]


def test_rate_divides_the_spacing():
    assert yield_times(FakeClock(), [0, 30 * MS, 100 * MS], rate=2.0) == [
        (0, 0), (30 * MS, 15 * MS), (100 * MS, 50 * MS)]
    assert yield_times(FakeClock(), [0, 30 * MS], rate=0.5)[-1] == (30 * MS, 60 * MS)


def test_work_and_late_wake_ups_do_not_add_up():
    clock = FakeClock(oversleep_ns=2 * MS)
    found = yield_times(clock, [index * 10 * MS for index in range(100)], work_ns=3 * MS)
    assert [at for _, at in found[1:]] == [index * 10 * MS + 2 * MS for index in range(1, 100)]


def test_a_slow_caller_gets_late_items_at_once_and_catches_up():
    clock = FakeClock()
    found = []
    for item in paced(
            lambda: [0, 10 * MS, 20 * MS, 50 * MS], lambda item: item, now_ns=clock.now_ns,
            wait=clock.wait):
        found.append(clock.time_ns - 1_000)
        if item == 0:
            clock.time_ns += 35 * MS
    assert found == [0, 35 * MS, 35 * MS, 50 * MS]
    assert clock.waits_ns == [15 * MS]


def test_items_out_of_order_are_late_not_an_error():
    assert yield_times(FakeClock(), [0, 20 * MS, 10 * MS]) == [
        (0, 0), (20 * MS, 20 * MS), (10 * MS, 20 * MS)]


def test_loop_keeps_the_mean_spacing_between_rounds():
    found = yield_times(FakeClock(), [0, 10 * MS, 20 * MS], count=7, loop=True)
    assert [at for _, at in found] == [index * 10 * MS for index in range(7)]


def test_loop_takes_the_given_gap_and_divides_it_by_the_rate():
    found = yield_times(
        FakeClock(), [0, 10 * MS], count=4, loop=True, gap_ns=lambda: 50 * MS, rate=2.0)
    assert [at for _, at in found] == [0, 5 * MS, 30 * MS, 35 * MS]


def test_loop_over_one_item_does_not_spin():
    found = yield_times(FakeClock(), [5], count=3, loop=True)
    assert [at for _, at in found] == [0, 1_000 * MS, 2_000 * MS]


def test_nothing_to_yield_ends_also_in_a_loop():
    assert yield_times(FakeClock(), [], loop=True) == []


@pytest.mark.parametrize(('span_ns', 'count', 'expected'), [
    (100, 3, 50), (0, 5, 10**9), (0, 1, 10**9), (5, 1, 10**9), (-5, 2, 10**9), (1, 100, 1)])
def test_mean_spacing_is_never_zero(span_ns, count, expected):
    assert mean_spacing_ns(span_ns, count) == expected


@pytest.mark.parametrize('rate', [0.0, -1.0, math.nan, math.inf])
def test_refuses_a_rate_before_the_first_item(rate):
    with pytest.raises(UsageError, match='rate'):
        paced(list, lambda item: item, rate=rate)


def test_a_set_event_ends_a_wait_of_hours():
    stop = Event()
    items = paced(lambda: [0, 10**13], lambda item: item, stop=stop)
    assert next(items) == 0
    stop.set()
    assert list(items) == []


def test_items_that_are_late_are_stopped_too():
    stop, clock = Event(), FakeClock()
    found = []
    for item in paced(
            lambda: range(9), lambda item: item, stop=stop, now_ns=clock.now_ns, wait=clock.wait):
        found.append(item)
        clock.time_ns += 100  # longer than there is between two
        if item == 3:
            stop.set()
    assert found == [0, 1, 2, 3]


def test_a_loop_ends_where_nothing_is_left():
    rounds = iter([[1, 2], []])
    clock = FakeClock()
    assert list(paced(
        lambda: next(rounds), lambda item: item, loop=True, now_ns=clock.now_ns,
        wait=clock.wait)) == [1, 2]


def test_no_wait_is_longer_than_threads_can_wait():
    clock = FakeClock()
    yield_times(clock, [0, 10**30], rate=0.1)
    assert clock.waits_ns == [round(TIMEOUT_MAX * 1e9)]
