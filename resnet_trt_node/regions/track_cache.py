"""
Answers kept by track: which regions need no inference, and what is published for the others.

A detector's tracker gives the same id to the same thing, frame after frame. Its class rarely
changes, so that one answer serves several frames. That is wrong for a thing whose class is its
state: a cached green light is still green when it has turned red.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Optional, Sequence, TYPE_CHECKING, Union

from resnet_trt_node.errors import check_choice, UsageError
from resnet_trt_node.regions.smoothing import (
    Ema, Majority, make_smoother, MAX_WINDOW, SMOOTHINGS)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from resnet_trt_node.regions.region import Region

#: Largest number of tracks kept for a camera, the default of max_regions, or max_regions where
#: that is more; the one that was not seen for longest goes first.
MAX_TRACKS = 1000
#: A track that was not seen for this long is forgotten, in seconds of image stamps; for two
#: intervals where those are longer.
FORGET_SEC = 3.0
#: Longer ids are no track's: they would make the memory of `MAX_TRACKS` tracks boundless.
MAX_ID_LENGTH = 256
#: Upper bound of reinfer_interval_ms: one hour.
_MAX_INTERVAL_MS = 3_600_000.0


@dataclass(frozen=True)
class TrackSettings:
    """
    How answers are kept and smoothed; the meaning is that of the node's parameters.

    :param track_cache: whether a track's last answer may be taken in place of an inference.
    :param reinfer_interval_ms: infer a track again when its answer is this old, by the stamps of
        the images; 0 infers every frame.
    :param reinfer_growth: infer it again when the longer side of its box has grown to this many
        times what it was at the inference; 1 infers every frame.
    :param reinfer_below: infer it again while the best score of its published answer is below
        this.
    :param smoothing: one of `SMOOTHINGS`; works without the cache too.
    :param smoothing_window: inferences that it averages over.
    :raises UsageError: for a value out of range.
    """

    track_cache: bool = False
    reinfer_interval_ms: float = 500.0
    reinfer_growth: float = 1.5
    reinfer_below: float = 0.5
    smoothing: str = 'none'
    smoothing_window: int = 5

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_choice('smoothing', self.smoothing, SMOOTHINGS)
        for name, low, high in (
                ('reinfer_interval_ms', 0.0, _MAX_INTERVAL_MS), ('reinfer_growth', 1.0, 1000.0),
                ('reinfer_below', 0.0, 1.0), ('smoothing_window', 1, MAX_WINDOW)):
            value = getattr(self, name)
            # NaN is in no range.
            if not low <= value <= high:
                raise UsageError(f'{name} is {value}: choose {low:.0f} to {high:.0f}')

    @property
    def interval_ns(self) -> int:
        """Return the age at which an answer is inferred again."""
        return round(self.reinfer_interval_ms * 1e6)

    @property
    def forget_ns(self) -> int:
        """Return how long a track may be unseen before it is forgotten."""
        return max(round(FORGET_SEC * 1e9), 2 * self.interval_ns)


@dataclass(frozen=True)
class CachedAnswer:
    """
    An answer that needs no inference.

    :param probabilities: float32 (C,), as they were published; read-only.
    :param stamp_ns: stamp of the image that was inferred.
    """

    probabilities: NDArray[np.float32]
    stamp_ns: int


@dataclass
class _Track:
    """
    A track that was inferred.

    :param answer: the last one.
    :param class_id: the detector's class then.
    :param longer_side: of its box then, in pixels.
    :param seen_ns: the newest stamp that it was asked for.
    """

    smoother: Union[Ema, Majority, None]
    answer: CachedAnswer
    class_id: str
    longer_side: float
    seen_ns: int


class TrackCache:
    """
    The answers of all cameras' tracks.

    Time is that of the images' stamps, so that a bag gives the same answers at any speed. An image
    without a stamp (0 or less) is inferred and remembers nothing. Where a camera's stamps go back,
    as when a simulation starts again, the tracks that were inferred later start anew: their ids
    may have been given to others since. An id counts for one camera only. `see` and `lookup` may
    be called by other threads than `store`.

    A track is forgotten, its smoothing included, when it was not seen for `FORGET_SEC` or for two
    reinfer_interval_ms, whichever is longer, or when its camera has more than `max_tracks`.

    :param settings: how.
    :param max_tracks: kept for each camera, at least 1.
    """

    def __init__(self, settings: TrackSettings, max_tracks: int = MAX_TRACKS) -> None:
        self._settings = settings
        self._max_tracks = max_tracks
        self._lock = Lock()
        # Of each camera, by id, those seen last at the end.
        self._cameras: dict[str, OrderedDict[str, _Track]] = {}
        # The newest stamp of each camera's answers.
        self._newest_ns: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many tracks are kept."""
        with self._lock:
            return sum(map(len, self._cameras.values()))

    def clear(self) -> None:
        """Forget all tracks."""
        with self._lock:
            self._cameras.clear()
            self._newest_ns.clear()

    def see(self, camera: str, stamp_ns: int) -> None:
        """
        Note that a frame has come, whether it has tracks or none; called before `lookup`.

        :param camera: whose it is.
        :param stamp_ns: the image's.
        """
        if stamp_ns > 0:
            with self._lock:
                self._go_back(camera, stamp_ns)

    def lookup(self, camera: str, region: Region, stamp_ns: int) -> Optional[CachedAnswer]:
        """
        Return the answer of a region that need not be inferred.

        :param camera: whose region it is.
        :param region: of a finite box.
        :param stamp_ns: the image's.
        :returns: None for one that is to be inferred.
        """
        if not (self._settings.track_cache and _is_tracked(region, stamp_ns)):
            return None
        with self._lock:
            track = self._find(camera, region, stamp_ns)
        return track.answer if track and self._still_holds(track, region, stamp_ns) else None

    def store(
            self, camera: str, region: Region, stamp_ns: int,
            probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Take an inference; called once for each inferred region, in the order of publication.

        :param camera: whose region it is.
        :param region: as it was looked up.
        :param stamp_ns: the image's.
        :param probabilities: float32 (C,), finite; copied where they are remembered.
        :returns: what is to be published, float32 (C,), not to be changed: smoothed where that is
            asked for, else the probabilities as they were given.
        """
        settings = self._settings
        if not (settings.track_cache or settings.smoothing != 'none') or not _is_tracked(
                region, stamp_ns):
            return probabilities
        with self._lock:
            # A frame of the time before may have been published after this one was seen.
            self._go_back(camera, stamp_ns)
            self._newest_ns[camera] = stamp_ns
            tracks = self._cameras.setdefault(camera, OrderedDict())
            track = self._find(camera, region, stamp_ns)
            smoother = track.smoother if track else make_smoother(
                settings.smoothing, settings.smoothing_window)
            # A view: a smoother keeps its own array, which it must be able to hand out again.
            kept = (smoother.add(probabilities) if smoother else probabilities.copy()).view()
            kept.flags.writeable = False
            tracks[region.track_id] = _Track(
                smoother, CachedAnswer(kept, stamp_ns), region.class_id, _longer_side(region),
                max(stamp_ns, track.seen_ns if track else 0))
            tracks.move_to_end(region.track_id)
            self._forget(tracks, stamp_ns)
        return kept if smoother else probabilities

    def _go_back(self, camera: str, stamp_ns: int) -> None:
        """Forget those tracks of a camera that were inferred later than now."""
        if stamp_ns >= self._newest_ns.get(camera, stamp_ns):
            return
        tracks = self._cameras[camera]
        for track_id in [name for name, one in tracks.items() if one.answer.stamp_ns > stamp_ns]:
            del tracks[track_id]
        self._newest_ns[camera] = stamp_ns

    def _find(self, camera: str, region: Region, stamp_ns: int) -> Optional[_Track]:
        """Return the region's track, now seen; one that must start anew is forgotten."""
        tracks = self._cameras.get(camera)
        track = tracks.get(region.track_id) if tracks else None
        if tracks is None or track is None:
            return None
        if stamp_ns < track.answer.stamp_ns or stamp_ns - track.seen_ns > self._settings.forget_ns:
            del tracks[region.track_id]
            return None
        track.seen_ns = max(track.seen_ns, stamp_ns)
        tracks.move_to_end(region.track_id)
        return track

    def _still_holds(self, track: _Track, region: Region, stamp_ns: int) -> bool:
        settings = self._settings
        # Some trackers number the things of each class by themselves.
        return (stamp_ns - track.answer.stamp_ns < settings.interval_ns
                and region.class_id == track.class_id
                and _longer_side(region) < settings.reinfer_growth * track.longer_side
                and bool(track.answer.probabilities.max() >= settings.reinfer_below))

    def _forget(self, tracks: OrderedDict[str, _Track], stamp_ns: int) -> None:
        """Forget those tracks of a camera that are too many, or were unseen for too long."""
        while tracks:
            oldest = next(iter(tracks))
            if (len(tracks) <= self._max_tracks
                    and stamp_ns - tracks[oldest].seen_ns <= self._settings.forget_ns):
                break
            del tracks[oldest]


def without_shared_ids(regions: Sequence[Region]) -> list[Region]:
    """
    Take the track id from those regions of one frame that share it.

    An id that two regions of a frame have, such as a class name, names no track; by it one would
    get the answer of the other.

    :param regions: all of a frame.
    :returns: as many, in their order.
    """
    counts = Counter(region.track_id for region in regions)
    return [
        replace(region, track_id='') if region.track_id and counts[region.track_id] > 1 else region
        for region in regions]


def _is_tracked(region: Region, stamp_ns: int) -> bool:
    return 0 < len(region.track_id) <= MAX_ID_LENGTH and stamp_ns > 0


def _longer_side(region: Region) -> float:
    return max(region.box.width, region.box.height)
