"""
The thread that owns the backend: opens it, infers batches, and opens it again when it breaks.

A batch on which the backend raises InferenceError is tried once more as it is. After
`reopen_after_failures` lost batches in a row the backend is closed and opened again, with pauses
that double. An attempt counts until a batch was inferred: a backend that opens well and then fails
on every batch is given up like one that does not open.

Batches are watched, see `hang_watch`; so are closing and warming up for another attempt. Opening
is not, nor is the first warm-up: building an engine may take minutes, and nothing tells how many.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from time import perf_counter_ns
from typing import Callable, Optional, TYPE_CHECKING

from resnet_trt_node.backends.base import Backend, warm_up
from resnet_trt_node.errors import InferenceError, ModelError, ResnetTrtError
from resnet_trt_node.node.pipeline.counters import Accounting
from resnet_trt_node.node.pipeline.frame_queue import Batch
from resnet_trt_node.node.pipeline.hang_watchdog import CallAbandonedError, HangWatch
from resnet_trt_node.node.pipeline.scheduler import BatchBoard
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Batch buffers: one is computed, one submitted behind it, one filled. With two an asynchronous
#: device idles between batches, 5 to 10 % of batches of 5 ms; see docs/how-to/wait-and-batch.md.
NUM_BUFFERS = 3
#: A blocking backend takes no batch ahead; a third buffer would only let frames grow old.
_BLOCKING_BUFFERS = 2
#: A later warm-up may take so many times what the first one took.
_SLOWER_WARM_UP = 10.0


class Inferrer:
    """
    Infers the batches of a board.

    :param board: where filled buffers come from and free ones go.
    :param accounting: counts batches, and frames through the board.
    :param settings: gives the present settings.
    :param hooks: opens backends, and is told of failures.
    :param deliver: takes an inferred batch with its own float32 (batch, C) probabilities; may
        block, which holds up the backend.
    """

    def __init__(
            self, board: BatchBoard, accounting: Accounting,
            settings: Callable[[], LiveSettings], hooks: PipelineHooks,
            deliver: Callable[[Batch, NDArray[np.float32]], None]) -> None:
        self._board = board
        self._accounting = accounting
        self._settings = settings
        self._hooks = hooks
        self._deliver = deliver
        #: Done when the backend is warm: warm-up milliseconds by batch size, or why there is none.
        self.opened: Future[dict[int, float]] = Future()
        #: The last backend; open, except while `trouble` says why not.
        self.backend: Optional[Backend] = None
        #: Why the backend is being opened again, None while all is well.
        self.trouble: Optional[str] = None
        #: Why it was given up, None while it was not.
        self.failure: Optional[ResnetTrtError] = None
        #: Watches the calls of the backend.
        self.watch = HangWatch()
        #: The largest batch; a closed backend has forgotten it.
        self.max_batch_size = 0
        self._abandoned: Optional[CallAbandonedError] = None
        # When the last batch was inferred, perf_counter_ns.
        self._inferred_ns = 0
        # What the first warm-up took altogether.
        self._warm_up_ms = 0.0
        self._lost_in_row = 0
        self._attempts = 0

    def run(self) -> None:
        """Work until no batch comes any more, or the backend is given up."""
        try:
            took_ms = self._open()
        except BaseException as error:  # noqa: B902  handed to the thread that waits in `start`
            self.opened.set_exception(error)
            return
        self.opened.set_result(took_ms)
        try:
            while not self._serve():
                if not self._reopen():
                    return
        except CallAbandonedError as error:
            # The pipeline takes nothing more. What is left is to free the backend, after those who
            # write into its buffers. The traceback holds the frames that were in the backend: in
            # progress until the pipeline is closed, which counts them as failed.
            self._abandoned = error
            for batch in self._board.recall_buffers():
                self._board.drop(batch.tickets, 'failed')

    def check(self, timeout_ms: float) -> None:
        """Disable the backend if it hangs; called from another thread, some times a second."""
        hung = self.watch.check(timeout_ms)
        if hung is not None and self.failure is None:
            self._disable(
                f'the backend hangs: {hung}; check the device and the log, and start the process '
                'anew if the backend does not come back')

    def _disable(self, reason: str) -> None:
        """Take no more frames, for good."""
        self._board.close('failed')
        self.failure = InferenceError(reason)

    def close(self) -> None:
        """Free the backend; only on the thread of `run`, or after its end."""
        if self.backend is not None:
            self.backend.close()

    def _open(self) -> dict[int, float]:
        backend = self._hooks.open_backend()
        try:
            took_ms = self._warm_up(backend)
            if self.backend is not None and backend.spec != self.backend.spec:
                raise ModelError(
                    'the model file changed while the node ran: clean up, configure and activate '
                    'the node to take the new one')
        except BaseException:
            backend.close()
            raise
        self.max_batch_size = backend.max_batch_size
        self.backend = backend
        self.watch.slowest_ms = max(took_ms.values())
        self._board.add_buffers(range(
            backend.num_buffers if backend.asynchronous
            else min(backend.num_buffers, _BLOCKING_BUFFERS)),
            max(took_ms.values()), backend.max_batch_size)
        return took_ms

    def _warm_up(self, backend: Backend) -> dict[int, float]:
        if self.backend is not None:
            # It did so before, so it is known how long that takes, within reason.
            with self.watch.call('the warm-up', _SLOWER_WARM_UP * self._warm_up_ms):
                return warm_up(backend)
        start_ns = perf_counter_ns()
        took_ms = warm_up(backend)
        self._warm_up_ms = (perf_counter_ns() - start_ns) / 1e6
        return took_ms

    # Batches.

    def _serve(self) -> bool:
        """Infer what comes; True at the end, False when the backend must be opened again."""
        assert self.backend is not None
        backend = self.backend
        # What submit did, with its error if it raised one; answers leave in this order.
        submitted: deque[tuple[Batch, Optional[InferenceError]]] = deque()
        while self._lost_in_row < self._settings().reopen_after_failures:
            # An asynchronous backend gets all that is ready before its answers are waited for, so
            # that the device goes from one batch to the next by itself.
            batch = None
            if backend.asynchronous or not submitted:
                batch = self._board.next_batch(wait=not submitted)
            if batch is not None:
                if self._in_time(batch, len(submitted)):
                    submitted.append((batch, self._submit(backend, batch)))
            elif submitted:
                self._finish(backend, *submitted.popleft())
            else:
                return True
        for batch, _ in submitted:
            self._board.drop(batch.tickets, 'failed')
        return False

    def _in_time(self, batch: Batch, ahead: int) -> bool:
        if not self._board.hopeless(batch, ahead):
            return True
        self._board.release(batch)
        self._board.drop(batch.tickets, 'stale')
        return False

    def _submit(self, backend: Backend, batch: Batch) -> Optional[InferenceError]:
        now_ns = perf_counter_ns()
        for ticket in batch.tickets:
            ticket.submitted_ns = now_ns
        try:
            with self.watch.call(f'submitting a batch of {len(batch.tickets)}'):
                backend.submit(len(batch.tickets), batch.index)
        except InferenceError as error:
            return error
        return None

    def _finish(
            self, backend: Backend, batch: Batch, error: Optional[InferenceError]) -> None:
        probabilities = None
        if error is None:
            try:
                with self.watch.call(f'collecting a batch of {len(batch.tickets)}'):
                    probabilities = backend.collect(batch.index)
            except InferenceError as raised:
                error = raised
        if probabilities is None:
            probabilities = self._try_again(backend, batch, error)
        if probabilities is None:
            self._board.release(batch)
            return
        # Copied, since the buffer is filled again while the answer is delivered.
        probabilities = probabilities.copy()
        now_ns = perf_counter_ns()
        # The backend did not begin before it was done with the batch ahead.
        began_ns = max(batch.tickets[0].submitted_ns, self._inferred_ns)
        self._inferred_ns = now_ns
        for ticket in batch.tickets:
            ticket.submitted_ns, ticket.inferred_ns = began_ns, now_ns
        self._board.release(batch, (now_ns - began_ns) / 1e6)
        self._lost_in_row = self._attempts = 0
        self._accounting.inferred(len(batch.tickets))
        self._deliver(batch, probabilities)

    def _try_again(
            self, backend: Backend, batch: Batch,
            error: Optional[InferenceError]) -> Optional[NDArray[np.float32]]:
        self._accounting.count('retried_batches')
        try:
            with self.watch.call(f'a second attempt at a batch of {len(batch.tickets)}'):
                backend.submit(len(batch.tickets), batch.index)
                probabilities = backend.collect(batch.index)
        except InferenceError as again:
            self._lost_in_row += 1
            self._accounting.count('failed_batches')
            self._hooks.log_failure(f'batch of {len(batch.tickets)} lost: {again}')
            self._board.drop(batch.tickets, 'failed')
            return None
        self._hooks.log_failure(f'batch inferred at the second attempt, after: {error}')
        return probabilities

    # Recovery.

    def _reopen(self) -> bool:
        """Close the backend and open it again; False if that is not wanted or not possible."""
        assert self.backend is not None
        self.trouble = f'{self._lost_in_row} batches in a row were lost'
        self._hooks.log_failure(f'{self.trouble}: opening the backend again')
        for batch in self._board.recall_buffers():
            self._board.drop(batch.tickets, 'failed')
        self._lost_in_row = 0
        try:
            with self.watch.call('closing the failed backend'):
                self.backend.close()
        except Exception as error:  # noqa: B902
            # A device that is gone makes a runtime's destructors raise whatever they like. The
            # failure is known and reported, and whether there is a way on, opening will tell.
            self._hooks.log_failure(f'the failed backend could not be closed: {error!r}')
        while not (most := self._settings().max_reopen_attempts) or self._attempts < most:
            if self._board.wait_closing(self._settings().backoff_sec(self._attempts)):
                return False
            self._attempts += 1
            try:
                self._open()
            except ResnetTrtError as error:
                self.trouble = f'attempt {self._attempts} to open the backend failed: {error}'
                self._hooks.log_failure(self.trouble)
                continue
            self._accounting.count('reopened_backends')
            self._hooks.log_failure(f'the backend is open again, attempt {self._attempts}')
            self.trouble = None
            return True
        self._disable(
            f'the backend was given up after {self._attempts} attempts to open it again: '
            f'{self.trouble}; check the device and the log, then configure the node again')
        return False
