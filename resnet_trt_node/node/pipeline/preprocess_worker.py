"""
The thread that decodes and resizes frames into the rows of batch buffers, and its helpers.

Frames that wait at the same time are decoded and resized on several threads at once, so that
six cameras do not wait for one core. A frame with more regions than a batch has rows fills
what there is; then the other cameras have their turn, and it goes on in a later batch.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import os
from time import perf_counter_ns
from typing import Callable, Optional, Sequence, TypeVar

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.errors import FrameError
from resnet_trt_node.node.pipeline.frame_queue import Batch, InFlightFrame
from resnet_trt_node.node.pipeline.scheduler import Scheduler
from resnet_trt_node.node.pipeline.settings import PipelineHooks
from resnet_trt_node.node.pipeline.work import FrameInput

#: Cores for each preprocess thread where their number is chosen: the executor, the inference and
#: the publisher want some too.
_CORES_A_THREAD = 4
#: The most that are chosen; what more would bring was not measured.
_MOST_THREADS = 4

_Job = TypeVar('_Job')


def chosen_threads(wanted: int, cores: Optional[int] = None) -> int:
    """
    Return how many threads preprocess.

    :param wanted: 0 chooses by the number of cores.
    :param cores: of this process; None asks the system.
    """
    if cores is None:
        cores = len(os.sched_getaffinity(0))
    return wanted or min(_MOST_THREADS, max(1, cores // _CORES_A_THREAD))


class PreprocessWorker:
    """
    Fills the batches of a scheduler.

    :param scheduler: where frames come from, and filled batches go.
    :param frames: tells what of a frame is inferred.
    :param hooks: decodes, and logs bad frames.
    :param buffer: returns the rows of a batch buffer, uint8 (batch, H, W, 3).
    :param threads: that decode and resize at once, at least 1.
    """

    def __init__(
            self, scheduler: Scheduler, frames: FrameInput, hooks: PipelineHooks,
            buffer: Callable[[int], NDArray[np.uint8]], threads: int) -> None:
        self._scheduler = scheduler
        self._frames = frames
        self._hooks = hooks
        self._buffer = buffer
        self._threads = threads

    def run(self) -> None:
        """Fill batches until the scheduler closes."""
        with ThreadPoolExecutor(max(1, self._threads - 1), 'preprocess') as self._pool:
            while (batch := self._scheduler.open_batch()) is not None:
                try:
                    rows = self._buffer(batch.index)
                    while (room := len(rows) - len(batch.rows)) and (
                            frames := self._scheduler.next_frames(
                                batch, min(room, self._threads))):
                        self._preprocess(batch, rows, frames)
                finally:
                    self._scheduler.close_batch(batch)

    def _preprocess(
            self, batch: Batch, rows: NDArray[np.uint8], frames: Sequence[InFlightFrame]) -> None:
        """Decode frames, and write as many of their rows as the batch has room for."""
        start_ns = perf_counter_ns()
        bad = self._tried(
            self._begin, [frame for frame in frames if frame.work is None], lambda frame: frame)
        first = len(batch.rows)
        places: list[tuple[InFlightFrame, int]] = []
        for frame in frames:
            if frame not in bad:
                room = len(rows) - first - len(places)
                count = min(frame.rows_left, room)
                places += [(frame, frame.placed + number) for number in range(count)]
                frame.placed += count
        jobs = [(*place, rows[first + number]) for number, place in enumerate(places)]
        bad |= self._tried(_fill, jobs, lambda job: job[0])
        if bad:
            self._scheduler.drop([frame for frame in frames if frame in bad], 'malformed')
            kept = [number for number, (frame, _) in enumerate(places) if frame not in bad]
            for number, before in enumerate(kept):
                if number != before:
                    rows[first + number] = rows[first + before]
            places = [places[number] for number in kept]
        end_ns = perf_counter_ns()
        batch.rows += places
        batch.row_ms += [(end_ns - start_ns) / 1e6 / max(1, len(places))] * len(places)
        unfinished: list[InFlightFrame] = []
        for frame in frames:
            if frame not in bad:
                frame.preprocessed_ns = end_ns
                (unfinished if frame.rows_left else batch.completing).append(frame)
        self._scheduler.put_back(unfinished, {frame for frame, _ in places})

    def _tried(
            self, work: Callable[[_Job], None], jobs: Sequence[_Job],
            frame_of: Callable[[_Job], InFlightFrame]) -> set[InFlightFrame]:
        """Do all jobs, on several threads where there are several; return the bad frames."""
        def share(number: int) -> set[InFlightFrame]:
            bad = set()
            for job in jobs[number::threads]:
                try:
                    work(job)
                except Exception as error:  # noqa: B902
                    # Bad frames end in FrameError; should OpenCV or Pillow raise something of
                    # their own for bytes that nobody foresaw, it is still one bad frame and not
                    # the node's end.
                    frame = frame_of(job)
                    if frame not in bad:
                        reason = str(error) if isinstance(error, FrameError) else repr(error)
                        self._hooks.log_bad_frame(frame.camera, reason)
                        bad.add(frame)
            return bad

        threads = min(self._threads, len(jobs))
        others = [self._pool.submit(share, number) for number in range(1, threads)]
        bad = share(0) if jobs else set()
        return bad.union(*(other.result() for other in others))

    def _begin(self, frame: InFlightFrame) -> None:
        frame.work = self._frames.begin(frame.camera, frame.message, self._hooks.decode)


def _fill(job: tuple[InFlightFrame, int, NDArray[np.uint8]]) -> None:
    frame, index, row = job
    assert frame.work is not None
    frame.work.fill(index, row)
