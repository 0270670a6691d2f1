"""
A clock for pipelines that goes on when all their threads wait, and by nothing else.

The threads are real and run side by side; what takes no simulated time happens at one moment,
however slow or busy the machine is. While a thread computes, or waits for something of the test's
own such as an `Event`, the clock stands still.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from math import ceil, inf
from threading import Event, get_ident, Lock, Thread
from typing import Any, Callable, Iterator, Optional

import pytest
from resnet_trt_node.backends import base, simulated
from resnet_trt_node.node.pipeline import pipeline, preprocess_worker, worker_threads
from resnet_trt_node.node.pipeline.inference import inference_worker
from resnet_trt_node.node.pipeline.scheduling import frame_intake, scheduler


class _Wait:
    """
    One wait of one thread.

    :param until_ns: when it ends at the latest, None for never.
    :param member: whether the clock stands still while the thread does not wait.
    """

    def __init__(self, until_ns: Optional[int], member: bool) -> None:
        self.until_ns = until_ns
        self.member = member
        self.over = Event()


class SimulatedTime:
    """The clock, and what a pipeline's threads wait with; see `install`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._now_ns = 10**12
        self._members: set[int] = set()
        # Members that do not wait.
        self._running = 0
        self._waits: list[_Wait] = []

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Have pipelines that are made from now on, and the simulated backend, live by it."""
        for module in (
                base, frame_intake, inference_worker, pipeline, preprocess_worker, scheduler):
            patch.setattr(module, 'perf_counter_ns', self.now_ns)
        patch.setattr(scheduler, 'Condition', lambda lock: _Condition(self, lock))
        patch.setattr(worker_threads, 'Thread', self._thread)
        patch.setattr(simulated, 'perf_counter', self.now_s)
        patch.setattr(simulated, 'sleep', self.sleep)

    def now_ns(self) -> int:
        return self._now_ns

    def now_s(self) -> float:
        return self._now_ns / 1e9

    def advance(self, ms: float) -> None:
        """Go on by so much at once, although a thread may be running."""
        with self._lock:
            self._now_ns += int(ms * 1e6)
            for wait in list(self._waits):
                if wait.until_ns is not None and wait.until_ns <= self._now_ns:
                    self._end(wait)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Go on only while the calling thread waits as well."""
        with self._lock:
            self._members.add(get_ident())
            self._running += 1
        try:
            yield
        finally:
            self._leave()

    def sleep(self, seconds: float) -> None:
        self.begin_wait(seconds).over.wait()

    def begin_wait(self, seconds: Optional[float]) -> _Wait:
        """Note that the calling thread is about to wait until `over`."""
        with self._lock:
            wait = _Wait(
                None if seconds is None else self._now_ns + max(0, ceil(seconds * 1e9)),
                get_ident() in self._members)
            self._waits.append(wait)
            self._running -= wait.member
            self._go_on()
            return wait

    def end_wait(self, wait: _Wait) -> bool:
        """End a wait; tell whether it was not over yet."""
        with self._lock:
            return self._end(wait)

    def _end(self, wait: _Wait) -> bool:
        if wait not in self._waits:
            return False
        self._waits.remove(wait)
        self._running += wait.member
        wait.over.set()
        return True

    def _go_on(self) -> None:
        """Where nobody runs, go on to the end of the wait that ends first, and end that alone."""
        timed = [wait for wait in self._waits if wait.until_ns is not None]
        if not self._running and timed:
            first = min(timed, key=lambda wait: wait.until_ns)
            self._now_ns = max(self._now_ns, first.until_ns)
            self._end(first)

    def _leave(self) -> None:
        with self._lock:
            self._members.remove(get_ident())
            self._running -= 1
            self._go_on()

    def _thread(self, target: Callable[..., None], **options: Any) -> Thread:
        def run(*args: Any) -> None:
            with self._lock:
                self._members.add(get_ident())
            try:
                target(*args)
            finally:
                self._leave()

        return _Thread(self, target=run, **options)

    def starting(self) -> None:
        """Stand still from now on until the thread that is started waits."""
        with self._lock:
            self._running += 1


class _Thread(Thread):
    """A thread that is a member from the moment at which it is started."""

    def __init__(self, time: SimulatedTime, **options: Any) -> None:
        super().__init__(**options)
        self._time = time

    def start(self) -> None:
        self._time.starting()
        super().start()


class _Condition:
    """`threading.Condition` with time-outs by a simulated clock."""

    def __init__(self, time: SimulatedTime, lock: Any) -> None:
        self._time = time
        self._lock = lock
        self._waits: deque[_Wait] = deque()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: Any) -> None:
        self._lock.release()

    def wait(self, timeout: Optional[float] = None) -> None:
        wait = self._time.begin_wait(timeout)
        self._waits.append(wait)
        self._lock.release()
        wait.over.wait()
        self._lock.acquire()
        if wait in self._waits:
            self._waits.remove(wait)

    def wait_for(self, condition: Callable[[], bool], timeout: Optional[float] = None) -> bool:
        end_ns = inf if timeout is None else self._time.now_ns() + timeout * 1e9
        while not condition() and (left_ns := end_ns - self._time.now_ns()) > 0:
            self.wait(None if timeout is None else left_ns / 1e9)
        return condition()

    def notify(self, count: int = 1) -> None:
        while count and self._waits:
            count -= self._time.end_wait(self._waits.popleft())

    def notify_all(self) -> None:
        self.notify(len(self._waits))
