"""Who is served, with which buffers, and what a thread that hangs or ends may still do."""

from __future__ import annotations

from threading import Event

import pipeline_bench
from pipeline_bench import GatedBackend
import pytest
from resnet_trt_node.node.pipeline import scheduler as batch_board
from resnet_trt_node.node.pipeline.counters import Accounting
from resnet_trt_node.node.pipeline.frame_queue import Ticket
from resnet_trt_node.node.pipeline.scheduler import BatchBoard
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
    monkeypatch.setattr(batch_board, 'perf_counter_ns', clock)
    return clock


def frame(camera, clock):
    return Ticket(camera, None, clock.now_ns, clock.now_ns)


def make_board(infer_ms):
    """Return a board that takes frames of two cameras, and its accounting."""
    accounting = Accounting(('front', 'left'))
    board = BatchBoard(('front', 'left'), 1, accounting, lambda: MAX_AGE_MS)
    board.add_buffers([0, 1], infer_ms, 1)
    board.accept()
    return board, accounting


def test_a_camera_whose_frames_always_come_at_a_bad_moment_is_served_in_turn(clock):
    """The one that is not taken has grown too old when the backend is free again."""
    board, accounting = make_board(10.0)
    served = []
    for _ in range(6):
        board.offer(frame('front', clock))
        board.offer(frame('left', clock))
        served.append(board.next_ticket(None).camera)
        clock.now_ns += 150 * MS
        assert board.next_ticket(None) is None
    assert served == ['front', 'left'] * 3
    assert accounting.total().dropped['stale'] == 6


@pytest.mark.parametrize(('before_ms', 'after_ms', 'taken'), [
    (10.0, 500.0, [True, False]), (500.0, 10.0, [False, True])])
def test_a_backend_opened_again_at_another_speed_is_judged_by_its_own_warm_up(
        clock, before_ms, after_ms, taken):
    board, accounting = make_board(before_ms)
    board.offer(frame('front', clock))
    found = [board.next_ticket(None) is not None]
    board.recall_buffers()
    board.add_buffers([0, 1], after_ms, 1)
    board.offer(frame('front', clock))
    found.append(board.next_ticket(None) is not None)
    assert found == taken
    assert accounting.total().dropped['stale'] == 1


def test_a_backend_that_comes_back_after_the_end_publishes_and_counts_nothing(make_bench):
    bench = make_bench(max_batch_size=1)
    bench.hold(1)
    bench.pipeline.offer('front', 2)
    bench.wait(lambda: bench.pipeline.waiting == 0)
    assert not bench.pipeline.close(0.05)
    before = bench.pipeline.accounting.total()
    assert (before.received, before.dropped['failed']) == (2, 2)
    bench.release()
    assert bench.pipeline.close(60.0)
    assert bench.pipeline.accounting.total() == before
    assert bench.results == []


def test_an_error_in_delivery_does_not_leave_the_backend_s_thread_at_a_full_queue(make_bench):
    go_on = Event()

    def fail():
        assert go_on.wait(30)
        raise ZeroDivisionError('a bug')

    bench = make_bench(max_batch_size=1, queue_depth=20, in_delivery=fail)
    # Behind another batch, so that answers are the deliverer's.
    bench.hold(0)
    for value in range(1, 9):
        bench.pipeline.offer('front', value)
    bench.wait(lambda: bench.pipeline.waiting < 8)
    bench.release()
    # One is being delivered, four are in the queue, and there is no place for this one.
    bench.wait(lambda: bench.events.get('batches') == 6)
    go_on.set()
    bench.wait(lambda: bench.pipeline.fault is not None)
    assert isinstance(bench.pipeline.fault, ZeroDivisionError)
    assert bench.pipeline.close(60.0), 'the thread of the backend waits for ever'
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


def test_a_frame_ages_from_its_reception_by_the_middleware(simulated_time, make_bench):
    bench = make_bench(settings=LiveSettings(top_k=1, max_age_ms=10_000.0))
    bench.pipeline.offer('front', 1, waited_ns=11 * 10**9)
    bench.settle()
    assert (bench.results, bench.dropped) == ([], {'stale': 1})
    assert bench.backend.batches == []
    bench.pipeline.offer('front', 2, waited_ns=10**9)
    bench.settle()
    assert (bench.results, bench.dropped) == ([('front', 2, 2)], {'stale': 1})
    stages_ms = bench.pipeline.accounting.percentiles_ms()
    assert stages_ms['receive'] == pytest.approx((1000.0, 1000.0, 1000.0))
    # It stays what it was: from the callback to the publication.
    assert stages_ms['total'] == (0.0, 0.0, 0.0)


def test_a_frame_that_waited_over_a_drain_is_of_the_next_activation(make_bench):
    bench = make_bench()
    bench.hold(1)
    assert bench.pipeline.drain(0.05) == 1
    bench.pipeline.resume()
    bench.release()
    # The middleware had it before the drain gave up on the other one.
    bench.pipeline.offer('front', 2, waited_ns=60 * 10**9)
    bench.settle()
    assert bench.results == [('front', 2, 2)]
    assert bench.dropped == {'refused': 1}
