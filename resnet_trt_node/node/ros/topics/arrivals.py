"""How often the messages of a topic arrive, and how old they are when they do."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import Any, Callable, Optional, Sequence

from resnet_trt_node.node.ros.stamps import stamp_age_ms, stamp_ns

#: A rate spans the messages of this time, and no more than this number: that of greenwave_monitor.
_WINDOW_NS, _MOST = 10 * 10**9, 300


@dataclass(frozen=True)
class ArrivalRates:
    """
    What the last messages of a topic tell.

    :param node_hz: messages a second by the node's clock; 0 for fewer than two.
    :param stamp_hz: messages a second by their header stamps; 0 for fewer than two.
    :param delay_ms: from the stamp of the last message to its arrival by the node's clock; None
        without a message, and for a stamp of another time base, see `stamp_age_ms`.
    """

    node_hz: float = 0.0
    stamp_hz: float = 0.0
    delay_ms: Optional[float] = None


class Arrivals:
    """
    Notes the messages of one topic; every method may be called from any thread.

    :param now_ns: returns nanoseconds of the node's clock, which use_sim_time takes from /clock.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._lock = Lock()
        # Arrival and stamp of each message, in nanoseconds.
        self._seen = deque[tuple[int, int]](maxlen=_MOST)
        self._delay_ms: Optional[float] = None

    def add(self, stamp: Any) -> None:
        """Note a message that arrives now, given its header's builtin_interfaces/Time."""
        with self._lock:
            # Inside: a time that waited for the lock would look like a clock that was set back.
            now_ns = self._now_ns()
            self._forget(now_ns)
            self._seen.append((now_ns, stamp_ns(stamp)))
            self._delay_ms = stamp_age_ms(now_ns, stamp)

    def rates(self) -> ArrivalRates:
        """Return the rates over the last ten seconds, and the last delay."""
        with self._lock:
            now_ns = self._now_ns()
            self._forget(now_ns)
            seen, delay_ms = list(self._seen), self._delay_ms
        if not seen:
            return ArrivalRates()
        # What no message has followed for a while is slower than its messages were.
        node_hz = min(_rate_hz([arrived for arrived, _ in seen]), _per_sec(
            len(seen), now_ns - seen[0][0]) or float('inf'))
        return ArrivalRates(node_hz, _rate_hz(_last_run([stamp for _, stamp in seen])), delay_ms)

    def _forget(self, now_ns: int) -> None:
        """Drop what is too old, and everything if the clock was set back, as by a looped bag."""
        if self._seen and now_ns < self._seen[-1][0]:
            self._seen.clear()
        while self._seen and now_ns - self._seen[0][0] > _WINDOW_NS:
            self._seen.popleft()


def _last_run(stamps_ns: Sequence[int]) -> list[int]:
    """Return the stamps since the last one that was set back; those of 0 are none."""
    run: list[int] = []
    for stamp in filter(None, stamps_ns):
        if run and stamp < run[-1]:
            run = []
        run.append(stamp)
    return run


def _rate_hz(times_ns: Sequence[int]) -> float:
    return _per_sec(len(times_ns) - 1, times_ns[-1] - times_ns[0]) if times_ns else 0.0


def _per_sec(number: int, span_ns: int) -> float:
    """Return 0 where no time passed: by a simulated clock that stands still."""
    return number * 1e9 / span_ns if span_ns > 0 else 0.0
