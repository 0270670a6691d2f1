"""
The frames' way from reception to publication, on three threads of its own.

The executor's callback only puts a message into a queue. From there::

    fitter     takes frames, decodes and resizes each into a slot of a free batch buffer
    inferrer   opens the backend, submits filled buffers, collects their probabilities
    deliverer  names the classes and publishes

so that the next batch is prepared and the last one published while the backend computes. A batch
stays open for more frames as long as the backend is busy, since it could not start anyway. All
shared state is guarded by one condition. Nothing here knows ROS.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from queue import Queue
from threading import Condition, Thread
from time import monotonic, perf_counter_ns
from typing import Any, Callable, Optional, Sequence, TYPE_CHECKING

from resnet_trt_node.errors import FrameError, InferenceError
from resnet_trt_node.inference.backend import Backend, warm_up
from resnet_trt_node.inference.classifier import Prediction, top_predictions
from resnet_trt_node.inference.frame import Frame
from resnet_trt_node.inference.preprocess import FitMethod, Resizer
from resnet_trt_node.node.accounting import Accounting
from resnet_trt_node.node.frame_queue import FrameQueue, Ticket

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LiveSettings:
    """What may change while frames flow; the meaning is that of the node's parameters."""

    max_wait_ms: float = 0.0
    max_age_ms: float = 0.0
    top_k: int = 5
    score_threshold: float = 0.0


@dataclass(frozen=True)
class PipelineHooks:
    """
    What the pipeline calls; each runs on one of its threads.

    :param open_backend: opens the backend on the inferring thread, which then owns it.
    :param decode: turns a message into a frame, raising FrameError for a bad one.
    :param deliver: publishes one result.
    :param log_bad_frame: told of each frame that could not be decoded, camera and reason.
    :param log_failure: told of each batch that the backend failed on.
    """

    open_backend: Callable[[], Backend]
    decode: Callable[[Any], Frame]
    deliver: Callable[[Ticket, list[Prediction]], None]
    log_bad_frame: Callable[[str, str], None]
    log_failure: Callable[[str], None]


@dataclass
class _Batch:
    """A batch buffer with the frames in its slots."""

    index: int
    tickets: list[Ticket] = field(default_factory=list)


class Pipeline:
    """
    Answers the newest frames of several cameras in batches.

    :param cameras: the cameras' names.
    :param queue_depth: frames that wait per camera.
    :param fit_method: how frames are resized.
    :param settings: what may change later through `settings`.
    :param hooks: what it calls.
    """

    def __init__(
            self, cameras: Sequence[str], queue_depth: int, fit_method: FitMethod,
            settings: LiveSettings, hooks: PipelineHooks) -> None:
        self.settings = settings
        self.accounting = Accounting(cameras)
        self._fit_method = fit_method
        self._hooks = hooks
        self._changed = Condition()
        self._waiting = FrameQueue(cameras, queue_depth)
        self._free: deque[int] = deque()
        self._ready: deque[_Batch] = deque()
        self._busy = 0  # batches handed to the backend's thread and not yet inferred
        self._accepting = False
        self._closing = False
        self._fault: Optional[BaseException] = None
        self._deliveries: Queue[Optional[tuple[_Batch, NDArray[np.float32]]]] = Queue(maxsize=4)
        self._opened: Future[dict[int, float]] = Future()
        self._infer_ms = 0.0
        self._backend: Optional[Backend] = None
        self._threads = [
            Thread(target=self._guard, args=(target,), name=name, daemon=True)
            for name, target in (
                ('inferrer', self._infer_loop), ('fitter', self._fit_loop),
                ('deliverer', self._deliver_loop))]

    @property
    def backend(self) -> Backend:
        """Return the open backend, to read its spec and info; only its thread may call it."""
        if self._backend is None:
            raise RuntimeError('the pipeline is not open')
        return self._backend

    @property
    def fault(self) -> Optional[BaseException]:
        """Return the unforeseen error that ended a thread, None while all is well."""
        return self._fault

    @property
    def accepting(self) -> bool:
        """Tell whether frames are taken now."""
        return self._accepting

    def start(self, still_wanted: Callable[[], bool] = lambda: True) -> dict[int, float]:
        """
        Open and warm the backend on its thread, and wait for that.

        :param still_wanted: asked ten times a second; False stops the waiting.
        :returns: warm-up milliseconds by batch size.
        :raises ResnetTrtError: why the backend cannot be opened.
        :raises TimeoutError: if it is not wanted any more; `close` what is there.
        """
        self._threads[0].start()
        while still_wanted():
            try:
                took_ms = self._opened.result(timeout=0.1)
            except FutureTimeoutError:
                continue
            for thread in self._threads[1:]:
                thread.start()
            return took_ms
        raise TimeoutError('stopped while the model was being opened')

    def resume(self) -> None:
        """Take frames from now on."""
        with self._changed:
            self._accepting = not self._closing

    def offer(self, camera: str, message: Any) -> None:
        """
        Take a frame; called from the executor, returns at once.

        :param camera: whose it is.
        :param message: the message, which must not change afterwards.
        """
        self.accounting.received(camera)
        with self._changed:
            if not self._accepting:
                self.accounting.dropped(camera, 'refused')
                return
            if self._waiting.put(Ticket(camera, message, perf_counter_ns())) is not None:
                self.accounting.dropped(camera, 'superseded')
            self._changed.notify_all()

    def drain(self, timeout_sec: float) -> bool:
        """
        Take no more frames and wait until those taken are answered or dropped.

        :param timeout_sec: after it the waiting frames are refused.
        :returns: whether nothing is left in progress.
        """
        deadline = monotonic() + timeout_sec
        with self._changed:
            self._accepting = False
            while self.accounting.total().in_progress and self._fault is None:
                remaining = deadline - monotonic()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
            self._refuse_waiting()
        return self.accounting.total().in_progress == 0

    def close(self, timeout_sec: float = 1.0) -> bool:
        """
        End the threads and free the backend; waiting frames are refused.

        :param timeout_sec: how long a batch in the backend may take to end.
        :returns: whether all threads ended; if not, the backend hangs and stays open.
        """
        with self._changed:
            self._accepting = False
            self._closing = True
            self._refuse_waiting()
            self._changed.notify_all()
        deadline = monotonic() + timeout_sec
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _refuse_waiting(self) -> None:
        for ticket in self._waiting.take_all():
            self.accounting.dropped(ticket.camera, 'refused')

    def _guard(self, loop: Callable[[], None]) -> None:
        """Run a thread's loop; an error that nobody foresaw is kept for the node to report."""
        try:
            loop()
        except BaseException as error:  # noqa: B902  a thread has nobody above to catch it
            with self._changed:
                self._fault = self._fault or error
                self._accepting = False
                self._closing = True
                self._refuse_waiting()
                self._changed.notify_all()

    # The fitter.

    def _fit_loop(self) -> None:
        resizer = Resizer(self.backend.spec.resize, self._fit_method)
        while (index := self._wait_for_work()) is not None:
            batch = _Batch(index)
            self._fill(batch, resizer)
            with self._changed:
                if batch.tickets:
                    self._ready.append(batch)
                    self._busy += 1
                else:
                    self._free.append(index)
                self._changed.notify_all()

    def _wait_for_work(self) -> Optional[int]:
        """Wait for a frame and a free buffer; return the buffer's index, None at the end."""
        with self._changed:
            while not self._closing:
                if self._free and len(self._waiting):
                    return self._free.popleft()
                self._changed.wait()
        return None

    def _fill(self, batch: _Batch, resizer: Resizer) -> None:
        slots = self.backend.buffer(batch.index)
        deadline_ns: Optional[int] = None
        while len(batch.tickets) < len(slots):
            ticket = self._next_ticket(deadline_ns)
            if ticket is None:
                break
            if self._fit(ticket, slots[len(batch.tickets)], resizer):
                batch.tickets.append(ticket)
                if deadline_ns is None:
                    deadline_ns = ticket.taken_ns + int(self.settings.max_wait_ms * 1e6)

    def _next_ticket(self, deadline_ns: Optional[int]) -> Optional[Ticket]:
        """Wait for another frame for the open batch; None when the batch should go."""
        with self._changed:
            while not self._closing:
                ticket = self._waiting.take()
                if ticket is not None:
                    ticket.taken_ns = perf_counter_ns()
                    return ticket
                if deadline_ns is None:
                    return None
                remaining_sec = (deadline_ns - perf_counter_ns()) / 1e9
                if self._busy:
                    self._changed.wait()
                elif remaining_sec > 0:
                    self._changed.wait(remaining_sec)
                else:
                    return None
        return None

    def _fit(self, ticket: Ticket, slot: NDArray[np.uint8], resizer: Resizer) -> bool:
        max_age_ms = self.settings.max_age_ms
        age_ms = (ticket.taken_ns - ticket.received_ns) / 1e6
        if max_age_ms and age_ms + self._infer_ms > max_age_ms:
            self._drop(ticket, 'stale')
            return False
        try:
            resizer.fit(self._hooks.decode(ticket.message), slot)
        except Exception as error:  # noqa: B902
            # Bad frames end in FrameError; should OpenCV or Pillow raise something of their own
            # for bytes that nobody foresaw, it is still one bad frame and not the node's end.
            reason = str(error) if isinstance(error, FrameError) else repr(error)
            self._hooks.log_bad_frame(ticket.camera, reason)
            self._drop(ticket, 'malformed')
            return False
        ticket.fitted_ns = perf_counter_ns()
        return True

    def _drop(self, ticket: Ticket, reason: str) -> None:
        self.accounting.dropped(ticket.camera, reason)
        with self._changed:
            self._changed.notify_all()

    # The inferrer.

    def _infer_loop(self) -> None:
        try:
            backend = self._hooks.open_backend()
        except BaseException as error:  # noqa: B902  handed to the thread that waits in `start`
            self._opened.set_exception(error)
            return
        with backend:
            try:
                took_ms = warm_up(backend)
            except BaseException as error:  # noqa: B902  as above
                self._opened.set_exception(error)
                return
            self._infer_ms = max(took_ms.values())
            self._backend = backend
            self._free.extend(range(backend.num_buffers))
            self._opened.set_result(took_ms)
            try:
                self._serve(backend)
            finally:
                self._deliveries.put(None)

    def _serve(self, backend: Backend) -> None:
        submitted: deque[_Batch] = deque()
        while True:
            batch = self._next_batch(wait=not submitted)
            if batch is not None:
                if self._submit(backend, batch):
                    submitted.append(batch)
                # Submit all that is ready, so that copies overlap with computing.
                continue
            if not submitted:
                return
            self._collect(backend, submitted.popleft())

    def _next_batch(self, wait: bool) -> Optional[_Batch]:
        """Return a filled buffer; None if there is none now, or with `wait` none any more."""
        with self._changed:
            while not self._ready:
                if not wait or (self._closing and not self._threads[1].is_alive()):
                    return None
                # The fitter does not say when it ends, so while closing look again.
                self._changed.wait(0.01 if self._closing else None)
            return self._ready.popleft()

    def _submit(self, backend: Backend, batch: _Batch) -> bool:
        now_ns = perf_counter_ns()
        for ticket in batch.tickets:
            ticket.submitted_ns = now_ns
        try:
            backend.submit(len(batch.tickets), batch.index)
        except InferenceError as error:
            self._fail(batch, error)
            return False
        return True

    def _collect(self, backend: Backend, batch: _Batch) -> None:
        try:
            # Copied, since the buffer is filled again while the deliverer works.
            probabilities = backend.collect(batch.index).copy()
        except InferenceError as error:
            self._fail(batch, error)
            return
        now_ns = perf_counter_ns()
        for ticket in batch.tickets:
            ticket.inferred_ns = now_ns
        self._infer_ms = (now_ns - batch.tickets[0].submitted_ns) / 1e6
        self.accounting.inferred(len(batch.tickets))
        self._release(batch)
        self._deliveries.put((batch, probabilities))

    def _fail(self, batch: _Batch, error: InferenceError) -> None:
        self._hooks.log_failure(str(error))
        for ticket in batch.tickets:
            self.accounting.dropped(ticket.camera, 'failed')
        self._release(batch)

    def _release(self, batch: _Batch) -> None:
        with self._changed:
            self._busy -= 1
            self._free.append(batch.index)
            self._changed.notify_all()

    # The deliverer.

    def _deliver_loop(self) -> None:
        labels = self.backend.spec.labels
        while (delivery := self._deliveries.get()) is not None:
            batch, probabilities = delivery
            for ticket, row in zip(batch.tickets, probabilities):
                settings = self.settings
                age_ms = (perf_counter_ns() - ticket.received_ns) / 1e6
                if settings.max_age_ms and age_ms > settings.max_age_ms:
                    self._drop(ticket, 'stale')
                    continue
                self._hooks.deliver(ticket, top_predictions(
                    row, labels, settings.top_k, settings.score_threshold))
                self.accounting.answered(ticket.camera, _stages_ms(ticket, perf_counter_ns()))
            with self._changed:
                self._changed.notify_all()


def _stages_ms(ticket: Ticket, published_ns: int) -> dict[str, float]:
    return {
        'queue': (ticket.taken_ns - ticket.received_ns) / 1e6,
        'fit': (ticket.fitted_ns - ticket.taken_ns) / 1e6,
        'batch': (ticket.submitted_ns - ticket.fitted_ns) / 1e6,
        'infer': (ticket.inferred_ns - ticket.submitted_ns) / 1e6,
        'publish': (published_ns - ticket.inferred_ns) / 1e6,
        'total': (published_ns - ticket.received_ns) / 1e6,
    }
