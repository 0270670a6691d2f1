"""Yields recorded items at their recorded spacing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import math
from threading import Event, TIMEOUT_MAX
import time
from typing import Optional, TypeVar

from resnet_trt_node.errors import UsageError

T = TypeVar('T')

#: The gap between two rounds if the recording has no spacing, in nanoseconds.
SINGLE_ITEM_PERIOD_NS = 10**9


def paced(
        open_items: Callable[[], Iterable[T]], time_ns: Callable[[T], int], *,
        rate: float = 1.0, loop: bool = False, stop: Optional[Event] = None,
        gap_ns: Optional[Callable[[], int]] = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        wait: Optional[Callable[[float], bool]] = None) -> Iterator[T]:
    """
    Yield items at their recorded spacing, divided by `rate`.

    The time of each item counts from the first one, so delays of the caller or late wake-ups do
    not accumulate. A caller that falls behind gets the late items at once. An item is read before
    the wait for its time.

    :param open_items: called for every round, returns the items in the order of their times.
    :param time_ns: returns an item's recorded time in nanoseconds.
    :param rate: 2 is twice as fast as recorded.
    :param loop: start again after the last item, until `stop`.
    :param stop: ends the iteration early, including a wait.
    :param gap_ns: called after a round, returns the time from its last item to the first of the
        next; None for the mean spacing of the items.
    :param now_ns: a monotonic clock in nanoseconds, replaced in tests.
    :param wait: waits for a number of seconds and returns whether to stop, replaced in tests.
    :raises UsageError: at once if the rate is not a positive number.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise UsageError(f'rate is {rate}: it must be above 0, 2 plays twice as fast')
    stop = Event() if stop is None else stop
    wait = wait or stop.wait

    def rounds() -> Iterator[T]:
        start_ns: Optional[int] = None
        while True:
            count = first_ns = last_ns = 0
            for item in open_items():
                last_ns = time_ns(item)
                if count == 0:
                    first_ns = last_ns
                if start_ns is None:
                    start_ns = now_ns()
                count += 1
                remaining_ns = start_ns + round((last_ns - first_ns) / rate) - now_ns()
                if stop.is_set() or (
                        remaining_ns > 0 and wait(min(remaining_ns / 1e9, TIMEOUT_MAX))):
                    return
                yield item
            if not loop or start_ns is None or count == 0:
                return
            span_ns = last_ns - first_ns
            gap = mean_spacing_ns(span_ns, count) if gap_ns is None else gap_ns()
            start_ns += round((span_ns + gap) / rate)

    return rounds()


def mean_spacing_ns(span_ns: int, count: int) -> int:
    """
    Return the mean spacing of items in nanoseconds, always above 0.

    :param span_ns: from the first item to the last.
    :param count: number of items; for a single one, and for several of the same time, the spacing
        is one second.
    """
    return SINGLE_ITEM_PERIOD_NS if span_ns <= 0 or count < 2 else max(1, span_ns // (count - 1))
