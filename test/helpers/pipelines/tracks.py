"""Regions of tracks, and a cache of their answers."""

from __future__ import annotations

import numpy as np
from resnet_trt_node.regions.region import Box, Region
from resnet_trt_node.regions.track_cache import TrackCache, TrackSettings

MS = 1_000_000
#: Stamps are far from 0, as those of a clock.
START = 1_700_000_000_000 * MS


def row(*values: float) -> np.ndarray:
    """Return probabilities."""
    return np.array(values, np.float32)


SURE = row(0.75, 0.25)


def region(track_id: str = '7', width: float = 40, height: float = 20) -> Region:
    """Return a region of a track."""
    return Region(Box(100, 100, width, height), track_id)


def cache(**settings) -> TrackCache:
    """Return a cache that is on."""
    return TrackCache(TrackSettings(track_cache=True, **settings))


def hit(kept: TrackCache, one: Region, stamp_ns: int, camera: str = 'front') -> bool:
    """Return whether a region needs no inference."""
    return kept.lookup(camera, one, stamp_ns) is not None
