"""Which frames wait, which batch buffers are free, filling or being inferred; all locking."""

from __future__ import annotations

from collections import deque
from threading import Condition, Lock
from time import monotonic, perf_counter_ns
from typing import Callable, Iterable, Optional, Sequence

from resnet_trt_node.node.pipeline.counters import Accounting
from resnet_trt_node.node.pipeline.frame_queue import Batch, FrameQueue, Ticket
from resnet_trt_node.node.pipeline.latency_model import Pace

#: What is being published when a drain times out gets this long to end.
_PUBLISH_SEC = 0.3


class BatchBoard:
    """
    What the threads of a pipeline share, guarded by one lock.

    Each thread waits on a condition of its own, so that none is woken for what it has no use for:
    at six cameras' rate that would be most of what the threads do.

    :param cameras: the cameras' names.
    :param queue_depth: frames that wait per camera.
    :param accounting: counts every frame that is dropped here.
    :param max_age_ms: gives the age at which an answer is of no use at present, 0 for none.
    """

    def __init__(
            self, cameras: Sequence[str], queue_depth: int, accounting: Accounting,
            max_age_ms: Callable[[], float]) -> None:
        self._accounting = accounting
        self._max_age_ms = max_age_ms
        lock = Lock()
        # The thread that fills buffers; the backend's; whoever waits in `drain`.
        self._fitter = Condition(lock)
        self._inferrer = Condition(lock)
        self._drained = Condition(lock)
        self._lock = lock
        self._waiting = FrameQueue(cameras, queue_depth)
        self._pace = Pace()
        self._free: deque[int] = deque()
        self._ready: deque[Batch] = deque()
        # Batches handed to the backend's thread and not yet inferred; those being published.
        self._busy = self._publishing = 0
        self._given_up_ns = 0
        self._accepting = False
        self._closing = False
        # A buffer is being filled; all buffers were recalled; no buffer will be filled any more.
        self._filling = False
        self._recalled = False
        self._filled = False

    @property
    def accepting(self) -> bool:
        """Tell whether frames are taken now."""
        return self._accepting

    @property
    def waiting(self) -> int:
        """Return how many frames wait to be taken."""
        with self._lock:
            return len(self._waiting)

    def add_buffers(self, indices: Iterable[int], infer_ms: float, batch_size: int) -> None:
        """
        Make the batch buffers of a newly opened backend free to be filled.

        :param indices: which.
        :param infer_ms: its slowest batch of the warm-up.
        :param batch_size: its largest batch.
        """
        with self._lock:
            self._recalled = False
            self._pace.restart(infer_ms, batch_size)
            self._free.extend(indices)
            self._fitter.notify()

    def accept(self) -> None:
        """Take frames from now on."""
        with self._lock:
            self._accepting = not self._closing

    def offer(self, ticket: Ticket, here: bool = False) -> Optional[Batch]:
        """
        Queue a frame, or drop it as refused; one that it supersedes is dropped.

        :param here: whether the caller would fit the frame by itself.
        :returns: a batch that the caller has to fill with this frame and to close, where nothing
            else is under way and filling is quick: waking the fitter would take as long. None
            where the fitter fills it.
        """
        self._accounting.received(ticket)
        with self._lock:
            if not self._accepting:
                self._accounting.dropped(ticket, 'refused')
                return None
            superseded = self._waiting.put(ticket)
            if superseded is not None:
                # The fitter knows of that one, and what holds it up holds this one up too.
                self._accounting.dropped(superseded, 'superseded')
            elif len(self._waiting) == 1 and (self._free or self._filling):
                idle = not (self._busy or self._filling or self._recalled)
                if here and idle and self._pace.fits_quickly:
                    self._filling = True
                    return Batch(self._free.popleft())
                self._fitter.notify()
            return None

    def drop(self, tickets: Iterable[Ticket], reason: str) -> None:
        """Count frames that get no answer."""
        for ticket in tickets:
            self._accounting.dropped(ticket, reason)
        with self._lock:
            self._drained.notify_all()

    def publishing(self) -> None:
        """Say that a batch's frames will be published now, except those that are given up."""
        with self._lock:
            self._publishing += 1

    def given_up(self, ticket: Ticket) -> bool:
        """Tell whether a drain timed out over a frame; only after `publishing`."""
        return ticket.offered_ns <= self._given_up_ns

    def published(self, took_ms: float) -> None:
        """Note that a batch's frames have ended, so long after its inference."""
        with self._lock:
            self._publishing -= 1
            self._pace.published(took_ms)
            self._drained.notify_all()

    def drain(self, timeout_sec: float) -> int:
        """
        Take no more frames; wait for those taken, and refuse what waits after the time-out.

        :returns: how many frames are still being worked on; they are given up.
        """
        deadline = monotonic() + timeout_sec
        with self._lock:
            self._accepting = False
            # A batch that waits for companions goes as it is: there will be none.
            self._fitter.notify()
            while self._accounting.in_progress and not self._closing:
                remaining = deadline - monotonic()
                if remaining <= 0:
                    break
                self._drained.wait(remaining)
            self._drop_waiting('refused')
            if self._accounting.in_progress:
                self._given_up_ns = perf_counter_ns()
                # A batch whose publication began before does not know of it.
                self._drained.wait_for(lambda: not self._publishing, _PUBLISH_SEC)
            return self._accounting.in_progress

    def close(self, reason: str = 'refused') -> None:
        """
        Take no more frames, drop those that wait, and let the threads end.

        :param reason: what the waiting frames are counted as.
        """
        with self._lock:
            self._accepting = False
            self._closing = True
            self._drop_waiting(reason)
            for condition in (self._fitter, self._inferrer, self._drained):
                condition.notify_all()

    def wait_closing(self, timeout_sec: float) -> bool:
        """Wait until `close` was called, at most so long; only on the backend's thread."""
        with self._lock:
            return self._inferrer.wait_for(lambda: self._closing, timeout_sec)

    def _drop_waiting(self, reason: str) -> None:
        for ticket in self._waiting.take_all():
            self._accounting.dropped(ticket, reason)

    # For the thread that fills buffers.

    def open_batch(self) -> Optional[Batch]:
        """Wait for a frame, a free buffer and the time to fill it; None at the end."""
        with self._lock:
            while not self._closing:
                early_sec = None
                if self._free and len(self._waiting) and not self._filling:
                    early_sec = self._pace.early_ms(
                        self._busy, self._max_age_ms(), perf_counter_ns()) / 1e3
                    if early_sec <= 0:
                        self._filling = True
                        return Batch(self._free.popleft())
                self._fitter.wait(early_sec)
        return None

    def next_ticket(self, deadline_ns: Optional[int]) -> Optional[Ticket]:
        """
        Wait for another frame for the open batch, dropping those that are too old for it.

        :param deadline_ns: perf_counter_ns until which an idle backend is kept waiting; None
            takes only what is there.
        :returns: a frame; None when the batch should go as it is.
        """
        with self._lock:
            while not (self._closing or self._recalled):
                ticket = self._take_in_time()
                if ticket is not None:
                    return ticket
                if deadline_ns is None or not self._accepting:
                    return None
                remaining_sec = (deadline_ns - perf_counter_ns()) / 1e9
                if self._busy:
                    # It could not start now anyway.
                    self._fitter.wait()
                elif remaining_sec > 0:
                    self._fitter.wait(remaining_sec)
                else:
                    return None
        return None

    def keep_open_until(self, first: Ticket, max_wait_ms: float) -> int:
        """Return perf_counter_ns until which a batch waits for others after its first frame."""
        with self._lock:
            patience_ms = self._pace.patience_ms(
                (first.taken_ns - first.received_ns) / 1e6, self._max_age_ms())
        return first.taken_ns + int(max(0.0, min(max_wait_ms, patience_ms)) * 1e6)

    def _take_in_time(self) -> Optional[Ticket]:
        while (ticket := self._waiting.take()) is not None:
            now_ns = perf_counter_ns()
            age_ms = (now_ns - ticket.received_ns) / 1e6
            if not self._pace.too_late(age_ms, self._busy, self._max_age_ms(), now_ns):
                ticket.taken_ns = now_ns
                return ticket
            # Cameras whose frames always come at a bad moment would never be served otherwise.
            self._waiting.give_back_turn(ticket.camera)
            self._accounting.dropped(ticket, 'stale')
            self._drained.notify_all()
        return None

    def fitted(self, ticket: Ticket) -> None:
        """Note when a frame was in its slot."""
        ticket.fitted_ns = perf_counter_ns()
        with self._lock:
            self._pace.fitted((ticket.fitted_ns - ticket.taken_ns) / 1e6)

    def close_batch(self, batch: Batch) -> None:
        """Hand a batch to the backend's thread; an empty one's buffer is free again."""
        with self._lock:
            self._filling = False
            if batch.tickets:
                self._ready.append(batch)
                if not self._busy:
                    self._pace.began(perf_counter_ns())
                self._busy += 1
            else:
                self._free.append(batch.index)
            if len(self._waiting):
                # It may have waited for the end of this batch, filled by who offered its frame.
                self._fitter.notify()
            self._inferrer.notify()

    def may_publish(self) -> bool:
        """Tell whether the backend's thread may publish: it has nothing else to do for a while."""
        with self._lock:
            return not (self._busy or self._filling) and self._pace.publishes_quickly

    def end_filling(self) -> None:
        """Say that no batch will come any more."""
        with self._lock:
            self._filled = True
            self._inferrer.notify()

    # For the backend's thread.

    def next_batch(self, wait: bool) -> Optional[Batch]:
        """Return a filled buffer; None if there is none now, or with `wait` none any more."""
        with self._lock:
            while not self._ready:
                if not wait or self._filled:
                    return None
                self._inferrer.wait()
            return self._ready.popleft()

    def hopeless(self, batch: Batch, ahead: int) -> bool:
        """
        Tell whether even a batch's newest frame would be answered too late.

        :param batch: not yet submitted.
        :param ahead: batches that are submitted and not finished.
        """
        now_ns = perf_counter_ns()
        newest_ns = max(ticket.received_ns for ticket in batch.tickets)
        with self._lock:
            return self._pace.hopeless(
                (now_ns - newest_ns) / 1e6, ahead, self._max_age_ms(), now_ns)

    def recall_buffers(self) -> list[Batch]:
        """
        Take all buffers away, waiting until none is being filled: their memory will be freed.

        :returns: filled batches that nobody took; `add_buffers` goes on with other buffers.
        """
        with self._lock:
            self._recalled = True
            self._fitter.notify()
            self._inferrer.wait_for(lambda: not self._filling or self._filled)
            filled = list(self._ready)
            self._ready.clear()
            self._free.clear()
            self._busy = 0
            return filled

    def release(self, batch: Batch, infer_ms: Optional[float] = None) -> None:
        """
        Free a batch's buffer.

        :param batch: inferred or given up.
        :param infer_ms: how long the backend alone took for it, None if it did not infer it.
        """
        with self._lock:
            self._busy -= 1
            self._pace.began(perf_counter_ns())
            if infer_ms is not None:
                self._pace.inferred(infer_ms)
            self._free.append(batch.index)
            # With nothing to do it would only take the interpreter from this thread, which is
            # about to publish.
            if len(self._waiting) or self._filling:
                self._fitter.notify()
