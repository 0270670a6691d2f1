"""Rates and delay of the messages of a topic, by a clock that the test sets."""

from __future__ import annotations

from threading import Event, Thread
from types import SimpleNamespace

import pytest
from resnet_trt_node.node.ros.topics.arrivals import ArrivalRates, Arrivals

MS = 10**6
SEC = 1000 * MS
#: When the tests begin; far from 0, as wall time is.
START = 1_700_000_000 * SEC


class Topic:
    """Arrivals of a topic, and the node's clock."""

    def __init__(self, now_ns: int = START) -> None:
        self.now_ns = now_ns
        self._arrivals = Arrivals(lambda: self.now_ns)

    def add(self, stamp_ns: int) -> None:
        """Have a message arrive."""
        self._arrivals.add(SimpleNamespace(sec=stamp_ns // SEC, nanosec=stamp_ns % SEC))

    def run(self, number: int, period_ms: int, delay_ms: int = 0) -> None:
        """Have messages arrive, the first of them now, each so long after its stamp."""
        for _ in range(number):
            self.add(self.now_ns - delay_ms * MS)
            self.now_ns += period_ms * MS
        self.now_ns -= period_ms * MS

    @property
    def rates(self) -> ArrivalRates:
        """Return what is known now."""
        return self._arrivals.rates()


def test_nothing_is_known_before_the_second_message():
    topic = Topic()
    assert topic.rates == ArrivalRates(0.0, 0.0, None)
    topic.add(START - 5 * MS)
    assert topic.rates == ArrivalRates(0.0, 0.0, 5.0)


def test_rates_are_intervals_by_time_and_the_delay_is_that_of_the_last():
    topic = Topic()
    topic.run(11, period_ms=50, delay_ms=12)
    assert topic.rates == ArrivalRates(20.0, 20.0, 12.0)
    # The frames were taken every 50 ms, and two of them were held up on their way.
    topic.now_ns += 200 * MS
    for late_ms in (150, 100):
        topic.add(topic.now_ns - late_ms * MS)
    node_hz, stamp_hz = topic.rates.node_hz, topic.rates.stamp_hz
    assert node_hz == pytest.approx(12 / 0.7)
    assert stamp_hz == pytest.approx(12 / 0.612)
    assert topic.rates.delay_ms == 100.0


def test_the_rate_falls_while_nothing_comes_and_the_last_message_is_forgotten():
    topic = Topic()
    topic.run(101, period_ms=100)
    assert topic.rates == ArrivalRates(10.0, 10.0, 0.0)
    topic.now_ns += 5 * SEC
    # 51 messages are left of the last ten seconds.
    assert topic.rates == ArrivalRates(5.1, 10.0, 0.0)
    topic.now_ns += 5 * SEC
    assert topic.rates.node_hz == 0.0
    topic.now_ns += 1
    assert topic.rates == ArrivalRates(0.0, 0.0, None)


def test_a_fast_topic_is_measured_over_its_last_300_messages():
    topic = Topic()
    topic.run(1000, period_ms=10)
    topic.now_ns += 5 * MS
    topic.run(300, period_ms=5)
    assert topic.rates == ArrivalRates(200.0, 200.0, 0.0)


def test_stamps_of_0_give_no_stamp_rate_and_no_delay():
    topic = Topic()
    for _ in range(3):
        topic.add(0)
        topic.now_ns += 100 * MS
    topic.now_ns -= 100 * MS
    assert topic.rates == ArrivalRates(10.0, 0.0, None)


@pytest.mark.parametrize('offset_sec', [-86_400, 3600])
def test_stamps_of_another_time_base_have_a_rate_and_no_delay(offset_sec):
    topic = Topic()
    for number in range(3):
        topic.add(START + offset_sec * SEC + number * 40 * MS)
        topic.now_ns += 50 * MS
    topic.now_ns -= 50 * MS
    assert topic.rates == ArrivalRates(20.0, 25.0, None)


def test_a_recording_that_begins_anew_has_the_rate_of_its_new_round():
    topic = Topic()
    topic.run(10, period_ms=100)
    topic.now_ns += 100 * MS
    # The stamps start again, while the clock goes on.
    for number in range(3):
        topic.add(START + number * 50 * MS)
        topic.now_ns += 100 * MS
    topic.now_ns -= 100 * MS
    assert topic.rates == ArrivalRates(10.0, 20.0, 1100.0)


def test_stamps_that_stand_still_have_no_rate():
    topic = Topic()
    for _ in range(3):
        topic.add(START)
        topic.now_ns += 100 * MS
    topic.now_ns -= 100 * MS
    assert topic.rates == ArrivalRates(10.0, 0.0, 200.0)


def test_simulated_time_counts_which_may_stand_still_and_be_set_back():
    topic = Topic(now_ns=0)
    for _ in range(3):
        # No /clock yet.
        topic.add(START)
    assert topic.rates == ArrivalRates(0.0, 0.0, None)
    topic.now_ns = START
    topic.run(5, period_ms=100, delay_ms=7)
    assert topic.rates == ArrivalRates(10.0, 10.0, 7.0)
    topic.now_ns = START - 3 * SEC
    assert topic.rates == ArrivalRates(0.0, 0.0, None)
    topic.run(5, period_ms=200, delay_ms=3)
    assert topic.rates == ArrivalRates(5.0, 5.0, 3.0)


def test_a_message_that_comes_while_rates_are_asked_for_is_no_step_of_the_clock():
    now_ns, coming = START, Event()

    def clock() -> int:
        read_ns = now_ns
        if coming.is_set():
            coming.clear()
            # It cannot be noted before the rates are: a lock is held while the time is read.
            arrival.start()
            arrival.join(0.2)
        return read_ns

    def arrive() -> None:
        nonlocal now_ns
        now_ns += 100 * MS
        arrivals.add(SimpleNamespace(sec=now_ns // SEC, nanosec=now_ns % SEC))

    arrivals, arrival = Arrivals(clock), Thread(target=arrive)
    for _ in range(10):
        arrive()
    coming.set()
    assert arrivals.rates().node_hz == pytest.approx(10.0)
    arrival.join()
    assert arrivals.rates().node_hz == pytest.approx(10.0)
