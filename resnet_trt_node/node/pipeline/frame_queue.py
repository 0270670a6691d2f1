"""Frames in flight, alone and in batches, and where they wait: a short queue per camera."""

from __future__ import annotations

from collections import deque, OrderedDict
from dataclasses import dataclass, field
from typing import Any, Container, Mapping, Optional, Sequence, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from resnet_trt_node.node.pipeline.work import Work


@dataclass(eq=False)
class InFlightFrame:
    """
    One frame between its reception and its end; equal to itself only.

    :param camera: whose frame it is.
    :param message: the source message; its header goes onto the result.
    :param received_ns: perf_counter_ns when the middleware had received it; its age counts from
        there.
    :param offered_ns: when the executor had handed it to the pipeline; the same where the
        middleware does not tell.
    :param taken_ns: when decoding began.
    :param preprocessed_ns: when its last row was in a batch.
    :param num_regions: that its message has; 0 where the whole frame is classified.
    :param work: what of it is inferred, None until it is decoded.
    :param placed: how many rows of its work are in batches.
    :param path: how one of its rows is written: see `Work.offload`, '' for by the CPU.
    :param ended: whether it was answered or dropped, and counted as that.
    """

    camera: str
    message: Any
    received_ns: int
    offered_ns: int = 0
    taken_ns: int = 0
    preprocessed_ns: int = 0
    num_regions: int = 0
    work: Optional[Work] = None
    placed: int = 0
    path: str = ''
    ended: bool = False

    @property
    def rows_left(self) -> int:
        """Return how many rows are not in a batch yet, once it is decoded."""
        assert self.work is not None
        return self.work.num_rows - self.placed


@dataclass(eq=False)
class Batch:
    """
    A batch buffer with what is in its rows; equal to itself only.

    :param index: which of the backend's buffers.
    :param rows: the frame in each row, and which row of its work that is.
    :param row_ms: milliseconds that preprocessing each row took.
    :param completing: the frames that can be answered after this batch, in the order of their
        publication: their last row is in it, or they have none.
    :param submitted_ns: perf_counter_ns when the backend had it, and was done with the one ahead.
    :param inferred_ns: when its probabilities were there.
    :param error: why the first attempt failed. In words: an exception refers to the frames by its
        traceback, and such a cycle keeps their images until a garbage collection, minutes later.
    :param probabilities: float32 (rows, C), its own.
    :param fall_backs: see `Backend.fall_backs`.
    """

    index: int
    rows: list[tuple[InFlightFrame, int]] = field(default_factory=list)
    row_ms: list[float] = field(default_factory=list)
    completing: list[InFlightFrame] = field(default_factory=list)
    submitted_ns: int = 0
    inferred_ns: int = 0
    error: Optional[str] = None
    probabilities: Optional[NDArray[np.float32]] = None
    fall_backs: Mapping[int, Optional[Exception]] = field(default_factory=dict)

    @property
    def frames(self) -> list[InFlightFrame]:
        """
        Return the frames in its rows that have not ended.

        One in the rows of several batches may have ended with another of them.
        """
        return [frame for frame in dict.fromkeys(frame for frame, _ in self.rows)
                if not frame.ended]

    def stages_ms(self, frame: InFlightFrame, published_ns: int) -> dict[str, float]:
        """
        Return the milliseconds of each stage of a frame, named as in `stage_times.STAGES`.

        :param frame: one of the batch.
        :param published_ns: when its result was published, by `perf_counter_ns`.
        """
        waited_ms = (frame.offered_ns - frame.received_ns) / 1e6
        total_ms = (published_ns - frame.offered_ns) / 1e6
        stages = {
            **({'receive': waited_ms} if waited_ms else {}),
            'queue': (frame.taken_ns - frame.offered_ns) / 1e6,
            'preprocess': (frame.preprocessed_ns - frame.taken_ns) / 1e6,
            'total': total_ms,
        }
        if not frame.placed:
            # Answered without the backend, or kept in order behind a batch.
            return {**stages, 'publish': (published_ns - frame.preprocessed_ns) / 1e6,
                    'added': total_ms}
        infer_ms = (self.inferred_ns - self.submitted_ns) / 1e6
        return {
            **stages, 'batch': (self.submitted_ns - frame.preprocessed_ns) / 1e6,
            'infer': infer_ms, 'publish': (published_ns - self.inferred_ns) / 1e6,
            'added': total_ms - infer_ms}


class FrameQueue:
    """
    A bounded queue per camera; not thread-safe, its owner holds the lock.

    Frames whose rows did not all fit into a batch wait in front of the others, and no newer frame
    supersedes them.

    :param cameras: the cameras' names.
    :param depth: frames that wait per camera besides those; the newest are kept.
    """

    def __init__(self, cameras: Sequence[str], depth: int) -> None:
        # In the order in which the cameras are served next.
        self._queues = OrderedDict((camera, deque[InFlightFrame]()) for camera in cameras)
        self._depth = depth

    def put(self, frame: InFlightFrame) -> Optional[InFlightFrame]:
        """Add a frame; return the one that it supersedes, if any."""
        queue = self._queues[frame.camera]
        queue.append(frame)
        begun = sum(one.work is not None for one in queue)
        if len(queue) - begun <= self._depth:
            return None
        superseded = queue[begun]
        del queue[begun]
        return superseded

    def put_back(
            self, frames: Sequence[InFlightFrame], served: Container[InFlightFrame]) -> None:
        """
        Add frames of which not all rows are in batches, in front of the others.

        :param frames: in the order in which they were taken.
        :param served: those that have rows in the open batch: other cameras come first now.
        """
        for frame in reversed(frames):
            self._queues[frame.camera].appendleft(frame)
            if frame not in served:
                self.give_back_turn(frame.camera)

    def take(self) -> Optional[InFlightFrame]:
        """
        Remove a frame, None where none waits.

        The camera that was not served for longest comes first, so that a fast one cannot starve
        the others; of one camera the oldest waiting frame comes first.
        """
        for camera, queue in self._queues.items():
            if queue:
                self._queues.move_to_end(camera)
                return queue.popleft()
        return None

    def give_back_turn(self, camera: str) -> None:
        """Serve a camera first next time: taking its frame was of no use."""
        self._queues.move_to_end(camera, last=False)

    def take_all(self) -> list[InFlightFrame]:
        """Remove every waiting frame."""
        frames = [frame for queue in self._queues.values() for frame in queue]
        for queue in self._queues.values():
            queue.clear()
        return frames

    def __len__(self) -> int:
        """Return how many frames wait."""
        return sum(len(queue) for queue in self._queues.values())
