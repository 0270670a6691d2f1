"""Counting frames: the sums, and the queue that they pass."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from resnet_trt_node.node.accounting import Accounting, CameraCounts, DROP_REASONS
from resnet_trt_node.node.frame_queue import FrameQueue, Ticket
from resnet_trt_node.node.stage_times import percentiles_ms, StageTimes


def test_sums_over_cameras():
    accounting = Accounting(['front', 'left'])
    for camera, number in (('front', 5), ('left', 3)):
        for _ in range(number):
            accounting.received(camera)
    accounting.answered('front', {'total': 2.0})
    accounting.dropped('front', 'stale')
    accounting.dropped('left', 'malformed')
    assert accounting.counts()['front'].in_progress == 3
    assert accounting.counts()['left'].in_progress == 2
    total = accounting.total()
    assert (total.received, total.answered, total.in_progress) == (8, 1, 5)
    assert {name: n for name, n in total.dropped.items() if n} == {'stale': 1, 'malformed': 1}


def test_counts_are_copies():
    accounting = Accounting(['front'])
    accounting.counts()['front'].dropped['stale'] = 9
    assert accounting.counts()['front'] == CameraCounts()


def test_an_unknown_reason_is_a_bug_and_says_so():
    with pytest.raises(KeyError):
        Accounting(['front']).dropped('front', 'bored')


def test_percentiles_of_known_samples():
    accounting = Accounting(['front'])
    assert accounting.percentiles_ms() == {}
    for value in range(101):
        accounting.answered('front', {'infer': float(value)})
    assert accounting.percentiles_ms() == {'infer': (50.0, 95.0, 99.0)}


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.one_of(st.none(), st.floats(0.0, 1e6)), max_size=60), st.integers(0, 1500))
def test_percentiles_are_numpy_s_of_what_is_known_of_the_last_1000(samples, before):
    times = StageTimes()
    for number in range(before):
        times.add({'total': float(number), 'infer': 1.0})
    for sample in samples:
        times.add({'total': 2.0} if sample is None else {'total': 2.0, 'queue': sample})
    told = percentiles_ms(times.snapshot())
    totals = [*map(float, range(before)), *[2.0] * len(samples)][-1000:]
    queued = [sample for sample in samples if sample is not None]
    for stage, values in (('total', totals), ('queue', queued)):
        assert (stage in told) == bool(values)
        if values:
            assert told[stage] == pytest.approx(np.percentile(values, (50, 95, 99)).tolist())
    assert 'publish' not in told


def test_every_reason_is_explained():
    assert set(CameraCounts().dropped) == set(DROP_REASONS)
    assert all(DROP_REASONS.values())


@settings(max_examples=200, derandomize=True)
@given(st.integers(1, 4), st.lists(st.one_of(st.none(), st.integers(0, 2)), max_size=60))
def test_the_queue_loses_nothing_and_keeps_the_order(depth, steps):
    """Whatever is put comes out once: taken, superseded, or at the end."""
    cameras = ['a', 'b', 'c']
    queue = FrameQueue(cameras, depth)
    put, out = [], []
    for number, step in enumerate(steps):
        ticket = queue.take() if step is None else queue.put(Ticket(cameras[step], number, 0))
        if step is not None:
            put.append(number)
        if ticket is not None:
            out.append((ticket.camera, ticket.message))
        assert len(queue) <= depth * len(cameras)
    out += [(ticket.camera, ticket.message) for ticket in queue.take_all()]
    assert len(queue) == 0
    assert sorted(number for _, number in out) == put
    for camera in cameras:
        numbers = [number for name, number in out if name == camera]
        assert numbers == sorted(numbers), 'a camera was answered out of order'


def test_cameras_take_turns():
    queue = FrameQueue(['a', 'b'], 3)
    for number in range(3):
        queue.put(Ticket('a', number, 0))
    queue.put(Ticket('b', 10, 0))
    assert [queue.take().message for _ in range(4)] == [0, 10, 1, 2]
    assert queue.take() is None
