"""
The thread that decodes and resizes frames into the rows of batch buffers, and its helpers.

Where a frame takes long, such as a jpeg or one with many regions, those that wait at the same
time are decoded and resized on several threads at once. Short ones are not: each thread more has
to wait for the GIL, which the conversion of a raw 1080p message alone holds for 3 ms.

A frame with more regions than a batch has rows fills what there is; then the other cameras have
their turn, and it goes on in a later batch.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
import os
from time import perf_counter_ns, thread_time_ns
from typing import Callable, Optional, Sequence, TypeVar

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.errors import frame_error_text
from resnet_trt_node.imaging.on_device.device_rows import DeviceRows
from resnet_trt_node.node.pipeline.frame_queue import Batch, InFlightFrame
from resnet_trt_node.node.pipeline.scheduling.latency_model import Estimate
from resnet_trt_node.node.pipeline.scheduling.scheduler import Scheduler
from resnet_trt_node.node.pipeline.settings import PipelineHooks
from resnet_trt_node.node.pipeline.work import FrameInput

#: Cores for each preprocess thread where their number is chosen: the executor, the inference and
#: the publisher want some too.
_CORES_A_THREAD = 2
#: The most that are chosen; what more would bring was not measured.
_MOST_THREADS = 8
#: Frames that take this much CPU are worth several threads. Six 1080p cameras at 30 Hz on 16 cores
#: with an H200: raw, 2 ms a frame, p50 from reception to publication was 6 ms with one thread and
#: 13 with four; jpeg of noise, 14 ms a frame, lost 61 % of its frames with one and 0.6 % with six.
_WORTH_MS = 4.0

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
    :param device_rows: returns what has the device write rows of a batch buffer, None where the
        CPU writes all of them.
    :param threads: that decode and resize at once where that pays, at least 1.
    """

    def __init__(
            self, scheduler: Scheduler, frames: FrameInput, hooks: PipelineHooks,
            buffer: Callable[[int], NDArray[np.uint8]],
            device_rows: Callable[[int], Optional[DeviceRows]], threads: int) -> None:
        self._scheduler = scheduler
        self._frames = frames
        self._hooks = hooks
        self._buffer = buffer
        self._device_rows_of = device_rows
        # Of the open batch.
        self._device_rows: Optional[DeviceRows] = None
        self._threads = threads
        # CPU time of a frame, in milliseconds: unlike real time it has no waiting for the GIL.
        self._frame = Estimate()
        # What each share of the present frames took, in nanoseconds.
        self._spent_ns: list[int] = []

    @property
    def _at_once(self) -> int:
        """Return how many threads pay."""
        return self._threads if self._frame.mean_ms >= _WORTH_MS else 1

    @property
    def is_quick(self) -> bool:
        """Tell whether one thread preprocesses what waits, as frames take it little time."""
        return self._at_once == 1

    def fill_first(self, batch: Batch) -> None:
        """
        Put one frame into a batch that `Scheduler.offer` returned, on the calling thread.

        Until the batch is closed, the worker's own thread begins none.
        """
        room = 0
        try:
            room = self._fill_batch(batch, once=True)
        finally:
            self._device_rows = None
            self._scheduler.close_batch(batch, room)

    def run(self) -> None:
        """Fill batches until the scheduler closes."""
        with ThreadPoolExecutor(max(1, self._threads - 1), 'preprocess') as self._pool:
            while (batch := self._scheduler.open_batch()) is not None:
                try:
                    self._fill_batch(batch)
                finally:
                    # The memory of a backend that is closed must not live on here.
                    self._device_rows = None
                    self._scheduler.close_batch(batch)

    def _fill_batch(self, batch: Batch, once: bool = False) -> int:
        """Preprocess what waits, `once` what is there; return how many rows are still free."""
        rows = self._buffer(batch.index)
        self._device_rows = self._device_rows_of(batch.index)
        if self._device_rows is not None and not batch.rows:
            self._device_rows.clear()
        while (room := self._room(batch, rows)) > 0 and (
                frames := self._scheduler.next_frames(batch, self._at_once, room)):
            self._preprocess(batch, rows, frames)
            if once:
                return self._room(batch, rows)
        return room

    def _room(self, batch: Batch, rows: NDArray[np.uint8]) -> int:
        # Those without rows count too: they could come for ever.
        return len(rows) - max(len(batch.rows), len(batch.completing))

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
                count = min(frame.rows_left, len(rows) - first - len(places))
                places += [(frame, frame.placed + number) for number in range(count)]
                frame.placed += count
        jobs = [(*place, first + number, rows[first + number])
                for number, place in enumerate(places)]
        bad |= self._tried(self._fill, jobs, lambda job: job[0])
        if bad:
            self._scheduler.drop([frame for frame in frames if frame in bad], 'malformed')
            kept = [number for number, (frame, _) in enumerate(places) if frame not in bad]
            for number, before in enumerate(kept):
                if number != before:
                    self._move(rows, first + number, first + before)
            places = [places[number] for number in kept]
        end_ns = perf_counter_ns()
        if self._spent_ns:
            self._frame.add(sum(self._spent_ns) / 1e6 / len(frames))
            self._spent_ns.clear()
        batch.rows += places
        batch.row_ms += [(end_ns - start_ns) / 1e6 / max(1, len(places))] * len(places)
        unfinished: list[InFlightFrame] = []
        for frame in frames:
            if frame not in bad:
                frame.preprocessed_ns = end_ns
                # One without rows does not overtake an unfinished one of its camera.
                (unfinished if frame.rows_left or any(
                    one.camera == frame.camera for one in unfinished)
                 else batch.completing).append(frame)
        if unfinished:
            self._scheduler.put_back(unfinished, {frame for frame, _ in places})

    def _tried(
            self, work: Callable[[_Job], None], jobs: Sequence[_Job],
            frame_of: Callable[[_Job], InFlightFrame]) -> set[InFlightFrame]:
        """Do all jobs, on several threads where that pays; return the bad frames."""
        threads = min(self._at_once, len(jobs))
        if threads < 2:
            return self._share(work, jobs, frame_of)
        others = [self._pool.submit(self._share, work, jobs[number::threads], frame_of)
                  for number in range(1, threads)]
        bad = self._share(work, jobs[::threads], frame_of)
        return bad.union(*(other.result() for other in others))

    def _share(
            self, work: Callable[[_Job], None], jobs: Sequence[_Job],
            frame_of: Callable[[_Job], InFlightFrame]) -> set[InFlightFrame]:
        """Do some jobs on the calling thread; return the bad frames."""
        bad: set[InFlightFrame] = set()
        # What only one thread can do need not be measured.
        start_ns = thread_time_ns() if self._threads > 1 else None
        for job in jobs:
            try:
                work(job)
            except Exception as error:  # noqa: B902
                # Bad frames end in FrameError; should OpenCV or Pillow raise something of their
                # own for bytes that nobody foresaw, it is still one bad frame and not the node's
                # end.
                frame = frame_of(job)
                if frame not in bad:
                    self._hooks.log_bad_frame(frame.camera, frame_error_text(error))
                    bad.add(frame)
        if start_ns is not None:
            self._spent_ns.append(thread_time_ns() - start_ns)
        return bad

    def _begin(self, frame: InFlightFrame) -> None:
        # What the device converts is not decoded here.
        device_rows = self._device_rows
        picture_of = None if device_rows is None else partial(
            self._hooks.device_picture, decodes=device_rows.decodes)
        frame.work = self._frames.begin(
            frame.camera, frame.message, self._hooks.decode, picture_of)

    def _fill(self, job: tuple[InFlightFrame, int, int, NDArray[np.uint8]]) -> None:
        frame, index, place, row = job
        assert frame.work is not None
        device_rows = self._device_rows
        if device_rows is not None:
            frame.path = frame.work.offload(index, device_rows, place)
            if frame.path:
                return
            # A bad frame may have had this row before.
            device_rows.forget(place)
        frame.work.fill(index, row)

    def _move(self, rows: NDArray[np.uint8], target: int, source: int) -> None:
        if self._device_rows is None:
            rows[target] = rows[source]
        else:
            self._device_rows.move(target, source)
