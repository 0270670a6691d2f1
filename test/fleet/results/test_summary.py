"""Counting a run: classes, scores, skips, and drives over time."""

from __future__ import annotations

from fleets.fleet_results import damage, row, START_NS, write_run
import numpy as np
import pytest

from resnet_trt_node.errors import DataError
from resnet_trt_node.fleet.results.drift import describe, stability_index
from resnet_trt_node.fleet.results.files import Results
from resnet_trt_node.fleet.results.summary import score_histogram, summarise, timeline

ROWS = [
    *(row('b', number, {'car': .92, 'bus': .08}) for number in range(5)),
    row('b', 5), row('b', 6, {}), row('b', 7, {'tram': .5}),
    row('a', 20, {'bus': .75}), row('a', 10, {'car': 1.0}),
    row('a', 15, outcome='no_key_frame')]


@pytest.fixture
def results(tmp_path):
    return Results(write_run(tmp_path, ROWS, 3))


def test_everything_is_counted_once(results):
    steps: list[int] = []
    summary = summarise(results, steps.append)
    assert sum(steps) == 11
    assert summary.outcomes == {'answered': 9, 'damaged': 1, 'no_key_frame': 1}
    assert summary.classes == {'car': 6, 'bus': 1, 'tram': 1, '(no class)': 1}
    assert summary.score_sums['car'] == pytest.approx(5.6)
    assert summary.histogram.sum() == 8
    assert summary.histogram[[18, 10, 15, 19]].tolist() == [5, 1, 1, 1]
    a, b = summary.drives
    assert (a.name, a.rows, a.answered) == ('a', 3, 2)
    assert (a.start_ns - START_NS, a.end_ns - START_NS) == (5 * 10**9 + 7, 10 * 10**9 + 7)
    assert (b.name, b.rows, b.answered, b.classes['car']) == ('b', 8, 7, 5)


def test_timeline_counts_every_row(results):
    _, drive = summarise(results, lambda rows: None).drives
    counts = timeline(results, drive, ['car', 'bus'], 4)
    # Eight rows, of two in each part: car, bus, others, no answer.
    assert counts.tolist() == [[2, 0, 0, 0], [2, 0, 0, 0], [1, 0, 0, 1], [0, 0, 2, 0]]
    assert timeline(results, drive, [], 1).tolist() == [[7, 1]]


def test_timeline_of_one_moment(tmp_path):
    results = Results(write_run(tmp_path, [row('a', 3, {'car': .9})]))
    drive, = summarise(results, lambda rows: None).drives
    assert timeline(results, drive, ['car'], 3).sum() == 1


def test_a_damaged_file_is_named(results):
    path = sorted(results.folder.glob('frames/*/*.parquet'))[-1]
    damage(path)
    with pytest.raises(DataError, match=path.name):
        summarise(results, lambda rows: None)


def test_scores_at_the_bounds():
    found = score_histogram(np.array([0, 1, 1.0000001, .049, .05, np.nan]))
    assert found[[0, 1, 19]].tolist() == [2, 1, 2]
    assert found.sum() == 5


def test_drift():
    assert stability_index([50, 50], [500, 500]) == pytest.approx(0, abs=1e-12)
    # (p - q) ln(p / q) of the shares 0.8, 0.2 and 0.5, 0.5, whose half answers count for nothing.
    assert stability_index([800_000, 200_000], [500_000, 500_000]) == pytest.approx(
        .3 * np.log(1.6) - .3 * np.log(.4), rel=1e-4)
    assert stability_index([9, 0], [0, 9]) == pytest.approx(2 * .9 * np.log(19))
    assert stability_index([3, 1], [1, 3]) == stability_index([1, 3], [3, 1])
    assert np.isnan(stability_index([0, 0], [1, 0]))
    assert [describe(one) for one in (.099, .1, .25, float('nan'))] == [
        'stable', 'some drift', 'large drift', 'unknown']
