"""Three threads that do the same work each, and callers that do none of it."""

from __future__ import annotations

from threading import current_thread, Thread
from time import sleep

import pytest
from resnet_trt_node.node.pipeline.settings import LiveSettings


@pytest.fixture
def traced(make_bench):
    """Give a maker of benches that write down which threads decode, infer and publish."""
    def make(**options):
        bench = make_bench(**options)
        bench.threads = {'decode': set(), 'infer': set(), 'publish': set()}

        def note(work):
            bench.threads[work].add(current_thread().name)

        submit = bench.backend._submit
        bench.backend._submit = lambda *arguments: (note('infer'), submit(*arguments))
        bench.in_decoding = lambda message: note('decode')
        bench.in_publishing = lambda: note('publish')
        return bench
    return make


@pytest.mark.parametrize('load', ['idle', 'behind others', 'waiting', 'malformed', 'slow'])
def test_each_thread_does_its_own_work_whatever_the_load(traced, load):
    bench = traced(max_batch_size=2, queue_depth=9)
    if load == 'waiting':
        bench.pipeline.settings = LiveSettings(top_k=1, max_wait_ms=5.0)
    if load == 'slow':
        note = bench.in_publishing
        bench.in_publishing = lambda: (note(), sleep(0.005))
    if load == 'behind others':
        bench.gate.clear()
    for value in range(9):
        bench.pipeline.offer('front', 'broken' if load == 'malformed' and value % 2 else value)
        if load in ('idle', 'malformed'):
            bench.finish()
    bench.release()
    bench.finish()
    assert bench.threads['decode'] == {'preprocess'}
    assert bench.threads['infer'] == {'inference'}
    assert bench.threads['publish'] <= {'publisher', 'inference'}
    # What is inferred alone need not wait for the publisher to wake up.
    if load in ('idle', 'malformed'):
        assert bench.threads['publish'] == {'inference'}
    if load == 'behind others':
        assert 'publisher' in bench.threads['publish']
    answered = [value for value in range(9) if load != 'malformed' or value % 2 == 0]
    assert bench.results == [('front', value, value) for value in answered]


def test_a_caller_is_not_held_up_by_decoding(traced):
    """The executor has other callbacks to call."""
    bench = traced(queue_depth=3)
    bench.in_decoding = lambda message: bench.gate.wait(60)
    bench.gate.clear()
    for value in range(3):
        bench.pipeline.offer('front', value)
    assert bench.results == []
    bench.release()
    bench.finish()
    assert bench.results == [('front', value, value) for value in range(3)]


def test_bad_frames_leave_the_buffer_for_the_next(traced):
    bench = traced(queue_depth=11)
    for _ in range(5):
        bench.pipeline.offer('front', 'broken')
        bench.pipeline.offer('front', 'odd')
    bench.pipeline.offer('front', 7)
    bench.finish()
    assert bench.dropped == {'malformed': 10}
    assert bench.results == [('front', 7, 7)]


def test_two_callers_at_once_lose_nothing(traced):
    bench = traced(cameras=('front', 'left'), queue_depth=500)
    callers = [Thread(target=lambda camera=camera: [
        bench.pipeline.offer(camera, value) for value in range(200)])
        for camera in ('front', 'left')]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    bench.finish()
    for camera in ('front', 'left'):
        assert [value for name, value, _ in bench.results if name == camera] == list(range(200))
    assert bench.dropped == {}
