"""Frames in flight, alone and in batches, and where they wait: a short queue per camera."""

from __future__ import annotations

from collections import deque, OrderedDict
from dataclasses import dataclass, field
from typing import Any, Optional, Sequence

import numpy as np
from numpy.typing import NDArray


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
    :param preprocessed_ns: when it was in its row of the batch.
    """

    camera: str
    message: Any
    received_ns: int
    offered_ns: int = 0
    taken_ns: int = 0
    preprocessed_ns: int = 0


@dataclass(eq=False)
class Batch:
    """
    A batch buffer with the frames in its rows; equal to itself only.

    :param index: which of the backend's buffers.
    :param frames: frame i is in row i.
    :param submitted_ns: perf_counter_ns when the backend had it, and was done with the one ahead.
    :param inferred_ns: when its probabilities were there.
    :param error: why the first attempt failed. In words: an exception refers to the frames by its
        traceback, and such a cycle keeps their images until a garbage collection, minutes later.
    :param probabilities: float32 (frames, C), its own.
    """

    index: int
    frames: list[InFlightFrame] = field(default_factory=list)
    submitted_ns: int = 0
    inferred_ns: int = 0
    error: Optional[str] = None
    probabilities: Optional[NDArray[np.float32]] = None

    def stages_ms(self, frame: InFlightFrame, published_ns: int) -> dict[str, float]:
        """Return the milliseconds of each stage of a frame, named as in `stage_times.STAGES`."""
        waited_ms = (frame.offered_ns - frame.received_ns) / 1e6
        return {
            **({'receive': waited_ms} if waited_ms else {}),
            'queue': (frame.taken_ns - frame.offered_ns) / 1e6,
            'preprocess': (frame.preprocessed_ns - frame.taken_ns) / 1e6,
            'batch': (self.submitted_ns - frame.preprocessed_ns) / 1e6,
            'infer': (self.inferred_ns - self.submitted_ns) / 1e6,
            'publish': (published_ns - self.inferred_ns) / 1e6,
            'total': (published_ns - frame.offered_ns) / 1e6,
            'added': (self.submitted_ns - frame.offered_ns
                      + published_ns - self.inferred_ns) / 1e6,
        }


class FrameQueue:
    """
    A bounded queue per camera; not thread-safe, its owner holds the lock.

    :param cameras: the cameras' names.
    :param depth: frames that wait per camera; the newest are kept.
    """

    def __init__(self, cameras: Sequence[str], depth: int) -> None:
        # In the order in which the cameras are served next.
        self._queues = OrderedDict((camera, deque[InFlightFrame]()) for camera in cameras)
        self._depth = depth

    def put(self, frame: InFlightFrame) -> Optional[InFlightFrame]:
        """Add a frame; return the one that it supersedes, if any."""
        queue = self._queues[frame.camera]
        queue.append(frame)
        return queue.popleft() if len(queue) > self._depth else None

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
        """Serve a camera first next time: the frame that was taken is of no use."""
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
