"""TVM: tiles that fit and are kept, and the command tune, which finds them by measuring."""

from __future__ import annotations

import json
import shutil
import signal
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper
import pytest

from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.backends.tvm import engine as tvm_engine
from resnet_trt_node.backends.tvm.database import Record, TuningDatabase
from resnet_trt_node.backends.tvm.runtime import host_processor, Processor
from resnet_trt_node.backends.tvm.workload import (
    candidate_tiles, default_tile, Registers, Tile, variations, Workload)
from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import BackendError
import stalled
from tiny_model import write_tiny_model
from tvm_network import answers, BATCH, BOTTLENECK, open_database, SIDE, write_network

pytest.importorskip('tvm', reason='Apache TVM is not installed')

AVX2 = Registers(8, 16)
AVX512 = Registers(16, 32)


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
    for damage in ('{', '{}', '[' * 100_000, '{"format": 1e999}', '{"format": ' + '9' * 9999 + '}',
                   database.path.read_text().replace('"columns": 8', '"columns": 9')):
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
    with open_backend(path, 'tvm', max_batch_size=BATCH, cpu_threads=1,
                      engine_dir=engines) as backend:
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
    workload = Workload('conv', 17, 17, 8, 8, (3, 3), (1, 1), (1, 1, 1, 1))
    # Those of other processors too: they are slow here, and no less right.
    tiles = {tile: None for registers in (AVX2, AVX512, Registers(4, 32))
             for first in [default_tile(workload, registers)]
             for tile in (*candidate_tiles(workload, registers), *variations(first, workload))}
    assert len(tiles) == 10
    for number, tile in enumerate(tiles):
        engines = tmp_path / f'engines{number}'
        database = open_database(engines, 2)
        database.add(workload, Record(tile, 1.0, 1.0, 1))
        database.save()
        np.testing.assert_allclose(
            answers(path, frames, 'tvm', engines), wanted, atol=1e-5, err_msg=str(tile))
        shutil.rmtree(engines)


@pytest.mark.parametrize(('features', 'triple', 'registers'), [
    (('+avx2', '+avx512f', '+avx512vl'), 'x86_64-linux', AVX512),
    (('+avx2', '+avx512f'), 'x86_64-linux', AVX2), ((), 'x86_64-linux', Registers(4, 16)),
    (('+neon',), 'aarch64-linux', Registers(4, 32))])
def test_registers_follow_from_what_the_processor_can_do(features, triple, registers):
    assert Processor('some', features, triple).registers == registers


@pytest.mark.parametrize('kept', [('+avx2', '+fma'), ()])
def test_a_processor_that_can_do_less_computes_the_same(tmp_path, monkeypatch, kept):
    host = host_processor()
    lesser = Processor(
        'x86-64' if host.triple.startswith('x86_64') else 'generic',
        tuple(one for one in host.features if one in kept), host.triple)
    monkeypatch.setattr(tvm_engine, 'host_processor', lambda: lesser)
    path = write_network(tmp_path / 'network.onnx')
    frames = np.random.default_rng(5).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    np.testing.assert_allclose(
        answers(path, frames, 'tvm', tmp_path / 'engines'),
        answers(path, frames, 'onnxruntime', None), atol=1e-5)


def test_ctrl_c_keeps_what_was_found(tmp_path):
    path, engines = write_network(tmp_path / 'network.onnx'), tmp_path / 'engines'
    script = (
        'import os, signal, sys\n'
        'from resnet_trt_node.cli import main\n'
        'from resnet_trt_node.backends.tvm import tuning as tvm_tuning\n'
        'seconds = tvm_tuning._Meter.seconds\n'
        'done = []\n'
        'def measured(meter, workload, tile):\n'
        '    done.append(seconds(meter, workload, tile))\n'
        '    if len(done) == 7:\n'
        '        os.kill(os.getpid(), signal.SIGINT)\n'
        '    return done[-1]\n'
        'tvm_tuning._Meter.seconds = measured\n'
        'sys.exit(main.main(sys.argv[1:]))\n')
    done = stalled.run(
        [sys.executable, '-c', script, 'tune', str(path), '--engine-dir', str(engines),
         '--cpu-threads', '1', '--json'])
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
