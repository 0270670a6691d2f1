"""TVM: the same answers as ONNX Runtime, modules kept like engines, tiles found by measuring."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest

from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import BackendError, BackendUnavailable, ModelError
from resnet_trt_node.inference import tvm_compiler, tvm_engine
from resnet_trt_node.inference.backend import BackendOptions
from resnet_trt_node.inference.classifier import Classifier
from resnet_trt_node.inference.factory import open_backend
from resnet_trt_node.inference.labelled_pictures import LabelledPictures
from resnet_trt_node.inference.model_file import read_model_spec, write_model_spec
from resnet_trt_node.inference.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME, ResizeRule
from resnet_trt_node.inference.tvm_cuda import GpuModule
from resnet_trt_node.inference.tvm_database import Record, TuningDatabase
from resnet_trt_node.inference.tvm_gpu import (
    batch_sizes, build_gpu, cuda_target, gpu_module, pieces, schedule_gpu)
from resnet_trt_node.inference.tvm_runtime import host_processor, load_tvm
from resnet_trt_node.inference.tvm_workload import (
    candidate_tiles, default_tile, Registers, Tile, variations, Workload)
from tiny_model import write_tiny_model

pytest.importorskip('tvm', reason='Apache TVM is not installed')

SIDE = 33
BATCH = 3
AVX2 = Registers(8, 16)
AVX512 = Registers(16, 32)
BOTTLENECK = Workload('conv', 56, 56, 64, 64, (3, 3), (1, 1), (1, 1, 1, 1))


@pytest.fixture(scope='module')
def engine_dir(tmp_path_factory):
    return tmp_path_factory.mktemp('tvm-engines')


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
def resnet18(tmp_path_factory):
    """Return ResNet-18 of random weights for pictures of 64x64, in each precision."""
    pytest.importorskip('torch', reason='PyTorch, which exports the network')
    folder = tmp_path_factory.mktemp('resnet18')
    for precision in ('fp32', 'fp16'):
        assert main([
            'export', '--arch', 'resnet18', '--weights', 'random', '--num-classes', '10',
            '--image-size', '64', '--resize', '72', '--precision', precision,
            '-o', str(folder / f'{precision}.onnx'), '--json']) == 0
    return folder


def write_network(path, groups=8, dilation=1, operator='Relu', padding=1):
    """Write a network with every kind of layer, of sides and channels that fit no vector."""
    generator = np.random.default_rng(0)

    def weight(name, *shape):
        return numpy_helper.from_array(
            (generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32), name)

    def pads(size):
        return [size] * 4

    nodes = [
        helper.make_node('Cast', [INPUT_NAME], ['pixels'], to=TensorProto.FLOAT),
        helper.make_node('Transpose', ['pixels'], ['planes'], perm=[0, 3, 1, 2]),
        helper.make_node('Mul', ['planes', 'scale'], ['x0']),
        helper.make_node('Conv', ['x0', 'w1', 'b1'], ['x1'], pads=pads(2), strides=[2, 2]),
        helper.make_node(operator, ['x1'], ['x2']),
        helper.make_node('Conv', ['x2', 'w2'], ['x3'], pads=pads(padding), group=groups,
                         dilations=[dilation] * 2),
        helper.make_node('Conv', ['x3', 'w3'], ['x4']),
        helper.make_node('Add', ['x4', 'x2'], ['x5']) if padding == dilation
        else helper.make_node('Identity', ['x4'], ['x5']),
        helper.make_node('MaxPool', ['x5'], ['x6'], kernel_shape=[3, 3], strides=[2, 2],
                         pads=pads(1)),
        helper.make_node('Conv', ['x6', 'w4', 'b4'], ['x7'], strides=[2, 1]),
        helper.make_node('Clip', ['x7', 'low', 'high'], ['x8']),
        helper.make_node('GlobalAveragePool', ['x8'], ['x9']),
        helper.make_node('Flatten', ['x9'], ['x10']),
        helper.make_node('Gemm', ['x10', 'w5', 'b5'], ['x11'], transB=1),
        helper.make_node('Softmax', ['x11'], [OUTPUT_NAME], axis=1)]
    scalars = {'scale': 1 / 64, 'low': 0.0, 'high': 6.0}
    graph = helper.make_graph(
        nodes, 'network',
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ['N', SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ['N', 7])],
        [weight('w1', 8, 3, 5, 5), weight('b1', 8), weight('w2', 8, 8 // groups, 3, 3),
         weight('w3', 8, 8, 1, 1), weight('w4', 21, 8, 3, 2), weight('b4', 21),
         weight('w5', 7, 21), weight('b5', 7),
         *(numpy_helper.from_array(np.float32(value), name)
           for name, value in scalars.items())])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    write_model_spec(model, ModelSpec(
        SIDE, SIDE, tuple('abcdefg'), ResizeRule(SIDE + 3, SIDE, SIDE), 'fp32'))
    onnx.save(model, str(path))
    return path


def answers(path, frames, backend, engine_dir, **options):
    """Return float32 (N, C) probabilities, in batches of 1, 2, ..., largest, 1, ..."""
    largest = options.setdefault('max_batch_size', BATCH)
    rows, size = [], 1
    with open_backend(path, backend, BackendOptions(
            num_buffers=1, cpu_threads=2, engine_dir=engine_dir, **options)) as opened:
        while sum(map(len, rows)) < len(frames):
            batch = frames[sum(map(len, rows)):][:size]
            opened.buffer()[:len(batch)] = batch
            rows.append(opened.infer(len(batch)).copy())
            size = size % largest + 1
    return np.concatenate(rows)


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


def test_int8_rounds_as_the_graph_says(resnet18, photographs, engine_dir, tmp_path):
    import onnxruntime
    from resnet_trt_node.model.quantize import quantize_model
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
                open_backend(efficientnet_lite0, backend, BackendOptions(
                    max_batch_size=8, cpu_threads=2, engine_dir=engine_dir)) as opened:
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
        'from resnet_trt_node.inference.backend import BackendOptions\n'
        'from resnet_trt_node.inference.factory import open_backend\n'
        'before = os.sched_getaffinity(0)\n'
        'for count in (2, 1):\n'
        '    with open_backend(sys.argv[1], "tvm", BackendOptions(\n'
        '            cpu_threads=count, engine_dir=Path(sys.argv[2]))) as backend:\n'
        '        backend.infer(1)\n'
        '        assert backend.info.details["cpu_threads"] == str(count)\n'
        'assert all(os.sched_getaffinity(int(thread)) == before\n'
        '           for thread in os.listdir("/proc/self/task"))\n')
    subprocess.run([sys.executable, '-c', script, str(path), str(engine_dir)], check=True)


# Modules on disk

def test_a_module_is_found_again_and_a_miss_says_why(tmp_path):
    path, engines, said = write_tiny_model(tmp_path / 'tiny.onnx'), tmp_path / 'engines', []

    def reason(**options):
        with open_backend(path, 'tvm', BackendOptions(
                engine_dir=engines, log=said.append,
                **{'cpu_threads': 1, **options})) as backend:
            return backend.info.details['engine_built_because']

    assert reason() == 'the first engine of this model here'
    assert reason() == 'it was not, it was found'
    assert reason(max_batch_size=2) == \
        'batch sizes 1..1 (best at 1) -> 1..2 (best at 2)'
    assert reason(cpu_threads=2) == 'threads 1 -> 2'
    database = open_database(engines, 1)
    database.add(BOTTLENECK, Record(default_tile(BOTTLENECK, database.registers), 1.0, 1.0, 1))
    database.save()
    assert reason() == f'tuning none -> {database.digest()}'
    write_tiny_model(path, size=16)
    assert reason().startswith('the model file changed (sha256 ')
    assert len([line for line in said if line.startswith('building tiny-')]) == 5


def open_database(engines, threads):
    return tvm_engine.open_database(
        load_tvm(), host_processor(), threads, BackendOptions(engine_dir=engines))


def test_a_module_that_was_altered_is_not_loaded(tmp_path):
    path, engines = write_tiny_model(tmp_path / 'tiny.onnx'), tmp_path / 'engines'
    options = BackendOptions(engine_dir=engines)
    open_backend(path, 'tvm', options).close()
    engine, = engines.glob('*.engine')
    content = engine.read_bytes()
    engine.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with open_backend(path, 'tvm', options) as backend:
        assert 'its sha256 is not the recorded one' in \
            backend.info.details['engine_built_because']


def test_the_precision_that_was_asked_for_is_insisted_on(tmp_path, engine_dir):
    path = write_tiny_model(tmp_path / 'tiny.onnx')
    with pytest.raises(ModelError, match='the model is fp32 and fp16 was asked for'):
        open_backend(path, 'tvm', BackendOptions(engine_dir=engine_dir, precision='fp16'))


def test_without_tvm_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split('.')[0] == 'tvm']:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, 'tvm', None)
    with pytest.raises(BackendUnavailable, match='pip install apache-tvm'):
        open_backend(write_tiny_model(tmp_path / 'tiny.onnx'), 'tvm')


def test_without_a_linker_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(tvm_compiler.shutil, 'which', lambda name: None)
    with pytest.raises(BackendUnavailable, match=r'apt install g\+\+'):
        open_backend(write_tiny_model(tmp_path / 'tiny.onnx'), 'tvm',
                     BackendOptions(engine_dir=tmp_path / 'engines'))


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
    with pytest.raises(ModelError, match='a scale for each channel of an activation'):
        open_backend(path, 'tvm', BackendOptions(engine_dir=tmp_path / 'engines'))


# GPUs

def test_a_gpu_that_is_not_there_is_told(tmp_path):
    if load_tvm().cuda(0).exist:
        pytest.skip('TVM can use the GPU of this machine')
    path = write_tiny_model(tmp_path / 'tiny.onnx')
    with pytest.raises(BackendUnavailable, match='use tvm_target cpu'):
        open_backend(path, 'tvm', BackendOptions(
            tvm_target='cuda', engine_dir=tmp_path / 'engines'))
    said = []
    with open_backend(path, 'tvm', BackendOptions(
            engine_dir=tmp_path / 'engines', log=said.append)) as backend:
        assert backend.info.device == 'CPU'
    assert said[0].startswith('TVM compiles for the CPU: ')


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
    target = host_processor().target(tvm)
    with target, tvm.transform.PassContext(opt_level=3):
        module = gpu_module(
            tvm, lambda: onnx.load(str(path)), batch_sizes(BATCH), True, str(path))
        library = tvm_compiler._export(tvm_compiler._build(tvm, module, target))
    runner = GpuModule(
        tvm, tvm_engine.load_library(library), tvm.cpu(), read_model_spec(path), BATCH)
    frames = np.random.default_rng(4).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    wanted = answers(path, frames, 'onnxruntime', engine_dir)
    np.testing.assert_allclose(runner.run(frames), wanted, atol=1e-5)
    np.testing.assert_allclose(runner.run(frames[:1]), wanted[:1], atol=1e-5)


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_kernels_for_a_gpu_are_written(resnet18, precision):
    """Without a GPU TVM writes the kernels but does not compile them."""
    tvm = load_tvm()
    path = resnet18 / f'{precision}.onnx'
    target = cuda_target(tvm, 'sm_90')
    with target, tvm.transform.PassContext(opt_level=3):
        module = schedule_gpu(
            tvm, gpu_module(tvm, lambda: onnx.load(str(path)), [2], True, str(path)),
            lambda name: {'micro_size_x': 2})
    executable = build_gpu(tvm, module, target)
    if tvm.cuda(0).exist:
        pytest.skip('TVM compiled the kernels for the GPU of this machine')
    kernels, = (part for host in executable.mod.imports for part in host.imports)
    source = kernels.inspect_source()
    # Every convolution once for each shape, the shared memory of a product in each.
    assert source.count('__global__') >= 15
    assert source.count('__shared__') >= 20
    assert ('half' in source) == (precision == 'fp16')


# Tiles

@pytest.mark.parametrize('registers', [AVX2, AVX512, Registers(4, 32)])
@pytest.mark.parametrize('workload', [
    BOTTLENECK, Workload('conv', 7, 7, 2048, 512), Workload('conv', 13, 17, 3, 10, (3, 3)),
    Workload('depthwise', 112, 112, 24, 24, (3, 3), (2, 2), (0, 0, 1, 1)),
    Workload('dense', 1, 1, 2048, 1000)])
def test_tiles_divide_their_workload_and_fit_the_registers(registers, workload):
    assert Workload.parse(str(workload)) == workload
    tiles = list(candidate_tiles(workload, registers))
    assert tiles[0] == default_tile(workload, registers)
    assert len(set(tiles)) == len(tiles)
    for tile in (*tiles, *variations(tiles[0], workload)):
        assert Tile.from_json(tile.to_json(), workload) == tile
        vectors = tile.filters // registers.vector(tile.filters)
        assert tile.rows * tile.columns * vectors <= registers.count


def test_a_tile_that_does_not_fit_is_refused():
    for tile in (Tile(60, 1, 1), Tile(64, 3, 1), Tile(64, 1, 5), Tile(64, 1, 1, 'spiral'),
                 Tile(64, 1, 1, depth=48)):
        with pytest.raises(ValueError, match='does not fit conv 56x56x64'):
            tile.check(BOTTLENECK)
    with pytest.raises(ValueError, match='names no workload'):
        Workload.parse('conv 56x56')


def test_the_database_keeps_records_and_refuses_damage(tmp_path):
    database = TuningDatabase(tmp_path / 'engines', 'some CPU', AVX512)
    assert database.digest() == 'none'
    assert database.tile(BOTTLENECK) == default_tile(BOTTLENECK, AVX512)
    database.add(BOTTLENECK, Record(Tile(16, 1, 8, 'rows', 32), 120.5, 200.0, 9))
    database.save()
    again = TuningDatabase(tmp_path / 'engines', 'some CPU', AVX512)
    assert again.records == database.records
    assert again.tile(BOTTLENECK) == Tile(16, 1, 8, 'rows', 32)
    assert again.digest() == database.digest() != 'none'
    assert TuningDatabase(tmp_path / 'engines', 'another CPU', AVX512).records == {}
    for damage in ('{', '{}', database.path.read_text().replace('"columns": 8', '"columns": 9')):
        database.path.write_text(damage)
        with pytest.raises(BackendError, match=r'is malformed .*: delete it, and tune again'):
            TuningDatabase(tmp_path / 'engines', 'some CPU', AVX512)


# Tuning

def tune(model, engines, capsys, *words):
    capsys.readouterr()
    code = main(['tune', str(model), '--engine-dir', str(engines), '--cpu-threads', '1',
                 '--minutes', '1', '--json', *map(str, words)])
    return code, json.loads(capsys.readouterr().out)


def test_tuning_keeps_what_it_found_and_the_backend_uses_it(tmp_path, capsys):
    path, engines = write_network(tmp_path / 'network.onnx'), tmp_path / 'engines'
    code, first = tune(path, engines, capsys, '--trials', 12, '--max-batch', BATCH)
    assert code == 0
    assert (first['trials'], first['threads'], first['interrupted']) == (12, 1, False)
    # Four convolutions, one of them depthwise, and the matrix product.
    assert first['records'] == 5
    assert 0 < first['now_ms'] <= first['before_ms']
    with open_backend(path, 'tvm', BackendOptions(
            max_batch_size=BATCH, cpu_threads=1, engine_dir=engines)) as backend:
        assert backend.info.details['engine'] == first['engine']
        assert backend.info.details['engine_built_because'] == 'it was not, it was found'
        assert backend.info.details['tuned'].startswith('5 shapes of layers were measured')
    frames = np.random.default_rng(2).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    np.testing.assert_allclose(
        answers(path, frames, 'tvm', engines), answers(path, frames, 'onnxruntime', engines),
        atol=1e-5)
    # The second search begins with the defaults and the records of the first.
    code, second = tune(path, engines, capsys, '--trials', 12)
    assert (code, second['database'], second['records']) == (0, first['database'], 5)


def test_every_tile_computes_the_same(tmp_path):
    path = write_network(tmp_path / 'network.onnx', groups=1)
    frames = np.random.default_rng(3).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    wanted = answers(path, frames, 'onnxruntime', None)
    registers = host_processor().registers
    workload = Workload('conv', 17, 17, 8, 8, (3, 3), (1, 1), (1, 1, 1, 1))
    tiles = list(candidate_tiles(workload, registers))
    for number, tile in enumerate((tiles[1], tiles[-1], *variations(tiles[0], workload))):
        engines = tmp_path / f'engines{number}'
        database = open_database(engines, 2)
        database.add(workload, Record(tile, 1.0, 1.0, 1))
        database.save()
        np.testing.assert_allclose(
            answers(path, frames, 'tvm', engines), wanted, atol=1e-5, err_msg=str(tile))
        shutil.rmtree(engines)


def test_ctrl_c_keeps_what_was_found(tmp_path):
    path, engines = write_network(tmp_path / 'network.onnx'), tmp_path / 'engines'
    script = (
        'import os, signal, sys\n'
        'from resnet_trt_node.cli import main\n'
        'from resnet_trt_node.inference import tvm_tuning\n'
        'seconds = tvm_tuning._Meter.seconds\n'
        'done = []\n'
        'def measured(meter, workload, tile):\n'
        '    done.append(seconds(meter, workload, tile))\n'
        '    if len(done) == 7:\n'
        '        os.kill(os.getpid(), signal.SIGINT)\n'
        '    return done[-1]\n'
        'tvm_tuning._Meter.seconds = measured\n'
        'sys.exit(main.main(sys.argv[1:]))\n')
    done = subprocess.run(
        [sys.executable, '-c', script, 'tune', str(path), '--engine-dir', str(engines),
         '--cpu-threads', '1', '--json'], capture_output=True, text=True, timeout=120,
        env={**os.environ}, check=False)
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    report = json.loads(done.stdout)
    assert report['interrupted']
    assert report['engine'] is None
    assert report['records'] == 5
    assert len(open_database(engines, 1).records) == 5


@pytest.mark.parametrize(('words', 'message'), [
    (['--minutes', '0'], '--minutes and --trials must be positive'),
    (['--trials', '0'], '--minutes and --trials must be positive'),
    (['--batch', '0'], '--batch is 0: choose 1 or more')])
def test_numbers_that_make_no_sense_are_refused(tmp_path, capsys, words, message):
    assert main(['tune', str(tmp_path / 'nowhere.onnx'), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_model_without_layers_to_tune_is_refused(tmp_path, capsys):
    path = write_tiny_model(tmp_path / 'tiny.onnx')
    model = onnx.load(str(path))
    # The product of two activations: there are no weights to pack.
    softmax = model.graph.node[-1]
    model.graph.node.insert(2, helper.make_node('Mul', ['mean', 'one'], ['mean2']))
    del model.graph.node[3]
    model.graph.node.insert(3, helper.make_node('Concat', ['mean2'] * 3, ['wide'], axis=1))
    model.graph.node.insert(4, helper.make_node('Slice', ['wide', 'from', 'to', 'axis'], [
        softmax.input[0]]))
    for name, value in (('one', np.ones(1, np.float32)), ('from', np.array([0], np.int64)),
                        ('to', np.array([8], np.int64)), ('axis', np.array([1], np.int64))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, str(path))
    assert main(['tune', str(path), '--engine-dir', str(tmp_path / 'engines')]) == 2
    assert 'there is nothing to tune' in capsys.readouterr().err
    assert not list((tmp_path / 'engines').glob('tvm-tiles-*'))
