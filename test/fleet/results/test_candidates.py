"""The best frames of many, in bounded memory and not of one moment."""

from __future__ import annotations

from typing import Any

from fleets.fleet_results import pa  # noqa: F401  skips these tests where it is missing
import numpy as np
import pytest

from resnet_trt_node.fleet.results.candidates import Answer, BestFrames, FoundFrame

SECOND = 10**9


def found(value: float, time_s: float, topic: str = '/front', **changes: Any) -> FoundFrame:
    return FoundFrame(**{
        'value': value, 'drive': 'd', 'bag': 'b', 'topic': topic, 'stamp_ns': 0,
        'log_time_ns': round(time_s * SECOND), 'frame': round(time_s * 100), 'region_id': None,
        'answer': Answer(('car',), (.5,)), 'other': None, 'entropy': 0.0, **changes})


def offer(best: BestFrames, frames: list[FoundFrame], batch: int = 7) -> None:
    for start in range(0, len(frames), batch):
        part = frames[start:start + batch]
        best.offer(np.array([one.value for one in part]), part.__getitem__)


def greedy(frames: list[FoundFrame], number: int, apart_ns: int) -> list[FoundFrame]:
    """Return what `BestFrames` has to choose, with all frames in memory."""
    intervals: dict[Any, FoundFrame] = {}
    for one in sorted(frames, key=FoundFrame.order, reverse=True):
        intervals[one.topic, one.log_time_ns // apart_ns] = one
    taken: list[FoundFrame] = []
    for one in sorted(intervals.values(), key=FoundFrame.order):
        if all(one.topic != other.topic or abs(one.log_time_ns - other.log_time_ns) >= apart_ns
               for other in taken):
            taken.append(one)
    return taken[:number]


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('order', ['any', 'rising', 'falling'])
def test_the_best_are_found_in_any_order(seed, order):
    random = np.random.default_rng(seed)
    frames = [found(float(value), time / 10, topic)
              for time, value in enumerate(random.integers(0, 50, 3000) / 50)
              for topic in ('/front', '/left')]
    if order != 'any':
        frames.sort(key=lambda one: one.value, reverse=order == 'falling')
    best = BestFrames(20, SECOND)
    offer(best, frames, int(random.integers(1, 500)))
    chosen = best.chosen()
    assert chosen == greedy(frames, 20, SECOND)
    assert len(chosen) == 20


def test_memory_is_bounded():
    best = BestFrames(10, SECOND)
    most = 0
    for start in range(0, 20_000, 100):
        offer(best, [found(time / 1e6, time) for time in range(start, start + 100)])
        most = max(most, len(best._kept))
    assert most <= 2 * 30 + 64
    assert [one.frame for one in best.chosen()] == [
        100 * time for time in range(19_999, 19_989, -1)]


def test_two_of_one_moment_in_neighbouring_intervals():
    best = BestFrames(10, SECOND)
    offer(best, [found(.9, 0.99), found(.8, 1.01), found(.7, 1.99), found(.6, 3.5),
                 found(.5, 1.02, '/left')])
    assert [one.value for one in best.chosen()] == [.9, .6, .5]


def test_without_a_distance_all_count_and_regions_are_told_apart():
    best = BestFrames(10, 0)
    offer(best, [found(.9, 1, region_id='a'), found(.9, 1, region_id='b'), found(.9, 1.001)])
    assert [one.region_id for one in best.chosen()] == [None, 'a', 'b']


def test_what_has_no_value_is_no_candidate():
    best = BestFrames(10, SECOND)
    offer(best, [found(float('nan'), 1), found(.1, 2)])
    assert [one.value for one in best.chosen()] == [.1]
    assert BestFrames(1, 0).chosen() == []
