"""The simulated backend: time, order and failures as asked for."""

from __future__ import annotations

import pytest
from resnet_trt_node.backends import simulated
from resnet_trt_node.backends.base import warm_up
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.errors import InferenceError, UsageError


def test_submitting_returns_at_once_and_batches_follow_each_other(monkeypatch):
    slept_s = []
    monkeypatch.setattr(simulated, 'perf_counter', lambda: 100.0 + sum(slept_s))
    monkeypatch.setattr(simulated, 'sleep', slept_s.append)
    with SimulatedBackend('', SimulatedOptions(num_buffers=2, simulated_ms=30.0)) as backend:
        backend.buffer(0).fill(10)
        backend.buffer(1).fill(20)
        backend.submit(1, 0)
        backend.submit(1, 1)
        assert slept_s == []
        assert backend.collect(0).argmax() == 10
        assert backend.collect(1).argmax() == 20
    assert slept_s == pytest.approx([0.03, 0.03])


def test_a_batch_takes_longer_for_each_row(monkeypatch):
    slept_s = []
    monkeypatch.setattr(simulated, 'perf_counter', lambda: 100.0)
    monkeypatch.setattr(simulated, 'sleep', slept_s.append)
    options = SimulatedOptions(max_batch_size=8, simulated_ms=5.0, simulated_row_ms=0.3)
    with SimulatedBackend('', options) as backend:
        backend.infer(8)
    assert slept_s == pytest.approx([0.005 + 8 * 0.0003])


@pytest.mark.parametrize(('text', 'batch_ms', 'row_ms', 'fail_every'), [
    ('5', 5.0, 0.0, 0), ('5+0.3', 5.0, 0.3, 0), ('0.5:3', 0.5, 0.0, 3), ('5+0.3:2', 5.0, 0.3, 2)])
def test_options_behind_the_name(text, batch_ms, row_ms, fail_every):
    assert SimulatedOptions.from_text(text) == {
        'simulated_ms': batch_ms, 'simulated_row_ms': row_ms, 'simulated_fail_every': fail_every}


@pytest.mark.parametrize('text', ['', 'x', '5+x', '5:x', '+'])
def test_other_options_are_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r'such as simulated:5 or simulated:5\+0\.3$'):
        SimulatedOptions.from_text(text)


def test_every_nth_batch_after_the_warm_up_fails():
    options = SimulatedOptions(
        max_batch_size=3, num_buffers=2, simulated_ms=0.0, simulated_fail_every=4)
    with SimulatedBackend('', options) as backend:
        warm_up(backend)
        fates = []
        for _ in range(9):
            try:
                backend.infer(1)
            except InferenceError as error:
                fates.append(str(error))
            else:
                fates.append('')
    assert [not fate for fate in fates] == [True, True, True, False] * 2 + [True]
    assert 'batch 4 failed' in fates[3]


def test_failures_out_of_range_are_refused():
    with pytest.raises(UsageError, match='simulated_fail_every'):
        SimulatedOptions(simulated_fail_every=-1)
