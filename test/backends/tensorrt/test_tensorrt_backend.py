"""The TensorRT backend on stand-ins of TensorRT, pycuda and cuda-bindings."""

from __future__ import annotations

from pathlib import Path
import threading
from typing import Any, Callable, Iterator

from models.tiny_model import colour_picture, COLOURS
import numpy as np
import pytest
from resnet_trt_node.backends.base import warm_up
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.backends.tensorrt.log import _listeners
from resnet_trt_node.errors import (
    BackendError, BackendUnavailable, InferenceError, ModelError, UsageError)
from stand_ins.tensorrt_machine import colours_of, World, worlds

KINDS = ('8.6', '10', '11', 'rtx')


@pytest.fixture
def world(monkeypatch: Any, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Return what makes a machine; at the end nothing may be held on it."""
    yield from worlds(monkeypatch, tmp_path)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('graphs', [True, False])
def test_every_batch_size_names_each_colour_at_its_place(
        world: Any, kind: str, graphs: bool) -> None:
    machine = world(kind=kind, graphs=graphs)
    names = list(COLOURS)
    with machine.start(max_batch_size=8, opt_batch_sizes=(1, 8)) as backend:
        warm_up(backend)
        for size in (8, 1, 3, 2, 7, 1, 8):
            for index in (0, 1):
                assert colours_of(backend, names[:size], index) == names[:size]


def test_two_buffers_in_flight_keep_their_own_frames(world: Any) -> None:
    machine = world()
    with machine.start(max_batch_size=2, num_buffers=2) as backend:
        for first, second in (('red', 'blue'), ('green', 'black')):
            backend.buffer(0)[:] = colour_picture(first, 32, 32)
            backend.buffer(1)[:] = colour_picture(second, 32, 32)
            backend.submit(2, 0)
            backend.submit(1, 1)
            assert backend.collect(1).argmax() == list(COLOURS).index(second)
            assert list(backend.collect(0).argmax(axis=1)) == 2 * [list(COLOURS).index(first)]


def test_gpus_of_one_name_and_different_sizes_have_engines_of_their_own(world: Any) -> None:
    machine = world()
    with machine.start():
        pass
    # As Jetson Orins are.
    machine.cuda.attributes['multiprocessors'] = 8
    with machine.start() as backend:
        assert backend.info.details['engine_built_because'] == (
            'GPU Stand-in GPU, 16 SMs -> Stand-in GPU, 8 SMs')
    assert len(machine.trt.builds) == 2


def test_rtx_compiles_for_the_gpu_at_hand_and_for_graphs(world: Any) -> None:
    machine = world(kind='rtx')
    # Turing, which it leaves out unless it is named.
    machine.cuda.capability = (7, 5)
    with machine.start():
        pass
    asked, = machine.trt.builds
    assert asked['target'] == 'SM75'
    assert 'REQUIRE_USER_ALLOCATION' in {flag.name for flag in asked['flags']}
    machine.trt.build_fails = 'FP32 GEMM is not supported'
    with pytest.raises(BackendError, match=r'Turing .*--precision fp16'):
        machine.start(max_batch_size=3)


def test_a_graph_is_recorded_once_for_each_small_size_and_buffer(world: Any) -> None:
    machine = world()
    with machine.start(max_batch_size=4, num_buffers=2, cuda_graph_max_batch=2) as backend:
        warm_up(backend)
        assert machine.cuda.held['graph executable'] == 4  # sizes 1 and 2 of two buffers
        assert machine.cuda.held['graph'] == 0
        calls = machine.cuda.calls
        backend.infer(1)
        assert machine.cuda.calls - calls == 3  # launch, record, wait
        assert backend.info.details['cuda_graphs'] == 'batch sizes up to 2'


@pytest.mark.parametrize(('graphs', 'limit', 'tuned', 'sizes'), [
    (True, 3, (12,), [1, 2, 3, 4, 8, 12]), (True, 8, (1, 12), [*range(1, 9), 12]),
    (False, 8, (12,), [1, 2, 4, 8, 12]), (False, 8, (1, 12), [1, 2, 3, 4, 8, 12]),
    (True, 16, (12,), list(range(1, 13)))])
def test_warming_up_records_all_graphs_and_tries_each_profile(
        world: Any, graphs: bool, limit: int, tuned: Any, sizes: list[int]) -> None:
    machine = world(graphs=graphs)
    with machine.start(max_batch_size=12, num_buffers=3, cuda_graph_max_batch=limit,
                       opt_batch_sizes=tuned) as backend:
        assert list(warm_up(backend)) == sizes
        assert [backend.warm_up_sizes(index) for index in range(3)] == 3 * [sizes]
        recorded = machine.cuda.held['graph executable']
        assert recorded == (3 * min(limit, 12) if graphs else 0)
        for size in range(1, 13):
            backend.infer(size, 2)
        assert machine.cuda.held['graph executable'] == recorded


def test_without_cuda_bindings_it_logs_so_and_enqueues(world: Any) -> None:
    machine = world(graphs=False)
    with machine.start() as backend:
        assert colours_of(backend, ['red']) == ['red']
        assert backend.info.details['cuda_graphs'] == 'no'
    assert any('pip install cuda-bindings' in line for line in machine.said)


def test_a_graph_that_cannot_be_recorded_is_done_without(world: Any) -> None:
    machine = world()
    with machine.start() as backend:
        # One enqueue of three calls, a wait; then the begin of the recording fails.
        machine.cuda.fail_at = machine.cuda.calls + 2 + 1 + 2
        assert colours_of(backend, ['blue']) == ['blue']
        assert colours_of(backend, ['red']) == ['red']
    assert any('without graphs' in line for line in machine.said), machine.said


def test_info_names_runtime_device_precision_and_engine(world: Any) -> None:
    machine = world(names=('Card A', 'Card B'))
    with machine.start(device=1, max_batch_size=2) as backend:
        assert (backend.info.name, backend.info.version) == ('tensorrt', '8.6.1')
        assert backend.info.device == 'Card B (1)'
        details = backend.info.details
        assert details['precision'] == 'fp32'
        assert Path(details['engine']).is_file()
        assert 'first engine' in details['engine_built_because']
        # Two buffers of two 32 x 32 frames, eight floats each, and 4 KiB of scratch.
        assert details['buffers_memory_mib'] == f'{2 * (2 * 3072 + 64 + 4096) / 2**20:.1f}'
    with machine.start(device=1, max_batch_size=2) as backend:
        assert backend.info.details['engine_built_because'] == 'it was not, it was found'
    assert len(machine.trt.builds) == 1


def test_each_failure_while_opening_frees_everything(
        world: Any, monkeypatch: Any, tmp_path: Path) -> None:
    machine = world()
    with machine.start(max_batch_size=2) as backend:
        warm_up(backend)
    calls = machine.cuda.calls
    for number in range(1, calls + 1):
        machine = world(fail_at=number)
        # The only failures that one can live with are those that it logs.
        reported = machine.said
        try:
            with machine.start(max_batch_size=2) as backend:
                warm_up(backend)
        except BackendError as error:
            reported = [str(error)]
        assert any(words in str(reported) for words in (
            'CUDA_ERROR_OUT_OF_MEMORY', 'CUDA_ERROR_STREAM_CAPTURE')), (number, reported)
        assert machine.everything_freed(), (number, machine.cuda.held)


def test_a_device_error_is_named_and_the_backend_can_be_closed(world: Any) -> None:
    machine = world()
    backend = machine.start()
    warm_up(backend)
    machine.cuda.sentence = 'an illegal memory access was encountered'
    machine.cuda.sticky = True
    machine.cuda.fail_at = machine.cuda.calls + 3  # the wait, after launch and record
    backend.submit(1)
    with pytest.raises(InferenceError, match='CUDA_ERROR_ILLEGAL_ADDRESS'):
        backend.collect()
    with pytest.raises(InferenceError, match='cuGraphLaunch'):
        backend.submit(1)
    backend.close()
    backend.close()
    assert any('device memory' in line for line in machine.said)
    with pytest.raises(BackendError, match='CUDA_ERROR_ILLEGAL_ADDRESS'):
        machine.start()
    machine.cuda.fail_at = None
    with machine.start() as again:
        assert colours_of(again, ['green']) == ['green']


def test_the_context_is_current_in_the_opening_thread_only(world: Any) -> None:
    machine = world()
    done: list[Any] = []

    def use() -> None:
        with machine.start() as backend:
            done.extend(colours_of(backend, ['cyan']))
            done.append([thread for thread, stack in machine.cuda.stacks.items() if stack])
    thread = threading.Thread(target=use)
    thread.start()
    thread.join(60)
    assert done == ['cyan', [thread.ident]]


def test_refused_models_leave_no_listener(world: Any) -> None:
    machine = world()
    before = len(_listeners)
    for _ in range(3):
        with pytest.raises(ModelError, match='fp16'):
            machine.start(precision='fp16')
    assert len(_listeners) == before


def test_errors_name_what_is_missing(world: Any, monkeypatch: Any) -> None:
    machine = world(names=())
    with pytest.raises(BackendUnavailable, match='no GPU'):
        machine.start()
    machine = world()
    with pytest.raises(UsageError, match='device is 3'):
        machine.start(device=3)
    with pytest.raises(ModelError, match='--precision fp16'):
        machine.start(precision='fp16')
    with pytest.raises(BackendUnavailable, match='accelerator'):
        machine.start(dla_core=0)
    with pytest.raises(UsageError, match='GPU at hand'):
        machine.start(target_sm='8.9')
    machine.trt.build_fails = 'Could not find any implementation for node fc'
    with pytest.raises(BackendError, match='node fc'):
        machine.start()


def test_auto_prefers_tensorrt_and_logs_why_it_cannot(
        world: Any, monkeypatch: Any) -> None:
    machine = world()
    with open_backend(
            machine.model, engine_dir=machine.engines, log=machine.said.append) as backend:
        assert backend.info.name == 'tensorrt'
    machine = world(names=())
    with open_backend(
            machine.model, engine_dir=machine.engines, log=machine.said.append) as backend:
        assert backend.info.name == 'onnxruntime'
    assert machine.said[-2:] == [
        'using onnxruntime instead of tensorrt: the CUDA driver finds no GPU; '
        'backend tensorrt says more', 'onnxruntime does not use engine_dir']


def test_probabilities_are_those_of_the_model(world: Any) -> None:
    machine = world()
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    with machine.start(max_batch_size=3) as backend, open_backend(
            machine.model, 'onnxruntime', max_batch_size=3) as reference:
        backend.buffer()[:] = frames
        reference.buffer()[:] = frames
        np.testing.assert_allclose(backend.infer(3), reference.infer(3), atol=1e-6)
