"""A temperature in a model: its answers are those of the logits divided by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from commands.quantize_command import quantize
from models.tiny_model import write_tiny_model
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.contract.model_file import (
    load_model, read_model_spec, write_model_spec)
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
from resnet_trt_node.errors import ModelError
from resnet_trt_node.evaluation.temperature import with_temperature
from resnet_trt_node.onnx_tools.deployable import BOUNDS
from resnet_trt_node.onnx_tools.inspection import inspect_model
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.onnx_tools.temperature import temperature_of, write_calibrated
from resnet_trt_node.training.export import export_resnet

pytestmark = pytest.mark.slow


def answers(path: Path) -> np.ndarray:
    """Return what a model answers on synthetic frames."""
    spec = read_model_spec(path)
    frames = sample_frames(8, spec.height, spec.width)
    return CpuSession(path, path).run([OUTPUT_NAME], {INPUT_NAME: frames})[0]


def half_softmax(path: Path) -> Path:
    """Write the colour model with a softmax in fp16, as prepared models may have."""
    model = onnx.load(str(write_tiny_model(path)))
    softmax = model.graph.node.pop()
    model.graph.node.extend([
        helper.make_node('Cast', ['logits'], ['half'], to=TensorProto.FLOAT16),
        helper.make_node('Softmax', ['half'], ['half_softmax'], axis=-1),
        helper.make_node('Identity', ['half_softmax'], ['same']),
        helper.make_node('Cast', ['same'], [OUTPUT_NAME], to=TensorProto.FLOAT)])
    assert softmax.op_type == 'Softmax'
    model.graph.value_info.append(
        helper.make_tensor_value_info('half_softmax', TensorProto.FLOAT16, ['N', 8]))
    write_model_spec(model, replace(read_model_spec(path), precision='fp16'))
    onnx.save(model, str(path))
    return path


@pytest.fixture(params=['tiny', 'fp16', 'half softmax', 'int8'])
def model(request, tmp_path, resnet18, divided_shapes) -> Path:
    """Return a deployable model of each kind of graph."""
    path = tmp_path / 'model.onnx'
    if request.param == 'tiny':
        write_tiny_model(path)
    elif request.param == 'fp16':
        export_resnet('resnet18', 'random', path, labels=('a', 'b', 'c'), image_size=32,
                      precision='fp16')
    elif request.param == 'half softmax':
        half_softmax(path)
    else:
        assert quantize(resnet18.path, divided_shapes / 'train', path, '--method', 'minmax') == 0
    return path


def test_every_kind_of_graph_answers_at_the_temperature(model, tmp_path):
    written = write_calibrated(model, tmp_path / 'out.onnx', 2.5)
    spec = read_model_spec(tmp_path / 'out.onnx')
    before, after = answers(model), answers(tmp_path / 'out.onnx')
    np.testing.assert_allclose(
        after, with_temperature(before, 2.5), atol=1e-3 if spec.precision != 'fp32' else 1e-6)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    assert written.max_abs_difference <= BOUNDS[spec.precision]
    assert spec.labels == read_model_spec(model).labels
    assert spec.precision == read_model_spec(model).precision
    properties = {one.key: one.value for one in load_model(tmp_path / 'out.onnx').metadata_props}
    assert properties['resnet_trt.temperature'] == '2.5'
    assert inspect_model(tmp_path / 'out.onnx').temperature == 2.5
    onnx.checker.check_model(str(tmp_path / 'out.onnx'), full_check=True)


def test_a_second_temperature_multiplies_the_first(model, tmp_path):
    write_calibrated(model, tmp_path / 'once.onnx', 2)
    write_calibrated(tmp_path / 'once.onnx', tmp_path / 'twice.onnx', 1.5)
    assert temperature_of(load_model(model)) == 1
    twice = load_model(tmp_path / 'twice.onnx')
    assert temperature_of(twice) == 3
    assert [one.value for one in twice.metadata_props if one.key == 'resnet_trt.temperature'] == [
        '3']
    assert len(twice.graph.node) == len(load_model(tmp_path / 'once.onnx').graph.node)
    write_calibrated(model, tmp_path / 'thrice.onnx', 3)
    np.testing.assert_allclose(
        answers(tmp_path / 'twice.onnx'), answers(tmp_path / 'thrice.onnx'), atol=1e-6)


def test_the_model_itself_stays_as_it_is(tmp_path):
    path = write_tiny_model(tmp_path / 'model.onnx')
    data = path.read_bytes()
    write_calibrated(path, tmp_path / 'out.onnx', 2)
    assert path.read_bytes() == data


@pytest.mark.parametrize(('last', 'cause'), [
    ([helper.make_node('Sigmoid', ['logits'], [OUTPUT_NAME], name='last')],
     "the Sigmoid 'last' instead of a Softmax. Export the network without its last layer"),
    ([helper.make_node('Relu', ['logits'], [OUTPUT_NAME], name='last')],
     "the Relu 'last' instead of a Softmax. Export the network without its last layer"),
    ([helper.make_node('Softmax', ['logits'], [OUTPUT_NAME], name='last', axis=0)],
     "the Softmax 'last' is not over the classes"),
    ([helper.make_node('Neg', ['logits'], ['temperature_logits']),
      helper.make_node('Softmax', ['temperature_logits'], [OUTPUT_NAME], axis=1)],
     "a tensor called 'temperature_logits', which is not")])
def test_other_outputs_are_refused(tmp_path, last, cause):
    path = write_tiny_model(tmp_path / 'model.onnx')
    model = onnx.load(str(path))
    model.graph.node.pop()
    model.graph.node.extend(last)
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match=f'^{path}: .*{cause}'):
        write_calibrated(path, tmp_path / 'out.onnx', 2)
    assert not (tmp_path / 'out.onnx').exists()


def test_what_is_no_softmax_has_no_temperature(tmp_path):
    path = write_tiny_model(tmp_path / 'model.onnx')
    model = onnx.load(str(path))
    assert inspect_model(path).temperature == 1
    model.graph.node[-1].CopyFrom(helper.make_node('Sigmoid', ['logits'], [OUTPUT_NAME]))
    onnx.save(model, str(path))
    assert inspect_model(path).temperature is None


def test_a_division_of_another_tool_is_no_temperature(tmp_path):
    path = write_tiny_model(tmp_path / 'model.onnx')
    model = onnx.load(str(path))
    softmax = model.graph.node.pop()
    model.graph.node.append(helper.make_node('Div', ['logits', 'two'], ['halves']))
    softmax.input[0] = 'halves'
    model.graph.node.append(softmax)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(2), 'two'))
    onnx.save(model, str(path))
    before = answers(path)
    write_calibrated(path, tmp_path / 'out.onnx', 4)
    assert temperature_of(load_model(tmp_path / 'out.onnx')) == 4
    np.testing.assert_allclose(
        answers(tmp_path / 'out.onnx'), with_temperature(before, 4), atol=1e-6)
