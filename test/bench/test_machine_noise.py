"""The machine's own noise: what is measured without the node."""

from __future__ import annotations

from tools.machine_noise import measure, STAGES


def test_each_stage_is_the_work_that_it_stands_for():
    figures = measure(0.5)
    assert tuple(figures) == STAGES
    assert all(0 < p50 <= p95 <= p99 for p50, p95, p99 in figures.values())
    assert figures['infer'][0] >= 5.0
    # Three times the work.
    assert figures['fit'][0] > figures['publish'][0]
    assert figures['added'][0] > figures['fit'][0]
