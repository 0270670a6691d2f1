"""Which of the waiting frames are begun, and how long a batch waits for more of them."""

from __future__ import annotations

from math import inf
from time import perf_counter_ns
from typing import Callable, Iterable, Optional

from resnet_trt_node.node.pipeline.frame_queue import Batch, FrameQueue, InFlightFrame
from resnet_trt_node.node.pipeline.scheduling.latency_model import LatencyModel
from resnet_trt_node.node.pipeline.settings import LiveSettings

#: From the end of a wait until the backend has the batch: another thread wakes and submits it.
_SUBMIT_MS = 2.0


class FrameIntake:
    """
    Takes frames that can meet their deadline; not thread-safe, its owner holds the lock.

    :param waiting: where they wait.
    :param model: predicts when they would be answered.
    :param settings: returns the present settings.
    """

    def __init__(
            self, waiting: FrameQueue, model: LatencyModel,
            settings: Callable[[], LiveSettings]) -> None:
        self._waiting = waiting
        self._model = model
        self._settings = settings

    @property
    def max_age_ms(self) -> float:
        """Return the age at which an answer is of no use; infinity for none."""
        return self._settings().max_age_ms or inf

    def take(
            self, most: int, room: int,
            ahead: int) -> tuple[list[InFlightFrame], list[InFlightFrame]]:
        """
        Take frames out of the queue.

        :param most: frames.
        :param room: rows that are free.
        :param ahead: batches that the backend has not finished.
        :returns: those that can be answered in time, and those that are stale.
        """
        frames: list[InFlightFrame] = []
        stale: list[InFlightFrame] = []
        while len(frames) < most and room > 0 and (frame := self._waiting.take()) is not None:
            if frame.ended:
                # With another batch that some of its rows are in.
                continue
            now_ns = perf_counter_ns()
            age_ms = (now_ns - frame.received_ns) / 1e6
            rows = frame.rows_left if frame.work else 1
            if age_ms + self._model.answer_in_ms(ahead, now_ns, rows) <= self.max_age_ms:
                if frame.work is None:
                    frame.taken_ns = now_ns
                frames.append(frame)
                room -= rows
                continue
            if age_ms <= self.max_age_ms and not ahead:
                # Only the estimate speaks against the frame. If all were dropped, no batch would
                # ever correct the estimate.
                self._model.decay()
            # Cameras whose frames always come at a bad moment would never be served otherwise.
            self._waiting.give_back_turn(frame.camera)
            stale.append(frame)
        return frames, stale

    def any_in_time(self, frames: Iterable[InFlightFrame], ahead: int) -> bool:
        """Return whether the next batch would be inferred before any of its frames is stale."""
        now_ns = perf_counter_ns()
        answer_ns = now_ns + 1e6 * self._model.infer_in_ms(ahead, now_ns)
        return any(
            (answer_ns - frame.received_ns) / 1e6 <= self.max_age_ms for frame in frames)

    def deferral_sec(self, ahead: int) -> float:
        """Return how long the start of the next batch should be deferred, see `LatencyModel`."""
        return self._model.deferral_ms(ahead, self.max_age_ms, perf_counter_ns()) / 1e3

    def wait_budget_sec(self, batch: Batch, ahead: int) -> Optional[float]:
        """Return how long a batch with rows may wait for more; None while others are ahead."""
        if ahead:
            # It could not start anyway.
            return None
        first, now_ns = batch.rows[0][0], perf_counter_ns()
        return min(
            self._settings().max_wait_ms - (now_ns - first.taken_ns) / 1e6,
            self.max_age_ms - (now_ns - first.received_ns) / 1e6
            - self._model.answer_in_ms(0, now_ns) - _SUBMIT_MS) / 1e3

    def may_wait(self, batch: Batch, ahead: int) -> bool:
        """Tell whether a batch with rows may wait for more."""
        left_sec = self.wait_budget_sec(batch, ahead)
        return left_sec is None or left_sec > 0
