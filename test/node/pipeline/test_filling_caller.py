"""A caller that preprocesses: alone with its frame, and in one batch with those of others."""

from __future__ import annotations

from threading import current_thread, Event, Thread

import pytest
from resnet_trt_node.errors import InferenceError
from resnet_trt_node.node.pipeline.settings import LiveSettings


@pytest.fixture
def scene(make_bench):
    """Give a maker of scenes: a bench, and a caller that is held in the decoding of its frame."""
    def make(message=1, **options):
        return Scene(make_bench(**{'cameras': ('front', 'left', 'rear'), **options}), message)
    return make


class Scene:
    """A thread offers a frame, and is in its decoding until `go_on`."""

    def __init__(self, bench, message):
        self.bench = bench
        self.threads = []
        self._decoding, self._go_on = Event(), Event()
        bench.in_decoding = self._decode
        self.caller = Thread(name='caller', daemon=True, target=lambda: bench.pipeline.offer(
            'front', message, preprocess=True))
        self.caller.start()
        assert self._decoding.wait(60)

    def _decode(self, message):
        self.threads.append(current_thread().name)
        self._decoding.set()
        if current_thread() is self.caller:
            assert self._go_on.wait(60)

    def go_on(self):
        self._go_on.set()
        self.caller.join(60)
        assert not self.caller.is_alive()


def test_it_preprocesses_where_nothing_else_is_under_way(make_bench):
    bench = make_bench()
    threads = []
    bench.in_decoding = lambda message: threads.append(current_thread().name)
    for value in range(5):
        bench.pipeline.offer('front', value, preprocess=True)
        bench.finish()
    assert threads == [current_thread().name] * 5
    assert bench.results == [('front', value, value) for value in range(5)]


def test_it_does_not_while_the_backend_is_busy(make_bench):
    bench = make_bench(queue_depth=3)
    threads = []
    bench.hold(1)
    bench.in_decoding = lambda message: threads.append(current_thread().name)
    for value in (2, 3):
        bench.pipeline.offer('front', value, preprocess=True)
    bench.release()
    bench.finish()
    assert threads == ['preprocess'] * 2
    assert bench.results == [('front', value, value) for value in (1, 2, 3)]


def test_it_does_not_where_frames_take_long_enough_for_several_threads(make_bench):
    bench = make_bench(preprocess_threads=2)
    threads = []
    bench.in_decoding = lambda message: threads.append(current_thread().name)
    bench.pipeline._preprocess._frame.mean_ms = 10.0
    bench.pipeline.offer('front', 1, preprocess=True)
    bench.finish()
    assert threads == ['preprocess']


def test_the_worker_goes_on_with_what_came_meanwhile(scene):
    now = scene(max_batch_size=4)
    for camera, value in (('left', 2), ('rear', 3)):
        now.bench.pipeline.offer(camera, value, preprocess=camera == 'left')
    now.go_on()
    now.bench.finish()
    assert now.threads == ['caller', 'preprocess', 'preprocess']
    assert now.bench.backend.batches == [[1, 2, 3]]
    assert now.bench.results == [('front', 1, 1), ('left', 2, 2), ('rear', 3, 3)]


def test_the_worker_begins_a_batch_where_the_first_is_full(scene):
    now = scene(max_batch_size=1)
    now.bench.pipeline.offer('left', 2)
    now.go_on()
    now.bench.finish()
    assert now.bench.backend.batches == [[1], [2]]


def test_the_worker_waits_for_others_in_its_place(make_bench):
    bench = make_bench(
        cameras=('front', 'left'), max_batch_size=2,
        settings=LiveSettings(top_k=1, max_wait_ms=60_000.0))
    bench.pipeline.offer('front', 1, preprocess=True)
    bench.pipeline.offer('left', 2, preprocess=True)
    bench.finish()
    assert bench.backend.batches == [[1, 2]]


@pytest.mark.parametrize('message', ['broken', 'odd'])
def test_a_bad_frame_of_it_stops_nobody(scene, message):
    now = scene(message)
    now.bench.pipeline.offer('left', 2)
    now.go_on()
    now.bench.finish()
    assert now.bench.dropped == {'malformed': 1}
    assert now.bench.results == [('left', 2, 2)]


def test_a_drain_waits_for_it(scene):
    now = scene()
    left = []
    drain = Thread(target=lambda: left.append(now.bench.pipeline.drain(60)))
    drain.start()
    now.bench.wait(lambda: not now.bench.pipeline.accepting)
    now.go_on()
    drain.join(60)
    assert left == [0]
    assert now.bench.results == [('front', 1, 1)]


def test_the_backend_stays_until_it_is_done(scene):
    """The rows that it writes are the backend's memory."""
    now = scene()
    close = Thread(target=now.bench.pipeline.close, args=(60,))
    close.start()
    now.bench.wait(lambda: not now.bench.pipeline.accepting)
    assert not now.bench.backend.freed
    now.go_on()
    close.join(60)
    assert now.bench.backend.freed
    assert now.bench.backend.untouched
    assert now.bench.pipeline.counters.total().mismatch is None
    assert now.bench.results == [('front', 1, 1)]


def test_its_frame_is_lost_with_a_backend_that_fails_and_the_next_is_not(scene):
    now = scene(settings=LiveSettings(
        top_k=1, reopen_backoff_sec=0.001, reopen_after_failures=1, max_reopen_attempts=0))
    bench = now.bench
    first = bench.backend
    bench.faults.batches.extend([InferenceError('once'), InferenceError('again')])
    now.go_on()
    bench.wait(lambda: len(bench.backends) == 2)
    bench.finish()
    assert first.untouched
    assert bench.dropped == {'failed': 1}
    bench.wait(lambda: not bench.reopening)
    bench.pipeline.offer('front', 5, preprocess=True)
    bench.finish()
    assert bench.results == [('front', 5, 5)]


def test_what_nobody_foresaw_ends_the_pipeline_as_on_its_own_threads(make_bench):
    bench = make_bench()

    def leave(message):
        raise SystemExit('the decoder leaves')
    bench.in_decoding = leave
    bench.pipeline.offer('front', 1, preprocess=True)
    assert isinstance(bench.pipeline.unexpected_exception, SystemExit)
    assert not bench.pipeline.accepting
    assert bench.pipeline.close(60)
    assert bench.dropped == {'failed': 1}
