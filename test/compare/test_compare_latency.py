"""Latencies in turns: the order, how long each is measured, and figures known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from resnet_trt_node.backends import simulated
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.compare import subject
from resnet_trt_node.compare.figures import figures
from resnet_trt_node.compare.latency import measure, Plan, Timings
from resnet_trt_node.compare.subject import BackendSubject
from resnet_trt_node.errors import UsageError
from stand_ins.fake_subject import FakeSubject

FRAMES = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1).repeat(3, axis=3)
MS = 1_000_000


def fakes(**costs_ns):
    """Return subjects of given costs on one clock, and the list of their calls."""
    clock, calls = [0], []
    return {
        label: FakeSubject(
            label, clock, cost if callable(cost) else lambda now, cost=cost: cost, calls)
        for label, cost in costs_ns.items()}, calls


def test_every_round_visits_all_in_a_random_order():
    subjects, calls = fakes(a=MS, b=2 * MS, c=4 * MS)
    noted = []
    plan = Plan((1,), rounds=30, seconds=1, warm_up=2, settle_ms=0)
    found = measure(subjects, FRAMES, plan, noted.append)
    # The first two of each are its warming up.
    visits = [label for label, _, _ in calls[6:]]
    assert sorted(noted) == sorted(visits)
    rounds = [tuple(visits[start:start + 3]) for start in range(0, 90, 3)]
    assert all(sorted(one) == ['a', 'b', 'c'] for one in rounds)
    # Six orders are possible; always the same one would be one of them.
    assert len(set(rounds)) > 3
    again, repeated = fakes(a=MS, b=2 * MS, c=4 * MS)
    measure(again, FRAMES, plan)
    assert repeated == calls
    assert set(found[1]['a'].rounds) == set(range(30))


def test_each_has_its_seconds():
    subjects, calls = fakes(fast=MS, slow=20 * MS)
    found = measure(subjects, FRAMES, Plan((1,), rounds=10, seconds=2, settle_ms=5))[1]
    # 2 s in 10 rounds: 200 of 1 ms and 10 of 20 ms; settled for 5 ms, or one inference.
    assert [call[1:] for call in calls if call[2] == 200] == [(5, 200)] * 10
    assert [call[1:] for call in calls if call[2] == 10] == [(1, 10)] * 10
    assert found['fast'].spent_ns == found['slow'].spent_ns == 2000 * MS
    assert (found['fast'].warm_up, found['fast'].settle) == (10, 5)


def test_a_very_slow_one_has_three_rounds_and_the_others_all():
    subjects, _ = fakes(fast=MS, slow=2000 * MS)
    found = measure(subjects, FRAMES, Plan((1,), rounds=8, seconds=1))[1]
    assert [len(block) for block in found['slow'].rounds.values()] == [1, 1, 1]
    assert found['slow'].settle == 0
    assert len(found['fast'].rounds) == 8
    # Ten inferences were asked for to warm up; ten seconds are enough for five.
    assert found['slow'].warm_up == 6
    values = figures(found, 1)
    assert values['slow']['ratio'] == pytest.approx(2000)


def test_a_very_slow_reference_is_compared_with_in_its_rounds():
    subjects, _ = fakes(slow=2000 * MS, fast=MS)
    values = figures(measure(subjects, FRAMES, Plan((1,), rounds=8, seconds=1))[1], 1)
    assert (values['slow']['rounds'], values['fast']['rounds']) == (3, 8)
    assert values['fast']['ratio'] == pytest.approx(1 / 2000)


def test_the_first_inferences_do_not_decide_how_many_there_are():
    subjects, calls = fakes(a=lambda now: 50 * MS if now < 250 * MS else MS)
    measure(subjects, FRAMES, Plan((1,), rounds=4, seconds=2, warm_up=10, settle_ms=0))
    assert [count for _, _, count in calls[2:]] == [500] * 4


def test_iterations_are_counted_exactly():
    subjects, _ = fakes(a=MS, b=MS)
    found = measure(subjects, FRAMES, Plan((1,), rounds=4, iterations=10, settle_ms=0))[1]
    assert [len(block) for block in found['a'].rounds.values()] == [3, 3, 2, 2]
    few = measure(subjects, FRAMES, Plan((1,), rounds=9, iterations=5, settle_ms=0))[1]
    assert [len(block) for block in few['b'].rounds.values()] == [1] * 5


def test_batches_repeat_the_frames_and_are_measured_apart():
    subjects, _ = fakes(a=MS)
    found = measure(subjects, FRAMES, Plan((1, 5), rounds=3, seconds=0.01))
    assert list(found) == [1, 5]
    assert subjects['a'].loaded[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1]


def test_a_drift_falls_on_all_alike():
    def costs():
        # The machine becomes three times as slow within the 40 s of the measurement.
        return fakes(a=lambda now: MS * (1 + now / 20e9), b=lambda now: 2 * MS * (1 + now / 20e9))
    plan = Plan((1,), rounds=40, seconds=10, warm_up=2, settle_ms=0)
    subjects, _ = costs()
    ratio = figures(measure(subjects, FRAMES, plan)[1], 1)['b']
    assert ratio['ratio'] == pytest.approx(2, rel=0.03)
    assert ratio['ratio_interval'][0] < 2.04
    assert ratio['ratio_interval'][1] > 1.96
    # One after the other, on the same machine, would be far off.
    subjects, _ = costs()
    apart = [
        float(np.median(np.concatenate(list(
            measure({label: one}, FRAMES, plan)[1][label].rounds.values()))))
        for label, one in subjects.items()]
    assert apart[1] / apart[0] > 2.5


def test_figures_of_a_constant():
    timings = {
        'a': Timings(10, 1, {number: [2 * MS] * 50 for number in range(5)}),
        'b': Timings(10, 1, {number: [3 * MS] * 20 for number in range(5)})}
    found = figures(timings, 8)
    a, b = found['a'], found['b']
    assert (a['p50_ms'], a['p90_ms'], a['p99_ms'], a['round_spread']) == (2, 2, 2, 0)
    assert (a['count'], a['rounds'], a['batch_size']) == (250, 5, 8)
    assert a['images_s'] == pytest.approx(4000)
    assert (a['ratio'], a['ratio_interval']) == (1, [1, 1])
    assert (b['ratio'], b['ratio_interval'], b['p50_interval_ms']) == (1.5, [1.5, 1.5], [3, 3])
    assert b['curve_ms'] == [3.0] * 101


def test_figures_of_known_numbers():
    block = [number * MS for number in range(1, 101)]
    timings = {'a': Timings(1, 0, {0: block, 1: [2 * value for value in block], 2: block})}
    found = figures(timings, 1)['a']
    pooled = np.array([*block, *[2 * value for value in block], *block]) / MS
    for share in (50, 90, 99):
        assert found[f'p{share}_ms'] == pytest.approx(np.percentile(pooled, share))
    assert (found['min_ms'], found['max_ms']) == (1, 200)
    assert found['mean_ms'] == pytest.approx(pooled.mean())
    assert found['rounds_p50_ms'] == {'0': 50.5, '1': 101, '2': 50.5}
    assert found['round_spread'] == pytest.approx(1)
    assert found['p50_interval_ms'] == [50.5, 101]


def test_intervals_hold_95_of_100_medians():
    count = 41
    timings = {'a': Timings(1, 0, {place: [(place + 1) * MS] for place in range(count)})}

    def share(last):
        """Return how often the median of drawn places is among the first ones."""
        rate = last / count
        return sum(math.comb(count, many) * rate ** many * (1 - rate) ** (count - many)
                   for many in range(count // 2 + 1, count + 1))

    low, high = (next(last for last in range(1, count + 1) if share(last) >= edge)
                 for edge in (0.025, 0.975))
    assert figures(timings, 1)['a']['p50_interval_ms'] == pytest.approx([low, high], abs=0.5)


def test_backends_of_known_cost(monkeypatch):
    now_s = [100.0]

    def sleep(seconds):
        now_s[0] += seconds

    monkeypatch.setattr(simulated, 'perf_counter', lambda: now_s[0])
    monkeypatch.setattr(simulated, 'sleep', sleep)
    monkeypatch.setattr(subject, 'perf_counter_ns', lambda: round(now_s[0] * 1e9))

    def opened(cost_ms):
        return BackendSubject(SimulatedBackend('', SimulatedOptions(
            max_batch_size=2, num_buffers=1, simulated_ms=cost_ms)))
    frames = np.zeros((2, 224, 224, 3), np.uint8)
    with opened(4) as four, opened(12) as twelve:
        timings = measure({'four': four, 'twelve': twelve}, frames, Plan(
            (2,), rounds=4, seconds=0.2, warm_up=2, settle_ms=4))
    found = figures(timings[2], 2)
    assert found['four']['p50_ms'] == pytest.approx(4)
    assert found['twelve']['p50_ms'] == pytest.approx(12)
    assert found['twelve']['ratio'] == pytest.approx(3)
    assert found['twelve']['images_s'] == pytest.approx(2 / 0.012)


@pytest.mark.parametrize(('values', 'words'), [
    ({'batch_sizes': ()}, 'batch sizes'), ({'batch_sizes': (8, 1)}, 'rising'),
    ({'batch_sizes': (0,)}, 'from 1'), ({'batch_sizes': (1, 1)}, 'rising'),
    ({'rounds': 2}, 'rounds is 2'), ({'seconds': 0}, 'seconds is 0'),
    ({'seconds': float('nan')}, 'seconds is nan'), ({'iterations': 0}, 'iterations is 0'),
    ({'warm_up': 0}, 'warm_up is 0')])
def test_senseless_plans_are_refused(values, words):
    with pytest.raises(UsageError, match=words):
        Plan(**values)
