"""What a recovery must not do: wear out, take another model, or stop halfway."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

from pipelines import pipeline_bench
from pipelines.pipeline_bench import raises, SPEC
from resnet_trt_node.errors import BackendUnavailable, DeviceLost
from resnet_trt_node.node.pipeline.settings import LiveSettings

#: One lost batch is enough to open again, without a pause worth the name.
AT_ONCE = LiveSettings(top_k=1, reopen_backoff_sec=0.001, reopen_after_failures=1)
#: Of another model, as it comes to lie under the same path when somebody copies it there.
OTHER_SPEC = replace(SPEC, labels=tuple(f'other_{i}' for i in range(256)))


def lose_a_batch(bench, value=1):
    """Have one frame lost, on which the backend is closed and opened again."""
    bench.faults.batches.extend([raises(), raises()])
    bench.answer(value)


def test_each_good_batch_gives_all_attempts_back(make_bench):
    """A node that runs for months is not disabled for failures that are long overcome."""
    bench = make_bench(settings=replace(AT_ONCE, max_reopen_attempts=1))
    for number in range(1, 5):
        lose_a_batch(bench)
        bench.wait(lambda number=number: bench.events.get('reopened_backends') == number
                   or bench.disabled)
        bench.wait(lambda: not bench.reopening or bench.disabled)
        assert not bench.disabled
        bench.answer(number)
    assert [value for _, value, _ in bench.results] == [1, 2, 3, 4]
    assert sum('open again, attempt 1' in line for line in bench.failures) == 4


def test_a_device_that_is_lost_to_the_process_is_not_tried_again(make_bench):
    bench = make_bench(settings=replace(AT_ONCE, max_reopen_attempts=0))
    bench.faults.openings.extend([BackendUnavailable('busy'), DeviceLost('restart the process')])
    lose_a_batch(bench)
    bench.wait(lambda: bench.disabled or bench.events.get('reopened_backends'))
    assert bench.disabled == 'the backend was disabled: restart the process'
    assert 'reopened_backends' not in bench.events


def test_another_model_under_the_same_path_is_refused_and_the_backend_disabled(
        make_bench, monkeypatch):
    bench = make_bench(settings=replace(AT_ONCE, max_reopen_attempts=2))
    monkeypatch.setattr(pipeline_bench, 'SPEC', OTHER_SPEC)
    lose_a_batch(bench)
    bench.wait(lambda: bench.disabled or not bench.reopening)
    why = bench.disabled
    assert 'disabled after 2 attempts' in why
    assert 'model file changed' in why
    assert 'configure' in why
    assert bench.pipeline.backend is bench.backends[0]
    # Opened to look at it, and not left behind.
    assert [backend.closed for backend in bench.backends] == [True] * 3
    assert 'reopened_backends' not in bench.events


def test_the_model_is_taken_again_once_it_is_back_under_its_path(make_bench, monkeypatch):
    bench = make_bench(settings=replace(AT_ONCE, max_reopen_attempts=0))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline_bench, 'SPEC', OTHER_SPEC)
        lose_a_batch(bench)
        bench.wait(lambda: len(bench.backends) > 3)
        assert 'model file changed' in bench.reopening
    bench.wait(lambda: not bench.reopening)
    assert all(backend.closed for backend in bench.backends[:-1])
    bench.answer(5)
    assert bench.results == [('front', 5, 5)]


def test_a_backend_that_cannot_be_closed_is_reported_and_opened_again(make_bench):
    def gone():
        raise RuntimeError('the device is gone')

    bench = make_bench(settings=AT_ONCE)
    bench.backend._close = gone
    lose_a_batch(bench)
    bench.wait(lambda: bench.pipeline.unexpected_exception
               or bench.events.get('reopened_backends'))
    assert bench.pipeline.unexpected_exception is None
    bench.answer(2)
    assert bench.results == [('front', 2, 2)]
    assert any("RuntimeError('the device is gone')" in line for line in bench.failures)


def test_frames_that_wait_for_a_backend_that_is_disabled_have_failed(make_bench):
    """Refused would mean that nobody wanted their answers."""
    closing, go_on = Event(), Event()

    def close():
        closing.set()
        assert go_on.wait(30)

    bench = make_bench(
        cameras=('front', 'left'), settings=replace(AT_ONCE, max_reopen_attempts=1))
    bench.backend._close = close
    bench.faults.openings.append(BackendUnavailable('no device'))
    lose_a_batch(bench)
    assert closing.wait(30)
    bench.pipeline.offer('front', 2)
    bench.pipeline.offer('left', 3)
    assert bench.waiting == 2
    go_on.set()
    bench.wait(lambda: bench.disabled)
    assert bench.dropped == {'failed': 3}
    bench.pipeline.offer('front', 4)
    assert bench.dropped == {'failed': 3, 'refused': 1}
