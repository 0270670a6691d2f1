"""The batches that are inferred and not published yet, in their order."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import Optional, Sequence

from resnet_trt_node.node.pipeline.frame_queue import Batch, InFlightFrame

#: So many inferred batches may wait to be published before no more are begun.
MOST_UNPUBLISHED = 4


class PublishQueue:
    """
    Inferred batches; whoever takes one says when it is published, and only then comes the next.

    :param ready: the publisher waits for it; its lock is the scheduler's, held by all callers.
    """

    def __init__(self, ready: Condition) -> None:
        self._ready = ready
        # None comes after the last one.
        self._batches: deque[Optional[Batch]] = deque()
        self._current: Optional[Batch] = None

    @property
    def is_full(self) -> bool:
        """Tell whether no more batches should be begun."""
        return len(self._batches) >= MOST_UNPUBLISHED

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing waits or is being published."""
        return not self._batches and self._current is None

    @property
    def is_publishing(self) -> bool:
        """Tell whether a batch is being published."""
        return self._current is not None

    def put(self, batch: Optional[Batch]) -> None:
        """Have the publisher publish a batch; None has it end."""
        self._batches.append(batch)
        self._ready.notify()

    def put_behind(self, ahead: Sequence[Batch], frames: Sequence[InFlightFrame]) -> None:
        """Have frames published that wait for no batch, but not before the batches ahead."""
        if not frames:
            return
        if ahead:
            ahead[-1].completing += frames
        else:
            self.put(Batch(-1, completing=[*frames]))

    def begin(self, batch: Batch) -> None:
        """Note that the caller publishes a batch instead of the publisher; only where idle."""
        self._current = batch

    def take(self) -> tuple[Optional[Batch], bool]:
        """Wait for a batch to publish, None at the end; tell too whether the queue was full."""
        while not self._batches or self._current is not None:
            self._ready.wait()
        was_full = self.is_full
        self._current = self._batches.popleft()
        return self._current, was_full

    def published(self) -> None:
        """Note that the batch is published."""
        self._current = None
        if self._batches:
            self._ready.notify()
