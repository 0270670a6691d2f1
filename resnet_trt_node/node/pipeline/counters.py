"""
Counting frames so that none is lost silently, and timing the stages they pass.

For each camera, at every moment:

    received = answered + the dropped, by reason + in progress

and where regions are classified, for each camera's regions:

    received = by outcome, see `region.OUTCOMES` + dropped with their frame + in progress

Each of these is counted by itself, so that the sum fails when a frame ends nowhere or twice. In
progress are the frames that somebody holds and that have not come to their end: they are known one
by one, and one that is forgotten on its way is in no number but `received`.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from threading import RLock
from time import perf_counter_ns
from typing import Iterable, Mapping, Optional
from weakref import WeakSet

from resnet_trt_node.node.pipeline.frame_queue import InFlightFrame
from resnet_trt_node.node.pipeline.stage_times import percentiles_ms, StageTimes
from resnet_trt_node.regions.region import OUTCOMES

#: Why a frame got no answer:
#:
#: - superseded: a newer frame of the same camera arrived before this one was taken;
#: - stale: its answer would have come later than max_age_ms;
#: - malformed: it could not be decoded;
#: - failed: the backend failed on its batch, twice, or was disabled, or returned no probabilities
#:   for this frame;
#: - refused: it arrived, waited for its detections, or was not answered in time, while the node
#:   was shutting down or deactivating;
#: - unmatched_no_stamp: its stamp is 0, so that no detections can be matched with it;
#: - unmatched_expired: no detections came for it in regions_wait_ms;
#: - unmatched_overflow: no detections had come for it when regions_queue newer images waited;
#: - no_key_frame: it is a packet of video that depends on one that is missing.
DROP_REASONS = (
    'superseded', 'stale', 'malformed', 'failed', 'refused', 'unmatched_no_stamp',
    'unmatched_expired', 'unmatched_overflow', 'no_key_frame')
#: Messages of a detector for which no image came, by the reason that an image without detections
#: would be dropped for.
DETECTIONS_EVENTS = (
    'detections_refused', 'detections_unmatched_no_stamp', 'detections_unmatched_expired',
    'detections_unmatched_overflow')
#: What may happen to a camera besides; these are in no sum:
#:
#: - lost_in_transport: frames that DDS reports as lost before they reached the node;
#: - skipped_pictures: annotated pictures that were not drawn, since a newer one came first;
#: - unusable_stamps: answers whose header stamp is 0 or of another time base;
#: - detections_*: see `DETECTIONS_EVENTS`.
CAMERA_EVENTS = (
    'lost_in_transport', 'skipped_pictures', 'unusable_stamps', *DETECTIONS_EVENTS)
#: What is counted of regions: those of the frames that were received, what became of those of
#: answered frames, and those of dropped frames.
REGION_COUNTS = ('received', *OUTCOMES, 'dropped')
#: What may happen to batches:
#:
#: - batches: they were inferred;
#: - retried_batches: they were tried again since the backend failed on them;
#: - failed_batches: the backend failed on them at the second attempt too;
#: - reopened_backends: times that the backend was opened again, since it kept failing.
BATCH_EVENTS = ('batches', 'retried_batches', 'failed_batches', 'reopened_backends')
#: How many of the last batches' sizes are kept.
_BATCHES = 1000


@dataclass
class CameraCounts:
    """
    What became of one camera's frames since the node was configured.

    :param received: frames that reached the node.
    :param answered: frames whose result was published.
    :param dropped: frames by the reason that they got none, see `DROP_REASONS`.
    :param events: what is in no sum, see `CAMERA_EVENTS`.
    :param in_progress: frames that are waiting or being worked on.
    :param counted_twice: ends of frames that had ended before, which only a bug brings about.
    :param regions: regions by `REGION_COUNTS`; all 0 where whole frames are classified.
    :param regions_in_progress: those of the frames in progress.
    """

    received: int = 0
    answered: int = 0
    dropped: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(DROP_REASONS, 0))
    events: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(CAMERA_EVENTS, 0))
    in_progress: int = 0
    counted_twice: int = 0
    regions: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(REGION_COUNTS, 0))
    regions_in_progress: int = 0

    def __str__(self) -> str:
        """Return the counters in one line, for the log."""
        dropped = ', '.join(
            f'{number} {reason}' for reason, number in self.dropped.items() if number) or 'none'
        regions = ', '.join(
            f'{number} {what}' for what, number in self.regions.items() if number)
        lost = self.events['lost_in_transport']
        return (
            (f'{lost} frames lost in transport; ' if lost else '')
            + f'{self.received} frames received, {self.answered} answered, dropped: {dropped}'
            + (f'; regions: {regions}' if regions else ''))

    @property
    def unaccounted(self) -> int:
        """Return the frames that were forgotten on their way, which only a bug brings about."""
        ended = self.answered + sum(self.dropped.values()) - self.counted_twice
        return self.received - ended - self.in_progress

    @property
    def unaccounted_regions(self) -> int:
        """Return the regions that came to no end, which only a bug brings about."""
        return 2 * self.regions['received'] - sum(self.regions.values()) \
            - self.regions_in_progress

    @property
    def mismatch(self) -> Optional[str]:
        """Return how the numbers do not add up, None where they do."""
        found = [f'{number} {how}' for number, how in (
            (self.unaccounted, 'frames unaccounted for'),
            (self.counted_twice, 'frames counted twice'),
            (self.unaccounted_regions, 'regions unaccounted for')) if number]
        return f'{", ".join(found)}: this is a bug, please report it' if found else None


class Counters:
    """
    The counters and timings of all cameras; every method may be called from any thread.

    :param cameras: the cameras' names.
    """

    def __init__(self, cameras: Iterable[str]) -> None:
        self._lock = RLock()
        self._counts = {camera: CameraCounts() for camera in cameras}
        # Weak: a frame that a thread forgets is gone without having ended.
        self._in_progress = {camera: WeakSet[InFlightFrame]() for camera in self._counts}
        self._times = StageTimes()
        self._batch_sizes = deque[int](maxlen=_BATCHES)
        self._events = dict.fromkeys(BATCH_EVENTS, 0)
        self._last_ns: dict[str, int] = {}
        self._finalized = False

    def received(self, frame: InFlightFrame) -> None:
        """Count a frame that reached the node."""
        with self._lock:
            if not self._finalized:
                counts = self._counts[frame.camera]
                counts.received += 1
                counts.regions['received'] += frame.num_regions
                self._in_progress[frame.camera].add(frame)
                self._last_ns[frame.camera] = perf_counter_ns()

    def arrived(self, camera: str) -> None:
        """Note that a camera sends, though its image is received only when detections came."""
        with self._lock:
            self._last_ns[camera] = perf_counter_ns()

    def dropped(self, frame: InFlightFrame, reason: str) -> None:
        """
        Count a frame that gets no answer.

        :param frame: one that was received and has not ended.
        :param reason: one of `DROP_REASONS`.
        """
        with self._lock:
            if not self._finalized:
                counts = self._counts[frame.camera]
                counts.dropped[reason] += 1
                counts.regions['dropped'] += frame.num_regions
                self._end(frame)

    def answered(
            self, frame: InFlightFrame, stages_ms: dict[str, float],
            outcomes: Optional[Mapping[str, int]] = None) -> None:
        """
        Count a published result.

        :param frame: whose; one that was received and has not ended.
        :param stages_ms: the milliseconds of each stage that is known.
        :param outcomes: how many of its regions had each of `region.OUTCOMES`; None for none.
        """
        with self._lock:
            if not self._finalized:
                counts = self._counts[frame.camera]
                counts.answered += 1
                for outcome, number in (outcomes or {}).items():
                    counts.regions[outcome] += number
                self._end(frame)
                self._times.add(stages_ms)

    def _end(self, frame: InFlightFrame) -> None:
        if frame in self._in_progress[frame.camera]:
            self._in_progress[frame.camera].remove(frame)
        else:
            self._counts[frame.camera].counted_twice += 1

    def inferred(self, batch_size: int) -> None:
        """Note the size of a batch that was inferred."""
        with self._lock:
            self._batch_sizes.append(batch_size)
            self._events['batches'] += 1

    def count(self, event: str) -> None:
        """Count one of `BATCH_EVENTS`."""
        with self._lock:
            self._events[event] += 1

    def count_at(self, camera: str, event: str, number: int = 1) -> None:
        """
        Count what happened to a camera.

        :param camera: its name.
        :param event: one of `CAMERA_EVENTS`.
        :param number: how often it happened.
        """
        with self._lock:
            self._counts[camera].events[event] += number

    def finalize(self, lost: bool) -> None:
        """
        Count nothing any more.

        :param lost: whether the frames that are still in progress have failed, each of them, since
            a backend hangs and nobody will answer them.
        """
        with self._lock:
            if lost:
                for frames in self._in_progress.values():
                    for frame in list(frames):
                        self.dropped(frame, 'failed')
            self._finalized = True

    def counts(self) -> dict[str, CameraCounts]:
        """Return a copy of the counters, by camera."""
        with self._lock:
            return {
                camera: replace(
                    counts, dropped=dict(counts.dropped), events=dict(counts.events),
                    in_progress=len(self._in_progress[camera]), regions=dict(counts.regions),
                    regions_in_progress=sum(
                        frame.num_regions for frame in self._in_progress[camera]))
                for camera, counts in self._counts.items()}

    def total(self) -> CameraCounts:
        """Return the counters summed over the cameras."""
        return sum_counts(self.counts().values())

    @property
    def in_progress(self) -> int:
        """Return the frames of all cameras that are waiting or being worked on."""
        with self._lock:
            return sum(map(len, self._in_progress.values()))

    def events(self) -> dict[str, int]:
        """Return how often each of `BATCH_EVENTS` happened."""
        with self._lock:
            return dict(self._events)

    def last_received_ns(self) -> dict[str, int]:
        """Return perf_counter_ns of the last frame that came of each camera that sent any."""
        with self._lock:
            return dict(self._last_ns)

    def percentiles_ms(self) -> dict[str, tuple[float, ...]]:
        """Return p50, p95 and p99 of each stage over the last 1000 answers; without any, none."""
        with self._lock:
            snapshot = self._times.snapshot()
        return percentiles_ms(snapshot)

    def batch_histogram(self) -> dict[int, int]:
        """Return how many of the last 1000 batches had each size, by size."""
        with self._lock:
            return dict(sorted(Counter(self._batch_sizes).items()))

    def mean_batch_size(self) -> float:
        """Return the mean size of the last 1000 batches, 0 before the first."""
        with self._lock:
            return sum(self._batch_sizes) / len(self._batch_sizes) if self._batch_sizes else 0.0


def sum_counts(counts: Iterable[CameraCounts]) -> CameraCounts:
    """Return the counters of several cameras added up."""
    every = list(counts)

    def add_up(kind: str, keys: Iterable[str]) -> dict[str, int]:
        return {key: sum(getattr(one, kind)[key] for one in every) for key in keys}

    return CameraCounts(
        dropped=add_up('dropped', DROP_REASONS), events=add_up('events', CAMERA_EVENTS),
        regions=add_up('regions', REGION_COUNTS), **{
            kind: sum(getattr(one, kind) for one in every) for kind in (
                'received', 'answered', 'in_progress', 'counted_twice', 'regions_in_progress')})
