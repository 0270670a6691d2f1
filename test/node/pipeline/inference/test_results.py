"""What a backend may return to the pipeline or raise: a bad row costs its own frame only."""

from __future__ import annotations

from concurrent.futures import CancelledError, TimeoutError as FutureTimeoutError

import numpy as np
from pipelines.pipeline_bench import Bench
import pytest
from resnet_trt_node.backends.base import Backend
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks
from resnet_trt_node.node.pipeline.work import WholeFrames

CAMERAS = ('front', 'left', 'rear')
#: Opens again at once and is disabled soon.
STRICT = LiveSettings(
    top_k=1, reopen_after_failures=1, max_reopen_attempts=2, reopen_backoff_sec=0.001)


def batch_of_three(bench: Bench) -> None:
    """Have the three cameras' frames 1, 2 and 3 inferred as one batch, behind another one."""
    bench.hold(0, 'rear')
    for value, camera in enumerate(CAMERAS, 1):
        bench.pipeline.offer(camera, value)
    bench.wait(lambda: bench.waiting == 0)
    bench.release()
    bench.finish()
    assert bench.backend.batches[-1] == [1, 2, 3]


@pytest.mark.parametrize(('row', 'keyword'), [
    ([np.nan] * 256, 'NaN'), ([np.inf] + [0] * 255, 'NaN'),
    ([2] + [0] * 255, 'from 0 to 2'), ([-1, 2] + [0] * 254, 'from -1 to 2'),
    ([0] * 256, 'sum to 0 '), ([0.5] * 3 + [0] * 253, 'sum to 1.5 ')])
@pytest.mark.parametrize('bad', [0, 1, 2])
def test_a_bad_row_costs_its_own_frame_and_is_no_failure_of_the_device(
        make_bench, bad, row, keyword):
    bench = make_bench(cameras=CAMERAS, settings=STRICT)

    def spoil(answers):
        if len(answers) == 3:
            answers[bad] = row
        return answers

    bench.faults.result = spoil
    batch_of_three(bench)
    answered = [camera for index, camera in enumerate(CAMERAS) if index != bad]
    assert [(camera, value, guess) for camera, value, guess in bench.results[1:]] == [
        (camera, CAMERAS.index(camera) + 1, CAMERAS.index(camera) + 1) for camera in answered]
    for camera, counts in bench.pipeline.counters.counts().items():
        assert counts.dropped['failed'] == (camera == CAMERAS[bad])
        assert counts.in_progress == 0
    line, = bench.bad_frames
    assert line.startswith(f'{CAMERAS[bad]}: ')
    assert keyword in line
    assert bench.events == {'batches': 2}
    assert bench.failures == []
    assert len(bench.backends) == 1


def test_a_model_of_nothing_but_bad_rows_keeps_its_backend(make_bench):
    bench = make_bench(settings=STRICT)
    bench.faults.result = lambda answers: np.full_like(answers, np.nan)
    for value in range(10):
        bench.answer(value)
    assert bench.dropped == {'failed': 10}
    assert (len(bench.backends), bench.disabled) == (1, '')
    bench.faults.result = lambda answers: answers
    bench.answer(3)
    assert bench.results == [('front', 3, 3)]


@pytest.mark.parametrize('spoil', [
    lambda answers: answers[:1], lambda answers: answers[:-1],
    lambda answers: np.concatenate((answers, answers)), lambda answers: answers[:, :9],
    lambda answers: answers.astype(np.float64), lambda answers: answers[0, 0],
    lambda answers: float(answers[0, 0]), lambda answers: None], ids=[
        'one row', 'a row too few', 'rows too many', 'columns too few', 'float64', 'a scalar',
        'a Python number', 'nothing'])
def test_a_result_of_another_shape_fails_its_batch_and_leaves_no_frame_in_progress(
        make_bench, spoil):
    bench = make_bench(cameras=CAMERAS, settings=LiveSettings(top_k=1, reopen_after_failures=99))
    bench.faults.result = lambda answers: spoil(answers) if len(answers) == 3 else answers
    batch_of_three(bench)
    assert bench.dropped == {'failed': 3}
    assert bench.events == {'batches': 1, 'retried_batches': 1, 'failed_batches': 1}
    line, = bench.failures
    assert 'batch of 3 lost' in line
    assert 'float32 (3, 256)' in line
    bench.answer(9)
    assert bench.results == [('rear', 0, 0), ('front', 9, 9)]


def test_a_model_of_one_row_for_any_batch_is_disabled_and_every_frame_has_an_end(make_bench):
    bench = make_bench(cameras=CAMERAS, queue_depth=80, max_batch_size=4, settings=STRICT)
    bench.faults.result = lambda answers: answers[:1]
    bench.gate.clear()
    for value in range(80):
        for camera in CAMERAS:
            bench.pipeline.offer(camera, value)
    bench.release()
    bench.wait(lambda: bench.disabled or not bench.pipeline.counters.in_progress)
    bench.finish()
    total = bench.pipeline.counters.total()
    assert (total.received, total.in_progress) == (240, 0)
    # A frame that was alone in its batch has its row.
    assert total.answered == len(bench.results) <= 3
    assert all(value == guess for _, value, guess in bench.results)
    assert total.dropped['failed'] >= 4


def test_a_result_of_more_rows_than_frames_is_never_cut_silently(make_bench):
    """Should the backend's own check ever be left out, a thread reports it instead of waiting."""
    bench = make_bench(cameras=CAMERAS)
    bench.backend.collect = lambda index: np.eye(256, dtype=np.float32)[:1]
    bench.hold(0, 'rear')
    for value, camera in enumerate(CAMERAS, 1):
        bench.pipeline.offer(camera, value)
    bench.wait(lambda: bench.waiting == 0)
    bench.release()
    bench.wait(lambda: bench.pipeline.unexpected_exception is not None)
    assert isinstance(bench.pipeline.unexpected_exception, ValueError)


@pytest.mark.parametrize('error', [
    TimeoutError('the driver did not answer'), CancelledError('a task of the runtime'),
    FutureTimeoutError('a future of the runtime')])
def test_what_a_backend_raises_is_not_taken_for_the_waiting_s_own_time_out(error):
    def fail() -> Backend:
        raise error

    pipeline = Pipeline(('front',), 1, WholeFrames('fast'), LiveSettings(), PipelineHooks(
        fail, lambda message, side: message, lambda *_: None, lambda *_: None, lambda *_: None))
    with pytest.raises(type(error), match=str(error)):
        pipeline.start()
    assert pipeline.close(5.0)
