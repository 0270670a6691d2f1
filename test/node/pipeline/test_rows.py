"""Frames of several rows, as those of which regions are classified."""

from __future__ import annotations

from threading import Barrier, get_ident

from pipelines.pipeline_bench import raises, RowsInput, UNFILLABLE
import pytest
from resnet_trt_node.node.pipeline import preprocess_worker
from resnet_trt_node.node.pipeline.preprocess_worker import chosen_threads
from resnet_trt_node.node.pipeline.settings import LiveSettings

CAMERAS = ('front', 'left', 'rear')

pytestmark = pytest.mark.usefixtures('either_caller')


@pytest.fixture
def make_rows(make_bench):
    """Give a maker of pipelines whose frames have several rows."""
    return lambda **options: make_bench(frames=RowsInput(), **options)


def test_a_frame_larger_than_a_batch_is_answered_once_with_all_its_rows(make_rows):
    bench = make_rows(max_batch_size=4)
    bench.answer((1, 2, 3, 4, 5, 6, 7, 8, 9))
    assert bench.results == [('front', (1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 5, 6, 7, 8, 9))]
    assert bench.backend.batches == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]
    total = bench.pipeline.counters.total()
    assert (total.regions['received'], total.regions['answered']) == (9, 9)


def test_frames_of_several_cameras_share_a_batch(make_rows):
    bench = make_rows(cameras=CAMERAS, max_batch_size=8)
    bench.hold((100,))
    # The second buffer is filled behind the one that is held; the third waits for what follows.
    for camera, values in (('left', (1, 2)), ('rear', (3,)), ('front', (4, 5, 6))):
        bench.pipeline.offer(camera, values)
    bench.wait(lambda: bench.waiting == 0)
    bench.release()
    bench.finish()
    assert bench.backend.batches == [[100], [1, 2, 3, 4, 5, 6]]
    assert bench.results == [
        ('front', (100,), (100,)), ('left', (1, 2), (1, 2)), ('rear', (3,), (3,)),
        ('front', (4, 5, 6), (4, 5, 6))]


def test_many_rows_of_one_camera_do_not_starve_the_others(make_rows):
    bench = make_rows(cameras=('front', 'left'), max_batch_size=4, num_buffers=2)
    many = tuple(range(1, 201))
    bench.hold((250,), 'left')
    bench.pipeline.offer('front', many)
    # Its first rows are in the second buffer, behind the one that is held.
    bench.wait(lambda: bench.pipeline._scheduler._ready)
    bench.pipeline.offer('left', (251, 252))
    bench.release()
    bench.finish()
    assert bench.results == [
        ('left', (250,), (250,)), ('left', (251, 252), (251, 252)), ('front', many, many)]
    assert bench.backend.batches[1:4] == [[1, 2, 3, 4], [251, 252, 5, 6], [7, 8, 9, 10]]
    assert bench.dropped == {}


def test_a_frame_that_is_begun_is_not_superseded_but_a_newer_waiting_one_is(make_rows):
    bench = make_rows(max_batch_size=1, num_buffers=2)
    bench.hold((1, 2, 3))
    for value in (4, 5, 6):
        bench.pipeline.offer('front', (value,))
    bench.release()
    bench.finish()
    assert [answer for _, _, answer in bench.results] == [(1, 2, 3), (6,)]
    assert bench.dropped == {'superseded': 2}
    total = bench.pipeline.counters.total()
    assert (total.regions['received'], total.regions['answered'], total.regions['dropped']) == (
        6, 4, 2)


def test_a_frame_without_rows_needs_no_backend_and_overtakes_no_frame(make_rows):
    bench = make_rows(queue_depth=3)
    bench.answer(())
    assert bench.results == [('front', (), ())]
    assert bench.backend.batches == []
    bench.hold((1,))
    bench.pipeline.offer('front', ())
    bench.wait(lambda: bench.waiting == 0)
    assert len(bench.results) == 1
    bench.release()
    bench.finish()
    assert [answer for _, _, answer in bench.results] == [(), (1,), ()]
    stages = bench.pipeline.counters.percentiles_ms()
    assert stages['added'][2] <= stages['total'][2]


def test_a_frame_behind_a_batch_that_is_lost_is_answered_all_the_same(make_rows):
    bench = make_rows(queue_depth=3)
    bench.faults.batches.extend([raises(), raises()])
    bench.hold((1,))
    bench.pipeline.offer('front', ())
    bench.wait(lambda: bench.waiting == 0)
    bench.release()
    bench.finish()
    assert [answer for _, _, answer in bench.results] == [()]
    assert bench.dropped == {'failed': 1}


def test_a_lost_batch_costs_all_of_a_frame_that_is_in_it_once(make_rows):
    bench = make_rows(max_batch_size=2)
    bench.faults.frames = {3: raises()}
    bench.faults.batches.extend([None, None, raises()])
    bench.answer((1, 2, 3, 4, 5, 6))
    bench.answer((7,))
    # The second attempt of the batch with 3 fails too.
    assert bench.events['failed_batches'] == 1
    assert [answer for _, _, answer in bench.results] == [(7,)]
    total = bench.pipeline.counters.total()
    assert (total.dropped['failed'], total.regions['dropped']) == (1, 6)


def test_a_row_without_probabilities_costs_itself_alone(make_rows):
    bench = make_rows(max_batch_size=4)

    def result(answers):
        bad = answers.copy()
        bad[1] = float('nan')
        return bad

    bench.faults.result = result
    bench.backend.warm = True
    bench.answer((1, 2, 3))
    assert [answer for _, _, answer in bench.results] == [(1, None, 3)]
    total = bench.pipeline.counters.total()
    assert (total.regions['answered'], total.regions['failed']) == (2, 1)


@pytest.mark.parametrize('threads', [1, 3])
def test_a_row_that_cannot_be_written_costs_its_frame_and_moves_no_other(
        make_rows, threads, monkeypatch):
    monkeypatch.setattr(preprocess_worker, '_WORTH_MS', 0.0)
    bench = make_rows(cameras=CAMERAS, max_batch_size=8, preprocess_threads=threads)
    bench.hold((100,))
    with bench.pipeline._scheduler._lock:
        for camera, values in (
                ('left', (1, UNFILLABLE, 2)), ('rear', (3, 4)), ('front', (5,))):
            bench.pipeline.offer(camera, values)
    bench.wait(lambda: bench.waiting == 0)
    bench.release()
    bench.finish()
    assert bench.backend.batches == [[100], [3, 4, 5]]
    assert [answer for _, _, answer in bench.results] == [(100,), (3, 4), (5,)]
    assert bench.bad_frames == ['left: a row broken on purpose']
    assert bench.dropped == {'malformed': 1}


def test_a_frame_that_grows_too_old_in_the_middle_is_stale_as_a_whole(make_rows):
    bench = make_rows(
        max_batch_size=1, num_buffers=2, settings=LiveSettings(max_age_ms=10_000.0))
    bench.hold((1, 2, 3, 4, 5))
    bench.wait(lambda: bench.pipeline._scheduler._ready)
    frame, = bench.pipeline._scheduler._waiting._queues['front']
    frame.received_ns -= 20 * 10**9
    bench.release()
    bench.finish()
    assert bench.results == []
    assert bench.dropped == {'stale': 1}
    assert bench.backend.batches == [[1]]


def test_frames_that_take_long_are_decoded_at_the_same_time(make_bench, monkeypatch):
    monkeypatch.setattr(preprocess_worker, '_WORTH_MS', 0.0)
    together = Barrier(3)
    bench = make_bench(cameras=CAMERAS, preprocess_threads=3)
    bench.hold(1)
    # Broken unless three of them are in it at once.
    bench.in_decoding = lambda message: together.wait(60.0)
    with bench.pipeline._scheduler._lock:
        for number, camera in enumerate(CAMERAS, start=2):
            bench.pipeline.offer(camera, number)
    bench.release()
    bench.finish()
    assert sorted(bench.results) == [
        ('front', 1, 1), ('front', 2, 2), ('left', 3, 3), ('rear', 4, 4)]


def test_short_frames_are_all_decoded_on_one_thread(make_bench):
    threads = set()
    bench = make_bench(cameras=CAMERAS, preprocess_threads=3)
    bench.hold(1)
    bench.in_decoding = lambda message: threads.add(get_ident())
    with bench.pipeline._scheduler._lock:
        for number, camera in enumerate(CAMERAS, start=2):
            bench.pipeline.offer(camera, number)
    bench.release()
    bench.finish()
    assert len(bench.results) == 4
    assert len(threads) == 1


@pytest.mark.parametrize(('wanted', 'cores', 'chosen'), [
    (0, 1, 1), (0, 3, 1), (0, 4, 2), (0, 12, 6), (0, 16, 8), (0, 128, 8), (1, 128, 1),
    (6, 2, 6)])
def test_threads_are_chosen_by_the_cores_unless_they_are_given(wanted, cores, chosen):
    assert chosen_threads(wanted, cores) == chosen
