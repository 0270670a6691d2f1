"""
Show how much of a latency is the machine's own: the node's threads and pauses without the node.

The p99 of a millisecond's work says as much about the machine as about the program: a virtual
machine sleeps between frames, wakes with cold caches, and shares its cores with others. Here one
thread wakes 30 times a second, works for about as long as fitting a VGA frame takes and wakes a
second one; that sleeps 5 ms, as the simulated backend does, and works for as long as publishing
takes. There is no ROS, no message and no other process; each piece of work is always the same.

    python3 -m tools.machine_noise [SECONDS]

prints percentiles of each part, as `make bench` does of the node's stages.
"""

from __future__ import annotations

import sys
from threading import Condition, Thread
import time

import numpy as np

_PERIOD_S = 1 / 30
_BACKEND_S = 0.005
#: Bytes that each of the two pieces of work goes through, in steps of Python: such as a frame's.
_FIT_BYTES, _PUBLISH_BYTES = 900_000, 300_000
_STEP_BYTES = 3000
STAGES = ('fit', 'batch', 'infer', 'publish', 'added')


class _Pair:
    """The two threads, and what they measured."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._handed: list[tuple[int, int]] = []
        self._ended = False
        self._picture = np.ones(_FIT_BYTES, np.uint8)
        #: For each frame the milliseconds of `STAGES`.
        self.rows: list[tuple[float, ...]] = []

    def work(self, size: int) -> int:
        """Sum so many bytes up."""
        return sum(
            int(self._picture[start:start + _STEP_BYTES].sum())
            for start in range(0, size, _STEP_BYTES))

    def drive(self, seconds: float) -> None:
        """Be the executor: wake, work, hand over."""
        due_s = time.monotonic()
        end_s = due_s + seconds
        while due_s < end_s:
            due_s += _PERIOD_S
            time.sleep(max(0.0, due_s - time.monotonic()))
            start_ns = time.perf_counter_ns()
            self.work(_FIT_BYTES)
            with self._condition:
                self._handed.append((start_ns, time.perf_counter_ns()))
                self._condition.notify()
        with self._condition:
            self._ended = True
            self._condition.notify()

    def follow(self) -> None:
        """Be the backend's thread: sleep, work."""
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._handed or self._ended)
                if not self._handed:
                    return
                start_ns, fitted_ns = self._handed.pop(0)
            taken_ns = time.perf_counter_ns()
            time.sleep(_BACKEND_S)
            inferred_ns = time.perf_counter_ns()
            self.work(_PUBLISH_BYTES)
            marks = (start_ns, fitted_ns, taken_ns, inferred_ns, time.perf_counter_ns())
            stages = [(end - start) / 1e6 for start, end in zip(marks, marks[1:])]
            self.rows.append((*stages, sum(stages) - stages[2]))


def measure(seconds: float) -> dict[str, list[float]]:
    """Return p50, p95 and p99 in milliseconds of each of `STAGES`."""
    pair = _Pair()
    follower = Thread(target=pair.follow)
    follower.start()
    pair.drive(seconds)
    follower.join()
    return {
        stage: np.percentile(column, (50, 95, 99)).tolist()
        for stage, column in zip(STAGES, zip(*pair.rows))}


if __name__ == '__main__':
    for name, values in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 36.0).items():
        print(f'{name:10}' + ''.join(f'{value:9.3f}' for value in values) + '  ms')
