"""Rows that the GPU resizes, on stand-ins: the kernel is its own source, compiled for the CPU."""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Any, Callable, Iterator

import numpy as np
import pytest
from resnet_trt_node.errors import BackendError, BackendUnavailable
from stand_ins.device_machine import exact, input_of, noise, plan, put, resizing_worlds
from stand_ins.tensorrt_machine import World

# The kernel is compiled for the CPU.
pytestmark = pytest.mark.slow


@pytest.fixture
def world(monkeypatch: Any, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Return what makes a machine; at the end nothing may be held on it."""
    yield from resizing_worlds(monkeypatch, tmp_path)


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
        used = rows._memory._used
        for place in (1, 2, 3):
            assert rows.put(place, source, grid, grid.rows, grid.columns)
        assert rows._memory._used == used
        backend.infer(4)
        assert len({row.tobytes() for row in input_of(machine, backend)}) == 1


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
        with pytest.raises(BackendUnavailable, match=r'no NVRTC .*nvidia-cuda-nvrtc-cu12'):
            machine.start(preprocess='gpu')
    made = nvrtc.nvrtcCreateProgram
    monkeypatch.setattr(
        nvrtc, 'nvrtcCreateProgram', lambda source, *rest: made(b'#error' + source, *rest))
    with pytest.raises(BackendError, match=r'resize\.cu cannot be compiled: .*an error in line 1'):
        machine.start(preprocess='gpu')


def test_a_driver_that_is_older_than_the_compiler_is_told(world: Any, monkeypatch: Any) -> None:
    machine = world()
    nvrtc = sys.modules['cuda.bindings'].nvrtc
    monkeypatch.setattr(nvrtc, 'nvrtcGetCUBIN', lambda program, target: (nvrtc.nvrtcVersion()[0],))
    with pytest.raises(BackendError, match=(
            r'image is invalid.*; NVRTC 13\.1 compiled it, the driver is of CUDA 12\.4: .*'
            r'"cuda-bindings<13" nvidia-cuda-nvrtc-cu12')):
        machine.start(preprocess='gpu')
    assert not (machine.engines / 'kernels').exists()


def test_by_default_the_caller_writes_all_rows(world: Any) -> None:
    machine = world()
    with machine.start() as backend:
        assert backend.device_rows() is None
    assert not machine.cuda.compiled
