"""TVM on a CPU: tiles that fit the registers, and loops that compute the same with each."""

from __future__ import annotations

from models.tvm_network import answers, SIDE, write_network
import numpy as np
import pytest
from resnet_trt_node.backends.tvm import backend as tvm_backend
from resnet_trt_node.backends.tvm import layers
from resnet_trt_node.backends.tvm.cpu import Cpu
from resnet_trt_node.backends.tvm.runtime import load_tvm
from resnet_trt_node.backends.tvm.tiles import choose_tile, Registers, tiles, Workload

pytestmark = pytest.mark.slow

pytest.importorskip('tvm', reason='Apache TVM is not installed')

SSE = Registers(4, 15)
AVX2 = Registers(8, 15)
AVX512 = Registers(16, 32)


@pytest.mark.parametrize('registers', [AVX2, AVX512, Registers(4, 32)])
@pytest.mark.parametrize('workload', [
    Workload('conv', 56, 56, 64, 64, (3, 3), (1, 1), (1, 1, 1, 1)),
    Workload('conv', 7, 7, 2048, 512), Workload('conv', 13, 17, 3, 10, (3, 3)),
    Workload('depthwise', 112, 112, 24, 24, (3, 3), (2, 2), (0, 0, 1, 1)),
    Workload('dense', 1, 1, 2048, 1000)])
def test_tiles_divide_their_workload_and_fit_the_registers(registers, workload):
    found = list(tiles(workload, registers))
    assert choose_tile(workload, registers) in found
    assert len(set(found)) == len(found)
    rows, columns = workload.output
    for tile in found:
        vectors = tile.filters // registers.vector(tile.filters)
        assert tile.rows * tile.columns * vectors <= registers.count
        assert (workload.filters % tile.filters, rows % tile.rows, columns % tile.columns) \
            == (0, 0, 0)


def test_every_tile_computes_the_same(tmp_path, monkeypatch):
    path = write_network(tmp_path / 'network.onnx', groups=1)
    frames = np.random.default_rng(3).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    wanted = answers(path, frames, 'onnxruntime', None)
    workload = Workload('conv', 17, 17, 8, 8, (3, 3), (1, 1), (1, 1, 1, 1))
    # Those of other processors too: they are slow here, and no less right.
    tried = {tile for registers in (AVX512, SSE) for tile in tiles(workload, registers)}
    assert len(tried) == 3
    for number, tile in enumerate(tried):
        monkeypatch.setattr(
            layers, 'choose_tile', lambda other, registers, tile=tile: tile
            if other == workload else choose_tile(other, registers))
        np.testing.assert_allclose(
            answers(path, frames, 'tvm', tmp_path / f'engines{number}'), wanted, atol=1e-5,
            err_msg=str(tile))


class Lesser(Cpu):
    """A processor of which only some features are known."""

    features: tuple = ()
    triple = ''

    def __init__(self, tvm, threads):
        super().__init__(tvm, threads)
        self._features = [one for one in self.features if self.triple or one in self._features]
        self._triple = self.triple or self._triple
        self.name = 'x86-64' if self._triple.startswith('x86_64') else 'generic'
        self.architecture = ' '.join(self._features)


@pytest.mark.parametrize(('features', 'triple', 'registers'), [
    (('+avx2', '+avx512f', '+avx512vl'), 'x86_64-linux', AVX512),
    (('+avx2', '+avx512f'), 'x86_64-linux', AVX2), ((), 'x86_64-linux', SSE),
    (('+neon',), 'aarch64-linux', Registers(4, 32))])
def test_registers_follow_from_what_the_processor_can_do(
        monkeypatch, features, triple, registers):
    monkeypatch.setattr(Lesser, 'features', features)
    monkeypatch.setattr(Lesser, 'triple', triple)
    assert Lesser(load_tvm(), 1).registers == registers


@pytest.mark.parametrize('features', [('+avx2', '+fma'), ()])
def test_a_processor_that_can_do_less_computes_the_same(tmp_path, monkeypatch, features):
    monkeypatch.setattr(Lesser, 'features', features)
    monkeypatch.setattr(tvm_backend, 'Cpu', Lesser)
    path = write_network(tmp_path / 'network.onnx')
    frames = np.random.default_rng(5).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    np.testing.assert_allclose(
        answers(path, frames, 'tvm', tmp_path / 'engines'),
        answers(path, frames, 'onnxruntime', None), atol=1e-5)
