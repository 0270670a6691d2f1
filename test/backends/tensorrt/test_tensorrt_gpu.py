"""
What only a GPU can show; `make gpu-test` runs it there, elsewhere it is skipped with the reason.

It runs on Python 3.9 with pytest, NumPy and onnx alone.
"""

from __future__ import annotations

from dataclasses import replace
import os
import subprocess
import sys

from models.lean_engines import build_elsewhere
from models.relu6_model import write_relu6_model
from models.tiny_model import write_tiny_model
import numpy as np
import onnx
import pytest
from resnet_trt_node.backends.base import warm_up
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.backends.tensorrt.versions import load_module
from resnet_trt_node.contract.model_file import spec_of, write_model_spec
from resnet_trt_node.errors import BackendUnavailable, ModelError
from resnet_trt_node.onnx_tools.int8.quantize import insert_pairs, Placement

SIDE = 32
#: Options of which each value has an engine of its own.
BUILT_FOR = ('engine_dir', 'optimization_level', 'max_batch_size', 'opt_batch_sizes', 'tf32')


@pytest.fixture(scope='module', params=['tensorrt', 'tensorrt_lean'])
def world(request, tmp_path_factory):
    """Return a function that opens the tiny model on TensorRT or its lean runtime."""
    name = request.param
    folder = tmp_path_factory.mktemp('gpu')
    tiny = write_tiny_model(folder / 'tiny.onnx', size=SIDE)

    def start(path=tiny, **options):
        options = {'engine_dir': folder / 'engines', 'optimization_level': 0, **options}
        if name == 'tensorrt_lean':
            options['engine_host_code'] = True
            wanted = {option: value for option, value in options.items() if option in BUILT_FOR}
            if (path, wanted) not in built:
                load_module(name)
                build_elsewhere(path, wanted)
                built.append((path, wanted))
        return open_backend(path, name, **options)
    built = []
    try:
        start().close()
    except BackendUnavailable as error:
        if os.environ.get('RESNET_TRT_GPU_TEST'):
            raise
        pytest.skip(f'no {name} with a GPU here: {error}')
    return start


def answers(backend, frames):
    found = []
    for start in range(0, len(frames), backend.max_batch_size):
        part = frames[start:start + backend.max_batch_size]
        backend.buffer()[:len(part)] = part
        found.append(backend.infer(len(part)).copy())
    return np.concatenate(found)


@pytest.fixture(scope='module')
def frames():
    return np.random.default_rng(0).integers(0, 256, (21, SIDE, SIDE, 3), np.uint8)


def test_the_engine_is_found_the_second_time(world):
    world(max_batch_size=3).close()
    with world(max_batch_size=3) as backend:
        assert backend.info.details['engine_built_because'] == 'it was not, it was found'
        assert float(backend.info.details['device_memory_mib']) > 0


@pytest.mark.parametrize('options', [
    {'cuda_graph_max_batch': 0}, {'cuda_graph_max_batch': 8}, {'blocking_sync': True},
    {'opt_batch_sizes': (1, 8)}, {'num_buffers': 1}, {'num_buffers': 4}, {'tf32': True},
    {'zero_copy_max_batch': 0}, {'zero_copy_max_batch': 8, 'cuda_graph_max_batch': 8}])
def test_every_way_to_run_gives_the_same_answers(world, frames, options):
    with world(max_batch_size=8) as backend:
        expected = answers(backend, frames)
    with world(max_batch_size=8, **options) as backend:
        warm_up(backend)
        np.testing.assert_allclose(answers(backend, frames), expected, atol=5e-3)


def test_graphs_of_all_sizes_stay_right_in_any_order(world, frames):
    with world(max_batch_size=8, cuda_graph_max_batch=8) as backend:
        warm_up(backend)
        alone = []
        for frame in frames[:8]:
            backend.buffer()[0] = frame
            alone.append(backend.infer(1)[0].copy())
        for size in (8, 3, 1, 5, 8, 2, 7, 4, 6, 1, 8):
            backend.buffer(size % 2)[:size] = frames[:size]
            np.testing.assert_allclose(
                backend.infer(size, size % 2), alone[:size], atol=2e-3)


def test_a_hundred_openings_hold_no_memory(world):
    from resnet_trt_node.backends.cuda.device import CudaDevice
    watcher = CudaDevice(0)
    try:
        def live():
            with world(max_batch_size=2) as backend:
                warm_up(backend)
        for _ in range(10):
            live()
        before = watcher.memory_bytes()[0]
        for _ in range(100):
            live()
        # The driver hands out memory in blocks of 2 MiB.
        assert before - watcher.memory_bytes()[0] <= 4 << 20
    finally:
        watcher.close()


def test_int8_behind_a_relu6_answers_as_float_does(world, frames, tmp_path):
    # Without int8/qdq_clip.py, 8.6.0 is wrong here. There is no runtime on this machine to
    # calibrate with: the pairs get the largest values that can be.
    fp32 = write_relu6_model(tmp_path / 'fp32.onnx', SIDE)
    model = onnx.load(str(fp32))
    insert_pairs(
        model, {'normalised': 2.7, 'depthwise.relu6': 6.0},
        Placement(pooled=False, keep=frozenset({'logits'})))
    write_model_spec(model, replace(spec_of(model), precision='int8'))
    int8 = tmp_path / 'int8.onnx'
    onnx.save(model, str(int8))
    found = []
    for path in (fp32, int8):
        with world(path) as backend:
            found.append(answers(backend, frames))
    assert 0 < np.abs(found[0] - found[1]).max() < 0.05
    # The pictures do not look alike to it, so that it did not answer blindly.
    assert np.ptp(found[0], axis=0).max() > 0.2


def test_another_precision_is_refused(world):
    with pytest.raises(ModelError, match='--precision fp16'):
        world(precision='fp16')


@pytest.mark.slow
def test_an_illegal_access_is_an_error_with_its_name_and_closing_works():
    """The process that does it is lost, so it is one of its own."""
    script = (
        'import sys, tempfile\n'
        f'sys.path[:0] = {sys.path!r}\n'
        'from pathlib import Path\n'
        'from resnet_trt_node.errors import BackendError, BackendUnavailable, InferenceError\n'
        'from resnet_trt_node.backends.factory import open_backend\n'
        'from models.tiny_model import write_tiny_model\n'
        'folder = Path(tempfile.mkdtemp())\n'
        'path = write_tiny_model(folder / "tiny.onnx")\n'
        'def opened():\n'
        '    return open_backend(\n'
        '        path, "tensorrt", engine_dir=folder / "engines", cuda_graph_max_batch=0,\n'
        '        optimization_level=0, log=print)\n'
        'try:\n'
        '    backend = opened()\n'
        'except BackendUnavailable as error:\n'
        '    print("UNAVAILABLE", error)\n'
        '    sys.exit()\n'
        'backend.infer(1)\n'
        '# An address that nothing was allocated at.\n'
        'backend._slots[0]._contexts[0].raw.set_tensor_address("probabilities", 1 << 52)\n'
        'try:\n'
        '    backend.infer(1)\n'
        'except InferenceError as error:\n'
        '    print("FIRST", error)\n'
        'backend.close()\n'
        'print("CLOSED")\n'
        'try:\n'
        '    opened()\n'
        'except BackendError as error:\n'
        '    print("AGAIN", error)\n')
    done = subprocess.run(
        [sys.executable, '-c', script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=600)
    if 'UNAVAILABLE' in done.stdout and not os.environ.get('RESNET_TRT_GPU_TEST'):
        pytest.skip(f'no TensorRT with a GPU here: {done.stdout.strip()}')
    lines = {line.split(' ')[0]: line for line in done.stdout.splitlines()}
    assert 'CUDA_ERROR_ILLEGAL_ADDRESS' in lines['FIRST'], done.stdout
    assert 'CLOSED' in lines, done.stdout
    assert 'restart the process' in lines['AGAIN'], done.stdout
