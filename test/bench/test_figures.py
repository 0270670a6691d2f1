"""The benchmark's arithmetic: percentiles, accounts, growth, targets."""

from __future__ import annotations

from bench.figures import (
    Account, account, Balance, balance_checks, Check, growth, latencies_ms, percentile, spread,
    sum_balances, unevenness)
from bench.records import HEARD, read, RecordWriter, REGIONS, SENT
from bench.rig import Phase
from bench.scenarios.latency import dropped, region_checks
from bench.scenarios.regions import regions_per_second
import numpy as np
import pytest

pytestmark = pytest.mark.slow


def sent(*rows):
    return np.array(list(rows), SENT)


def heard(*rows):
    return np.array(list(rows), HEARD)


def test_percentile_lies_between_neighbours():
    values = list(range(1, 101))
    assert percentile(values, 50) == 50.5
    assert percentile(values, 99) == pytest.approx(99.01)
    assert percentile(values, 100) == 100
    assert percentile([7.0], 99) == 7.0
    assert percentile([], 50) is None


def test_spread_of_nothing_is_not_measured():
    assert spread(np.array([])) == {'p50': None, 'p95': None, 'p99': None, 'max': None}


def test_latency_is_from_stamp_to_arrival():
    assert latencies_ms(heard((0, 1, 1_000_000, 3_500_000)))[0] == 2.5


def test_whole_account():
    frames = sent((0, 0, 10), (0, 0, 20), (1, 0, 10), (1, 1, 30))
    answers = heard((0, 50, 10, 11), (0, 50, 20, 21), (1, 90, 10, 12))
    assert account(frames, answers, {0: 50, 1: 90}) == Account(
        sent=3, broken=1, answered=3, foreign=0, repeated=0, mistaken=0)


def test_account_finds_what_is_wrong():
    frames = sent((0, 0, 10), (0, 0, 20), (1, 0, 10), (1, 1, 30))
    answers = heard(
        (0, 50, 10, 11), (0, 50, 10, 12),  # twice
        (1, 50, 10, 13),  # the other camera's picture
        (1, 90, 20, 14),  # camera 1 sent no such frame
        (1, 90, 30, 15))  # an answer to a broken frame
    assert account(frames, answers, {0: 50, 1: 90}) == Account(
        sent=3, broken=1, answered=2, foreign=2, repeated=1, mistaken=1)


def test_account_with_a_real_network_judges_no_answer():
    assert account(sent((0, 0, 10)), heard((0, -1, 10, 11))).mistaken == 0


def test_a_balance_counts_what_was_lost_without_a_log_line():
    balance = Balance(sent=10, received=6, lost=3, answered=5, heard=5)
    assert balance.lost_silently == 1
    assert balance.to_json() == {
        'sent': 10, 'received': 6, 'lost': 3, 'answered': 5, 'heard': 5, 'lost_silently': 1}
    assert sum_balances([balance, balance]) == Balance(20, 12, 6, 10, 10)


@pytest.mark.parametrize(('balances', 'invented', 'unheard'), [
    ([Balance(10, 6, 3, 5, 5)], 0, 0),
    # Counted, and nobody sent it: as received, and as lost.
    ([Balance(10, 11, 0, 5, 5)], 1, 0), ([Balance(10, 9, 3, 5, 5)], 2, 0),
    # An answer that the node counts and nobody heard, and one the other way round.
    ([Balance(10, 10, 0, 10, 8), Balance(10, 10, 0, 8, 10)], 0, 4),
    # One camera does not make up for another.
    ([Balance(10, 12, 0, 5, 5), Balance(10, 2, 0, 2, 2)], 2, 0)])
def test_counters_are_checked_against_cameras_and_listener(balances, invented, unheard):
    checks = balance_checks(balances)
    assert [check.measured for check in checks] == [invented, unheard]
    assert [check.met for check in checks] == [not invented, not unheard]


def regions(*rows):
    return np.array(list(rows), REGIONS)


def test_regions_a_second_count_between_the_first_and_the_last_answer():
    second = 10**9
    answers = regions(
        (1, 0, 12 * second, 10, 10, 0), (0, 0, 10 * second, 10, 10, 0),
        (0, 1, 14 * second, 10, 8, 0))
    assert regions_per_second(answers) == pytest.approx((10 + 8) / 4)
    assert regions_per_second(answers[:1]) is None
    assert regions_per_second(regions((0, 0, 1, 10, 0, 0), (0, 1, 2, 10, 0, 0))) is None


@pytest.mark.parametrize(('row', 'wrong', 'mistaken'), [
    ((0, 0, 0, 10, 10, 0), 0, 0), ((0, 0, 0, 10, 8, 1), 2, 1), ((0, 0, 0, 9, 9, 0), 2, 0),
    ((0, 0, 0, 12, 12, 0), 4, 0)])
def test_each_region_of_an_answered_frame_has_its_answer(row, wrong, mistaken):
    status = {'c0/regions_received': '10', 'c0/regions_answered': '9',
              'c0/regions_per_frame': '10.0'}
    phase = Phase(1.0, sent(), heard(), {}, 0.0, 0, 0.0, status, regions=regions(row))
    assert [check.measured for check in region_checks(phase, ['c0'], 10)] == [
        1, wrong, mistaken]


def test_drops_are_told_by_camera_and_reason():
    status = {'c0/dropped_stale': '3', 'c0/dropped_failed': '0', 'c0/received': '5'}
    assert dropped(status) == {'c0/dropped_stale': 3}


def test_unevenness_in_per_cent_of_the_mean():
    assert unevenness([95, 105, 100]) == 10.0
    assert unevenness([0, 0]) is None
    assert unevenness([]) is None


def test_growth_leaves_settling_out():
    times_s = [float(second) for second in range(100)]
    settling = [50.0 + second if second < 20 else 70.0 for second in range(100)]
    assert growth(times_s, settling) == (0.0, pytest.approx(0.0, abs=1e-6))
    leaking = [second / 36 for second in times_s]
    gained, slope = growth(times_s, leaking)
    assert gained == pytest.approx(60 / 36)
    assert slope == pytest.approx(100.0)


def test_growth_may_leave_out_a_fixed_time():
    times_s = [60.0 * minute for minute in range(60)]
    values = [minute if minute < 10 else 10 + (minute - 10) / 60 for minute in range(60)]
    assert growth(times_s, values, 600.0)[1] == pytest.approx(1.0)
    assert growth(times_s, values)[1] == pytest.approx(1.0)
    assert growth(times_s, values, 60.0)[1] > 3.0


def test_growth_of_too_few_samples_is_refused():
    with pytest.raises(ValueError, match='9 samples'):
        growth([0.0] * 9, [1.0] * 9)


@pytest.mark.parametrize(('measured', 'at_least', 'met'), [
    (2.0, False, True), (2.1, False, False), (1.9, True, False), (2.0, True, True),
    (None, False, False), (None, True, False)])
def test_target(measured, at_least, met):
    assert Check('x', measured, 2.0, at_least=at_least).met is met
    assert Check('x', measured, 2.0, at_least=at_least).to_json()['met'] is met


def test_records_are_read_while_they_are_written(tmp_path):
    path = tmp_path / 'sent'
    assert len(read(path, SENT)) == 0
    writer = RecordWriter(path, SENT)
    writer.write(3, 0, 1_700_000_000_123_456_789)
    writer.write(4, 1, 5)
    with path.open('ab') as file:
        file.write(b'half')  # of a record whose writer was killed
    assert read(path, SENT).tolist() == [(3, 0, 1_700_000_000_123_456_789), (4, 1, 5)]
    assert read(path, SENT, 1).tolist() == [(4, 1, 5)]
    assert len(read(path, SENT, 5)) == 0
    writer.close()
