"""Where pictures lie that the GPU resizes, who copies them, and when they are let go of."""

from __future__ import annotations

import gc
from pathlib import Path
from threading import Thread
from typing import Any, Callable, Iterator
import weakref

import numpy as np
import pytest
from resnet_trt_node.backends.cuda import picture_memory
from resnet_trt_node.backends.cuda.page_locked import page_locked_memory
from stand_ins.device_machine import exact, input_of, noise, plan, put, resizing_worlds
from stand_ins.tensorrt_machine import World

# The kernel is compiled for the CPU.
pytestmark = pytest.mark.slow


@pytest.fixture
def world(monkeypatch: Any, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Return what makes a machine; at the end nothing may be held on it."""
    yield from resizing_worlds(monkeypatch, tmp_path)


def test_a_picture_is_let_go_of_when_it_was_submitted(world: Any) -> None:
    with world().start(preprocess='gpu') as backend:
        source, grid = plan(backend, noise(1, 48, 64))
        backend.device_rows().put(0, source, grid, grid.rows, grid.columns)
        held = weakref.ref(source)
        del source
        gc.collect()
        assert held() is not None
        first = backend.infer(1).copy()
        assert held() is None
        # A second attempt needs nothing of the message.
        assert np.array_equal(backend.infer(1), first)


def shared_message(backend: Any, seed: int, height: int, width: int) -> Any:
    """Return a message whose data lie in memory of the backend."""
    message = noise(seed, height, width)
    memory = backend.allocate_message(len(message.data) + 7)
    memory[7:] = np.frombuffer(message.data, np.uint8)
    message.data = memory[7:]
    return message


@pytest.mark.parametrize('integrated', [0, 1])
def test_messages_in_page_locked_memory_are_copied_by_the_device(
        world: Any, integrated: int) -> None:
    machine = world()
    machine.cuda.attributes['integrated'] = integrated
    with machine.start(max_batch_size=3, preprocess='gpu') as backend:
        for turn in range(3):
            rows = backend.device_rows()
            rows.clear()
            used = rows._memory._used
            messages = [shared_message(backend, turn, 48, 64), noise(turn, 60, 50),
                        shared_message(backend, 9 + turn, 33, 70)]
            for place, message in enumerate(messages):
                assert put(backend, place, message)
            # Only the one in ordinary memory was copied by the CPU.
            assert 0 < rows._memory._used - used < 60 * 160
            wanted = [exact(backend, message) for message in messages]
            for _ in range(2):
                # The second time is a second attempt, which copies again.
                input_of(machine, backend)[:] = 0
                backend.submit(3)
                machine.cuda.streams[backend._slots[0]._stream.handle].run()
                assert np.array_equal(input_of(machine, backend), wanted)
                backend._submitted.clear()
            backend.submit(3)
            backend.collect()


def test_a_message_is_held_until_the_device_has_finished(world: Any) -> None:
    machine = world()
    with machine.start(preprocess='gpu') as backend:
        message = shared_message(backend, 1, 48, 64)
        source, grid = plan(backend, message)
        backend.device_rows().put(0, source, grid, grid.rows, grid.columns)
        held = weakref.ref(source)
        wanted = exact(backend, message)
        del source, message
        backend.submit(1)
        gc.collect()
        assert held() is not None
        backend.collect()
        assert held() is None
        assert np.array_equal(input_of(machine, backend)[0], wanted)
        del grid
        gc.collect()
        assert not page_locked_memory(0)._ends


def test_page_locked_memory_is_had_and_freed_on_any_thread(world: Any) -> None:
    machine = world()
    views: list[Any] = []
    with machine.start(preprocess='gpu') as backend:
        allocate, before = backend.allocate_message, machine.cuda.held['host memory']
        elsewhere(lambda: views.append(allocate(100)[3:]))
        view = views[0]
        assert page_locked_memory(0).holds(view)
        assert view.shape == (97,)
        assert machine.cuda.held['host memory'] == before + 1
        machine.cuda.fail_at = machine.cuda.calls + 2
        with pytest.raises(MemoryError, match='out of memory'):
            allocate(1 << 20)
    # The context lasts: what was given stays valid, and a backend that is opened again knows it.
    view[:] = 5
    with machine.start(preprocess='gpu') as backend:
        message = shared_message(backend, 1, 48, 64)
    with machine.start(preprocess='gpu') as backend:
        assert put(backend, 0, message)
        assert len(backend.device_rows()._memory._direct) == 1
        wanted = exact(backend, message)
        backend.infer(1)
        assert np.array_equal(input_of(machine, backend)[0], wanted)
    del view, message
    elsewhere(views.clear)
    gc.collect()
    assert machine.cuda.held['host memory'] == 0
    assert not page_locked_memory(0)._ends


def elsewhere(work: Callable[[], object]) -> None:
    """Run something on another thread."""
    thread = Thread(target=work)
    thread.start()
    thread.join()


def test_there_is_room_for_larger_pictures_from_the_second_on(
        world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(picture_memory, '_FIRST_PICTURE_BYTES', 1 << 12)
    machine = world()
    large = noise(1, 200, 220)
    with machine.start(max_batch_size=2, preprocess='gpu') as backend:
        before = machine.cuda.held['device memory']
        assert not put(backend, 0, large)
        backend.buffer()[0] = 3
        backend.infer(1)
        assert (input_of(machine, backend)[0] == 3).all()
        backend.device_rows().clear()
        for place in (0, 1):
            assert put(backend, place, noise(place, 200, 220))
        backend.infer(2)
        assert np.array_equal(input_of(machine, backend)[1], exact(backend, large))
        assert machine.cuda.held['device memory'] == before


def test_one_batch_of_larger_pictures_makes_room_for_it_in_all_buffers(
        world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(picture_memory, '_FIRST_PICTURE_BYTES', 1 << 12)
    monkeypatch.setattr(picture_memory, '_PICTURES', 1)
    machine = world()
    large, small = noise(1, 200, 220), noise(2, 30, 30)
    with machine.start(max_batch_size=12, num_buffers=3, preprocess='gpu') as backend:
        # So are batches that others had filled by then.
        for index, messages in enumerate(([large] * 12, [large], [small])):
            assert put(backend, 0, messages[0], index) is (messages[0] is small)
            for place in range(1, len(messages)):
                assert not put(backend, place, messages[place], index)
            backend.infer(12, index)
        for index in range(3):
            backend.device_rows(index).clear()
            for place in range(12):
                assert put(backend, place, noise(place, 200, 220), index)
            backend.infer(12, index)
            assert np.array_equal(input_of(machine, backend, index)[1], exact(backend, large))
        assert len({len(backend.device_rows(index)._memory.host) for index in range(3)}) == 1


def test_without_memory_larger_pictures_stay_with_the_caller(
        world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(picture_memory, '_FIRST_PICTURE_BYTES', 1 << 12)
    machine = world()
    with machine.start(preprocess='gpu') as backend:
        assert not put(backend, 0, noise(1, 200, 220))
        backend.submit(1)
        # The wait for the device is a call, then there is no memory.
        machine.cuda.fail_at = machine.cuda.calls + 2
        backend.collect()
        assert machine.said[-1].startswith('larger pictures are resized on the CPU: cannot page')
        assert not put(backend, 0, noise(1, 200, 220))
        backend.device_rows().clear()
        assert put(backend, 0, noise(1, 30, 30))
        backend.infer(1)
        assert np.array_equal(input_of(machine, backend)[0], exact(backend, noise(1, 30, 30)))


def test_a_picture_that_takes_more_than_all_room_is_the_callers(
        world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(picture_memory, '_FIRST_PICTURE_BYTES', 1 << 12)
    monkeypatch.setattr(picture_memory, 'MAX_BYTES', 1 << 14)
    with world().start(preprocess='gpu') as backend:
        for _ in range(3):
            assert not put(backend, 0, noise(1, 200, 220))
            backend.infer(1)
        assert len(backend.device_rows()._memory.host) <= 1 << 14
