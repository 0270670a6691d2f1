"""Two runs over the same frames: which rows belong together, and where they differ."""

from __future__ import annotations

from fleets.fleet_results import LEFT, pq, row, write_run
import numpy as np
import pytest

from resnet_trt_node.errors import DataError
from resnet_trt_node.fleet.results import matching
from resnet_trt_node.fleet.results.comparison import compare
from resnet_trt_node.fleet.results.files import Results
from resnet_trt_node.fleet.results.matching import matches, same_bags
from resnet_trt_node.fleet.results.picking import check_matched

CAR, BUS = {'car': .9, 'bus': .1}, {'bus': .8, 'car': .2}


@pytest.fixture
def make(tmp_path):
    """Return a function that writes a run of rows and opens it."""
    def make(*rows, unit_rows=4):
        number = len(list(tmp_path.iterdir()))
        return Results(write_run(tmp_path / f'run{number}', rows, unit_rows))
    return make


def test_rows_are_matched_whatever_their_files_and_order(make):
    first = make(*(row('a', number, CAR) for number in range(9)), unit_rows=2)
    second = make(*(row('a', number, BUS) for number in reversed(range(3, 12))), unit_rows=5)
    match, = matches(first, second)
    assert match.first.column('frame').to_pylist() == list(range(3, 9))
    assert match.second.column('frame').to_pylist() == list(range(3, 9))
    assert set(match.second.column('classes').to_pylist()[0]) == {'bus', 'car'}
    assert (match.only_first, match.only_second) == (3, 3)
    assert match.disagreement() == pytest.approx([.8] * 6)


def test_topic_region_and_bag_tell_rows_apart(make):
    first = make(
        row('a', 0, CAR), row('a', 0, CAR, region_id='7'), row('a', 0, CAR, topic=LEFT),
        row('b', 0, CAR), row('b', 1, CAR))
    second = make(row('a', 0, BUS, region_id='7'), row('a', 0, BUS, bag='/bags/a'))
    match, other = matches(first, second)
    assert (other.drive, other.first.num_rows, other.only_first) == ('b', 0, 2)
    assert match.first.column('region_id').to_pylist() == [None, '7']
    assert match.first.column('bag').to_pylist() == ['/bags/a', '/bags/a']
    assert (match.only_first, match.only_second) == (1, 0)


def test_bags_that_were_moved_are_matched_by_their_names(make):
    first = make(row('a', 0, CAR, bag='s3://bucket/2026/a.mcap'))
    second = make(row('a', 0, BUS, bag='/disk/a.mcap'))
    match, = matches(first, second)
    assert match.first.num_rows == 1
    other = make(row('a', 0, BUS, bag='/disk/b.mcap'))
    found = [(one.drive, one.first.num_rows, one.only_first, one.only_second)
             for one in matches(first, other)]
    assert found == [('a', 0, 0, 1), ('a', 0, 1, 0)]


@pytest.mark.parametrize(('first', 'second', 'wanted'), [
    # The same paths under other names.
    (['/d/1/x', '/d/2/x'], ['/d/2/x', '/d/1/x'], {('a', 'b'), ('b', 'a')}),
    (['/d/1/x', '/d/2/x'], ['/d/2/x'], {('b', 'a'), ('a', '')}),
    # The longest end; those of equal length have none.
    (['/d/1/x', '/d/2/x'], ['s3://e/2/x', 's3://e/1/x'], {('a', 'b'), ('b', 'a')}),
    (['/d/1/x'], ['/e/3/x', '/e/4/x'], {('a', ''), ('', 'a'), ('', 'b')}),
    (['/d/1/x', '/e/1/x'], ['1/x', '/e/2/x'], {('a', ''), ('b', ''), ('', 'a'), ('', 'b')}),
    # What is in its place is not taken for one that was moved.
    (['/d/1/x', '/e/x'], ['/e/x', '/f/1/y'], {('b', 'a'), ('a', ''), ('', 'b')}),
    # Relative names of an earlier run.
    (['/home/d/1/x', '/home/d/2/x'], ['d/1/x', './d/2/x'], {('a', 'a'), ('b', 'b')})])
def test_bags_are_the_same_by_their_paths(first, second, wanted):
    assert same_bags(dict(zip('abc', first)), dict(zip('abc', second))) == sorted(wanted)


def test_bags_of_equal_names_are_matched_whatever_their_drives(make):
    days = [f'/data/day{day}/rosbag2' for day in (1, 2)]
    first = make(row('rosbag2', 0, CAR, bag=days[1]))
    second = make(row('rosbag2~1', 0, BUS, bag=days[0]), row('rosbag2~2', 0, BUS, bag=days[1]))
    found = compare(first, second, 5, 0, lambda steps: None)
    assert (found.matched, found.only_first, found.only_second) == (1, 0, 1)
    assert [one.name for one in found.drives] == ['rosbag2']


def test_other_recordings_of_the_same_name_have_no_frame_in_common(make):
    first = make(row('x', 0, CAR, bag='/day1/x'))
    second = make(row('x', 0, CAR, bag='/day2/x', log_time_ns=5))
    match, = matches(first, second)
    assert (match.first.num_rows, match.only_first, match.only_second) == (0, 1, 1)


def test_a_drive_without_rows_is_left_out(make):
    first = make(row('a', 0, CAR), row('b', 0, CAR))
    path, = first.folder.glob('frames/drive=b/*')
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    match, = matches(Results(first.folder), Results(first.folder))
    assert match.drive == 'a'


@pytest.mark.parametrize('most', [1, 2, 7])
def test_a_large_drive_is_taken_in_stretches(make, monkeypatch, most):
    rows = [row('a', number, CAR, topic=topic) for number in range(10) for topic in ('/x', '/y')]
    first = make(*rows)
    second = make(*({**one, 'classes': ['bus']} for one in rows[:-3]))
    whole = compare(first, second, 5, 0, lambda steps: None)
    monkeypatch.setattr(matching, 'MOST_ROWS', most)
    found = list(matches(first, second))
    assert len(found) > 2
    assert max(match.first.num_rows for match in found) <= most + 2
    steps: list[int] = []
    assert compare(first, second, 5, 0, steps.append) == whole
    assert sum(steps) == 20
    assert (whole.matched, whole.only_first, whole.only_second) == (17, 3, 0)


def test_a_frame_that_is_there_twice_is_refused(make):
    first = make(row('a', 0, CAR), row('a', 0, CAR))
    with pytest.raises(DataError, match='frames of the drive a are there twice'):
        list(matches(first, make(row('a', 0, BUS))))


def test_regions_of_a_frame_that_share_an_id_are_matched_in_their_order(make):
    answers = [CAR, {'tram': .9}, BUS]
    first = make(*(row('a', frame, answers[number], region_id='0')
                   for frame in range(2) for number in range(3)), unit_rows=9)
    second = make(*(row('a', frame, answers[number], region_id='0')
                    for frame in (1, 0) for number in range(2)), unit_rows=9)
    match, = matches(first, second)
    assert match.first.num_rows == 4
    assert match.same.all()
    assert match.first.column('frame').to_pylist() == [0, 0, 1, 1]
    assert (match.only_first, match.only_second) == (2, 0)
    found = compare(second, first, 5, 0, lambda steps: None)
    assert (found.matched, found.total.same) == (4, 4)


def test_differences_are_counted(make):
    first = make(
        *(row('a', number, CAR) for number in range(6)), row('a', 6), row('a', 7, BUS),
        row('b', 0, BUS), row('new', 0, CAR))
    second = make(
        *(row('a', number, CAR) for number in range(4)), row('a', 4, BUS), row('a', 5, BUS),
        row('a', 6, CAR), row('a', 7), row('b', 0, {}), row('old', 0, CAR), row('old', 1, CAR))
    found = compare(first, second, 10, 0, lambda steps: None)
    assert (found.matched, found.only_first, found.only_second) == (9, 1, 2)
    assert (found.won, found.lost) == (1, 1)
    assert (found.total.both, found.total.same) == (7, 4)
    assert found.total.rate == pytest.approx(4 / 7)
    assert found.pairs == {('bus', 'car'): 2, ('(no class)', 'bus'): 1}
    assert found.total.first == {'car': 6, 'bus': 1}
    assert found.total.second == {'car': 4, 'bus': 2, '(no class)': 1}
    assert [(one.name, one.both, one.same) for one in found.drives] == [('a', 6, 4), ('b', 1, 0)]
    assert found.drives[0].drift == pytest.approx(
        (6.5 - 4.5) / 7 * np.log(6.5 / 4.5) + (.5 - 2.5) / 7 * np.log(.5 / 2.5))
    assert [(one.drive, one.frame) for one in found.frames] == [('a', 4), ('a', 5), ('b', 0)]
    frame = found.frames[0]
    assert frame.value == pytest.approx(.8)
    assert (frame.answer.best, frame.other.best) == ('car 90.0 %', 'bus 80.0 %')
    assert found.frames[2].other.best == 'no class'


def test_runs_over_other_bags_are_refused(make):
    first, second = make(row('a', 0, CAR)), make(row('b', 0, CAR))
    found = compare(first, second, 10, 0, lambda steps: None)
    assert (found.matched, np.isnan(found.total.rate), found.frames) == (0, True, [])
    with pytest.raises(DataError, match='no frame in common: the drives are a and b'):
        check_matched(first, second, found.matched)
