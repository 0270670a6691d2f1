"""Answers kept by track: when they are inferred again, and what is published."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from pipelines.tracks import cache, hit, MS, region, row, START, SURE
import pytest
from resnet_trt_node.errors import UsageError
from resnet_trt_node.regions.track_cache import (
    MAX_ID_LENGTH, TrackCache, TrackSettings, without_shared_ids)


def test_an_answer_is_taken_until_it_is_an_interval_old() -> None:
    kept = cache()
    assert not hit(kept, region(), START)
    kept.store('front', region(), START, SURE)
    for age_ms, taken in ((0, True), (33, True), (499.999999, True), (500, False), (501, False)):
        found = kept.lookup('front', region(), START + round(age_ms * MS))
        assert (found is not None) == taken, age_ms
        if found is not None:
            np.testing.assert_array_equal(found.probabilities, SURE)
            assert found.stamp_ns == START
    kept.store('front', region(), START + 500 * MS, row(0.125, 0.875))
    found = kept.lookup('front', region(), START + 999 * MS)
    assert found is not None
    assert found.stamp_ns == START + 500 * MS
    np.testing.assert_array_equal(found.probabilities, row(0.125, 0.875))


@pytest.mark.parametrize(('width', 'height', 'taken'), [
    (40, 20, True), (59.9, 20, True), (60, 20, False), (20, 60, False), (20, 59, True),
    (59, 59, True), (10, 10, True), (float('nan'), 20, False)])
def test_a_box_whose_longer_side_grew_is_inferred_again(width, height, taken) -> None:
    kept = cache()
    kept.store('front', region(), START, SURE)
    assert hit(kept, region(width=width, height=height), START + MS) == taken


def test_another_class_of_the_detector_is_inferred_again() -> None:
    kept = cache()
    car, truck = (replace(region(), class_id=name) for name in ('car', 'truck'))
    kept.store('front', car, START, SURE)
    assert hit(kept, car, START + MS)
    assert not hit(kept, truck, START + MS)


def test_growth_counts_from_the_last_inference() -> None:
    kept = cache()
    kept.store('front', region(width=40), START, SURE)
    kept.store('front', region(width=60), START + MS, SURE)
    assert hit(kept, region(width=80), START + 2 * MS)
    assert not hit(kept, region(width=90), START + 2 * MS)


def test_an_unsure_answer_is_not_taken() -> None:
    kept = cache(reinfer_below=0.75)
    kept.store('front', region(), START, row(0.7, 0.3))
    assert not hit(kept, region(), START + MS)
    kept.store('front', region(), START + MS, row(0.25, 0.75))
    assert hit(kept, region(), START + 2 * MS)


def test_the_published_score_decides_when_answers_are_smoothed() -> None:
    kept = cache(reinfer_below=0.75, smoothing='ema', smoothing_window=3)
    kept.store('front', region(), START, row(1, 0))
    # Sure of another class; the average is sure of neither until two more agree.
    kept.store('front', region(), START + MS, row(0, 1))
    assert not hit(kept, region(), START + 2 * MS)
    np.testing.assert_array_equal(
        kept.store('front', region(), START + 2 * MS, row(0, 1)), row(0.25, 0.75))
    assert hit(kept, region(), START + 3 * MS)


@pytest.mark.parametrize('options', [{'reinfer_interval_ms': 0}, {'reinfer_growth': 1}])
def test_an_interval_of_0_or_a_growth_of_1_infers_every_frame(options) -> None:
    kept = cache(**options)
    kept.store('front', region(), START, SURE)
    assert not hit(kept, region(), START)
    assert not hit(kept, region(), START + MS)


def test_cameras_and_tracks_do_not_share_answers() -> None:
    kept = cache()
    kept.store('front', region('7'), START, SURE)
    kept.store('left', region('8'), START, row(0, 1))
    assert not hit(kept, region('8'), START + MS)
    assert not hit(kept, region('7'), START + MS, 'left')
    found = kept.lookup('left', region('8'), START + MS)
    assert found is not None
    np.testing.assert_array_equal(found.probabilities, row(0, 1))
    assert len(kept) == 2


@pytest.mark.parametrize('track_id', ['', 'x' * (MAX_ID_LENGTH + 1)])
@pytest.mark.parametrize('smoothing', ['none', 'ema', 'majority'])
def test_without_a_track_nothing_is_kept_nor_smoothed(track_id, smoothing) -> None:
    kept = cache(smoothing=smoothing)
    for one in (row(1, 0), row(0, 1)):
        assert kept.store('front', region(track_id), START, one) is one
    assert len(kept) == 0
    assert not hit(kept, region(track_id), START)


@pytest.mark.parametrize('stamp_ns', [0, -1])
def test_without_a_stamp_nothing_is_kept_nor_smoothed(stamp_ns) -> None:
    kept = cache(smoothing='ema')
    for one in (row(1, 0), row(0, 1)):
        assert kept.store('front', region(), stamp_ns, one) is one
    assert not hit(kept, region(), stamp_ns)
    assert len(kept) == 0


def test_smoothing_works_without_the_cache() -> None:
    kept = TrackCache(TrackSettings(smoothing='majority', smoothing_window=3))
    found = []
    for number, best in enumerate([0, 0, 1, 0, 1, 1]):
        stamp = START + number * MS
        assert not hit(kept, region(), stamp)
        found.append(int(kept.store('front', region(), stamp, row(1 - best, best)).argmax()))
    assert found == [0, 0, 0, 0, 1, 1]


def test_off_it_hands_back_what_it_was_given_and_keeps_nothing() -> None:
    kept = TrackCache(TrackSettings())
    given_row = row(1, 0)
    assert kept.store('front', region(), START, given_row) is given_row
    assert not hit(kept, region(), START)
    assert len(kept) == 0


def test_what_is_kept_is_a_copy_that_cannot_be_changed() -> None:
    kept = cache()
    buffer = row(1, 0)
    assert kept.store('front', region(), START, buffer) is buffer
    # The backend's array holds the next batch.
    buffer[:] = row(0, 1)
    found = kept.lookup('front', region(), START)
    assert found is not None
    np.testing.assert_array_equal(found.probabilities, row(1, 0))
    with pytest.raises(ValueError, match='read-only'):
        found.probabilities[0] = 0


def test_ids_that_a_frame_has_twice_name_no_track() -> None:
    regions = [region('1'), region('car', 5), region(''), region('car', 6), region('')]
    got = without_shared_ids(regions)
    assert [one.track_id for one in got] == ['1', '', '', '', '']
    assert [one.box for one in got] == [one.box for one in regions]
    # Without a tracker a frame may have thousands of these.
    assert got[2] is regions[2]


@pytest.mark.parametrize(('name', 'value', 'advice'), [
    ('reinfer_interval_ms', -1, 'choose 0 to 3600000'),
    ('reinfer_interval_ms', float('nan'), 'choose 0'),
    ('reinfer_interval_ms', float('inf'), 'choose 0'),
    ('reinfer_growth', 0.99, 'choose 1 to 1000'), ('reinfer_below', 1.01, 'choose 0 to 1'),
    ('smoothing_window', 0, 'choose 1 to 30'), ('smoothing_window', 31, 'choose 1 to 30')])
def test_values_out_of_range_are_refused(name, value, advice) -> None:
    with pytest.raises(UsageError, match=f'^{name} is {value}: {advice}'):
        TrackSettings(**{name: value})


def test_an_unknown_smoothing_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown smoothing 'mean': choose one of none, ema, maj"):
        TrackSettings(smoothing='mean')


@settings(deadline=None)
@given(events=st.lists(st.tuples(
    st.sampled_from(['front', 'left']), st.sampled_from(['', 'a', 'b', 'c']),
    st.integers(0, 5000), st.floats(1, 100), st.floats(0, 1)), max_size=40),
    smoothing=st.sampled_from(['none', 'ema', 'majority']))
def test_a_hit_is_always_one_that_the_rules_allow(events, smoothing) -> None:
    kept = TrackCache(
        TrackSettings(track_cache=True, smoothing=smoothing, smoothing_window=3), max_tracks=2)
    stored: dict[tuple[str, str], tuple[int, float, np.ndarray]] = {}
    for camera, name, time_ms, side, best in events:
        one, stamp = region(name, side, 1), START + time_ms * MS
        found = kept.lookup(camera, one, stamp)
        if found is None:
            published = kept.store(camera, one, stamp, row(best, 1 - best))
            stored[camera, name] = stamp, side, published.copy()
        else:
            then, side_then, published = stored[camera, name]
            assert name
            assert 0 <= stamp - then < 500 * MS
            assert side < 1.5 * side_then
            assert published.max() >= 0.5
            assert found.stamp_ns == then
            np.testing.assert_array_equal(found.probabilities, published)
        assert len(kept) <= 4


@settings(deadline=None)
@given(times=st.lists(st.integers(0, 400), min_size=1, max_size=30).map(sorted))
def test_a_still_scene_is_inferred_once_an_interval(times) -> None:
    kept = cache(reinfer_interval_ms=100)
    inferred: list[int] = []
    for time_ms in times:
        if not hit(kept, region(), START + time_ms * MS):
            kept.store('front', region(), START + time_ms * MS, SURE)
            inferred.append(time_ms)
    assert inferred[0] == times[0]
    assert all(later - one >= 100 for one, later in zip(inferred, inferred[1:]))
    assert all(any(0 <= time_ms - one < 100 for one in inferred) for time_ms in times)


def test_two_threads_may_use_it() -> None:
    kept = TrackCache(TrackSettings(track_cache=True, smoothing='majority'), max_tracks=5)
    failures: list[BaseException] = []

    def work(look: bool) -> None:
        try:
            for number in range(3000):
                one, stamp = region(str(number % 11)), START + number * MS
                if look:
                    kept.lookup('front', one, stamp)
                else:
                    kept.store('front', one, stamp, SURE)
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=work, args=(look,)) for look in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(kept) <= 5
