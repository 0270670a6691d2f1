"""Counting frames: the sums, and the queue that they pass."""

from __future__ import annotations

from time import perf_counter_ns

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from resnet_trt_node.node.pipeline.counters import CameraCounts, Counters
from resnet_trt_node.node.pipeline.frame_queue import FrameQueue, InFlightFrame
from resnet_trt_node.node.pipeline.stage_times import percentiles_ms, StageTimes


def receive(counters, camera):
    frame = InFlightFrame(camera, None, 0)
    counters.received(frame)
    return frame


def test_sums_over_cameras():
    counters = Counters(['front', 'left'])
    front = [receive(counters, 'front') for _ in range(5)]
    left = [receive(counters, 'left') for _ in range(3)]
    counters.answered(front[0], {'total': 2.0})
    counters.dropped(front[1], 'stale')
    counters.dropped(left[0], 'malformed')
    assert counters.counts()['front'].in_progress == 3
    assert counters.counts()['left'].in_progress == 2
    total = counters.total()
    assert (total.received, total.answered, total.in_progress) == (8, 1, 5)
    assert {name: n for name, n in total.dropped.items() if n} == {'stale': 1, 'malformed': 1}
    assert total.mismatch is None


def test_counts_are_copies():
    counters = Counters(['front'])
    counters.counts()['front'].dropped['stale'] = 9
    assert counters.counts()['front'] == CameraCounts()


def test_an_unknown_reason_is_a_bug_and_an_error():
    counters = Counters(['front'])
    with pytest.raises(KeyError):
        counters.dropped(receive(counters, 'front'), 'bored')


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_the_sum_breaks_by_each_end_that_is_missed_or_counted_twice(data):
    cameras = ['front', 'left']
    counters = Counters(cameras)
    held, ended = [], []
    forgotten, twice = dict.fromkeys(cameras, 0), dict.fromkeys(cameras, 0)
    end = {
        'answer': lambda frame: counters.answered(frame, {}),
        'drop': lambda frame: counters.dropped(frame, 'stale')}
    for step in data.draw(st.lists(st.sampled_from(
            ['receive', 'receive', 'answer', 'drop', 'forget', 'twice']), max_size=40)):
        if step == 'receive':
            held.append(receive(counters, data.draw(st.sampled_from(cameras))))
        elif step == 'twice' and ended:
            frame = data.draw(st.sampled_from(ended))
            end[data.draw(st.sampled_from(sorted(end)))](frame)
            twice[frame.camera] += 1
        elif step != 'twice' and held:
            frame = held.pop(data.draw(st.integers(0, len(held) - 1)))
            if step == 'forget':
                forgotten[frame.camera] += 1
            else:
                end[step](frame)
                ended.append(frame)
        # As a thread does that goes on to another frame.
        frame = None
        for camera, counts in counters.counts().items():
            assert counts.in_progress == sum(one.camera == camera for one in held)
            assert counts.unaccounted == forgotten[camera]
            assert counts.counted_twice == twice[camera]
            adds_up = counts.received == (
                counts.answered + sum(counts.dropped.values()) + counts.in_progress)
            assert adds_up == (forgotten[camera] == twice[camera])
            # One of each must not pass for none of either.
            assert (counts.mismatch is None) == (not forgotten[camera] and not twice[camera])
    total = counters.total()
    # Those that a thread still holds have failed at the end; what was forgotten is not hidden.
    counters.finalize(lost=True)
    after = counters.total()
    assert after.dropped['failed'] == len(held)
    assert after.in_progress == 0
    assert (after.unaccounted, after.counted_twice) == (total.unaccounted, total.counted_twice)


def test_a_mismatch_is_put_into_words():
    counters = Counters(['front'])
    receive(counters, 'front')
    assert '1 frames unaccounted for' in counters.total().mismatch
    assert 'twice' not in counters.total().mismatch
    frame = receive(counters, 'front')
    counters.answered(frame, {})
    counters.answered(frame, {})
    assert '1 frames unaccounted for, 1 frames counted twice' in counters.total().mismatch


def test_nothing_counts_any_more_once_the_pipeline_has_ended():
    counters = Counters(['front'])
    frame = receive(counters, 'front')
    counters.finalize(lost=False)
    before = counters.total()
    counters.answered(frame, {})
    counters.dropped(frame, 'stale')
    receive(counters, 'front')
    assert counters.total() == before
    assert (before.received, before.in_progress) == (1, 1)


def test_percentiles_of_known_samples():
    counters = Counters(['front'])
    assert counters.percentiles_ms() == {}
    for value in range(101):
        counters.answered(receive(counters, 'front'), {'infer': float(value)})
    assert counters.percentiles_ms() == {'infer': (50.0, 95.0, 99.0)}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.none(), st.floats(0.0, 1e6)), max_size=60), st.integers(0, 1500))
def test_percentiles_are_numpy_s_of_what_is_known_of_the_last_1000(samples, before):
    times = StageTimes()
    for number in range(before):
        times.add({'total': float(number), 'infer': 1.0})
    for sample in samples:
        times.add({'total': 2.0} if sample is None else {'total': 2.0, 'queue': sample})
    percentiles = percentiles_ms(times.snapshot())
    totals = [*map(float, range(before)), *[2.0] * len(samples)][-1000:]
    queued = [sample for sample in samples if sample is not None]
    for stage, values in (('total', totals), ('queue', queued)):
        assert (stage in percentiles) == bool(values)
        if values:
            wanted = np.percentile(values, (50, 95, 99)).tolist()
            assert percentiles[stage] == pytest.approx(wanted)
    assert 'publish' not in percentiles


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 4), st.lists(st.one_of(st.none(), st.integers(0, 2)), max_size=60))
def test_the_queue_loses_nothing_and_keeps_the_order(depth, steps):
    """Whatever is put comes out once: taken, superseded, or at the end."""
    cameras = ['a', 'b', 'c']
    queue = FrameQueue(cameras, depth)
    put, out = [], []
    for number, step in enumerate(steps):
        frame = queue.take() if step is None else queue.put(
            InFlightFrame(cameras[step], number, 0))
        if step is not None:
            put.append(number)
        if frame is not None:
            out.append((frame.camera, frame.message))
        assert len(queue) <= depth * len(cameras)
    out += [(frame.camera, frame.message) for frame in queue.take_all()]
    assert len(queue) == 0
    assert sorted(number for _, number in out) == put
    for camera in cameras:
        numbers = [number for name, number in out if name == camera]
        assert numbers == sorted(numbers), 'a camera was answered out of order'


def test_cameras_take_turns():
    queue = FrameQueue(['a', 'b'], 3)
    for number in range(3):
        queue.put(InFlightFrame('a', number, 0))
    queue.put(InFlightFrame('b', 10, 0))
    assert [queue.take().message for _ in range(4)] == [0, 10, 1, 2]
    assert queue.take() is None


def test_counters_in_one_line():
    counts = CameraCounts(received=12, answered=9)
    assert str(counts) == '12 frames received, 9 answered, dropped: none'
    counts.dropped.update(stale=2, failed=1)
    counts.events['lost_in_transport'] = 40
    assert str(counts) == (
        '40 frames lost in transport; 12 frames received, 9 answered, dropped: 2 stale, 1 failed')


def test_a_camera_whose_images_wait_for_detections_is_not_silent():
    counters = Counters(['front', 'left'])
    assert counters.last_received_ns() == {}
    before_ns = perf_counter_ns()
    counters.arrived('left')
    assert before_ns <= counters.last_received_ns().pop('left') <= perf_counter_ns()
    assert counters.counts()['left'].received == 0
