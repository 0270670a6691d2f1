"""Rows that the GPU resizes, on stand-ins: the kernel is its own source, compiled for the CPU."""

from __future__ import annotations

import gc
from pathlib import Path
import sys
from threading import Thread
from typing import Any, Callable, Iterator
import weakref

import numpy as np
import pytest
from kernel_on_cpu import image_message, launch
from resnet_trt_node.backends.cuda import resized_rows
from resnet_trt_node.errors import BackendError, BackendUnavailable
from resnet_trt_node.imaging.encodings import check_image, convert_image
from resnet_trt_node.imaging.on_device.grid import plan_grid
from resnet_trt_node.imaging.on_device.source import plan_source, Source
from resnet_trt_node.imaging.resize import Resizer
from tensorrt_machine import World, worlds


@pytest.fixture
def world(monkeypatch: Any, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Return what makes a machine; at the end nothing may be held on it."""
    def make(**options: Any) -> World:
        machine = machines(**options)
        machine.cuda.kernel = launch
        return machine
    made = worlds(monkeypatch, tmp_path)
    machines = next(made)
    yield make
    next(made, None)


def noise(seed: int, height: int, width: int, encoding: str = 'rgb8') -> Any:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return image_message(values, encoding)


def plan(backend: Any, message: Any) -> tuple[Source, Any]:
    raw = check_image(message)
    source, grid = plan_source(raw), plan_grid(backend.spec.resize, raw.height, raw.width)
    assert source is not None
    assert grid is not None
    return source, grid


def put(backend: Any, place: int, message: Any, index: int = 0) -> bool:
    source, grid = plan(backend, message)
    return bool(backend.device_rows(index).put(place, source, grid, grid.rows, grid.columns))


def exact(backend: Any, message: Any) -> np.ndarray:
    row = np.empty((backend.spec.height, backend.spec.width, 3), np.uint8)
    Resizer(backend.spec.resize, 'exact').resize(convert_image(check_image(message)), row)
    return row


def input_of(machine: World, backend: Any, index: int = 0) -> np.ndarray:
    """Return the engine's input as it lies on the device."""
    images = backend.buffer(index)
    address = backend._slots[index]._device_addresses['images']
    return machine.cuda.device(address, images.nbytes).reshape(images.shape)


@pytest.mark.parametrize('graphs', [0, 8])
@pytest.mark.parametrize('integrated', [0, 1])
def test_rows_of_the_device_and_of_the_caller_share_a_batch(
        world: Any, graphs: int, integrated: int) -> None:
    machine = world()
    machine.cuda.attributes['integrated'] = integrated
    with machine.start(
            max_batch_size=6, preprocess='gpu', cuda_graph_max_batch=graphs) as backend:
        assert backend.info.details['preprocess'] == 'gpu'
        for turn in range(3):
            rows = backend.device_rows()
            rows.clear()
            messages = [noise(turn, 48, 64), noise(turn + 9, 90, 40, 'bgr8'),
                        noise(turn + 5, 37, 200)]
            for place, message in zip((1, 3, 4), messages):
                assert put(backend, place, message)
            own = np.random.default_rng(turn).integers(0, 256, (6, 32, 32, 3), np.uint8)
            for place in (0, 2, 5):
                backend.buffer()[place] = own[place]
            for size in (6, 4, 1):
                input_of(machine, backend)[:] = 7
                probabilities = backend.infer(size).copy()
                wanted = [own[0], exact(backend, messages[0]), own[2],
                          exact(backend, messages[1]), exact(backend, messages[2]), own[5]]
                assert np.array_equal(input_of(machine, backend)[:size], wanted[:size])
                assert (input_of(machine, backend)[size:] == 7).all()
                assert probabilities.shape == (size, 8)


def test_a_row_that_moves_takes_its_picture_along(world: Any) -> None:
    machine = world()
    with machine.start(max_batch_size=4, preprocess='gpu') as backend:
        rows = backend.device_rows()
        messages = [noise(number, 40, 50) for number in range(2)]
        assert put(backend, 0, messages[0])
        assert put(backend, 2, messages[1])
        backend.buffer()[3] = 99
        rows.move(0, 2)
        rows.move(1, 3)
        backend.infer(2)
        assert np.array_equal(input_of(machine, backend)[0], exact(backend, messages[1]))
        assert (input_of(machine, backend)[1] == 99).all()
        rows.clear()
        backend.buffer()[0] = 5
        backend.infer(1)
        assert (input_of(machine, backend)[0] == 5).all()


def test_a_row_of_a_bad_frame_is_the_next_ones(world: Any) -> None:
    machine = world()
    with machine.start(max_batch_size=2, preprocess='gpu') as backend:
        rows = backend.device_rows()
        for turn in range(20):
            # More than there are rows, as often as frames turn out to be bad.
            assert put(backend, turn % 2, noise(turn, 40, 50))
            rows.move(0, 1)
        rows.forget(0)
        backend.buffer()[0] = 8
        assert put(backend, 1, noise(99, 40, 50))
        backend.infer(2)
        assert (input_of(machine, backend)[0] == 8).all()
        assert np.array_equal(input_of(machine, backend)[1], exact(backend, noise(99, 40, 50)))


def test_parts_of_one_picture_are_copied_once(world: Any) -> None:
    machine = world()
    with machine.start(max_batch_size=4, preprocess='gpu') as backend:
        source, grid = plan(backend, noise(1, 48, 64))
        rows = backend.device_rows()
        rows.put(0, source, grid, grid.rows, grid.columns)
        used = rows._used
        for place in (1, 2, 3):
            assert rows.put(place, source, grid, grid.rows, grid.columns)
        assert rows._used == used
        backend.infer(4)
        assert len({row.tobytes() for row in input_of(machine, backend)}) == 1


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
            used = rows._used
            messages = [shared_message(backend, turn, 48, 64), noise(turn, 60, 50),
                        shared_message(backend, 9 + turn, 33, 70)]
            for place, message in enumerate(messages):
                assert put(backend, place, message)
            # Only the one in ordinary memory was copied by the CPU.
            assert 0 < rows._used - used < 60 * 160
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
        assert not backend._slots[0].rows._shared._ends


def test_page_locked_memory_is_had_on_any_thread_until_the_device_is_closed(world: Any) -> None:
    machine = world()
    got: list[Any] = []
    with machine.start(preprocess='gpu') as backend:
        allocate = backend.allocate_message
        thread = Thread(target=lambda: got.append(allocate(100)))
        thread.start()
        thread.join()
        assert got[0].shape == (100,)
        machine.cuda.fail_at = machine.cuda.calls + 2
        with pytest.raises(MemoryError, match='out of memory'):
            allocate(1 << 20)
    got[0][:] = 5
    with pytest.raises(MemoryError, match='is closed'):
        allocate(1)
    got.clear()


def test_there_is_room_for_larger_pictures_from_the_second_on(
        world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(resized_rows, '_FIRST_ROW_BYTES', 1 << 12)
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


def test_without_memory_larger_pictures_stay_with_the_caller(
        world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(resized_rows, '_FIRST_ROW_BYTES', 1 << 12)
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
    monkeypatch.setattr(resized_rows, '_FIRST_ROW_BYTES', 1 << 12)
    monkeypatch.setattr(resized_rows, 'MAX_BYTES', 1 << 14)
    with world().start(preprocess='gpu') as backend:
        for _ in range(3):
            assert not put(backend, 0, noise(1, 200, 220))
            backend.infer(1)
        assert len(backend.device_rows()._memory) <= 1 << 14


def test_the_kernel_is_compiled_once_for_a_kind_of_gpu(world: Any) -> None:
    machine = world()
    for _ in range(2):
        machine.start(preprocess='gpu', num_buffers=3).close()
    (options, source), = machine.cuda.compiled
    assert options == [b'--gpu-architecture=sm_89', b'--fmad=false', b'--std=c++17']
    assert b'__global__ void resize' in source
    binary, = (machine.engines / 'kernels').iterdir()
    assert binary.name.startswith('resize-sm_89-')
    assert binary.suffix == '.cubin'
    machine.cuda.capability = (9, 0)
    machine.start(preprocess='gpu').close()
    assert len(machine.cuda.compiled) == 2


@pytest.mark.parametrize('damage', ['foreign', 'writable'])
def test_a_binary_that_is_not_ours_is_compiled_anew(world: Any, damage: str) -> None:
    machine = world()
    machine.start(preprocess='gpu').close()
    binary, = (machine.engines / 'kernels').iterdir()
    if damage == 'foreign':
        binary.write_bytes(b'of another driver')
    else:
        binary.chmod(0o666)
    machine.start(preprocess='gpu').close()
    assert len(machine.cuda.compiled) == 2
    assert binary.read_bytes().startswith(b'compiled')
    assert binary.stat().st_mode & 0o777 == 0o600


def test_without_a_compiler_auto_goes_on_and_gpu_says_what_is_missing(
        world: Any, monkeypatch: Any) -> None:
    machine = world()
    monkeypatch.delattr(sys.modules['cuda.bindings'], 'nvrtc')
    with machine.start(preprocess='auto') as backend:
        assert backend.device_rows() is None
        assert backend.info.details['preprocess'] == 'cpu'
    assert any(line.startswith('pictures are resized on the CPU: cuda-bindings cannot')
               for line in machine.said)
    with pytest.raises(BackendUnavailable, match='pip install cuda-bindings'):
        machine.start(preprocess='gpu')


def test_a_missing_library_and_an_error_of_the_compiler_are_told(
        world: Any, monkeypatch: Any) -> None:
    machine = world()
    nvrtc = sys.modules['cuda.bindings'].nvrtc

    def missing(*arguments: Any) -> Any:
        raise RuntimeError('Failed to dlopen libnvrtc.so.13')
    with monkeypatch.context() as patch:
        patch.setattr(nvrtc, 'nvrtcCreateProgram', missing)
        with pytest.raises(BackendUnavailable, match='pip install nvidia-cuda-nvrtc'):
            machine.start(preprocess='gpu')
    made = nvrtc.nvrtcCreateProgram
    monkeypatch.setattr(
        nvrtc, 'nvrtcCreateProgram', lambda source, *rest: made(b'#error' + source, *rest))
    with pytest.raises(BackendError, match=r'resize\.cu cannot be compiled: .*an error in line 1'):
        machine.start(preprocess='gpu')


def test_by_default_the_caller_writes_all_rows(world: Any) -> None:
    machine = world()
    with machine.start() as backend:
        assert backend.device_rows() is None
    assert not machine.cuda.compiled
