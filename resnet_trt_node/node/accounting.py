"""
Counting frames so that none is lost silently, and timing the stages they pass.

For each camera, at every moment::

    received = answered + the dropped, by reason + in progress
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Iterable

import numpy as np

#: Why a frame got no answer.
DROP_REASONS = {
    'superseded': 'a newer frame of the same camera arrived before this one was taken',
    'stale': 'its answer would have come later than max_age_ms',
    'malformed': 'it could not be decoded',
    'failed': 'the backend failed on its batch',
    'refused': 'it arrived while the node was shutting down or deactivating',
}
#: The stages of a frame's way, each in milliseconds: waiting to be taken, decoding and resizing,
#: waiting for the backend, inferring, publishing, and all of it from reception on.
STAGES = ('queue', 'fit', 'batch', 'infer', 'publish', 'total')
_SAMPLES = 1000


@dataclass
class CameraCounts:
    """
    What became of one camera's frames since the node was configured.

    :param received: frames that reached the node.
    :param answered: frames whose result was published.
    :param dropped: frames by the reason that they got none, see `DROP_REASONS`.
    """

    received: int = 0
    answered: int = 0
    dropped: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(DROP_REASONS, 0))

    @property
    def in_progress(self) -> int:
        """Return the frames that are waiting or being worked on."""
        return self.received - self.answered - sum(self.dropped.values())


class Accounting:
    """
    The counters and timings of all cameras; every method may be called from any thread.

    :param cameras: the cameras' names.
    """

    def __init__(self, cameras: Iterable[str]) -> None:
        self._lock = Lock()
        self._counts = {camera: CameraCounts() for camera in cameras}
        self._samples_ms = {stage: deque[float](maxlen=_SAMPLES) for stage in STAGES}
        self._batch_sizes = deque[int](maxlen=_SAMPLES)

    def received(self, camera: str) -> None:
        """Count a frame that reached the node."""
        with self._lock:
            self._counts[camera].received += 1

    def dropped(self, camera: str, reason: str) -> None:
        """Count a frame that gets no answer, for one of `DROP_REASONS`."""
        with self._lock:
            self._counts[camera].dropped[reason] += 1

    def answered(self, camera: str, stages_ms: dict[str, float]) -> None:
        """Count a published result, with the milliseconds of each of `STAGES`."""
        with self._lock:
            self._counts[camera].answered += 1
            for stage, value in stages_ms.items():
                self._samples_ms[stage].append(value)

    def inferred(self, batch_size: int) -> None:
        """Note the size of a batch that was inferred."""
        with self._lock:
            self._batch_sizes.append(batch_size)

    def counts(self) -> dict[str, CameraCounts]:
        """Return a copy of the counters, by camera."""
        with self._lock:
            return {
                camera: CameraCounts(counts.received, counts.answered, dict(counts.dropped))
                for camera, counts in self._counts.items()}

    def total(self) -> CameraCounts:
        """Return the counters summed over the cameras."""
        total = CameraCounts()
        for counts in self.counts().values():
            total.received += counts.received
            total.answered += counts.answered
            for reason, number in counts.dropped.items():
                total.dropped[reason] += number
        return total

    def percentiles_ms(self) -> dict[str, tuple[float, float, float]]:
        """Return p50, p95 and p99 of each stage over the last 1000 answers; without any, none."""
        with self._lock:
            samples = {stage: list(values) for stage, values in self._samples_ms.items() if values}
        percentiles = {}
        for stage, values in samples.items():
            p50, p95, p99 = np.percentile(values, (50, 95, 99))
            percentiles[stage] = float(p50), float(p95), float(p99)
        return percentiles

    def mean_batch_size(self) -> float:
        """Return the mean size of the last 1000 batches, 0 before the first."""
        with self._lock:
            return sum(self._batch_sizes) / len(self._batch_sizes) if self._batch_sizes else 0.0
