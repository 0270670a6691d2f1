"""
The frames' way from reception to publication, on three threads of its own.

The executor's callback only puts a message into a queue. From there::

    fitter     takes frames, decodes and resizes each into a slot of a free batch buffer
    inferrer   opens the backend, submits filled buffers, collects their probabilities
    deliverer  names the classes and publishes

so that the next batch is prepared and the last one published while the backend computes. While
nothing else is under way, a frame is fitted by the callback and published by the inferrer: waking
another thread would take as long as the work. What the threads share is on the `BatchBoard`.
Nothing here knows ROS.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from queue import Full, Queue
from time import perf_counter_ns
from typing import Any, Optional, Sequence, TYPE_CHECKING

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.result_check import bad_rows
from resnet_trt_node.contract.prediction import top_predictions
from resnet_trt_node.errors import FrameError, ResnetTrtError
from resnet_trt_node.imaging.resize import FitMethod, Resizer
from resnet_trt_node.node.pipeline.counters import Accounting
from resnet_trt_node.node.pipeline.frame_queue import Batch, Ticket
from resnet_trt_node.node.pipeline.inference_worker import Inferrer, NUM_BUFFERS
from resnet_trt_node.node.pipeline.scheduler import BatchBoard
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks
from resnet_trt_node.node.pipeline.worker_threads import WorkerThreads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Names of a pipeline's threads.
THREADS = ('inferrer', 'fitter', 'deliverer')


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
        self._board = BatchBoard(
            cameras, queue_depth, self.accounting, lambda: self.settings.max_age_ms)
        self._fit_method = fit_method
        self._hooks = hooks
        self._deliveries: Queue[Optional[tuple[Batch, NDArray[np.float32]]]] = Queue(maxsize=4)
        self._inferrer = Inferrer(
            self._board, self.accounting, lambda: self.settings, hooks,
            self._hand_over)
        self._threads = WorkerThreads(
            dict(zip(THREADS, (self._infer_loop, self._fit_loop, self._deliver_loop))),
            self._board.close)

    @property
    def backend(self) -> Backend:
        """Return the last opened backend, to read its spec and info; its thread calls it."""
        if self._inferrer.backend is None:
            raise RuntimeError('the pipeline is not open')
        return self._inferrer.backend

    @property
    def max_batch_size(self) -> int:
        """Return the largest batch that is inferred; also while the backend is closed."""
        return self._inferrer.max_batch_size

    @property
    def fault(self) -> Optional[BaseException]:
        """Return the unforeseen error that ended a thread, None while all is well."""
        return self._threads.fault

    @property
    def trouble(self) -> Optional[str]:
        """Return why the backend is being opened again, None while it works."""
        return self._inferrer.trouble

    @property
    def failure(self) -> Optional[ResnetTrtError]:
        """Return why the backend was given up; only `close` is left then."""
        return self._inferrer.failure

    @property
    def overdue(self) -> Optional[str]:
        """Return which call of the backend takes far too long, None if none does."""
        return self._inferrer.watch.overdue()

    @property
    def accepting(self) -> bool:
        """Tell whether frames are taken now."""
        return self._board.accepting

    @property
    def waiting(self) -> int:
        """Return how many frames wait to be taken."""
        return self._board.waiting

    def begin(self) -> Future[dict[int, float]]:
        """
        Have the backend opened and warmed, on its own thread, and return at once.

        :returns: warm-up milliseconds by batch size, or why the backend cannot be opened; when it
            is done, `start` goes on, and `close` frees what is there.
        """
        self._threads.start(THREADS[:1])
        return self._inferrer.opened

    def start(self) -> dict[int, float]:
        """
        Wait until the backend is open and warm, beginning that if need be; start all threads.

        :returns: warm-up milliseconds by batch size.
        :raises ResnetTrtError: why the backend cannot be opened; `close` what is there.
        """
        began = self._threads.started(THREADS[0])
        took_ms = (self._inferrer.opened if began else self.begin()).result()
        self._resizer = Resizer(self.backend.spec.resize, self._fit_method)
        self._threads.start(THREADS[1:])
        return took_ms

    def resume(self) -> None:
        """Take frames from now on."""
        self._board.accept()

    def offer(
            self, camera: str, message: Any, here: bool = False, waited_ns: int = 0) -> None:
        """
        Take a frame; called from the executor, returns at once or after some milliseconds.

        :param camera: whose it is.
        :param message: the message, which must not change afterwards.
        :param here: whether the frame may be fitted by the calling thread, which happens while
            the pipeline is idle and frames need not wait for others.
        :param waited_ns: how long ago the middleware had received it, from when on it ages.
        """
        alone = self.max_batch_size == 1 or not self.settings.max_wait_ms
        now_ns = perf_counter_ns()
        batch = self._board.offer(
            Ticket(camera, message, now_ns - waited_ns, now_ns), here and alone)
        if batch is not None:
            with self._threads.faults_kept():
                self._fill_here(batch)

    def drain(self, timeout_sec: float) -> int:
        """
        Take no more frames and wait until those taken are answered or dropped.

        :param timeout_sec: after it the waiting frames are refused, and those being worked on are
            given up: nothing is published any more, they count as refused when the backend is
            done with them.
        :returns: how many were given up.
        """
        return self._board.drain(timeout_sec)

    def check_backend(self, timeout_ms: Optional[float] = None) -> None:
        """
        Disable a backend that hangs, see `failure`; to be called some times a second.

        Nothing of it is published from then on, even if it comes back.

        :param timeout_ms: how long a call may take, None for the setting `infer_timeout_ms`;
            0 disables none. Ten times the slowest batch of the warm-up are granted at least.
        """
        self._inferrer.check(
            self.settings.infer_timeout_ms if timeout_ms is None else timeout_ms)

    def close(self, timeout_sec: float = 1.0) -> bool:
        """
        End the threads and free the backend; waiting frames are refused.

        :param timeout_sec: how long a batch in the backend may take to end, unless it hangs.
        :returns: whether all threads ended; if not, the backend hangs and stays open. Its frames
            count as failed, as do those of a thread that an unforeseen error ended.
        """
        self._board.close()
        if not self._threads.started(THREADS[1]):
            # Given up while the model was being opened: nobody else would say so.
            self._board.end_filling()
        hung = self._inferrer.watch.hung is not None
        if hung:
            # It is not waited for, and the deliverer need not wait for it either.
            with suppress(Full):
                self._deliveries.put(None, timeout=timeout_sec)
        self._threads.join(timeout_sec, but=THREADS[:1] if hung else ())
        ended = not self._threads.running
        # Otherwise each frame has come to its end, and `mismatch` shows one that has not.
        self.accounting.settle(lost=not ended or hung or self.fault is not None)
        return ended

    def join(self, timeout_sec: float = 0.0) -> bool:
        """After `close`: wait for a backend that hangs; tell whether all threads have ended."""
        self._threads.join(timeout_sec)
        return not self._threads.running

    @property
    def longest_end_sec(self) -> float:
        """Return how long the batches under way may take to end, by what the warm-up took."""
        return (NUM_BUFFERS + 1) * self._inferrer.watch.slowest_ms / 1e3

    # The fitter.

    def _fit_loop(self) -> None:
        try:
            while (batch := self._board.open_batch()) is not None:
                self._fill(batch)
                self._board.close_batch(batch)
        finally:
            self._board.end_filling()

    def _fill_here(self, batch: Batch) -> None:
        """Fill a batch with the one frame that was just offered, on the thread that did."""
        try:
            ticket = self._board.next_ticket(None)
            if ticket is not None and self._fit(ticket, self.backend.buffer(batch.index)[0]):
                batch.tickets.append(ticket)
        finally:
            self._board.close_batch(batch)

    def _fill(self, batch: Batch) -> None:
        slots = self.backend.buffer(batch.index)
        deadline_ns: Optional[int] = None
        while len(batch.tickets) < len(slots):
            ticket = self._board.next_ticket(deadline_ns)
            if ticket is None:
                break
            if self._fit(ticket, slots[len(batch.tickets)]):
                batch.tickets.append(ticket)
                if deadline_ns is None:
                    deadline_ns = self._board.keep_open_until(
                        ticket, self.settings.max_wait_ms)

    def _fit(self, ticket: Ticket, slot: NDArray[np.uint8]) -> bool:
        resizer = self._resizer
        try:
            resizer.fit(self._hooks.decode(ticket.message, resizer.decode_side), slot)
        except Exception as error:  # noqa: B902
            # Bad frames end in FrameError; should OpenCV or Pillow raise something of their own
            # for bytes that nobody foresaw, it is still one bad frame and not the node's end.
            reason = str(error) if isinstance(error, FrameError) else repr(error)
            self._hooks.log_bad_frame(ticket.camera, reason)
            self._board.drop([ticket], 'malformed')
            return False
        self._board.fitted(ticket)
        return True

    # The inferrer.

    def _infer_loop(self) -> None:
        try:
            self._inferrer.run()
        finally:
            self._deliveries.put(None)
            self._inferrer.close()

    # The deliverer, and the inferrer where it answers by itself.

    def _hand_over(self, batch: Batch, probabilities: NDArray[np.float32]) -> None:
        """Answer a batch, on the inferrer's thread: here if the backend has nothing to do."""
        if not self._deliveries.unfinished_tasks and self._board.may_publish():
            self._deliver_batch(batch, probabilities)
        else:
            self._deliveries.put((batch, probabilities))

    def _deliver_loop(self) -> None:
        try:
            while (delivery := self._deliveries.get()) is not None:
                self._deliver_batch(*delivery)
                self._deliveries.task_done()
        except BaseException:
            self._board.close()
            # The inferrer would wait for ever for a place in the queue.
            while (delivery := self._deliveries.get()) is not None:
                self._board.drop(delivery[0].tickets, 'failed')
            raise

    def _deliver_batch(self, batch: Batch, probabilities: NDArray[np.float32]) -> None:
        self._board.publishing()
        try:
            bad = bad_rows(probabilities)
            for index, (ticket, row) in enumerate(zip(batch.tickets, probabilities, strict=True)):
                if index in bad:
                    # The device is well: it is this frame, or the model at it.
                    self._hooks.log_bad_frame(ticket.camera, bad[index])
                    self._board.drop([ticket], 'failed')
                else:
                    self._deliver(ticket, row)
        finally:
            self._board.published((perf_counter_ns() - batch.tickets[0].inferred_ns) / 1e6)

    def _deliver(self, ticket: Ticket, row: NDArray[np.float32]) -> None:
        if self.accounting.settled:
            # A backend that hung came back after the pipeline was given up.
            return
        if self._board.given_up(ticket):
            self._board.drop([ticket], 'refused')
            return
        settings = self.settings
        predictions = top_predictions(
            row, self.backend.spec.labels, settings.top_k, settings.score_threshold)
        # Last of all, so that nothing but publishing comes behind.
        age_ms = (perf_counter_ns() - ticket.received_ns) / 1e6
        if settings.max_age_ms and age_ms > settings.max_age_ms:
            self._board.drop([ticket], 'stale')
            return
        source_ms = self._hooks.deliver(ticket, predictions)
        stages_ms = ticket.stages_ms(perf_counter_ns())
        if source_ms is not None:
            stages_ms['source_to_publish'] = source_ms
        self.accounting.answered(ticket, stages_ms)
