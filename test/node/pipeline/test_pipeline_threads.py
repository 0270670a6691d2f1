"""Which thread fits and which one publishes: as few as possible while all is idle."""

from __future__ import annotations

from pathlib import Path
import re
import sys
from threading import current_thread, enumerate as enumerate_threads, Thread

import pytest
from resnet_trt_node.node.pipeline.settings import LiveSettings


@pytest.fixture
def traced(simulated_time, make_bench):
    """Give a maker of benches that write down which threads decode and deliver."""
    def make(**options):
        bench = make_bench(**options)
        bench.decoders, bench.deliverers = [], []
        bench.in_decoding = lambda message: bench.decoders.append(current_thread().name)
        bench.in_delivery = lambda: bench.deliverers.append(current_thread().name)
        return bench
    return make


def offer(bench, *messages, here=True):
    for message in messages:
        bench.pipeline.offer('front', message, here)


def test_an_idle_pipeline_wakes_the_backend_s_thread_only(traced):
    bench = traced()
    for value in range(5):
        offer(bench, value)
        bench.settle()
    assert bench.decoders == [current_thread().name] * 5
    assert bench.deliverers == ['inferrer'] * 5
    assert bench.results == [('front', value, value) for value in range(5)]


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_the_fitter_sleeps_while_others_do_its_work(traced):
    bench = traced(max_batch_size=1)
    fitter, = (thread for thread in enumerate_threads() if thread.name == 'fitter')

    def wakes():
        status = Path(f'/proc/self/task/{fitter.native_id}/status').read_text()
        return int(re.search(r'^voluntary_ctxt_switches:\s*(\d+)', status, re.MULTILINE)[1])

    offer(bench, 0)
    bench.settle()
    before = wakes()
    for value in range(5):
        offer(bench, value)
        bench.settle()
    assert wakes() == before
    offer(bench, 5, here=False)
    bench.settle()
    assert wakes() > before


def test_a_caller_with_other_things_to_do_is_spared(traced):
    bench = traced()
    offer(bench, 1, here=False)
    bench.settle()
    assert bench.decoders == ['fitter']


def test_frames_behind_a_busy_backend_are_the_fitter_s(traced):
    bench = traced(max_batch_size=1, queue_depth=9)
    bench.gate.clear()
    offer(bench, 1, 2, 3)
    bench.wait(lambda: len(bench.decoders) == 3)
    bench.release()
    bench.settle()
    assert bench.decoders == [current_thread().name, 'fitter', 'fitter']
    # Two batches were ready behind the first one, none behind the last.
    assert [value for _, value, _ in bench.results] == [1, 2, 3]
    assert bench.deliverers[-1] in ('inferrer', 'deliverer')
    assert bench.deliverers[0] == 'deliverer'


def test_a_frame_that_waits_for_others_is_the_fitter_s(traced):
    bench = traced(settings=LiveSettings(top_k=1, max_wait_ms=5.0))
    offer(bench, 1)
    bench.settle()
    assert bench.decoders == ['fitter']
    bench.pipeline.settings = LiveSettings(top_k=1)
    offer(bench, 2)
    bench.settle()
    assert bench.decoders == ['fitter', current_thread().name]


def test_slow_frames_are_left_to_the_fitter_and_slow_answers_to_the_deliverer(
        simulated_time, traced):
    bench = traced()
    names = bench.decoders, bench.deliverers
    bench.in_decoding = lambda message: (
        names[0].append(current_thread().name), simulated_time.sleep(0.02))
    bench.in_delivery = lambda: (
        names[1].append(current_thread().name), simulated_time.sleep(0.02))
    for value in range(8):
        offer(bench, value)
        bench.settle()
        bench.wait(lambda value=value: len(names[1]) == value + 1)
        simulated_time.sleep(0.03)
    assert (names[0][0], names[0][-1]) == (current_thread().name, 'fitter')
    assert (names[1][0], names[1][-1]) == ('inferrer', 'deliverer')
    assert bench.results == [('front', value, value) for value in range(8)]


def test_a_bad_frame_here_leaves_the_buffer_for_the_next(traced):
    bench = traced()
    for _ in range(5):
        offer(bench, 'broken', 'odd')
    offer(bench, 7)
    bench.settle()
    assert bench.dropped == {'malformed': 10}
    assert bench.results == [('front', 7, 7)]
    assert set(bench.decoders) == {current_thread().name}


def test_two_callers_at_once_lose_nothing(traced):
    bench = traced(cameras=('front', 'left'), queue_depth=500)
    callers = [Thread(target=lambda camera=camera: [
        bench.pipeline.offer(camera, value, True) for value in range(200)])
        for camera in ('front', 'left')]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    bench.settle()
    for camera in ('front', 'left'):
        assert [value for name, value, _ in bench.results if name == camera] == list(range(200))
    assert bench.dropped == {}
