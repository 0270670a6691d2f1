"""What of tracks is forgotten: with time, with their number, and where stamps go back."""

from __future__ import annotations

import numpy as np
from pipelines.tracks import cache, hit, MS, region, row, START, SURE
import pytest
from resnet_trt_node.regions.track_cache import (
    FORGET_SEC, MAX_TRACKS, TrackCache, TrackSettings)


def test_a_stamp_that_goes_back_starts_the_track_anew() -> None:
    kept = cache(smoothing='ema')
    kept.store('front', region(), START, row(1, 0))
    assert not hit(kept, region(), START - 1)
    np.testing.assert_array_equal(
        kept.store('front', region(), START - 1, row(0, 1)), row(0, 1))
    assert hit(kept, region(), START + MS)
    # The same without the cache, where nothing is looked up.
    kept = TrackCache(TrackSettings(smoothing='ema'))
    kept.store('front', region(), START, row(1, 0))
    np.testing.assert_array_equal(
        kept.store('front', region(), START - 1, row(0, 1)), row(0, 1))


@pytest.mark.parametrize('between', ['another track', 'no track'])
def test_a_simulation_that_starts_again_gives_its_ids_to_others(between) -> None:
    kept = cache(smoothing='ema')
    kept.store('front', region('7'), START + 5000 * MS, row(1, 0))
    kept.store('left', region('7'), START + 5000 * MS, row(1, 0))
    if between == 'no track':
        kept.see('front', START)
    else:
        kept.store('front', region('1'), START, SURE)
    # Later than the answer of the time before, and another thing.
    assert not hit(kept, region('7'), START + 5100 * MS)
    np.testing.assert_array_equal(
        kept.store('front', region('7'), START + 5100 * MS, row(0, 1)), row(0, 1))
    assert hit(kept, region('7'), START + 5100 * MS, 'left')


def test_frames_in_flight_are_not_taken_for_stamps_that_go_back() -> None:
    kept = cache()
    kept.store('front', region('7'), START, SURE)
    # The next but one is seen before the next one is, on another thread, and has no stamp.
    kept.see('front', START + 2 * MS)
    kept.see('front', START + MS)
    kept.see('front', 0)
    assert hit(kept, region('7'), START + MS)
    kept.store('front', region('8'), START + MS, SURE)
    assert hit(kept, region('7'), START + 2 * MS)
    assert hit(kept, region('8'), START + 2 * MS)


def test_a_track_that_is_not_seen_is_forgotten() -> None:
    kept = cache(smoothing='ema', smoothing_window=3)
    for number in range(5):
        kept.store('front', region(str(number)), START, row(1, 0))
    limit = round(FORGET_SEC * 1000)
    kept.store('front', region('0'), START + limit * MS, row(0, 1))
    assert len(kept) == 5
    # One of them was looked up, which is as good as inferred.
    assert not hit(kept, region('1'), START + 1000 * MS)
    np.testing.assert_array_equal(
        kept.store('front', region('0'), START + (limit + 1) * MS, row(0.5, 0.5)),
        row(0.5, 0.5))
    assert len(kept) == 2
    # An average of long ago is none of today's.
    np.testing.assert_array_equal(
        kept.store('front', region('2'), START + (limit + 2) * MS, row(0, 1)), row(0, 1))


def test_a_long_interval_keeps_tracks_for_two_of_it() -> None:
    kept = cache(reinfer_interval_ms=10_000)
    kept.store('front', region('1'), START, SURE)
    kept.store('front', region('2'), START + 20_000 * MS, SURE)
    assert len(kept) == 2
    kept.store('front', region('2'), START + 20_001 * MS, SURE)
    assert len(kept) == 1


def test_of_too_many_tracks_those_seen_long_ago_go() -> None:
    kept = TrackCache(TrackSettings(track_cache=True), max_tracks=3)
    for number, name in enumerate('abc'):
        kept.store('front', region(name), START + number, SURE)
    assert hit(kept, region('a'), START + 3)
    kept.store('front', region('d'), START + 4, SURE)
    # The limit is each camera's own.
    kept.store('left', region('e'), START + 4, SURE)
    assert [hit(kept, region(name), START + 5) for name in 'abcd'] == [True, False, True, True]
    assert len(kept) == 4


def test_the_default_limit_holds() -> None:
    kept = cache()
    for number in range(MAX_TRACKS + 10):
        kept.store('front', region(str(number)), START, SURE)
    assert len(kept) == MAX_TRACKS
    kept.clear()
    assert len(kept) == 0
    assert not hit(kept, region('500'), START)
