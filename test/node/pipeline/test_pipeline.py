"""The pipeline without ROS: who is answered, who is dropped and why."""

from __future__ import annotations

from threading import Event, Thread
from time import sleep

from pipelines.pipeline_bench import Faults, GatedBackend
import pytest
from resnet_trt_node.backends.base import Backend
from resnet_trt_node.errors import BackendUnavailable
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.pipeline.scheduling import scheduler
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks
from resnet_trt_node.node.pipeline.work import WholeFrames


def test_each_frame_gets_its_own_answer(make_bench):
    bench = make_bench(queue_depth=50)
    for value in range(50):
        bench.pipeline.offer('front', value)
    bench.finish()
    assert bench.results == [('front', value, value) for value in range(50)]
    assert bench.dropped == {}


def test_newest_frame_wins_and_the_rest_are_counted(make_bench):
    bench = make_bench(max_batch_size=1, num_buffers=2)
    bench.hold(1)
    # One more is fitted into the second buffer while the backend is busy; wait for that, so that
    # the rest compete for the one place in the queue.
    bench.pipeline.offer('front', 2)
    bench.wait(lambda: bench.waiting == 0)
    for value in (3, 4, 5):
        bench.pipeline.offer('front', value)
    bench.release()
    bench.finish()
    assert [value for _, value, _ in bench.results] == [1, 2, 5]
    assert bench.dropped == {'superseded': 2}


def test_frames_that_wait_are_batched(make_bench):
    bench = make_bench(cameras=('front', 'left', 'rear'), max_batch_size=4)
    bench.hold(1)
    for camera, value in (('left', 2), ('rear', 3), ('front', 4)):
        bench.pipeline.offer(camera, value)
    bench.wait(lambda: bench.waiting == 0)
    bench.release()
    bench.finish()
    assert [len(batch) for batch in bench.backend.batches] == [1, 3]
    assert sorted(bench.results) == [
        ('front', 1, 1), ('front', 4, 4), ('left', 2, 2), ('rear', 3, 3)]
    assert bench.pipeline.counters.mean_batch_size() == 2.0


def test_first_frame_waits_for_others_up_to_max_wait(make_bench):
    bench = make_bench(
        cameras=('front', 'left'), max_batch_size=2,
        settings=LiveSettings(top_k=1, max_wait_ms=60_000.0))
    bench.pipeline.offer('front', 1)
    bench.wait(lambda: bench.waiting == 0)
    assert bench.results == []
    bench.pipeline.offer('left', 2)
    bench.finish()
    assert bench.backend.batches == [[1, 2]]


def test_a_lonely_frame_goes_when_max_wait_is_over(simulated_time, make_bench):
    bench = make_bench(settings=LiveSettings(top_k=1, max_wait_ms=20.0))
    start_s = simulated_time.now_s()
    bench.pipeline.offer('front', 1)
    bench.finish()
    assert bench.results == [('front', 1, 1)]
    assert simulated_time.now_s() - start_s == pytest.approx(0.02)


@pytest.mark.parametrize(('wait_ms', 'age_ms'), [(50.0, 40.0), (200.0, 150.0)])
def test_a_batch_waits_for_others_only_as_long_as_its_first_frame_may(
        simulated_time, make_bench, wait_ms, age_ms):
    # The left camera is gone: waiting for it must not make the front one miss its deadline.
    bench = make_bench(cameras=('front', 'left'), settings=LiveSettings(
        top_k=1, max_wait_ms=wait_ms, max_age_ms=age_ms))
    start_s = simulated_time.now_s()
    for value in range(10):
        bench.answer(value)
    assert bench.dropped == {}
    # It does wait, but for what it takes to submit a batch.
    waited_ms = (simulated_time.now_s() - start_s) * 1e3 / 10
    assert 0.9 * age_ms < waited_ms < age_ms


def test_a_drain_does_not_wait_for_companions_that_cannot_come(simulated_time, make_bench):
    bench = make_bench(
        cameras=('front', 'left'), settings=LiveSettings(top_k=1, max_wait_ms=1000.0))
    start_s = simulated_time.now_s()
    with simulated_time.standing_still():
        bench.pipeline.offer('front', 1)
        bench.wait(lambda: bench.waiting == 0)
        assert bench.pipeline.drain(60.0) == 0
    assert simulated_time.now_s() == start_s
    assert bench.results == [('front', 1, 1)]


def test_answers_are_right_where_the_backend_reuses_its_output(make_bench):
    bench = make_bench(max_batch_size=1, queue_depth=50, in_publishing=lambda: sleep(0.005))
    for value in range(20):
        bench.pipeline.offer('front', value)
    bench.finish()
    assert bench.results == [('front', value, value) for value in range(20)]


def test_no_camera_starves_another(make_bench):
    bench = make_bench(cameras=('fast', 'slow'), max_batch_size=1, queue_depth=20)
    bench.hold(0, 'fast')
    for value in range(1, 20):
        bench.pipeline.offer('fast', value)
    bench.pipeline.offer('slow', 100)
    bench.release()
    bench.finish()
    # After the two that the buffers held, the slow camera's only frame is next but one at most.
    assert [camera for camera, _, _ in bench.results].index('slow') <= 3


@pytest.mark.parametrize(('message', 'line'), [
    ('broken', 'front: broken on purpose'),
    ('odd', "front: ZeroDivisionError('nobody foresaw this')")])
def test_a_bad_frame_is_counted_and_the_next_is_answered(make_bench, message, line):
    bench = make_bench()
    bench.pipeline.offer('front', message)
    bench.finish()
    bench.pipeline.offer('front', 7)
    bench.finish()
    assert bench.dropped == {'malformed': 1}
    assert bench.bad_frames == [line]
    assert bench.results == [('front', 7, 7)]


def test_an_unforeseen_error_is_kept_and_nothing_hangs(make_bench):
    bench = make_bench()
    bench.faults.batches.append(ZeroDivisionError('a bug'))
    bench.pipeline.offer('front', 1)
    bench.wait(lambda: bench.pipeline.unexpected_exception is not None)
    assert isinstance(bench.pipeline.unexpected_exception, ZeroDivisionError)
    bench.pipeline.offer('front', 2)
    assert bench.dropped == {'refused': 1}
    assert not bench.pipeline.accepting


def test_a_frame_too_old_to_be_answered_in_time_is_not_inferred(simulated_time, make_bench):
    bench = make_bench(max_batch_size=1, settings=LiveSettings(top_k=1, max_age_ms=200.0))
    bench.hold(1)
    bench.pipeline.offer('front', 2)
    bench.wait(lambda: bench.waiting == 0)
    bench.pipeline.offer('front', 3)
    simulated_time.advance(250.0)
    bench.release()
    bench.finish()
    assert bench.results == []
    # 1 was in the backend and missed its deadline; 2 lay in a filled buffer, 3 in the queue.
    assert bench.dropped == {'stale': 3}
    assert bench.backend.batches == [[1]]


def test_one_slow_batch_does_not_make_all_later_frames_stale(simulated_time, make_bench):
    bench = make_bench(max_batch_size=1, settings=LiveSettings(top_k=1, max_age_ms=100.0))
    bench.hold(1)
    simulated_time.advance(250.0)  # now a batch is taken to last longer than a frame may age
    bench.release()
    bench.finish()
    assert bench.dropped == {'stale': 1}
    bench.wait(lambda: bench.answer(2) or bench.results)
    assert bench.results == [('front', 2, 2)]
    assert 1 < bench.dropped['stale'] < 20


def test_a_blocking_backend_delivers_before_it_takes_the_next_batch(make_bench):
    bench = make_bench(max_batch_size=1, asynchronous=False)
    bench.hold(1)
    bench.pipeline.offer('front', 2)
    bench.wait(lambda: bench.waiting == 0)
    # The second batch does not end before the first one's answer is out.
    delivered = Event()
    bench.in_publishing = delivered.set
    bench.backend.gate = delivered
    bench.release()
    bench.finish()
    assert [value for _, value, _ in bench.results] == [1, 2]
    assert bench.pipeline.unexpected_exception is None


def test_drain_answers_what_was_taken_and_refuses_what_comes_later(make_bench):
    bench = make_bench(queue_depth=8, max_batch_size=2)
    for value in range(8):
        bench.pipeline.offer('front', value)
    assert bench.pipeline.drain(60.0) == 0
    bench.pipeline.offer('front', 99)
    assert [value for _, value, _ in bench.results] == list(range(8))
    assert bench.dropped == {'refused': 1}
    bench.pipeline.resume()
    bench.pipeline.offer('front', 9)
    bench.finish()
    assert bench.results[-1] == ('front', 9, 9)


def test_a_drain_abandons_what_a_backend_that_hangs_has(make_bench):
    bench = make_bench(max_batch_size=1, queue_depth=8)
    bench.hold(1)
    for value in (2, 3, 4):
        bench.pipeline.offer('front', value)
    bench.wait(lambda: bench.waiting == 1)
    assert bench.pipeline.drain(0.05) == 3
    assert bench.dropped == {'refused': 1}
    assert not bench.pipeline.close(0.05)
    # Nobody will answer the three that the backend sits on, even if it comes back.
    assert bench.dropped == {'refused': 1, 'failed': 3}
    bench.release()
    assert bench.pipeline.close(60.0)
    assert bench.results == []


def test_what_a_drain_abandoned_is_never_published(make_bench):
    bench = make_bench(max_batch_size=1)
    bench.hold(1)
    bench.pipeline.offer('front', 2)
    bench.wait(lambda: bench.waiting == 0)
    assert bench.pipeline.drain(0.05) == 2
    # In the backend and in a filled buffer; the next frame is of the next activation.
    bench.pipeline.resume()
    bench.pipeline.offer('front', 3)
    bench.release()
    bench.finish()
    assert bench.results == [('front', 3, 3)]
    assert bench.dropped == {'refused': 2}


def test_a_drain_that_times_out_waits_for_the_publication_under_way(monkeypatch, make_bench):
    monkeypatch.setattr(scheduler, '_PUBLISH_SEC', 60.0)
    begun, gate = Event(), Event()

    def publish():
        begun.set()
        gate.wait(30)

    bench = make_bench(cameras=('front', 'left'), max_batch_size=2, in_publishing=publish)
    bench.pipeline.settings = LiveSettings(top_k=1, max_wait_ms=60_000.0)
    bench.pipeline.offer('front', 1)
    bench.pipeline.offer('left', 2)
    assert begun.wait(30)
    abandoned = []
    drain = Thread(target=lambda: abandoned.append(bench.pipeline.drain(0.0)))
    drain.start()
    bench.wait(lambda: not bench.pipeline.accepting)
    # Asked under the lock that the drain holds until it waits for the publication.
    assert bench.waiting == 0
    assert drain.is_alive()
    gate.set()
    drain.join(30)
    # The second frame of the batch was abandoned meanwhile.
    assert abandoned == [0]
    assert len(bench.results) == 1
    assert bench.dropped == {'refused': 1}


def test_delivery_does_not_hold_up_the_backend(make_bench):
    gate = Event()
    bench = make_bench(queue_depth=4, max_batch_size=1, in_publishing=lambda: gate.wait(30))
    bench.hold(1)
    for value in (2, 3):
        bench.pipeline.offer('front', value)
    bench.release()
    bench.wait(lambda: len(bench.backend.batches) == 3)
    assert bench.results == []
    gate.set()
    bench.finish()
    assert [value for _, value, _ in bench.results] == [1, 2, 3]


def test_settings_change_while_frames_flow(make_bench):
    bench = make_bench(settings=LiveSettings(top_k=1, max_age_ms=0.0))
    bench.pipeline.settings = LiveSettings(top_k=1, max_age_ms=0.001)
    bench.pipeline.offer('front', 1)
    bench.finish()
    assert bench.dropped == {'stale': 1}


def test_stages_are_timed(make_bench):
    bench = make_bench()
    bench.pipeline.offer('front', 1)
    bench.finish()
    percentiles = bench.pipeline.counters.percentiles_ms()
    assert 'receive' not in percentiles, 'nobody counted it'
    stages = {name: p50 for name, (p50, _, _) in percentiles.items()}
    assert all(value >= 0 for value in stages.values())
    parts = sum(value for name, value in stages.items() if name not in ('total', 'added'))
    assert parts == pytest.approx(stages['total'], abs=0.01)
    assert stages['added'] == pytest.approx(stages['total'] - stages['infer'], abs=0.01)


def test_a_backend_that_cannot_be_opened_is_reported_to_the_caller():
    def fail() -> Backend:
        raise BackendUnavailable('no device')

    pipeline = Pipeline(('front',), 1, WholeFrames('fast'), LiveSettings(), PipelineHooks(
        fail, lambda message, side: message, lambda *_: None, lambda *_: None, lambda *_: None))
    with pytest.raises(BackendUnavailable, match='no device'):
        pipeline.start()
    assert pipeline.close(60.0)


def test_opening_can_be_cancelled():
    gate, opened = Event(), Event()
    opened.set()
    backend = GatedBackend(1, Faults(), opened)

    def slow() -> Backend:
        gate.wait(30)
        return backend

    pipeline = Pipeline(('front',), 1, WholeFrames('fast'), LiveSettings(), PipelineHooks(
        slow, lambda message, side: message, lambda *_: None, lambda *_: None, lambda *_: None))
    assert not pipeline.begin().done()
    assert not pipeline.close(0.0)
    gate.set()
    assert pipeline.join(60.0)
    assert backend.closed
