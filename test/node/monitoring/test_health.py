"""From numbers to levels: thresholds, timeouts, stamps and the report."""

from __future__ import annotations

from types import SimpleNamespace

from pipelines.pipeline_bench import Bench, raises
import pytest
from resnet_trt_node.node.monitoring.camera_watchdog import CameraWatchdog
from resnet_trt_node.node.monitoring.health import camera_health, Level, node_health
from resnet_trt_node.node.monitoring.report import Statistics, TopicState
from resnet_trt_node.node.pipeline.counters import CameraCounts, DROP_REASONS
from resnet_trt_node.node.pipeline.inference.backend_state import BackendPhase, BackendState
from resnet_trt_node.node.pipeline.settings import LiveSettings
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.stamps import stamp_age_ms

SEC = 1_000_000_000
WORKING = BackendPhase.WORKING


def counted(answered: int = 0, **dropped: int) -> CameraCounts:
    return CameraCounts(
        answered + sum(dropped.values()), answered, {**dict.fromkeys(DROP_REASONS, 0), **dropped})


@pytest.mark.parametrize(('period', 'level', 'keywords'), [
    (counted(), Level.OK, []),
    (counted(50, superseded=50), Level.OK, []),
    (counted(49, superseded=51), Level.WARN, [
        '51% is more than 50%']),
    (counted(9, stale=51, superseded=40), Level.ERROR, [
        '91% is more than 90%']),
    # Those that arrived while a node was being stopped do not count against it.
    (counted(0, refused=5), Level.OK, []),
    (counted(99, malformed=1), Level.WARN, ['1 frames']),
])
def test_levels_of_a_camera(period, level, keywords):
    parameters = NodeParameters(warn_drop_ratio=0.5, error_drop_ratio=0.9)
    health = camera_health(period, None, [], parameters)
    assert health.level == level
    assert len(health.reasons) == len(keywords)
    assert all(map(str.__contains__, health.reasons, keywords))


def test_a_camera_reports_all_that_is_wrong_and_shows_the_worst():
    health = camera_health(counted(1, malformed=1), 'timeout', ['wrong type'], NodeParameters())
    assert health.level == Level.ERROR
    assert health.message('OK').startswith('timeout; wrong type; 1 frames')
    assert camera_health(counted(1), None, [], NodeParameters()).message('OK') == 'OK'


@pytest.mark.parametrize(('failed', 'retried', 'phase', 'p99_ms', 'level'), [
    (0, 0, WORKING, None, Level.OK), (0, 0, WORKING, 10.0, Level.OK),
    (0, 0, WORKING, 10.1, Level.WARN), (0, 0, WORKING, 20.1, Level.ERROR),
    (0, 1, WORKING, 1.0, Level.WARN), (1, 1, WORKING, 1.0, Level.ERROR),
    (0, 0, BackendPhase.REOPENING, 1.0, Level.ERROR),
    (0, 0, BackendPhase.DISABLED, 1.0, Level.ERROR)])
def test_levels_of_the_node(failed, retried, phase, p99_ms, level):
    parameters = NodeParameters(warn_latency_ms=10.0, error_latency_ms=20.0)
    state = BackendState(phase, '' if phase is WORKING else 'no device')
    health = node_health(failed, retried, state, p99_ms, parameters)
    assert health.level == level
    assert ('no device' in health.message('')) == (phase is not WORKING)


@pytest.mark.parametrize(('received', 'lost', 'level'), [
    (10, 0, Level.OK), (10, 10, Level.OK), (10, 11, Level.WARN), (0, 5, Level.WARN)])
def test_frames_that_dds_loses_are_reported(received, lost, level):
    period = counted(received)
    period.events['lost_in_transport'] = lost
    health = camera_health(period, None, [], NodeParameters())
    assert health.level == level
    if level:
        assert health.reasons[0].startswith(f'DDS lost {lost} of {received + lost} frames')


def test_thresholds_of_zero_and_one_are_off():
    assert node_health(0, 0, BackendState(), 1e6, NodeParameters()).level == Level.OK
    parameters = NodeParameters(warn_drop_ratio=1.0, error_drop_ratio=1.0)
    assert camera_health(counted(0, stale=9), None, [], parameters).level == Level.OK


def test_a_timeout_begins_ends_and_is_reported_once():
    watch = CameraWatchdog(['front', 'left'])
    start = 100 * SEC

    def check(seconds, **last):
        return watch.check(
            start + int(seconds * SEC), start,
            {name: start + int(at * SEC) for name, at in last.items()}, 2.0)

    assert check(1.9) == []
    assert check(2.1, left=1.0) == [('front', None)]
    reason = watch.reason('front', start + 3 * SEC)
    assert 'no image yet' in reason
    assert '3.0 s' in reason
    assert watch.reason('left', start + 3 * SEC) is None
    assert check(2.5, left=1.0) == []
    assert check(3.5, front=3.4, left=1.0) == [('front', 3.4), ('left', None)]
    assert 'for 3.0 s' in watch.reason('left', start + 4 * SEC)
    assert check(3.6, front=3.4, left=3.5) == [('left', 2.5)]


def test_frames_of_an_earlier_activation_and_no_limit():
    watch = CameraWatchdog(['front'])
    # Its last frame came long before the node was activated again.
    assert watch.check(11 * SEC, 10 * SEC, {'front': SEC}, 2.0) == []
    assert watch.check(13 * SEC, 10 * SEC, {'front': SEC}, 2.0) == [('front', None)]
    assert watch.check(14 * SEC, 10 * SEC, {'front': SEC}, 0.0) == []
    assert watch.reason('front', 14 * SEC) is None
    assert watch.check(15 * SEC, 10 * SEC, {'front': SEC}, 2.0) == [('front', None)]
    assert watch.check(16 * SEC, None, {'front': SEC}, 2.0) == []
    assert watch.reason('front', 16 * SEC) is None
    # Activated again between two calls, each time.
    assert watch.check(20 * SEC, 17 * SEC, {'front': SEC}, 2.0) == [('front', None)]
    assert watch.check(24 * SEC, 21 * SEC, {'front': SEC}, 2.0) == [('front', None)]
    assert watch.check(26 * SEC, 25 * SEC, {'front': SEC}, 2.0) == []
    assert watch.reason('front', 26 * SEC) is None


@pytest.mark.parametrize(('sec', 'nanosec', 'age_ms'), [
    (1000, 0, 0.0), (999, 990_000_000, 10.0), (1000, 5_000_000, -5.0), (940, 0, 60_000.0),
    (0, 0, None), (939, 0, None), (1002, 0, None), (2_000_000, 0, None)])
def test_age_of_a_stamp(sec, nanosec, age_ms):
    assert stamp_age_ms(1000 * SEC, SimpleNamespace(sec=sec, nanosec=nanosec)) == age_ms


def test_the_report_of_a_pipeline(make_bench):
    bench = make_bench(cameras=('front', 'left'), settings=LiveSettings(top_k=1))
    statistics = Statistics()
    topics = {name: TopicState(f'/{name}/image', 1, 2) for name in ('front', 'left')}
    statistics.tick(bench.pipeline)
    bench.answer(1)
    bench.answer(2)
    bench.answer('broken', 'left')
    statistics.tick(bench.pipeline)
    report = statistics.report(bench.pipeline, topics, NodeParameters())
    assert (report.level, report.message) == (Level.OK, 'classifying')
    assert report.values['received'] == 3
    assert report.values['answered'] == 2
    assert report.values['batch_sizes'] == '1:2'
    assert report.values['received_hz'] > 0
    front, left = report.cameras['front'], report.cameras['left']
    assert (front.level, front.values['answered'], front.values['listeners']) == (0, 2, 2)
    # One malformed frame, and with it all frames of the period went without an answer.
    assert left.level == Level.WARN
    assert left.values['dropped_malformed'] == 1
    document = report.as_json()
    assert document['cameras']['left']['level'] == 'WARN'
    # Levels are of the last period, counters of all time.
    statistics.tick(bench.pipeline)
    report = statistics.report(bench.pipeline, topics, NodeParameters())
    assert report.cameras['left'].level == Level.OK
    assert report.cameras['left'].values['dropped_malformed'] == 1
    assert report.values['received_hz'] == 0.0


def test_the_report_without_a_pipeline():
    statistics = Statistics()
    report = statistics.report(None, {}, NodeParameters())
    assert (report.level, report.message) == (Level.WARN, 'not configured')
    report = statistics.report(None, {}, NodeParameters(), 'no device')
    assert (report.level, report.message) == (Level.ERROR, 'no device')
    assert report.as_json() == {
        'level': 'ERROR', 'message': 'no device', 'state': 'unconfigured'}


def test_the_report_while_the_backend_is_opened_again(make_bench):
    bench = make_bench(settings=LiveSettings(
        top_k=1, reopen_after_failures=1, reopen_backoff_sec=30.0))
    bench.faults.always = raises()
    bench.answer(1)
    bench.wait(lambda: bench.reopening)
    report = Statistics().report(
        bench.pipeline, {}, NodeParameters(cameras=('front',), queue_depth=4, batch_size=4))
    assert report.level == Level.ERROR
    assert 'again: 1 batches' in report.message
    assert report.values['backend_state'] == 'opening again'
    assert report.values['max_batch_size'] == 4


def missed(pipeline):
    pipeline._scheduler.drop = lambda frames, reason: None


def twice(pipeline):
    right = pipeline.counters.dropped

    def wrong(frame, reason):
        right(frame, reason)
        right(frame, reason)

    pipeline.counters.dropped = wrong


@pytest.mark.parametrize(('bug', 'keyword'), [
    (missed, 'unaccounted for'), (twice, 'counted twice')])
def test_counters_that_do_not_add_up_are_an_error_until_the_end(bug, keyword):
    bench = Bench()
    bug(bench.pipeline)
    bench.answer(1)
    before = Statistics().report(bench.pipeline, {}, NodeParameters())
    assert (before.level, before.message) == (Level.OK, 'classifying')
    bench.pipeline.offer('front', 'broken')
    bench.wait(lambda: bench.pipeline.counters.total().mismatch)
    report = Statistics().report(bench.pipeline, {}, NodeParameters())
    assert report.level == Level.ERROR
    assert f'1 frames {keyword}' in report.message
    assert 'bug' in report.message
    # It is neither made good by the next frame nor by closing.
    bench.answer(2)
    assert bench.pipeline.close(5.0)
    total = bench.pipeline.counters.total()
    assert keyword in total.mismatch
    assert total.received - total.answered - sum(total.dropped.values()) != 0
