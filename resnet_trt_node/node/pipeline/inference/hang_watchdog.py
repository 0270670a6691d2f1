"""
Notices that a runtime does not come back from a call, and keeps out what it brings back later.

A hung call cannot be ended from outside: its thread stays in the runtime, perhaps for ever. What
can be done is to stop waiting for it, to report it, and to let nothing of it through.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from time import perf_counter_ns
from typing import Callable, Iterator, Optional

#: A batch may take so many times what the slowest one of the warm-up took: clocks fall, other
#: programs use the device, and a few batches are submitted ahead of it.
_SLOWEST_BATCHES = 10.0
#: The longest step by which a call is taken to have grown older between two checks. A process
#: that was stopped meanwhile, by a debugger or SIGSTOP, did not hang.
_LONGEST_STEP_MS = 1000.0


class CallAbandonedError(BaseException):
    """
    A call came back after it was declared hung; its result must not be used.

    Not an `Exception`, like asyncio's CancelledError: nothing that handles a runtime's failures
    shall take it for one.
    """


class HangWatchdog:
    """
    Watches the calls of one thread, which enters them one after the other with `call`.

    `check` is called from another thread, some times a second. Whether a call ended in time is
    decided under a lock: either it came back first, or it raises `CallAbandonedError`.

    :param now_ns: a clock that never steps back.
    """

    def __init__(self, now_ns: Callable[[], int] = perf_counter_ns) -> None:
        self._now_ns = now_ns
        self._lock = Lock()
        self._call = ''
        self._extra_ms = 0.0
        self._age_ms = 0.0
        # From when on the age was not counted yet.
        self._counted_ns = 0
        #: Which call was declared hung, in words; None if none was.
        self.hung: Optional[str] = None
        #: The slowest batch of the warm-up, which bounds what a call may take from below.
        self.slowest_ms = 0.0

    def call(self, what: str, extra_ms: float = 0.0) -> HangWatchdog:
        """
        Watch one call of the runtime from now on.

        :param what: the call in words, such as 'collect'.
        :param extra_ms: what it may take besides the limit.
        :returns: a context; at its end the call has returned, and `CallAbandonedError` is raised
            if it was declared hung.
        """
        with self._lock:
            self._call, self._extra_ms = what, extra_ms
            self._age_ms, self._counted_ns = 0.0, self._now_ns()
        return self

    # No generator of contextlib: this surrounds two calls for each batch, and costs a third so.
    def __enter__(self) -> None:
        """Go on: `call` has begun."""

    def __exit__(self, *exception: object) -> None:
        """End the call."""
        with self._lock:
            self._call = ''
            if self.hung is not None:
                raise CallAbandonedError(self.hung)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Let the present call grow no older within a block, which is the CPU's."""
        with self._lock:
            self._grow_older()
            what, self._call = self._call, ''
        try:
            yield
        finally:
            with self._lock:
                self._call, self._counted_ns = what, self._now_ns()

    def _grow_older(self) -> None:
        now_ns = self._now_ns()
        self._age_ms += min((now_ns - self._counted_ns) / 1e6, _LONGEST_STEP_MS)
        self._counted_ns = now_ns

    def _limit_ms(self, timeout_ms: float) -> float:
        """Return what the call may take: the time-out, but never less than some slow batches."""
        return max(timeout_ms, _SLOWEST_BATCHES * self.slowest_ms) + self._extra_ms

    def check(self, timeout_ms: float) -> Optional[str]:
        """
        Declare the present call hung if it takes too long.

        :param timeout_ms: what it may take; 0 declares none.
        :returns: which call hangs and for how long, in words; None if none does.
        """
        with self._lock:
            if self.hung is not None or not self._call:
                return self.hung
            self._grow_older()
            if timeout_ms and self._age_ms > self._limit_ms(timeout_ms):
                self.hung = (
                    f'it has not come back from {self._call} for {self._age_ms / 1e3:.1f} s')
            return self.hung

    def overdue(self) -> Optional[str]:
        """Return which call takes far longer than the slowest batch, in words; None if none."""
        with self._lock:
            if not self._call or self._age_ms <= self._limit_ms(_LONGEST_STEP_MS):
                return None
            return f'{self._call} has not returned for {self._age_ms / 1e3:.1f} s'
