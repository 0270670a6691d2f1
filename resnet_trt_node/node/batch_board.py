"""Which frames wait, which batch buffers are free, filling or being inferred; all locking."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Condition
from time import monotonic, perf_counter_ns
from typing import Any, Iterable, Optional, Sequence

from resnet_trt_node.node.accounting import Accounting
from resnet_trt_node.node.frame_queue import FrameQueue, Ticket


@dataclass
class Batch:
    """
    A batch buffer with the frames in its slots.

    :param index: which of the backend's buffers.
    :param tickets: ticket i is slot i's.
    """

    index: int
    tickets: list[Ticket] = field(default_factory=list)


class BatchBoard:
    """
    What the threads of a pipeline share, guarded by one condition.

    :param cameras: the cameras' names.
    :param queue_depth: frames that wait per camera.
    :param accounting: counts every frame that is dropped here.
    """

    def __init__(
            self, cameras: Sequence[str], queue_depth: int, accounting: Accounting) -> None:
        self._accounting = accounting
        self._changed = Condition()
        self._waiting = FrameQueue(cameras, queue_depth)
        self._free: deque[int] = deque()
        self._ready: deque[Batch] = deque()
        # Batches handed to the backend's thread and not yet inferred.
        self._busy = 0
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
        with self._changed:
            return len(self._waiting)

    def add_buffers(self, indices: Iterable[int]) -> None:
        """Make batch buffers free to be filled."""
        with self._changed:
            self._recalled = False
            self._free.extend(indices)
            self._changed.notify_all()

    def accept(self) -> None:
        """Take frames from now on."""
        with self._changed:
            self._accepting = not self._closing

    def offer(self, camera: str, message: Any) -> None:
        """Queue a frame, or drop it as refused; one that it supersedes is dropped."""
        self._accounting.received(camera)
        with self._changed:
            if not self._accepting:
                self._accounting.dropped(camera, 'refused')
                return
            if self._waiting.put(Ticket(camera, message, perf_counter_ns())) is not None:
                self._accounting.dropped(camera, 'superseded')
            self._changed.notify_all()

    def drop(self, tickets: Iterable[Ticket], reason: str) -> None:
        """Count frames that get no answer."""
        for ticket in tickets:
            self._accounting.dropped(ticket.camera, reason)
        self.progress()

    def progress(self) -> None:
        """Wake whoever waits in `drain`: a frame was answered or dropped."""
        with self._changed:
            self._changed.notify_all()

    def drain(self, timeout_sec: float) -> None:
        """Take no more frames; wait for those taken, and refuse what waits after the time-out."""
        deadline = monotonic() + timeout_sec
        with self._changed:
            self._accepting = False
            while self._accounting.total().in_progress and not self._closing:
                remaining = deadline - monotonic()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
            self._drop_waiting('refused')

    def close(self, reason: str = 'refused') -> None:
        """
        Take no more frames, drop those that wait, and let the threads end.

        :param reason: what the waiting frames are counted as.
        """
        with self._changed:
            self._accepting = False
            self._closing = True
            self._drop_waiting(reason)
            self._changed.notify_all()

    def wait_closing(self, timeout_sec: float) -> bool:
        """Wait until `close` was called, at most so long; tell whether it was."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, timeout_sec)

    def _drop_waiting(self, reason: str) -> None:
        for ticket in self._waiting.take_all():
            self._accounting.dropped(ticket.camera, reason)

    # For the thread that fills buffers.

    def open_batch(self) -> Optional[Batch]:
        """Wait for a frame and a free buffer; None at the end."""
        with self._changed:
            while not self._closing:
                if self._free and len(self._waiting):
                    self._filling = True
                    return Batch(self._free.popleft())
                self._changed.wait()
        return None

    def next_ticket(self, deadline_ns: Optional[int]) -> Optional[Ticket]:
        """
        Wait for another frame for the open batch.

        :param deadline_ns: perf_counter_ns until which an idle backend is kept waiting; None
            takes only what is there.
        :returns: a frame; None when the batch should go as it is.
        """
        with self._changed:
            while not (self._closing or self._recalled):
                ticket = self._waiting.take()
                if ticket is not None:
                    ticket.taken_ns = perf_counter_ns()
                    return ticket
                if deadline_ns is None:
                    return None
                remaining_sec = (deadline_ns - perf_counter_ns()) / 1e9
                if self._busy:
                    # It could not start now anyway.
                    self._changed.wait()
                elif remaining_sec > 0:
                    self._changed.wait(remaining_sec)
                else:
                    return None
        return None

    def close_batch(self, batch: Batch) -> None:
        """Hand a batch to the backend's thread; an empty one's buffer is free again."""
        with self._changed:
            self._filling = False
            if batch.tickets:
                self._ready.append(batch)
                self._busy += 1
            else:
                self._free.append(batch.index)
            self._changed.notify_all()

    def end_filling(self) -> None:
        """Say that no batch will come any more."""
        with self._changed:
            self._filled = True
            self._changed.notify_all()

    # For the backend's thread.

    def next_batch(self, wait: bool) -> Optional[Batch]:
        """Return a filled buffer; None if there is none now, or with `wait` none any more."""
        with self._changed:
            while not self._ready:
                if not wait or self._filled:
                    return None
                self._changed.wait()
            return self._ready.popleft()

    def recall_buffers(self) -> list[Batch]:
        """
        Take all buffers away, waiting until none is being filled: their memory will be freed.

        :returns: filled batches that nobody took; `add_buffers` goes on with other buffers.
        """
        with self._changed:
            self._recalled = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._filling or self._filled)
            filled = list(self._ready)
            self._ready.clear()
            self._free.clear()
            self._busy = 0
            return filled

    def release(self, batch: Batch) -> None:
        """Free an inferred batch's buffer."""
        with self._changed:
            self._busy -= 1
            self._free.append(batch.index)
            self._changed.notify_all()
