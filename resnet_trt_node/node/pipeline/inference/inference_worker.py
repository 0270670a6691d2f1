"""
The thread that owns the backend: opens it, infers batches, and opens it again when it breaks.

A batch on which the backend raises InferenceError is submitted once more as it is. After
`reopen_after_failures` lost batches in a row the backend is closed and opened again, with pauses
that double. An attempt counts until a batch was inferred: a backend that opens well and then fails
on every batch is disabled like one that does not open. One whose device is lost to this process is
disabled at once.

Batches are watched, see `hang_watchdog`; so are closing and warming up for another attempt.
Opening is not, nor is the first warm-up: building an engine may take minutes, and nothing tells
how many.
"""

from __future__ import annotations

from concurrent.futures import Future
from math import inf
from time import perf_counter_ns
from typing import Callable, Optional

from resnet_trt_node.backends.base import Backend, warm_up
from resnet_trt_node.errors import DeviceLost, InferenceError, ModelError, ResnetTrtError
from resnet_trt_node.node.pipeline.counters import Counters
from resnet_trt_node.node.pipeline.frame_queue import Batch
from resnet_trt_node.node.pipeline.inference.backend_state import BackendPhase, BackendState
from resnet_trt_node.node.pipeline.inference.hang_watchdog import CallAbandonedError, HangWatchdog
from resnet_trt_node.node.pipeline.scheduling.scheduler import Scheduler
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks

#: Batch buffers: one is computed, one submitted behind it, one filled. With two an asynchronous
#: device idles between batches, 5 to 10 % of batches of 5 ms; see docs/how-to/wait-and-batch.md.
NUM_BUFFERS = 3
#: A blocking backend takes no batch ahead; a third buffer would only let frames grow old.
_BLOCKING_BUFFERS = 2
#: A later warm-up may take so many times what the first one took.
_SLOWER_WARM_UP = 10.0


class InferenceWorker:
    """
    Infers the batches of a scheduler.

    :param scheduler: where filled buffers come from, and inferred batches and free buffers go.
    :param counters: count batches and what the backend failed on.
    :param settings: returns the present settings.
    :param hooks: opens backends, and logs failures.
    :param publish: publishes the answers of a batch when nothing else is to be done.
    """

    def __init__(
            self, scheduler: Scheduler, counters: Counters,
            settings: Callable[[], LiveSettings], hooks: PipelineHooks,
            publish: Callable[[Batch], None]) -> None:
        self._scheduler = scheduler
        self._counters = counters
        self._settings = settings
        self._hooks = hooks
        self._publish = publish
        #: Done when the backend is warm: warm-up milliseconds by batch size, or why there is none.
        self.opened: Future[dict[int, float]] = Future()
        #: The last backend; open while its state is WORKING.
        self.backend: Optional[Backend] = None
        self.state = BackendState()
        #: Watches the calls of the backend.
        self.watchdog = HangWatchdog()
        # When the last batch was inferred, perf_counter_ns.
        self._inferred_ns = 0
        # What a warm-up took altogether; nothing tells how long the first one may take.
        self._warm_up_ms = inf
        self._lost_in_row = 0
        self._attempts = 0

    def run(self) -> None:
        """Open the backend, work until no batch comes any more or it is disabled, and free it."""
        try:
            self.opened.set_result(self._open())
            while not self._infer_batches() and self._reopen():
                pass
        except CallAbandonedError:
            # Disabled by `check`. The preprocess worker may still write into the buffers.
            self._scheduler.recall_buffers()
        except BaseException as error:  # noqa: B902  raised by whoever waits for `opened`
            if self.opened.done():
                raise
            self.opened.set_exception(error)
        finally:
            self._scheduler.end_inference()
            if self.backend is not None:
                self.backend.close()

    def check(self, timeout_ms: float) -> None:
        """Disable the backend if it hangs; called from another thread, some times a second."""
        hung = self.watchdog.check(timeout_ms)
        if hung is not None and not self.state.disabled:
            self._disable(
                f'the backend hangs: {hung}; check the device and the log, and restart the '
                'process if the backend does not come back')

    def _disable(self, reason: str) -> None:
        self._scheduler.close('failed')
        self.state = BackendState(BackendPhase.DISABLED, reason)

    def _open(self) -> dict[int, float]:
        backend = self._hooks.open_backend()
        try:
            start_ns = perf_counter_ns()
            with self.watchdog.call('the warm-up', _SLOWER_WARM_UP * self._warm_up_ms):
                took_ms = warm_up(backend)
            self._warm_up_ms = min(self._warm_up_ms, (perf_counter_ns() - start_ns) / 1e6)
            if self.backend is not None and backend.spec != self.backend.spec:
                raise ModelError(
                    'the model file changed while the node ran: clean up, configure and activate '
                    'the node to take the new one')
        except BaseException:
            backend.close()
            raise
        self.backend = backend
        self._watch_device_alone(backend)
        self.watchdog.slowest_ms = max(took_ms.values())
        self._scheduler.add_buffers(range(
            backend.num_buffers if backend.asynchronous
            else min(backend.num_buffers, _BLOCKING_BUFFERS)),
            self.watchdog.slowest_ms, backend.max_batch_size)
        return took_ms

    def _watch_device_alone(self, backend: Backend) -> None:
        """Have what the CPU decodes within `submit` count as no time of the device."""
        for index in range(backend.num_buffers):
            rows = backend.device_rows(index)
            if rows is not None:
                rows.on_cpu = self.watchdog.pause

    # Batches.

    def _infer_batches(self) -> bool:
        """Infer what comes; True at the end, False when the backend must be opened again."""
        assert self.backend is not None
        backend = self.backend
        while self._lost_in_row < self._settings().reopen_after_failures:
            # An asynchronous backend gets all that is ready before its answers are waited for, so
            # that the device goes from one batch to the next by itself.
            batch = self._scheduler.next_batch(several=backend.asynchronous)
            if batch is None:
                return True
            if batch.submitted_ns:
                self._finish(backend, batch)
            else:
                batch.submitted_ns = perf_counter_ns()
                self._call(backend, batch, 'submitting', submit=True)
        return False

    def _call(self, backend: Backend, batch: Batch, what: str, *, submit: bool = False,
              collect: bool = False) -> None:
        """Have a batch submitted, collected or both; sets its probabilities, or its error."""
        batch.error = None
        try:
            with self.watchdog.call(f'{what} a batch of {len(batch.rows)}'):
                if submit:
                    backend.submit(len(batch.rows), batch.index)
                if collect:
                    # Copied, since the buffer is filled again while the answer is published.
                    batch.probabilities = backend.collect(batch.index).copy()
                    batch.fall_backs = backend.fall_backs(batch.index)
        except InferenceError as error:
            batch.error = str(error)

    def _finish(self, backend: Backend, batch: Batch) -> None:
        if batch.error is None:
            self._call(backend, batch, 'collecting', collect=True)
        if batch.error is not None:
            self._retry(backend, batch)
        if batch.error is None:
            # The backend did not begin before it was done with the batch ahead.
            batch.submitted_ns = max(batch.submitted_ns, self._inferred_ns)
            batch.inferred_ns = self._inferred_ns = perf_counter_ns()
            self._lost_in_row = self._attempts = 0
            self._counters.inferred(len(batch.rows))
        if self._scheduler.finish(batch):
            try:
                self._publish(batch)
            finally:
                self._scheduler.published(batch)

    def _retry(self, backend: Backend, batch: Batch) -> None:
        first_error = batch.error
        self._counters.count('retried_batches')
        self._call(backend, batch, 'a second attempt at', submit=True, collect=True)
        if batch.error is None:
            self._hooks.log_failure(f'batch inferred at the second attempt, after: {first_error}')
        else:
            self._lost_in_row += 1
            self._counters.count('failed_batches')
            self._hooks.log_failure(f'batch of {len(batch.rows)} lost: {batch.error}')

    # Recovery.

    def _reopen(self) -> bool:
        """Close the backend and open it again; False if that is not wanted or not possible."""
        assert self.backend is not None
        self._log_reopening(f'{self._lost_in_row} batches in a row were lost')
        self._lost_in_row = 0
        self._scheduler.recall_buffers()
        try:
            with self.watchdog.call('closing the failed backend'):
                self.backend.close()
        except Exception as error:  # noqa: B902
            # A device that is gone makes a runtime's destructors raise whatever they like. The
            # failure is known and reported, and whether there is a way on, opening will tell.
            self._hooks.log_failure(f'the failed backend could not be closed: {error!r}')
        while not (most := self._settings().max_reopen_attempts) or self._attempts < most:
            if self._scheduler.wait_closing(self._settings().backoff_sec(self._attempts)):
                return False
            self._attempts += 1
            try:
                self._open()
            except DeviceLost as error:
                self._disable(f'the backend was disabled: {error}')
                return False
            except ResnetTrtError as error:
                self._log_reopening(f'attempt {self._attempts} failed: {error}')
            else:
                self._counters.count('reopened_backends')
                self._hooks.log_failure(f'the backend is open again, attempt {self._attempts}')
                self.state = BackendState()
                return True
        self._disable(
            f'the backend was disabled after {self._attempts} attempts to open it again: '
            f'{self.state.reason}; check the device and the log, then configure the node again')
        return False

    def _log_reopening(self, reason: str) -> None:
        self.state = BackendState(BackendPhase.REOPENING, reason)
        self._hooks.log_failure(f'opening the backend again: {reason}')
