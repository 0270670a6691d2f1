"""Broken models and weights in other files: each command reports in one line what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
import random
from typing import Any

from models.classifiers import SIDE, write_classifier
import onnx
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.errors import ModelError, ResnetTrtError
from resnet_trt_node.onnx_tools.inspection import inspect_model
from resnet_trt_node.onnx_tools.int8.quantize import (
    layers_left_float, load_fp32, Placement, quantized_tensors)
from resnet_trt_node.onnx_tools.preparation.prepare import prepare
from resnet_trt_node.training.export import export_resnet
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.pruning.masks import prune_onnx
import torch

pytestmark = pytest.mark.slow

OPERATORS = ('Conv', 'Gemm', 'MatMul', 'If', 'Loop', 'QuantizeLinear', 'Dropout', 'Transpose',
             'Clip', 'Reshape', 'ConvTranspose', 'BatchNormalization', 'Constant', 'QLinearConv')


def _prepare(source: Path) -> Any:
    return prepare(source, source.with_name('out.onnx'), mean=[127], std=[128], crop=SIDE)


def _refusal(source: Path) -> str:
    with pytest.raises(ModelError) as caught:
        _prepare(source)
    assert '\n' not in str(caught.value)
    assert not source.with_name('out.onnx').exists()
    return str(caught.value)


def test_weights_that_lie_beside_become_part_of_the_one_file(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx', external=True)
    assert (tmp_path / 'in.onnx.data').exists()
    path = _prepare(source).path
    (tmp_path / 'in.onnx.data').unlink()
    model = onnx.load(str(path), load_external_data=False)
    assert not [one for one in model.graph.initializer if one.external_data]
    assert main(['inspect', str(path)]) == 0
    assert 'its weights are in in.onnx.data' in _refusal_of_next(source, path)


def _refusal_of_next(source: Path, path: Path) -> str:
    path.unlink()
    return _refusal(source)


@pytest.mark.parametrize('name', ['../secret', 'a/../../secret', '/etc/passwd', 'nul\0'])
def test_weights_are_not_read_from_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / 'model'
    folder.mkdir()
    (tmp_path / 'secret').write_bytes(b'x' * 4096)
    source = write_classifier(folder / 'in.onnx', external=True)
    model = onnx.load(str(source), load_external_data=False)
    for tensor in model.graph.initializer:
        next(one for one in tensor.external_data if one.key == 'location').value = name
    source.write_bytes(model.SerializeToString())
    assert 'outside of its folder' in _refusal(source)


def test_weights_of_another_length_and_no_ordinary_file_are_reported(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx', external=True)
    data = tmp_path / 'in.onnx.data'
    data.write_bytes(data.read_bytes()[:100])
    assert 'in.onnx' in _refusal(source)
    data.unlink()
    os.mkfifo(data)
    assert 'it is a named pipe' in _refusal(source)


@pytest.mark.parametrize('change', ['bytes', 'type', 'shape', 'string'])
def test_constants_with_too_few_bytes_are_named(
        tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_classifier(tmp_path / 'in.onnx')
    model = onnx.load(str(source))
    weight = next(one for one in model.graph.initializer if one.name == 'w')
    if change == 'bytes':
        weight.raw_data = weight.raw_data[:-1]
    elif change == 'shape':
        weight.dims[0] = -8
    else:
        weight.data_type = 99 if change == 'type' else onnx.TensorProto.STRING
    source.write_bytes(model.SerializeToString())
    assert "constant 'w'" in _refusal(source)
    assert main(['inspect', str(source)]) == 2
    assert "constant 'w'" in capsys.readouterr().err


def test_names_of_files_that_are_no_utf_8_are_written_down_escaped(tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b'odd\xff.onnx')
    write_classifier(tmp_path / 'in.onnx').rename(source)
    report = _prepare(source)
    spec = read_model_spec(report.path)
    assert (spec.source, spec.architecture) == ('odd\\udcff.onnx', 'odd\\udcff')
    weights = tmp_path / os.fsdecode(b'weights\xff.pth')
    with open(weights, 'wb') as file:
        torch.save(ResNet('resnet18', 3).state_dict(), file)
    exported = export_resnet(
        'resnet18', weights, tmp_path / 'resnet.onnx', image_size=32)
    assert read_model_spec(exported.path).source == 'weights\\udcff.pth'


def test_a_graph_that_goes_in_circles_is_refused(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx')
    model = onnx.load(str(source))
    model.graph.node[-1].output[0] = 'before'
    model.graph.node.extend([
        onnx.helper.make_node('Identity', ['output'], ['again']),
        onnx.helper.make_node('Identity', ['again'], ['output'])])
    source.write_bytes(model.SerializeToString())
    assert 'ONNX Runtime cannot load' in _refusal(source)


def _mutated(model: onnx.ModelProto, draw: random.Random) -> None:
    """Break a model in one of many ways."""
    graph = model.graph
    node = draw.choice(list(graph.node))
    value = draw.choice([*graph.input, *graph.output])
    kind = draw.choice(['inputs', 'input', 'outputs', 'attributes', 'operator', 'element', 'value',
                        'side', 'opset', 'rewire', 'constant'])
    if kind == 'inputs':
        del node.input[:]
    elif kind == 'input':
        del node.input[-1:]
    elif kind == 'outputs':
        del node.output[:]
    elif kind == 'attributes':
        del node.attribute[:]
    elif kind == 'operator':
        node.op_type = draw.choice(OPERATORS)
    elif kind == 'element':
        value.type.tensor_type.elem_type = draw.randrange(40)
    elif kind == 'value':
        value.ClearField('type')
    elif kind == 'side' and value.type.tensor_type.shape.dim:
        draw.choice(value.type.tensor_type.shape.dim).dim_value = draw.choice([0, -1, 2**40, 7])
    elif kind == 'opset':
        del model.opset_import[:]
    elif kind == 'rewire' and node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice(['', 'nowhere', *node.output])
    elif kind == 'constant':
        graph.node.append(onnx.helper.make_node('Constant', [], [], value_float=1.0))


@pytest.mark.parametrize('seed', range(4))
def test_broken_graphs_are_shown_or_refused_in_one_line(tmp_path: Path, seed: int) -> None:
    whole = write_classifier(tmp_path / 'whole.onnx', norm=True, layout='nhwc')
    deployable = prepare(whole, tmp_path / 'deployable.onnx', mean=[127], std=[128]).path
    path, draw = tmp_path / 'broken.onnx', random.Random(seed)

    def quantise() -> None:
        model, _ = load_fp32(path)
        layers_left_float(model)
        quantized_tensors(model, Placement())
    messages = []
    for _ in range(25):
        model = onnx.load(str(draw.choice([whole, deployable])))
        for _ in range(draw.choice([1, 2])):
            _mutated(model, draw)
        path.write_bytes(model.SerializeToString())
        for command in (lambda: inspect_model(path), lambda: _prepare(path), quantise,
                        lambda: prune_onnx(path, tmp_path / 'out.onnx')):
            try:
                command()
            except ResnetTrtError as error:
                messages.append(str(error))
    assert len(messages) > 50
    assert not [message for message in messages if '\n' in message]
