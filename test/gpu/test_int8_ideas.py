"""Other inputs of an int8 model compute the same; what cannot be built is told; the summary."""

from __future__ import annotations

import json
from pathlib import Path
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
import onnxruntime
import pytest
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.int8.quantize import quantize_model
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.export import export_resnet

from tools.gpu.int8 import ideas
from tools.gpu.int8.inputs import host_array, KINDS, with_input

pytestmark = pytest.mark.slow

SIDE = 96
FRAMES = sample_frames(6, SIDE, SIDE, 4)


@pytest.fixture(scope='module')
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an int8 ResNet-18 of random weights."""
    folder = tmp_path_factory.mktemp('int8')
    export_resnet('resnet18', 'random', folder / 'float.onnx', num_classes=10, image_size=SIDE)
    quantize_model(folder / 'float.onnx', [FRAMES], folder / 'int8.onnx')
    return folder / 'int8.onnx'


def first_convolution(model: onnx.ModelProto, given: Any) -> Any:
    """Return what the first convolution computes, but for the border that its padding reaches."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.append(onnx.helper.make_tensor_value_info('conv1', TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(['conv1'], {'images': given})[0][:, :, 2:-2, 2:-2]


@pytest.mark.parametrize('kind', KINDS)
def test_the_network_sees_the_same(path: Path, kind: str) -> None:
    model = onnx.load(str(path))
    expected = first_convolution(onnx.load(str(path.with_name('float.onnx'))), FRAMES)
    rounded = np.abs(first_convolution(model, FRAMES) - expected).max()
    assert rounded < 0.1 * expected.std()
    given = host_array(FRAMES, kind)
    if kind == 'int8_fours':
        assert given.shape == (6, SIDE, SIDE, 4)
        assert not given[..., 3].any()
        # The engine's memory; as a tensor its axes are in another order.
        given = np.ascontiguousarray(given[..., :3].transpose(0, 3, 1, 2))
    changed = with_input(model, kind)
    # The pixels themselves are not rounded any more.
    found = first_convolution(changed, given)
    assert np.abs(found - expected).max() <= rounded * (1 if kind == 'as_it_is' else 0.8)
    operators = [node.op_type for node in changed.graph.node][:5]
    assert ('Cast' in operators) == (kind in ('as_it_is', 'folded'))
    assert ('Transpose' in operators) == (kind not in ('int8_planes', 'int8_fours'))
    assert (changed.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8) == (
        kind in ('as_it_is', 'folded'))
    assert 'normalise' in {node.name for node in model.graph.node}


def test_a_float_model_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match='quantize'):
        with_input(onnx.load(str(path.with_name('float.onnx'))), 'int8')


def test_names_of_engines() -> None:
    assert ideas.parse('int8_fours.256.3') == ('int8_fours', 256, 3)
    assert all(ideas.parse(name) for name in ideas.USUAL)
    for wrong in ('int8', 'int8.1', 'int4.1.2', 'int8.one.2'):
        with pytest.raises(SystemExit, match=r'KIND\.BATCH\.LEVEL'):
            ideas.parse(wrong)


def test_what_cannot_be_built_is_told(
        path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever this machine has, it cannot be imported.
    (tmp_path / 'tensorrt.py').write_text("raise ImportError('no TensorRT today')")
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}:{Path(__file__).parents[2]}')
    out = tmp_path / 'out.json'
    monkeypatch.setattr('sys.argv', [
        'ideas', str(path), str(out), 'as_it_is.1.2', 'sparse.1.2', '--engines',
        str(tmp_path / 'engines'), '--jobs', '2'])
    assert ideas.main() == 1
    found = json.loads(out.read_text())['engines']
    assert 'no TensorRT today' in found['as_it_is.1.2']['log']
    assert found['sparse.1.2']['error'] == 'not built'


class Lanes:
    """Stands for engines: the second kind is wrong about one of two pictures."""

    def __init__(self, plan: Path, given: Any, count: int) -> None:
        self.kind, self.batch = plan.name.partition('.')[0], len(given)

    def answer(self) -> Any:
        rows = np.tile([[0.9, 0.1]], (self.batch, 1))
        if self.kind == 'int8':
            rows[::2] = 0.2, 0.8
        return rows

    def ways(self) -> dict[str, Any]:
        return {'copies': lambda: None}

    def sustained(self, count: int, way: str, batches: int) -> Any:
        return lambda: 1e9 / count


def test_engines_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modules = {'pycuda': ModuleType('pycuda'), 'tools.gpu.int8.lanes': SimpleNamespace(
        BareLanes=Lanes)}
    context = SimpleNamespace(push=lambda: None, pop=lambda: None)
    modules['pycuda.driver'] = modules['pycuda'].driver = SimpleNamespace(
        init=lambda: None,
        Device=lambda index: SimpleNamespace(retain_primary_context=lambda: context))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    found = ideas.measure(tmp_path, ['as_it_is.1.2', 'as_it_is.2.2', 'int8.2.2'])
    assert found['latency']['as_it_is.1.2 copies']['p99_over_p50'] > 0
    assert found['throughput']['int8.2.2 2 copies']['p50_images_s'] == pytest.approx(4)
    assert found['differences']['int8.2.2'] == {
        'largest': pytest.approx(0.7), 'top1_same': 0.5}
    assert found['differences']['as_it_is.1.2']['top1_same'] == 1
