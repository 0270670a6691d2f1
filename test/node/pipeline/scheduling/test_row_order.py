"""Frames of several rows, and of none, are published in the order in which they came."""

from __future__ import annotations

from time import monotonic

from pipelines.pipeline_bench import raises, RowsInput
import pytest
from resnet_trt_node.node.pipeline import preprocess_worker

pytestmark = pytest.mark.usefixtures('either_caller')


@pytest.fixture
def make_rows(make_bench):
    """Give a maker of pipelines whose frames have several rows."""
    return lambda **options: make_bench(frames=RowsInput(), **options)


def answers(bench) -> list:
    return [answer for _, _, answer in bench.results]


def test_a_frame_behind_a_lost_batch_is_published_before_those_of_the_next_batch(make_rows):
    bench = make_rows(queue_depth=3, max_batch_size=1)
    bench.faults.frames = {1: raises()}
    bench.faults.batches.extend([None, raises()])
    bench.hold((1,))
    # It waits behind the batch that is held, and the next batch is behind both.
    bench.pipeline.offer('front', ())
    bench.wait(lambda: bench.waiting == 0)
    bench.pipeline.offer('front', (2,))
    bench.wait(lambda: bench.waiting == 0)
    bench.wait(lambda: bench.pipeline._scheduler._ready)
    bench.release()
    bench.finish()
    assert bench.dropped == {'failed': 1}
    assert answers(bench) == [(), (2,)]


def test_a_frame_without_rows_does_not_overtake_one_that_is_begun(make_rows, monkeypatch):
    monkeypatch.setattr(preprocess_worker, '_WORTH_MS', 0.0)
    bench = make_rows(queue_depth=3, max_batch_size=2, preprocess_threads=2)
    with bench.pipeline._scheduler._lock:
        bench.pipeline.offer('front', (1, 2, 3))
        bench.pipeline.offer('front', ())
    bench.finish()
    assert answers(bench) == [(1, 2, 3), ()]


@pytest.mark.parametrize('first', [(), (5,)])
def test_frames_without_rows_hold_nothing_back_though_others_always_wait(make_rows, first):
    deadline = monotonic() + 30

    class Ceaseless(RowsInput):
        """When a frame is begun the next one arrives."""

        def begin(self, camera, message, decode, picture_of=None):
            if monotonic() < deadline and not bench.results:
                bench.pipeline.offer('front', ())
            return super().begin(camera, message, decode)

    bench = make_rows()
    bench.pipeline._frames.begin = Ceaseless().begin
    bench.answer(first)
    # Or they were published only when no other waited any more.
    assert monotonic() < deadline
    assert bench.results[0] == ('front', first, first)


@pytest.mark.parametrize('threads', [1, 4])
def test_no_newer_frame_is_begun_while_one_fills_batch_after_batch(
        make_rows, monkeypatch, threads):
    monkeypatch.setattr(preprocess_worker, '_WORTH_MS', 0.0)
    many = tuple(range(1, 101))
    begun, ahead = 0, []

    class Busy(RowsInput):
        """Another frame arrives whenever one is begun."""

        def begin(self, camera, message, decode, picture_of=None):
            nonlocal begun
            begun += 1
            ahead.append(begun - len(bench.results))
            if begun < 20:
                bench.pipeline.offer('front', many)
            return super().begin(camera, message, decode)

    bench = make_rows(max_batch_size=4, preprocess_threads=threads)
    bench.pipeline._frames.begin = Busy().begin
    bench.answer(many)
    # One whose last rows are being inferred, and the next.
    assert max(ahead) <= 2
