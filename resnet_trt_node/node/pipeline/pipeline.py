"""
From the reception of a frame to its publication, on three threads.

The executor's callback, or a thread that receives, puts a message into a queue. From there:

    preprocess worker   takes frames, decodes and resizes each into rows of a free batch buffer
    inference worker    opens the backend, submits filled buffers, collects their probabilities
    publisher           names the classes and publishes

so that the next batch is prepared and the last one published while the backend computes. Waking
another thread takes a tenth of a millisecond. So with nothing else to do the inference worker
publishes a batch itself, and a thread that receives preprocesses the first frame of a batch. What
the threads share is in the `Scheduler`. Nothing here knows ROS.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from time import perf_counter_ns
from typing import Any, Optional, Sequence

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.result_check import bad_rows
from resnet_trt_node.errors import frame_error_text
from resnet_trt_node.node.pipeline.counters import Counters
from resnet_trt_node.node.pipeline.frame_queue import Batch, InFlightFrame
from resnet_trt_node.node.pipeline.inference.backend_state import BackendState
from resnet_trt_node.node.pipeline.inference.inference_worker import InferenceWorker, NUM_BUFFERS
from resnet_trt_node.node.pipeline.preprocess_worker import PreprocessWorker
from resnet_trt_node.node.pipeline.scheduling.scheduler import Scheduler
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks
from resnet_trt_node.node.pipeline.work import FrameInput
from resnet_trt_node.node.pipeline.worker_threads import WorkerThreads

#: Names of a pipeline's threads.
INFERENCE, PREPROCESS, PUBLISHER = THREADS = ('inference', 'preprocess', 'publisher')


class Pipeline:
    """
    Answers the newest frames of several cameras in batches.

    :param cameras: the cameras' names.
    :param queue_depth: frames that wait per camera.
    :param frames: what of a frame is inferred: `WholeFrames` or `RegionFrames`.
    :param settings: what may change later through `settings`.
    :param hooks: what it calls.
    :param preprocess_threads: that decode and resize waiting frames at once.
    """

    def __init__(
            self, cameras: Sequence[str], queue_depth: int, frames: FrameInput,
            settings: LiveSettings, hooks: PipelineHooks, preprocess_threads: int = 1) -> None:
        self.settings = settings
        self.counters = Counters(cameras)
        #: Camera to how its last answered frame was preprocessed, see `InFlightFrame.path`.
        self.paths: dict[str, str] = {}
        self._frames = frames
        self._hooks = hooks
        self._scheduler = Scheduler(
            cameras, queue_depth, self.counters, lambda: self.settings)
        self._worker = InferenceWorker(
            self._scheduler, self.counters, lambda: self.settings,
            replace(hooks, open_backend=self._open_backend), self._publish_batch)
        self._preprocess = PreprocessWorker(
            self._scheduler, frames, hooks, lambda index: self.backend.buffer(index),
            lambda index: self.backend.device_rows(index), preprocess_threads)
        self._threads = WorkerThreads({
            INFERENCE: self._worker.run, PREPROCESS: self._preprocess.run,
            PUBLISHER: self._publish_loop}, self._scheduler.close)

    @property
    def backend(self) -> Backend:
        """Return the last opened backend, to read its spec and info; its thread calls it."""
        if self._worker.backend is None:
            raise RuntimeError('the pipeline is not open')
        return self._worker.backend

    @property
    def backend_state(self) -> BackendState:
        """Return whether the backend works; if it is disabled, only `close` is left."""
        return self._worker.state

    @property
    def unexpected_exception(self) -> Optional[BaseException]:
        """Return what ended a thread that should have gone on, None while all is well."""
        return self._threads.unexpected_exception

    @property
    def overdue(self) -> Optional[str]:
        """Return which call of the backend takes far too long, None if none does."""
        return self._worker.watchdog.overdue()

    @property
    def accepting(self) -> bool:
        """Tell whether frames are accepted now."""
        return self._scheduler.accepting

    @property
    def longest_end_sec(self) -> float:
        """Return how long the batches in flight may take to end, by what the warm-up took."""
        return (NUM_BUFFERS + 1) * self._worker.watchdog.slowest_ms / 1e3

    def begin(self) -> Future[dict[int, float]]:
        """
        Have the backend opened and warmed, on its own thread, and return at once.

        :returns: warm-up milliseconds by batch size, or why the backend cannot be opened; `close`
            frees what is there.
        """
        self._threads.start()
        return self._worker.opened

    def start(self) -> dict[int, float]:
        """
        Wait until the backend is open and warm, beginning that if need be.

        :returns: warm-up milliseconds by batch size.
        :raises ResnetTrtError: why the backend cannot be opened; `close` what is there.
        """
        return self.begin().result()

    def resume(self) -> None:
        """Accept frames from now on."""
        self._scheduler.accept()

    def offer(
            self, camera: str, message: Any, waited_ns: int = 0, preprocess: bool = False) -> None:
        """
        Accept a frame; called from the executor, or from a thread that receives.

        :param camera: whose it is.
        :param message: the message, which must not change afterwards.
        :param waited_ns: how long ago the middleware had received it, from when on it ages.
        :param preprocess: whether this thread preprocesses the frame where nothing else is under
            way and frames take it little time; else it returns at once.
        """
        now_ns = perf_counter_ns()
        batch = self._scheduler.offer(
            InFlightFrame(
                camera, message, now_ns - waited_ns, now_ns,
                num_regions=self._frames.num_regions(message)),
            preprocess and self._preprocess.is_quick)
        if batch is not None:
            self._threads.guard(partial(self._preprocess.fill_first, batch))

    def drop(
            self, camera: str, message: Any, reason: str, waited_ns: int = 0,
            line: str = '') -> None:
        """
        Count a frame that ended before it could be offered; its regions, if any, are unknown.

        :param camera: whose it is.
        :param message: its image, or a packet of video.
        :param reason: one of `counters.DROP_REASONS`.
        :param waited_ns: how long ago the middleware had received it.
        :param line: what is logged of it as a bad frame, '' for nothing.
        """
        now_ns = perf_counter_ns()
        frame = InFlightFrame(camera, message, now_ns - waited_ns, now_ns)
        self.counters.received(frame)
        self._scheduler.drop([frame], reason)
        if line:
            self._hooks.log_bad_frame(camera, line)

    def drain(self, timeout_sec: float) -> int:
        """
        Accept no more frames and wait until those in flight are answered or dropped.

        :param timeout_sec: after it the waiting frames are refused, and those being worked on are
            abandoned: nothing of them is published any more, they count as refused when the
            backend is done with them.
        :returns: how many were abandoned.
        """
        return self._scheduler.drain(timeout_sec)

    def check_backend(self, timeout_ms: Optional[float] = None) -> None:
        """
        Disable a backend that hangs, see `backend_state`; to be called some times a second.

        Nothing of it is published from then on, even if it comes back.

        :param timeout_ms: how long a call may take, None for the setting `infer_timeout_ms`;
            0 disables none. Ten times the slowest batch of the warm-up are granted at least.
        """
        self._worker.check(
            self.settings.infer_timeout_ms if timeout_ms is None else timeout_ms)

    def close(self, timeout_sec: float = 1.0) -> bool:
        """
        End the threads and free the backend; waiting frames are refused.

        :param timeout_sec: how long a batch in the backend may take to end, unless it hangs.
        :returns: whether all threads ended; if not, the backend hangs and stays open. Its frames
            count as failed, as do those of a thread that an unexpected exception ended.
        """
        self._scheduler.close()
        hung = self._worker.watchdog.hung is not None
        if hung:
            self._scheduler.end_inference()
        ended = self._threads.join(timeout_sec, but=(INFERENCE,) if hung else ())
        if not ended:
            # Should it come back, nothing of it is published.
            self._scheduler.drain(0.0)
        # Otherwise each frame has come to its end, and `mismatch` shows one that has not.
        self.counters.finalize(lost=not ended or hung or self.unexpected_exception is not None)
        return ended

    def join(self, timeout_sec: float = 0.0) -> bool:
        """After `close`: wait for a backend that hangs; tell whether all threads have ended."""
        return self._threads.join(timeout_sec)

    def _open_backend(self) -> Backend:
        backend = self._hooks.open_backend()
        try:
            self._frames.use_model(backend.spec)
            self._multi_label = backend.spec.multi_label
        except BaseException:
            backend.close()
            raise
        return backend

    # The publisher.

    def _publish_loop(self) -> None:
        while (batch := self._scheduler.next_inferred()) is not None:
            self._publish_batch(batch)
            self._scheduler.published(batch)

    def _publish_batch(self, batch: Batch) -> None:
        self._take_rows(batch)
        for frame in batch.completing:
            if not frame.ended:
                self._publish(batch, frame)

    def _take_rows(self, batch: Batch) -> None:
        """Hand the probabilities of a batch to the frames that they are of."""
        if batch.probabilities is None:
            return
        bad = bad_rows(batch.probabilities, not self._multi_label)
        for place, error in batch.fall_backs.items():
            frame = batch.rows[place][0]
            frame.path = ''
            if error and not frame.ended:
                self._hooks.log_bad_frame(frame.camera, frame_error_text(error))
                self._scheduler.drop([frame], 'malformed')
        for place, ((frame, index), row) in enumerate(
                zip(batch.rows, batch.probabilities, strict=True)):
            if frame.ended:
                continue
            assert frame.work is not None
            if place not in bad:
                frame.work.take(index, row)
                continue
            # The device is well: it is this frame, or the model at it.
            self._hooks.log_bad_frame(frame.camera, bad[place])
            if frame.work.fail(index):
                self._scheduler.drop([frame], 'failed')

    def _publish(self, batch: Batch, frame: InFlightFrame) -> None:
        if frame.offered_ns <= self._scheduler.abandoned_ns:
            self._scheduler.drop([frame], 'refused')
            return
        assert frame.work is not None
        settings = self.settings
        answer = frame.work.answer(settings)
        # Last of all, so that nothing but publishing comes behind.
        age_ms = (perf_counter_ns() - frame.received_ns) / 1e6
        if settings.max_age_ms and age_ms > settings.max_age_ms:
            self._scheduler.drop([frame], 'stale')
            return
        source_ms = self._hooks.publish(frame, answer)
        stages_ms = batch.stages_ms(frame, perf_counter_ns())
        if source_ms is None:
            self.counters.count_at(frame.camera, 'unusable_stamps')
        else:
            stages_ms['source_to_publish'] = source_ms
        frame.ended = True
        self.paths[frame.camera] = frame.path
        self.counters.answered(frame, stages_ms, frame.work.outcomes)
