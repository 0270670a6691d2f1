"""Who is served, with which buffers, and what a thread that hangs or ends may still do."""

from __future__ import annotations

from threading import Event, Thread

from pipelines import pipeline_bench
from pipelines.pipeline_bench import GatedBackend
import pytest
from resnet_trt_node.node.pipeline.counters import Counters
from resnet_trt_node.node.pipeline.frame_queue import Batch, InFlightFrame
from resnet_trt_node.node.pipeline.inference.inference_worker import NUM_BUFFERS
from resnet_trt_node.node.pipeline.scheduling import frame_intake, scheduler as scheduler_module
from resnet_trt_node.node.pipeline.scheduling.scheduler import Scheduler
from resnet_trt_node.node.pipeline.settings import LiveSettings

MS = 1_000_000
MAX_AGE_MS = 100.0


class Clock:
    """Stands still but for what a test has it go on."""

    def __init__(self) -> None:
        self.now_ns = 1000 * MS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (frame_intake, scheduler_module):
        monkeypatch.setattr(module, 'perf_counter_ns', clock)
    return clock


def frame(camera, clock):
    return InFlightFrame(camera, None, clock.now_ns, clock.now_ns)


def make_scheduler(infer_ms):
    """Return a scheduler that accepts frames of two cameras, and its counters."""
    counters = Counters(('front', 'left'))
    scheduler = Scheduler(
        ('front', 'left'), 1, counters, lambda: LiveSettings(max_age_ms=MAX_AGE_MS))
    scheduler.add_buffers([0, 1], infer_ms, 1)
    scheduler.accept()
    return scheduler, counters


def test_a_camera_whose_frames_always_come_at_a_bad_moment_is_served_in_turn(clock):
    """The one that is not taken has grown too old when the backend is free again."""
    scheduler, counters = make_scheduler(10.0)
    served = []
    for _ in range(6):
        scheduler.offer(frame('front', clock))
        scheduler.offer(frame('left', clock))
        served += [one.camera for one in scheduler.next_frames(Batch(0), 1, 1)]
        clock.now_ns += 150 * MS
        assert scheduler.next_frames(Batch(0), 1, 1) == []
    assert served == ['front', 'left'] * 3
    assert counters.total().dropped['stale'] == 6


@pytest.mark.parametrize(('before_ms', 'after_ms', 'taken'), [
    (10.0, 500.0, [True, False]), (500.0, 10.0, [False, True])])
def test_a_backend_opened_again_at_another_speed_is_judged_by_its_own_warm_up(
        clock, before_ms, after_ms, taken):
    scheduler, counters = make_scheduler(before_ms)
    scheduler.offer(frame('front', clock))
    found = [bool(scheduler.next_frames(Batch(0), 1, 1))]
    scheduler.recall_buffers()
    scheduler.add_buffers([0, 1], after_ms, 1)
    scheduler.offer(frame('front', clock))
    found.append(bool(scheduler.next_frames(Batch(0), 1, 1)))
    assert found == taken
    assert counters.total().dropped['stale'] == 1


def test_a_backend_that_comes_back_after_the_end_publishes_and_counts_nothing(make_bench):
    bench = make_bench(max_batch_size=1)
    bench.hold(1)
    bench.pipeline.offer('front', 2)
    bench.wait(lambda: bench.waiting == 0)
    assert not bench.pipeline.close(0.05)
    before = bench.pipeline.counters.total()
    assert (before.received, before.dropped['failed']) == (2, 2)
    bench.release()
    assert bench.pipeline.close(5.0)
    assert bench.pipeline.counters.total() == before
    assert bench.results == []


def test_slow_publishing_holds_up_the_backend_and_an_exception_there_ends_all_threads(make_bench):
    go_on = Event()

    def fail():
        assert go_on.wait(30)
        raise ZeroDivisionError('a bug')

    bench = make_bench(max_batch_size=1, queue_depth=20, in_publishing=fail)
    for value in range(20):
        bench.pipeline.offer('front', value)
    # One is being published, four wait for that, and no more are begun than had a buffer.
    bench.wait(lambda: bench.events.get('batches', 0) >= 5)
    assert bench.events['batches'] <= 5 + NUM_BUFFERS
    assert bench.waiting >= 20 - (5 + NUM_BUFFERS)
    go_on.set()
    bench.wait(lambda: bench.pipeline.unexpected_exception is not None)
    assert isinstance(bench.pipeline.unexpected_exception, ZeroDivisionError)
    assert bench.pipeline.close(5.0), 'the thread of the backend waits for ever'
    assert bench.backend.closed


@pytest.mark.parametrize(('asynchronous', 'used'), [(False, [0, 1, 0, 1]), (True, [0, 1, 2, 0])])
def test_a_blocking_backend_gets_no_third_buffer_in_which_frames_would_only_grow_old(
        make_bench, monkeypatch, asynchronous, used):
    indices = []

    class ThreeBuffers(GatedBackend):

        def __init__(self, max_batch_size, faults, gate, *_, **__):
            super().__init__(max_batch_size, faults, gate, 3)

        def _submit(self, batch_size, index):
            indices.append(index)
            super()._submit(batch_size, index)

    monkeypatch.setattr(pipeline_bench, 'GatedBackend', ThreeBuffers)
    bench = make_bench(asynchronous=asynchronous)
    indices.clear()  # those of the warm-up
    for value in range(4):
        bench.answer(value)
    assert indices == used


def test_a_frame_ages_from_its_reception_by_the_middleware(make_bench):
    bench = make_bench(settings=LiveSettings(top_k=1, max_age_ms=10_000.0))
    bench.pipeline.offer('front', 1, waited_ns=11 * 10**9)
    bench.finish()
    assert (bench.results, bench.dropped) == ([], {'stale': 1})
    assert bench.backend.batches == []
    bench.pipeline.offer('front', 2, waited_ns=10**9)
    bench.finish()
    assert (bench.results, bench.dropped) == ([('front', 2, 2)], {'stale': 1})
    stages_ms = bench.pipeline.counters.percentiles_ms()
    assert stages_ms['receive'] == pytest.approx((1000.0, 1000.0, 1000.0))
    # It stays what it was: from the callback to the publication.
    assert 0 < stages_ms['total'][0] < 1000


def test_a_frame_that_waited_over_a_drain_is_of_the_next_activation(make_bench):
    bench = make_bench()
    bench.hold(1)
    assert bench.pipeline.drain(0.05) == 1
    bench.pipeline.resume()
    bench.release()
    # The middleware had it before the drain gave up on the other one.
    bench.pipeline.offer('front', 2, waited_ns=60 * 10**9)
    bench.finish()
    assert bench.results == [('front', 2, 2)]
    assert bench.dropped == {'refused': 1}


def test_closing_answers_what_the_backend_and_the_buffers_hold(make_bench):
    bench = make_bench(max_batch_size=1)
    bench.hold(1)
    bench.pipeline.offer('front', 2)
    bench.wait(lambda: bench.waiting == 0)
    bench.pipeline.offer('front', 3)
    bench.wait(lambda: bench.waiting == 0)
    bench.pipeline.offer('front', 4)
    closing = Thread(target=bench.pipeline.close, args=(60.0,))
    closing.start()
    bench.wait(lambda: bench.dropped == {'refused': 1})
    bench.release()
    closing.join(60)
    assert [value for _, value, _ in bench.results] == [1, 2, 3]
    assert bench.dropped == {'refused': 1}
