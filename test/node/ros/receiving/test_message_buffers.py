"""A buffer is used again when nobody looks at its message any more, and never before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ctypes import addressof, memset, sizeof
import gc
from random import Random

import numpy as np
import pytest
from resnet_trt_node.node.ros.receiving.message_buffers import MessageBuffers

UNIT = 1 << 16


def receive(buffers: MessageBuffers, value: int, length: int = 100) -> memoryview:
    """Return a message of so many bytes of one value, as rcl would fill it."""
    buffer = buffers.take()
    if sizeof(buffer) < length:
        buffer = buffers.grow(length)
    memset(addressof(buffer), value, length)
    return buffers.lend(length)


def address(view: memoryview) -> int:
    return np.frombuffer(view, np.uint8).ctypes.data


def test_a_message_is_a_read_only_view_of_its_length():
    view = receive(MessageBuffers(2), 7, 3)
    assert bytes(view) == b'\7\7\7'
    assert view.readonly
    assert (view.format, view.shape) == ('B', (3,))


def test_one_buffer_serves_messages_that_nobody_keeps():
    buffers = MessageBuffers(4)
    places = {address(receive(buffers, value)) for value in range(50)}
    assert len(places) == 1
    assert (buffers.kept, buffers.extra) == (1, 0)


@pytest.mark.parametrize('hold', [
    lambda view: view, lambda view: view[10:20], lambda view: np.frombuffer(view, np.uint8),
    lambda view: np.frombuffer(view, np.uint8).reshape(10, 10)[2:, ::3],
    lambda view: memoryview(np.frombuffer(view, np.uint8)[5:])])
def test_whatever_looks_at_a_message_keeps_it(hold):
    buffers = MessageBuffers(8)
    held = hold(receive(buffers, 77))
    before = bytes(np.ascontiguousarray(held))
    assert set(before) == {77}
    for value in range(300):
        receive(buffers, value % 256)
    assert bytes(np.ascontiguousarray(held)) == before
    assert buffers.kept == 2
    del held
    for value in range(4):
        receive(buffers, value)
    assert (buffers.kept, buffers.extra) == (2, 0)


def test_more_messages_than_buffers_are_kept_too_and_counted():
    buffers = MessageBuffers(3)
    held = [receive(buffers, value) for value in range(10)]
    assert (buffers.kept, buffers.extra) == (3, 7)
    assert [set(bytes(view)) for view in held] == [{value} for value in range(10)]
    held.clear()
    for value in range(20):
        receive(buffers, value)
    assert (buffers.kept, buffers.extra) == (3, 7)


def test_random_holders_never_see_another_message():
    random, buffers = Random(1), MessageBuffers(5)
    held: list[tuple[int, memoryview]] = []
    for _ in range(3000):
        value, length = random.randrange(256), random.choice([0, 1, 500, UNIT, UNIT + 1, 200_000])
        held.append((value, receive(buffers, value, length)))
        while len(held) > random.randrange(12):
            held.pop(random.randrange(len(held)))
        for expected, view in held:
            # The first and the last byte, and one between them.
            assert {*view[:1], *view[len(view) // 2:][:1], *view[-1:]} <= {expected}
    assert buffers.kept <= 5
    assert buffers.extra


def test_messages_that_grow_get_larger_buffers_and_the_small_ones_go():
    sizes: list[int] = []

    def allocate(size):
        sizes.append(size)
        return bytearray(size)

    buffers = MessageBuffers(4, allocate)
    small = [receive(buffers, 1, 10) for _ in range(3)]
    large = receive(buffers, 2, 3 * UNIT + 1)
    small.clear()
    # The first that is much larger could be the only one.
    assert (sizes, buffers.kept, buffers.extra) == ([UNIT] * 4, 4, 1)
    kept = [receive(buffers, 3, 3 * UNIT + 1) for _ in range(3)]
    assert sizes == [UNIT] * 4 + [4 * UNIT] * 3
    assert set(bytes(large)) == {2}
    assert [set(bytes(view)) for view in kept] == [{3}] * 3
    kept.clear()
    receive(buffers, 4, 10)
    assert (buffers.kept, buffers.extra) == (3, 1)


def test_what_one_large_message_took_is_not_kept_for_small_ones():
    sizes: list[int] = []

    def allocate(size):
        sizes.append(size)
        return np.empty(size, np.uint8)

    buffers = MessageBuffers(15, allocate)
    receive(buffers, 1, 400 * UNIT)
    for _ in range(3):
        held = [receive(buffers, 2, 10 * UNIT) for _ in range(15)]
        assert buffers.extra <= 2
        del held
    assert sum(len(buffer) for buffer in buffers._free) <= 15 * 2 * 10 * UNIT
    assert sizes.count(400 * UNIT) <= 2


def test_buffers_are_never_larger_than_an_image_may_be():
    def allocate(size):
        assert size <= 5 * UNIT
        return np.empty(size, np.uint8)

    buffers = MessageBuffers(4, allocate, 4 * UNIT)
    # With a header, as an image of the largest size has it; and images that are refused.
    lengths = [4 * UNIT + 100, 9 * UNIT] * 20
    for length in lengths:
        assert len(receive(buffers, 7, length)) == length
    assert (buffers.kept, buffers.extra) == (1, 20)


@pytest.mark.parametrize('seed', range(20))
def test_memory_is_in_proportion_to_the_last_messages_whatever_came_before(seed):
    random = Random(seed)
    buffers = MessageBuffers(6)
    held: list[tuple[int, memoryview]] = []

    def take(length):
        value = random.randrange(256)
        held.append((value, receive(buffers, value, length)))
        while len(held) > random.randrange(9):
            held.pop(random.randrange(len(held)))
        for expected, view in held:
            assert {*view[:1], *view[len(view) // 2:][:1], *view[-1:]} <= {expected}

    for _ in range(5):
        usual = random.choice([1, 5, 20]) * UNIT
        # As many as are looked at, and those with which idle buffers go, one with each.
        for _ in range(64 + 6):
            take(random.randrange(1, usual))
        # One that is larger does not count.
        take(random.choice([1, 100 * UNIT]))
        extra = buffers.extra
        held.clear()
        for _ in range(12):
            take(random.randrange(1, usual))
            held.clear()
        assert buffers.extra - extra <= 1
        assert buffers.kept == len(buffers._free) <= 6
        assert all(len(buffer) <= 2 * 2 * usual for buffer in buffers._free)


def test_the_allocator_has_the_say_and_a_full_one_costs_no_message():
    memory = [np.zeros(UNIT, np.uint8) for _ in range(2)]
    given = list(memory)

    def allocate(size):
        if not given:
            raise MemoryError
        return given.pop()

    buffers = MessageBuffers(10, allocate)
    held = [receive(buffers, value + 1) for value in range(3)]
    assert {address(view) for view in held[:2]} == {one.ctypes.data for one in memory}
    assert bytes(held[2][:1]) == b'\3'
    assert (buffers.kept, buffers.extra) == (2, 1)
    assert {int(one[0]) for one in memory} == {1, 2}


def test_messages_may_be_let_go_on_any_thread_and_by_the_collector():
    buffers = MessageBuffers(6)

    def look(view, value):
        assert set(bytes(view)) == {value}
        # A cycle, which only the collector finds.
        cycle = [view]
        cycle.append(cycle)

    with ThreadPoolExecutor(4) as threads:
        ends = []
        for value in range(600):
            ends.append(threads.submit(look, receive(buffers, value % 256), value % 256))
            if value % 50 == 0:
                gc.collect()
    assert [end.exception() for end in ends] == [None] * 600
    del ends
    gc.collect()
    extra = buffers.extra
    assert len([receive(buffers, 1) for _ in range(6)]) == 6
    assert (buffers.kept, buffers.extra) == (6, extra)


def test_messages_outlive_the_buffers():
    buffers = MessageBuffers(2)
    view = receive(buffers, 9)
    del buffers
    gc.collect()
    assert set(bytes(view)) == {9}
