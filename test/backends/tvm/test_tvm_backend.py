"""TVM: the same answers as ONNX Runtime, modules kept like engines, and kernels for GPUs."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

from models.tiny_model import write_tiny_model
from models.tvm_network import answers, BATCH, SIDE, write_network
import numpy as np
import onnx
from onnx import helper, numpy_helper
import pytest
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.backends.tvm import backend as tvm_backend
from resnet_trt_node.backends.tvm.cpu import Cpu
from resnet_trt_node.backends.tvm.cuda import gpu_runner
from resnet_trt_node.backends.tvm.gpu_loops import (
    batch_sizes, cuda_target, gpu_module, pieces, schedule_gpu)
from resnet_trt_node.backends.tvm.runtime import build, export_library, load_library, load_tvm
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.spec import INPUT_NAME
from resnet_trt_node.datasets.labelled import LabelledPictures
from resnet_trt_node.errors import BackendUnavailable, ModelError, UsageError

pytestmark = pytest.mark.slow

pytest.importorskip('tvm', reason='Apache TVM is not installed')


@pytest.fixture(scope='module')
def engine_dir(kept):
    return kept.engines('tvm-engines')


@pytest.fixture(scope='module')
def photographs():
    """Return real pictures, uint8 (N, 64, 64, 3) RGB."""
    data = pytest.importorskip('skimage.data', reason='scikit-image, which has photographs')
    pieces = []
    for picture in (data.astronaut(), data.coffee(), data.cat(), data.rocket()):
        for start in (0, 40):
            pieces.append(picture[start:start + 256:4, start:start + 256:4, :3])
    return np.ascontiguousarray(np.stack(pieces))


@pytest.fixture(scope='module')
def resnet18(kept):
    """Return ResNet-18 of random weights for pictures of 64x64, in each precision."""
    pytest.importorskip('torch', reason='PyTorch, which exports the network')

    def make(folder):
        for precision in ('fp32', 'fp16'):
            assert main([
                'export', '--arch', 'resnet18', '--weights', 'random', '--num-classes', '10',
                '--image-size', '64', '--resize', '72', '--precision', precision,
                '-o', str(folder / f'{precision}.onnx'), '--json']) == 0
    return kept('tvm-resnet18', make, Path(__file__))


def both(path, frames, engine_dir):
    found, wanted = (answers(path, frames, backend, engine_dir)
                     for backend in ('tvm', 'onnxruntime'))
    # Answers that are all alike, or all certain, would agree whatever a backend computed.
    assert wanted.max() < 0.999
    assert np.ptp(wanted, axis=0).max() > 1e-3
    return found, wanted


# Answers

@pytest.mark.parametrize(('precision', 'tolerance'), [('fp32', 1e-4), ('fp16', 5e-3)])
def test_resnet_agrees_with_onnx_runtime_on_photographs(
        resnet18, photographs, engine_dir, precision, tolerance):
    found, wanted = both(resnet18 / f'{precision}.onnx', photographs, engine_dir)
    np.testing.assert_allclose(found, wanted, atol=tolerance)


def test_int8_rounds_as_the_graph_does(resnet18, photographs, engine_dir, tmp_path):
    import onnxruntime
    from resnet_trt_node.onnx_tools.int8.quantize import quantize_model
    path = tmp_path / 'int8.onnx'
    quantize_model(resnet18 / 'fp32.onnx', [photographs], path)
    found, _ = both(path, photographs, engine_dir)
    # With its own int8 kernels ONNX Runtime rounds sums between two levels another way.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    literal, = onnxruntime.InferenceSession(
        str(path), options, providers=['CPUExecutionProvider']).run(
            None, {INPUT_NAME: photographs})
    np.testing.assert_allclose(found, literal, atol=1e-4)
    plain = answers(resnet18 / 'fp32.onnx', photographs, 'tvm', engine_dir)
    assert np.abs(found - plain).max() > 1e-3


def test_trained_weights_agree_on_labelled_photographs(
        efficientnet_lite0, shared_data, engine_dir):
    rows = {}
    for backend in ('tvm', 'onnxruntime'):
        with LabelledPictures(shared_data / 'imagenet-200.zip', None, 1000) as pictures, \
                open_backend(
                    efficientnet_lite0, backend, implied=['engine_dir'], max_batch_size=8,
                    threads=2, engine_dir=engine_dir) as opened:
            rows[backend] = np.stack([row for _, row in Classifier(opened).probabilities(
                pictures.items[:60], pictures.frame)])
    np.testing.assert_allclose(rows['tvm'], rows['onnxruntime'], atol=1e-4)
    assert rows['tvm'].max() > 0.9


@pytest.mark.parametrize('changes', [
    {}, {'groups': 1}, {'groups': 4}, {'dilation': 2, 'padding': 2}, {'operator': 'Sigmoid'},
    {'padding': 0}])
def test_every_kind_of_layer_agrees(tmp_path, engine_dir, changes):
    path = write_network(tmp_path / 'network.onnx', **changes)
    frames = np.random.default_rng(1).integers(0, 256, (7, SIDE, SIDE, 3), np.uint8)
    frames[::2] //= 8
    found, wanted = both(path, frames, engine_dir)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_it_computes_with_as_many_threads_as_asked_and_binds_none(tmp_path, engine_dir):
    path = write_network(tmp_path / 'network.onnx')
    script = (
        'import os, sys\n'
        'from pathlib import Path\n'
        'from resnet_trt_node.backends.factory import open_backend\n'
        'before = os.sched_getaffinity(0)\n'
        'for count in (2, 1):\n'
        '    with open_backend(sys.argv[1], "tvm", \n'
        '            threads=count, engine_dir=Path(sys.argv[2])) as backend:\n'
        '        backend.infer(1)\n'
        '        assert backend.info.details["threads"] == str(count)\n'
        'assert all(os.sched_getaffinity(int(thread)) == before\n'
        '           for thread in os.listdir("/proc/self/task"))\n')
    subprocess.run([sys.executable, '-c', script, str(path), str(engine_dir)], check=True)


# Modules on disk

def test_a_module_is_found_again_and_a_miss_has_a_reason(tmp_path):
    path, engines, log = write_tiny_model(tmp_path / 'tiny.onnx'), tmp_path / 'engines', []

    def reason(**options):
        with open_backend(
                path, 'tvm', engine_dir=engines, log=log.append,
                **{'threads': 1, **options}) as backend:
            return backend.info.details['engine_built_because']

    assert 'first' in reason()
    assert 'found' in reason()
    # The loops are the same for every number of threads.
    assert 'found' in reason(threads=2)
    assert 'batch sizes' in reason(max_batch_size=2)
    write_tiny_model(path, size=16)
    assert 'model file' in reason()
    assert len([line for line in log if line.startswith('building tiny-')]) == 3


def test_a_module_that_was_altered_is_not_loaded(tmp_path):
    path, engines = write_tiny_model(tmp_path / 'tiny.onnx'), tmp_path / 'engines'
    open_backend(path, 'tvm', engine_dir=engines).close()
    engine, = engines.glob('*.engine')
    content = engine.read_bytes()
    engine.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with open_backend(path, 'tvm', engine_dir=engines) as backend:
        assert 'sha256' in backend.info.details['engine_built_because']


def test_the_precision_that_was_asked_for_is_insisted_on(tmp_path, engine_dir):
    path = write_tiny_model(tmp_path / 'tiny.onnx')
    with pytest.raises(ModelError, match='fp16'):
        open_backend(path, 'tvm', engine_dir=engine_dir, precision='fp16')


def test_without_tvm_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split('.')[0] == 'tvm']:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, 'tvm', None)
    with pytest.raises(BackendUnavailable, match='apache-tvm'):
        open_backend(write_tiny_model(tmp_path / 'tiny.onnx'), 'tvm')


def test_without_a_linker_the_package_to_install_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tvm_backend.shutil, 'which', lambda name: None)
    with pytest.raises(BackendUnavailable, match=r'g\+\+'):
        open_backend(write_tiny_model(tmp_path / 'tiny.onnx'), 'tvm',
                     engine_dir=tmp_path / 'engines')


def test_a_scale_for_each_channel_of_an_activation_is_refused(tmp_path):
    path = write_network(tmp_path / 'network.onnx')
    model = onnx.load(str(path))
    model.graph.initializer.append(
        numpy_helper.from_array(np.full(8, 0.1, np.float32), 'scales'))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(8, np.int8), 'zeros'))
    index = next(i for i, node in enumerate(model.graph.node) if node.output[0] == 'x2')
    model.graph.node[index].output[0] = 'x2.float'
    for place, kind, names in ((1, 'QuantizeLinear', ('x2.float', 'x2.int')),
                               (2, 'DequantizeLinear', ('x2.int', 'x2'))):
        model.graph.node.insert(index + place, helper.make_node(
            kind, [names[0], 'scales', 'zeros'], [names[1]], axis=1))
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match='scale'):
        open_backend(path, 'tvm', engine_dir=tmp_path / 'engines')


# GPUs

def test_a_gpu_that_is_not_there_is_reported(tmp_path):
    if load_tvm().cuda(0).exist:
        pytest.skip('TVM can use the GPU of this machine')
    path = write_tiny_model(tmp_path / 'tiny.onnx')
    with pytest.raises(BackendUnavailable, match='tvm_target'):
        open_backend(path, 'tvm', tvm_target='cuda', engine_dir=tmp_path / 'engines')
    log = []
    with open_backend(path, 'tvm', engine_dir=tmp_path / 'engines', log=log.append) as backend:
        assert backend.info.device == 'CPU'
    assert 'CPU' in log[0]


@pytest.mark.parametrize('size', range(1, 20))
def test_batches_are_made_up_of_powers_of_two(size):
    found = list(pieces(size))
    assert [start for start, _ in found] == [sum(n for _, n in found[:i])
                                             for i in range(len(found))]
    assert sum(part for _, part in found) == size
    assert {part for _, part in found} <= set(batch_sizes(size)) == {1, 2, 4, 8, 16} & set(
        range(1, size + 1))


@pytest.mark.parametrize('changes', [{}, {'groups': 1}])
def test_products_of_patches_are_convolutions(tmp_path, engine_dir, changes):
    """The loops for GPUs, which this test runs on the CPU, as they are before any schedule."""
    tvm = load_tvm()
    path = write_network(tmp_path / 'network.onnx', **changes)
    target = Cpu(tvm, 1).target
    with target, tvm.transform.PassContext(opt_level=3):
        module = gpu_module(tvm, onnx.load(str(path)), batch_sizes(BATCH))
        library = export_library(build(tvm, module, target))
    run = gpu_runner(tvm, load_library(library), tvm.cpu(), read_model_spec(path), BATCH)
    frames = np.random.default_rng(4).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    wanted = answers(path, frames, 'onnxruntime', engine_dir)
    np.testing.assert_allclose(run(frames), wanted, atol=1e-5)
    np.testing.assert_allclose(run(frames[:1]), wanted[:1], atol=1e-5)


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_kernels_for_a_gpu_are_written(resnet18, precision):
    """Without a GPU TVM writes the kernels but does not compile them."""
    tvm = load_tvm()
    path = resnet18 / f'{precision}.onnx'
    target = cuda_target(tvm, 'sm_90')
    with target, tvm.transform.PassContext(opt_level=3):
        module = schedule_gpu(tvm, gpu_module(tvm, onnx.load(str(path)), [2]))
    executable = build(tvm, module, target)
    if tvm.cuda(0).exist:
        pytest.skip('TVM compiled the kernels for the GPU of this machine')
    kernels, = (part for host in executable.mod.imports for part in host.imports)
    source = kernels.inspect_source()
    # Every convolution once for each shape, the shared memory of a product in each.
    assert source.count('__global__') >= 15
    assert source.count('__shared__') >= 20
    assert ('half' in source) == (precision == 'fp16')


def test_an_option_of_the_other_target_is_refused_or_reported(tmp_path, engine_dir):
    path = write_tiny_model(tmp_path / 'tiny.onnx')
    with pytest.raises(UsageError, match='device'):
        open_backend(path, 'tvm', engine_dir=engine_dir, tvm_target='cpu', device=1)
    lines = []
    try:
        open_backend(path, 'tvm', engine_dir=engine_dir, device=1, log=lines.append).close()
    finally:
        assert any('device' in line for line in lines)
