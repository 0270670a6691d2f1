"""A backend that fails: tried again, opened again, disabled; and no frame is lost on the way."""

from __future__ import annotations

import gc
from threading import Event
import weakref

from pipelines.pipeline_bench import raises
import pytest
from resnet_trt_node.errors import BackendUnavailable
from resnet_trt_node.node.pipeline.settings import LiveSettings

#: Opens again without a pause worth the name.
QUICK = LiveSettings(top_k=1, reopen_backoff_sec=0.001)

pytestmark = pytest.mark.usefixtures('either_caller')


@pytest.mark.parametrize('late', [False, True])
def test_a_batch_that_fails_once_is_inferred_at_the_second_attempt(make_bench, late):
    bench = make_bench(settings=QUICK)
    bench.faults.late = late
    bench.faults.batches.append(raises())
    bench.answer(1)
    bench.answer(2)
    assert bench.results == [('front', 1, 1), ('front', 2, 2)]
    assert bench.dropped == {}
    assert bench.events == {'batches': 2, 'retried_batches': 1}
    line, = bench.failures
    assert 'second attempt' in line
    assert 'device fell off' in line


@pytest.mark.parametrize('late', [False, True])
def test_a_batch_that_fails_twice_is_counted_and_the_next_is_answered(make_bench, late):
    bench = make_bench(settings=QUICK)
    bench.faults.late = late
    bench.faults.batches.extend([raises(), raises('and again')])
    bench.answer(1)
    bench.answer(2)
    assert bench.results == [('front', 2, 2)]
    assert bench.dropped == {'failed': 1}
    assert bench.events == {'batches': 1, 'retried_batches': 1, 'failed_batches': 1}
    line, = bench.failures
    assert 'lost' in line
    assert 'and again' in line
    assert len(bench.backends) == 1


class Message:
    """A message that can be watched; its picture has the value 7."""

    def __int__(self) -> int:
        """Return the value."""
        return 7


@pytest.mark.parametrize('late', [False, True])
def test_the_frames_of_a_lost_batch_are_freed_without_the_garbage_collector(make_bench, late):
    # It runs minutes later, and each frame in a cycle with an exception holds megabytes till then.
    bench = make_bench(settings=QUICK)
    bench.faults.late = late
    bench.faults.batches.extend([raises(), raises()])
    message = Message()
    watched = weakref.ref(message)
    gc.disable()
    try:
        bench.pipeline.offer('front', message)
        del message
        bench.finish()
        # Each thread lets go of a frame when it takes the next.
        bench.answer(1)
        bench.wait(lambda: watched() is None)
    finally:
        gc.enable()
    assert bench.dropped == {'failed': 1}


def test_answers_keep_their_order_when_a_batch_is_tried_again(make_bench):
    bench = make_bench(max_batch_size=1, queue_depth=10)
    # By frame: how many batches are submitted before one is tried again depends on the threads.
    bench.faults.frames = {1: raises(), 4: raises()}
    for value in range(6):
        bench.pipeline.offer('front', value)
    bench.finish()
    assert [value for _, value, _ in bench.results] == list(range(6))
    assert bench.events['retried_batches'] == 2


def test_a_backend_that_keeps_failing_is_opened_again(make_bench):
    bench = make_bench(settings=QUICK)
    bench.faults.batches.extend([raises()] * 6)
    for value in (1, 2, 3):
        bench.answer(value)
    bench.wait(lambda: len(bench.backends) == 2 and not bench.reopening)
    assert bench.backends[0].closed
    # Warmed up again, at the sizes that stand for all.
    assert [len(batch) for batch in bench.backend.batches] == [4, 4, 2, 2, 1, 1]
    bench.answer(4)
    assert bench.results == [('front', 4, 4)]
    assert bench.dropped == {'failed': 3}
    assert bench.events == {
        'batches': 1, 'retried_batches': 3, 'failed_batches': 3, 'reopened_backends': 1}
    assert not bench.disabled


def test_a_success_in_between_starts_the_count_anew(make_bench):
    bench = make_bench(settings=QUICK)
    for _ in range(3):
        bench.faults.batches.extend([raises()] * 4)
        for value in (1, 2, 3):
            bench.answer(value)
    assert len(bench.backends) == 1
    assert bench.dropped == {'failed': 6}


def test_batches_submitted_behind_the_failing_one_are_counted(make_bench):
    bench = make_bench(max_batch_size=1, queue_depth=10, settings=LiveSettings(
        top_k=1, reopen_after_failures=1, reopen_backoff_sec=0.001))
    bench.faults.late = True
    bench.hold(0)
    for value in (1, 2, 3):
        bench.pipeline.offer('front', value)
    bench.wait(lambda: bench.waiting == 1)
    bench.faults.batches.extend([raises(), raises()])
    bench.release()
    bench.finish()
    bench.answer(4)
    assert bench.dropped['failed'] >= 1
    assert bench.pipeline.counters.total().received == 5
    assert bench.results[-1] == ('front', 4, 4)


def test_opening_that_fails_twice_and_then_works(make_bench):
    bench = make_bench(settings=QUICK)
    bench.faults.batches.extend([raises()] * 6)
    bench.faults.openings.extend([BackendUnavailable('no device'), raises('still none')])
    for value in (1, 2, 3):
        bench.answer(value)
    bench.wait(lambda: len(bench.backends) == 2)
    bench.answer(4)
    assert bench.results == [('front', 4, 4)]
    assert bench.events['reopened_backends'] == 1
    first, second, third = (line for line in bench.failures if 'attempt' in line)
    assert 'attempt 1 failed: no device' in first
    assert 'attempt 2 failed: still none' in second
    assert 'open again, attempt 3' in third


def test_frames_follow_the_rules_while_the_backend_is_opened_again(simulated_time, make_bench):
    bench = make_bench(settings=LiveSettings(top_k=1, reopen_backoff_sec=0.05))
    bench.faults.batches.extend([raises()] * 6)
    with simulated_time.standing_still():
        for value in (1, 2, 3):
            bench.answer(value)
        bench.wait(lambda: bench.reopening)
        for value in (4, 5, 6):
            bench.pipeline.offer('front', value)
        assert bench.pipeline.counters.total().dropped['superseded'] == 2
    bench.finish()
    assert bench.results == [('front', 6, 6)]
    assert bench.dropped == {'failed': 3, 'superseded': 2}


def test_a_backend_that_opens_and_fails_for_ever_is_disabled(make_bench):
    bench = make_bench(settings=LiveSettings(
        top_k=1, reopen_backoff_sec=0.001, reopen_after_failures=2, max_reopen_attempts=3))
    bench.faults.always = raises()

    def disabled():
        bench.pipeline.offer('front', 1)
        return bench.disabled

    bench.wait(disabled)
    assert 'disabled after 3 attempts' in bench.disabled
    assert '2 batches' in bench.disabled
    assert len(bench.backends) == 4
    assert bench.events['failed_batches'] == 8
    assert not bench.pipeline.accepting
    before = bench.dropped.get('refused', 0)
    bench.answer(1)
    assert bench.dropped['refused'] == before + 1
    assert bench.pipeline.unexpected_exception is None
    assert bench.results == []


def test_an_unforeseen_error_while_opening_again_is_kept(make_bench):
    bench = make_bench(settings=QUICK)
    bench.faults.batches.extend([raises()] * 6)
    bench.faults.openings.append(ZeroDivisionError('a bug'))
    for value in (1, 2, 3):
        bench.answer(value)
    bench.wait(lambda: bench.pipeline.unexpected_exception is not None)
    assert isinstance(bench.pipeline.unexpected_exception, ZeroDivisionError)


def test_no_limit_of_attempts(make_bench):
    bench = make_bench(settings=LiveSettings(
        top_k=1, reopen_backoff_sec=0.001, reopen_after_failures=1, max_reopen_attempts=0))
    bench.faults.batches.extend([raises()] * 2)
    bench.faults.openings.extend([raises()] * 8)
    bench.answer(1)
    bench.wait(lambda: len(bench.backends) == 2)
    bench.answer(2)
    assert bench.results == [('front', 2, 2)]


def test_closing_does_not_wait_for_the_pause_before_opening(simulated_time, make_bench):
    bench = make_bench(settings=LiveSettings(top_k=1, reopen_backoff_sec=30.0))
    bench.faults.batches.extend([raises()] * 6)
    # The pause does not end by itself.
    with simulated_time.standing_still():
        for value in (1, 2, 3):
            bench.answer(value)
        bench.wait(lambda: bench.reopening)
        bench.pipeline.offer('front', 4)
        assert bench.pipeline.close(60.0)
    assert bench.dropped == {'failed': 3, 'refused': 1}


def test_buffers_are_not_freed_while_a_frame_is_written_into_one(make_bench):
    """The preprocess worker is in the middle of a frame when the backend must be opened again."""
    decoding, go_on = Event(), Event()

    def in_decoding(message):
        if message == 9:
            decoding.set()
            assert go_on.wait(30)

    bench = make_bench(max_batch_size=1, in_decoding=in_decoding, settings=LiveSettings(
        top_k=1, reopen_backoff_sec=0.001, reopen_after_failures=1))
    bench.faults.batches.extend([raises()] * 2)
    bench.hold(1)
    bench.pipeline.offer('front', 9)
    assert decoding.wait(30)
    bench.release()
    bench.wait(lambda: bench.reopening)
    assert not bench.backends[0].closed
    go_on.set()
    bench.wait(lambda: len(bench.backends) == 2)
    # Its buffer is gone, and with it the frame.
    bench.finish()
    assert bench.dropped == {'failed': 2}
    bench.answer(3)
    assert bench.results == [('front', 3, 3)]


def test_pauses_double_up_to_half_a_minute():
    settings = LiveSettings()
    assert [settings.backoff_sec(attempt) for attempt in range(8)] == [
        0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert settings.backoff_sec(10**6) == 30.0
