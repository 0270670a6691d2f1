"""Frames on their way, alone and in batches, and where they wait: a short queue per camera."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Optional, Sequence


@dataclass(eq=False)
class Ticket:
    """
    One frame on its way through the pipeline; equal to itself only.

    :param camera: whose frame it is.
    :param message: the source message; its header goes onto the result.
    :param received_ns: perf_counter_ns when the middleware had received it; its age counts from
        there.
    :param offered_ns: when the executor had handed it to the pipeline; the same where the
        middleware does not tell.
    :param taken_ns: when decoding began; later fields follow the stages in `accounting`.
    """

    camera: str
    message: Any
    received_ns: int
    offered_ns: int = 0
    taken_ns: int = 0
    fitted_ns: int = 0
    submitted_ns: int = 0
    inferred_ns: int = 0

    def stages_ms(self, published_ns: int) -> dict[str, float]:
        """Return the milliseconds of each stage, named as in `accounting`."""
        waited_ms = (self.offered_ns - self.received_ns) / 1e6
        return {
            **({'receive': waited_ms} if waited_ms else {}),
            'queue': (self.taken_ns - self.offered_ns) / 1e6,
            'fit': (self.fitted_ns - self.taken_ns) / 1e6,
            'batch': (self.submitted_ns - self.fitted_ns) / 1e6,
            'infer': (self.inferred_ns - self.submitted_ns) / 1e6,
            'publish': (published_ns - self.inferred_ns) / 1e6,
            'total': (published_ns - self.offered_ns) / 1e6,
            'added': (self.submitted_ns - self.offered_ns
                      + published_ns - self.inferred_ns) / 1e6,
        }


@dataclass
class Batch:
    """
    A batch buffer with the frames in its slots.

    :param index: which of the backend's buffers.
    :param tickets: ticket i is slot i's.
    """

    index: int
    tickets: list[Ticket] = field(default_factory=list)


class FrameQueue:
    """
    A bounded queue per camera; not thread-safe, its owner holds the lock.

    :param cameras: the cameras' names.
    :param depth: frames that wait per camera; the newest are kept.
    """

    def __init__(self, cameras: Sequence[str], depth: int) -> None:
        self._queues = {camera: deque[Ticket]() for camera in cameras}
        self._depth = depth
        # Cameras in the order in which they are served next.
        self._turn = deque(cameras)

    def put(self, ticket: Ticket) -> Optional[Ticket]:
        """Add a frame; return the one that it supersedes, if any."""
        queue = self._queues[ticket.camera]
        queue.append(ticket)
        return queue.popleft() if len(queue) > self._depth else None

    def take(self) -> Optional[Ticket]:
        """
        Remove a frame, None where none waits.

        The camera that was not served for longest comes first, so that a fast one cannot starve
        the others; of one camera the oldest waiting frame comes first.
        """
        for camera in self._turn:
            if self._queues[camera]:
                self._turn.remove(camera)
                self._turn.append(camera)
                return self._queues[camera].popleft()
        return None

    def give_back_turn(self, camera: str) -> None:
        """Serve a camera first next time: the frame that was taken is of no use."""
        self._turn.remove(camera)
        self._turn.appendleft(camera)

    def take_all(self) -> list[Ticket]:
        """Remove every waiting frame."""
        tickets = [ticket for queue in self._queues.values() for ticket in queue]
        for queue in self._queues.values():
            queue.clear()
        return tickets

    def __len__(self) -> int:
        """Return how many frames wait."""
        return sum(len(queue) for queue in self._queues.values())
