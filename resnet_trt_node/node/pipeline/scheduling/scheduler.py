"""Which frames wait, and which batch buffers are free, filling or being inferred; all locking."""

from __future__ import annotations

from collections import deque
from threading import Condition, RLock
from time import perf_counter_ns
from typing import Callable, Container, Iterable, Optional, Sequence

from resnet_trt_node.node.pipeline.counters import Counters
from resnet_trt_node.node.pipeline.frame_queue import Batch, FrameQueue, InFlightFrame
from resnet_trt_node.node.pipeline.scheduling.frame_intake import FrameIntake
from resnet_trt_node.node.pipeline.scheduling.latency_model import LatencyModel
from resnet_trt_node.node.pipeline.scheduling.publish_queue import PublishQueue
from resnet_trt_node.node.pipeline.settings import LiveSettings

#: The batch that is being published when a drain times out gets this long to end.
_PUBLISH_SEC = 0.3


class Scheduler:
    """
    What the threads of a pipeline share, guarded by one lock.

    Each thread waits on a condition of its own, so that none is woken for what it has no use for:
    at six cameras' rate that would be most of what the threads do.

    :param cameras: the cameras' names.
    :param queue_depth: frames that wait per camera.
    :param counters: count every frame that is received or dropped here.
    :param settings: returns the present settings.
    """

    def __init__(
            self, cameras: Sequence[str], queue_depth: int, counters: Counters,
            settings: Callable[[], LiveSettings]) -> None:
        self._counters = counters
        self._lock = RLock()
        # What two of the threads and the caller of `drain` wait for.
        self._preprocess, self._inference = Condition(self._lock), Condition(self._lock)
        self._drained = Condition(self._lock)
        self._model = LatencyModel()
        # A frame's way: it waits, its batch is ready, submitted, inferred and being published.
        self._waiting = FrameQueue(cameras, queue_depth)
        self._intake = FrameIntake(self._waiting, self._model, settings)
        self._ready: deque[Batch] = deque()
        self._submitted: deque[Batch] = deque()
        self._inferred = PublishQueue(Condition(self._lock))
        # Buffers that nobody uses; a batch that the preprocess worker is to go on with; whether a
        # buffer is being filled; whether all were recalled.
        self._free: deque[int] = deque()
        self._begun: Optional[Batch] = None
        self._filling = self._recalled = self._closing = False
        # What frames count as that come back while the threads end.
        self._close_reason = 'refused'
        #: Whether frames are accepted now.
        self.accepting = False
        #: Frames that were offered until then must not be published, perf_counter_ns.
        self.abandoned_ns = 0

    def accept(self) -> None:
        """Accept frames from now on."""
        with self._lock:
            self.accepting = not self._closing

    def offer(self, frame: InFlightFrame, fill: bool = False) -> Optional[Batch]:
        """
        Queue a frame, or drop it as refused; one that it supersedes is dropped.

        :param fill: whether the caller would preprocess it.
        :returns: a batch that the caller is to fill from the queue in place of the preprocess
            worker, and to close: nothing else is under way.
        """
        self._counters.received(frame)
        with self._lock:
            if not self.accepting:
                self._counters.dropped(frame, 'refused')
                return None
            superseded = self._waiting.put(frame)
            if superseded is not None:
                # The preprocess worker was notified of that one, and has not come to it yet.
                self._counters.dropped(superseded, 'superseded')
            elif len(self._waiting) == 1:
                if fill and self._can_open and not self._ahead:
                    return self._open()
                if self._free or self._filling:
                    self._preprocess.notify()
        return None

    def drop(self, frames: Iterable[InFlightFrame], reason: str) -> None:
        """Count frames that get no answer; those in several batches may have ended before."""
        with self._lock:
            for frame in frames:
                if not frame.ended:
                    frame.ended = True
                    self._counters.dropped(frame, reason)
            self._drained.notify_all()

    def drain(self, timeout_sec: float) -> int:
        """
        Accept no more frames, and wait for those in flight.

        :param timeout_sec: after it, waiting frames are refused and the others are abandoned.
        :returns: how many were abandoned.
        """
        with self._lock:
            self.accepting = False
            # A batch that waits for more frames goes as it is: there will be none.
            self._preprocess.notify()
            self._drained.wait_for(
                lambda: self._closing or not self._counters.in_progress, timeout_sec)
            self.drop(self._waiting.take_all(), 'refused')
            if self._counters.in_progress:
                self.abandoned_ns = perf_counter_ns()
                self._drained.wait_for(
                    lambda: self._closing or not self._inferred.is_publishing, _PUBLISH_SEC)
            return self._counters.in_progress

    def close(self, reason: str = 'refused') -> None:
        """Accept no more frames, drop those that wait for a reason, and let the threads end."""
        with self._lock:
            self.accepting = False
            self._closing = True
            self._close_reason = reason
            self.drop(self._waiting.take_all(), reason)
            self._preprocess.notify()
            self._inference.notify()

    # For the preprocess worker.

    def open_batch(self) -> Optional[Batch]:
        """Wait for a frame, a free buffer and the time to fill it; None at the end."""
        with self._lock:
            while not self._closing or self._begun is not None:
                if self._begun is not None:
                    batch, self._begun = self._begun, None
                    return batch
                deferral_sec = None
                if len(self._waiting) and self._can_open:
                    deferral_sec = self._intake.deferral_sec(self._ahead)
                    if deferral_sec <= 0:
                        return self._open()
                self._preprocess.wait(deferral_sec)
        return None

    @property
    def _can_open(self) -> bool:
        return bool(self._free) and not self._filling and not self._inferred.is_full

    def _open(self) -> Batch:
        self._filling = True
        return Batch(self._free.popleft())

    def next_frames(self, batch: Batch, most: int, room: int) -> list[InFlightFrame]:
        """
        Wait for more frames for the open batch.

        :param batch: as far as it is filled.
        :param most: of those that wait at once.
        :param room: rows of the batch that are free: no frame is begun for nothing behind those
            that fill it, or ever more would be, and each grows old decoded.
        :returns: none when the batch should go as it is.
        """
        with self._lock:
            while not (self._closing or self._recalled):
                frames, stale = self._intake.take(most, room, self._ahead)
                if stale:
                    self.drop(stale, 'stale')
                if frames or not batch.rows or not self.accepting:
                    return frames
                if not self._intake.may_wait(batch, self._ahead):
                    return []
                self._preprocess.wait(self._intake.wait_budget_sec(batch, self._ahead))
        return []

    def put_back(
            self, frames: Sequence[InFlightFrame], served: Container[InFlightFrame]) -> None:
        """Have decoded frames wait again, see `FrameQueue.put_back`."""
        with self._lock:
            if self._closing:
                self.drop(frames, self._close_reason)
            else:
                self._waiting.put_back(frames, served)

    def close_batch(self, batch: Batch, room: int = 0) -> None:
        """
        Hand a batch to the inference worker; an empty one's buffer is free again.

        :param batch: that was opened, or that `offer` returned.
        :param room: rows that are free for more frames: the preprocess worker goes on with it if
            there are some, or there is time to wait for them.
        """
        with self._lock:
            if batch.rows and room > 0 and (
                    len(self._waiting) or self._intake.may_wait(batch, self._ahead)):
                self._begun = batch
                self._preprocess.notify()
                return
            self._filling = False
            for row_ms in batch.row_ms:
                self._model.preprocess.add(row_ms)
            if batch.rows:
                if not self._ahead:
                    self._model.began_ns = perf_counter_ns()
                self._ready.append(batch)
            else:
                self._free.append(batch.index)
                self._inferred.put_behind(self._ready or self._submitted, batch.completing)
            self._inference.notify()
            if len(self._waiting):
                # They came while another thread than the preprocess worker filled this one.
                self._preprocess.notify()

    # For the inference worker.

    def add_buffers(self, indices: Iterable[int], infer_ms: float, batch_size: int) -> None:
        """Have a new backend's buffers filled; a batch of its warm-up took `infer_ms` at most."""
        with self._lock:
            self._recalled = False
            self._model.restart(infer_ms, batch_size)
            self._free.extend(indices)
            self._preprocess.notify()

    def next_batch(self, several: bool) -> Optional[Batch]:
        """
        Wait for the next batch to submit, or return the oldest submitted one to be collected.

        A batch that cannot meet its deadline is dropped as stale.

        :param several: whether all that is ready is to be submitted first.
        :returns: None at the end.
        """
        with self._lock:
            while True:
                if self._submitted and not (several and self._ready):
                    return self._submitted[0]
                if self._ready:
                    batch = self._ready.popleft()
                    # None is left of a batch whose frames ended with another one.
                    if self._intake.any_in_time(batch.frames, len(self._submitted)):
                        self._submitted.append(batch)
                        return batch
                    self._free_buffer(batch)
                    self._lose(batch, 'stale', self._submitted)
                elif self._closing and not self._filling:
                    return None
                else:
                    self._inference.wait()

    def finish(self, batch: Batch) -> bool:
        """
        Hand the oldest submitted batch to the publisher, or drop its frames if it was lost.

        :returns: True where the caller is to publish it instead, and to call `published`.
        """
        with self._lock:
            self._free_buffer(self._submitted.popleft())
            if batch.probabilities is None:
                self._lose(batch, 'failed')
                return False
            self._model.infer.add((batch.inferred_ns - batch.submitted_ns) / 1e6)
            # With nothing else to do the caller is sooner than a thread that has to wake up.
            if self._ahead or self._filling or len(self._waiting) or not self._inferred.is_idle:
                self._inferred.put(batch)
                return False
            self._inferred.begin(batch)
            return True

    def _lose(self, batch: Batch, reason: str, ahead: Sequence[Batch] = ()) -> None:
        """Drop the frames of a batch; those that only wait behind it are published."""
        self.drop(batch.frames, reason)
        self._inferred.put_behind(ahead, [frame for frame in batch.completing if not frame.ended])

    def _free_buffer(self, batch: Batch) -> None:
        self._model.began_ns = perf_counter_ns()
        self._free.append(batch.index)
        # With nothing to do the preprocess worker would only hold the GIL, which the other
        # threads need for this batch.
        if len(self._waiting) or self._filling:
            self._preprocess.notify()

    def recall_buffers(self) -> None:
        """
        Take all buffers away, waiting until none is being filled: their memory will be freed.

        Submitted and ready batches have failed. `add_buffers` goes on with other buffers.
        """
        with self._lock:
            self._recalled = True
            self._preprocess.notify()
            self._inference.wait_for(lambda: not self._filling)
            lost = [*self._submitted, *self._ready]
            for used in (self._submitted, self._ready, self._free):
                used.clear()
            for batch in lost:
                self._lose(batch, 'failed')

    def wait_closing(self, timeout_sec: float) -> bool:
        """Wait until `close` was called, at most so long; tell whether it was."""
        with self._lock:
            return self._inference.wait_for(lambda: self._closing, timeout_sec)

    def end_inference(self) -> None:
        """Let the publisher end: no batch will be inferred any more."""
        with self._lock:
            self._inferred.put(None)

    @property
    def _ahead(self) -> int:
        """Return how many batches the backend has not finished, submitted or not."""
        return len(self._submitted) + len(self._ready)

    # For the publisher.

    def next_inferred(self) -> Optional[Batch]:
        """Wait for a batch to publish, and to call `published` after that; None at the end."""
        with self._lock:
            batch, was_full = self._inferred.take()
            if was_full:
                self._preprocess.notify()
            return batch

    def published(self, batch: Batch) -> None:
        """Note that a batch was published, by whichever thread."""
        with self._lock:
            if batch.inferred_ns:
                self._model.publish.add((perf_counter_ns() - batch.inferred_ns) / 1e6)
            self._inferred.published()
            self._drained.notify_all()
