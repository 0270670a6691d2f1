"""A pipeline whose backend does not come back: disabled, all frames counted, nothing published."""

from __future__ import annotations

from dataclasses import replace
from threading import enumerate as enumerate_threads, Event

from pipelines.pipeline_bench import raises
import pytest
from resnet_trt_node.node.pipeline.settings import LiveSettings

#: Ten times the slowest warm-up of a busy machine is more than this.
SHORT = LiveSettings(top_k=1, infer_timeout_ms=1.0, reopen_backoff_sec=0.001,
                     reopen_after_failures=1)


class Hang:
    """Takes the place of a method: blocks until it is let go, then does what that did."""

    def __init__(self, method):
        self._method = method
        self.entered, self.go_on = Event(), Event()

    def __call__(self, *arguments):
        self.entered.set()
        assert self.go_on.wait(120)
        return self._method(*arguments)


def hang_in(bench, name):
    """Have one of the backend's methods hang."""
    hang = Hang(getattr(bench.backend, name))
    setattr(bench.backend, name, hang)
    return hang


def declare_hung(bench):
    """Check as often as a node's timer would until the backend is disabled."""
    def hung():
        bench.pipeline.check_backend()
        return bench.disabled
    bench.wait(hung)
    return bench.disabled


@pytest.mark.parametrize(('method', 'words'), [
    ('_submit', 'submitting'), ('_collect', 'collecting')])
@pytest.mark.parametrize('asynchronous', [True, False])
def test_a_backend_that_hangs_is_disabled_and_what_it_brings_later_is_dropped(
        make_bench, method, words, asynchronous):
    before = set(enumerate_threads())
    bench = make_bench(
        cameras=('front', 'left'), settings=SHORT, asynchronous=asynchronous, max_batch_size=1)
    bench.answer(1)
    started = set(enumerate_threads()) - before
    hang = hang_in(bench, method)
    bench.pipeline.offer('front', 2)
    assert hang.entered.wait(60)
    bench.pipeline.offer('front', 3)
    bench.pipeline.offer('left', 4)
    why = declare_hung(bench)
    assert 'hangs' in why
    assert f'{words} a batch of 1' in why
    assert 'restart the process' in why
    assert not bench.pipeline.accepting
    bench.pipeline.offer('left', 5)
    # Which waits for the other threads only.
    assert not bench.pipeline.close(60)
    assert sum(thread.is_alive() for thread in started) == 1
    assert bench.dropped == {'failed': 3, 'refused': 1}
    hang.go_on.set()
    assert bench.pipeline.join(60)
    assert not any(thread.is_alive() for thread in started)
    # What it brought was for nobody, and it was freed after all.
    assert bench.results == [('front', 1, 1)]
    assert bench.dropped == {'failed': 3, 'refused': 1}
    assert bench.pipeline.counters.total().in_progress == 0
    assert bench.pipeline.counters.total().mismatch is None
    assert bench.backend.closed
    assert bench.pipeline.unexpected_exception is None


def test_a_backend_that_comes_back_before_the_pipeline_is_closed_ends_by_itself(make_bench):
    bench = make_bench(settings=SHORT)
    hang = hang_in(bench, '_collect')
    bench.pipeline.offer('front', 1)
    assert hang.entered.wait(60)
    declare_hung(bench)
    hang.go_on.set()
    bench.wait(lambda: bench.backend.closed)
    assert bench.pipeline.close(60) or bench.pipeline.join(60)
    assert bench.results == []
    assert bench.dropped == {'failed': 1}
    assert bench.pipeline.counters.total().mismatch is None


def test_closing_the_failed_backend_is_watched_too(make_bench):
    bench = make_bench(settings=SHORT)
    bench.faults.batches.extend([raises(), raises()])
    hang = hang_in(bench, '_close')
    bench.pipeline.offer('front', 1)
    assert hang.entered.wait(60)
    assert 'closing' in declare_hung(bench)
    hang.go_on.set()
    bench.wait(lambda: bench.pipeline.close(0.01) or bench.pipeline.join(0.01))
    assert len(bench.backends) == 1, 'another one was opened beside the one that hung'
    assert bench.dropped == {'failed': 1}


def test_warming_up_for_another_attempt_is_watched_too(make_bench):
    bench = make_bench(settings=SHORT)
    bench.faults.batches.extend([raises(), raises()])
    bench.gate.clear()
    bench.pipeline.offer('front', 1)
    assert bench.backend.entered.wait(60)
    first = bench.backend
    # The batch in the first backend fails, and the second one hangs in its warm-up.
    first.gate, bench.gate = bench.gate, Event()
    first.gate.set()
    bench.wait(lambda: bench.backend is not first and bench.backend.entered.is_set())
    assert 'warm-up' in declare_hung(bench)
    assert not bench.pipeline.close(60)
    assert bench.dropped == {'failed': 1}
    bench.gate.set()
    assert bench.pipeline.join(60)
    assert all(backend.closed for backend in bench.backends)


def test_without_a_time_out_it_is_reported_but_not_disabled(make_bench):
    bench = make_bench(settings=replace(SHORT, infer_timeout_ms=0.0))
    bench.hold(1)

    def overdue():
        bench.pipeline.check_backend()
        return bench.pipeline.overdue
    bench.wait(overdue)
    assert 'submitting a batch of 1' in bench.pipeline.overdue
    assert not bench.disabled
    bench.release()
    bench.finish()
    assert bench.results == [('front', 1, 1)]
    assert bench.pipeline.overdue is None


def test_a_pipeline_that_works_is_never_disabled(make_bench):
    bench = make_bench(settings=SHORT)
    for value in range(50):
        bench.pipeline.offer('front', value)
        bench.pipeline.check_backend(60_000.0)
        bench.finish()
    assert not bench.disabled
    assert len(bench.results) == 50
