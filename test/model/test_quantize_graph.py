"""Where Q/DQ pairs stand, what they round, and that the real TensorRT-RTX builds the result."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper
import onnxruntime
import pytest

from resnet_trt_node.errors import DataError, ModelError
from resnet_trt_node.inference.model_file import file_sha256, read_model_spec
from resnet_trt_node.inference.tensorrt_builder import BuildSettings, EngineBuilder
from resnet_trt_node.model.calibration import activation_ranges
from resnet_trt_node.model.export import export_resnet
from resnet_trt_node.model.frames import sample_frames
from resnet_trt_node.model.quantize import Placement, quantize_model, quantized_tensors

SIDE = 64


@pytest.fixture(scope='module')
def fp32(tmp_path_factory):
    path = tmp_path_factory.mktemp('quantize') / 'r18.onnx'
    export_resnet('resnet18', 'random', path, num_classes=10, image_size=SIDE)
    return path


@pytest.fixture(scope='module')
def frames():
    return sample_frames(16, SIDE, SIDE, 3)


@pytest.fixture(scope='module')
def int8(fp32, frames):
    path = fp32.with_name('r18_int8.onnx')
    quantize_model(fp32, [frames[:8], frames[8:]], path)
    return path


def answers(path, frames):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {'images': frames})[0]


def test_every_tensor_gets_one_pair_that_all_its_readers_share(int8):
    graph = onnx.load(str(int8)).graph
    kinds = Counter(node.op_type for node in graph.node)
    # 21 weights of convolutions and the classifier's; 16 inputs of blocks' convolutions, the
    # picture, three shortcuts of their own, the last block's result, and the classifier's input.
    assert kinds['QuantizeLinear'] == kinds['DequantizeLinear'] == 43
    for name in ('maxpool', 'layer1.0.relu2', 'layer3.1.relu2'):
        readers = [node.op_type for node in graph.node if f'{name}:rounded' in node.input]
        assert len(readers) >= 2
        assert not [node for node in graph.node
                    if name in node.input and node.op_type != 'QuantizeLinear']


def test_each_addition_reads_one_rounded_side_and_one_fresh_from_its_convolution(int8):
    graph = onnx.load(str(int8)).graph
    makers = {output: node for node in graph.node for output in node.output}
    additions = [node for node in graph.node if node.op_type == 'Add']
    assert len(additions) == 8
    for node in additions:
        assert [makers[name].op_type for name in node.input] == ['Conv', 'DequantizeLinear']


def test_the_normalisation_keeps_its_digits(int8):
    graph = onnx.load(str(int8)).graph
    normalise = next(node for node in graph.node if node.name == 'normalise')
    assert not any(':rounded' in name for name in normalise.input)


def test_weights_stay_float_with_a_scale_for_each_output(int8):
    graph = onnx.load(str(int8)).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weight = constants['layer1.0.conv1.weight']
    assert weight.dtype == np.float32
    scale = constants['layer1.0.conv1.weight:scale']
    np.testing.assert_allclose(scale, np.abs(weight).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
    assert constants['layer1.0.conv1.weight:zero'].dtype == np.int8


def test_ranges_are_the_largest_magnitudes(fp32, frames):
    model = onnx.load(str(fp32))
    tensors = quantized_tensors(model, Placement())
    ranges = activation_ranges(model, tensors, [frames[:5], frames[5:]])
    whole = onnx.load(str(fp32))
    whole.graph.output.append(
        onnx.helper.make_tensor_value_info('normalise', onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(
        whole.SerializeToString(), providers=['CPUExecutionProvider'])
    normalised = session.run(['normalise'], {'images': frames})[0]
    assert ranges['normalise'] == pytest.approx(np.abs(normalised).max(), rel=1e-6)
    assert list(ranges) == tensors


def test_answers_stay_near(fp32, int8, frames):
    exact, rounded = answers(fp32, frames), answers(int8, frames)
    np.testing.assert_allclose(rounded.sum(axis=1), 1.0, atol=1e-5)
    # Eight bits keep two digits, and a softmax of random logits is steep.
    assert 0 < np.abs(exact - rounded).mean() < 0.02
    assert np.abs(exact - rounded).max() < 0.2


def test_the_spec_says_int8_and_keeps_the_rest(fp32, int8):
    before, after = read_model_spec(fp32), read_model_spec(int8)
    assert after.precision == 'int8'
    assert (after.labels, after.resize, after.architecture) == (
        before.labels, before.resize, before.architecture)


@pytest.mark.parametrize(('placement', 'pairs'), [
    (Placement(shortcuts=False), 40), (Placement(pooled=False), 42), (Placement(first=False), 41),
    (Placement(last=False), 41)])
def test_places_can_be_left_out(fp32, frames, placement, pairs):
    path = fp32.with_name('placed.onnx')
    quantize_model(fp32, [frames], path, placement)
    kinds = Counter(node.op_type for node in onnx.load(str(path)).graph.node)
    assert kinds['QuantizeLinear'] == pairs


def test_an_int8_model_is_refused(int8, frames, tmp_path):
    with pytest.raises(ModelError, match='is int8: quantise the fp32 model'):
        quantize_model(int8, [frames], tmp_path / 'again.onnx')
    assert not list(tmp_path.iterdir())


def test_no_frames_are_refused(fp32, tmp_path):
    with pytest.raises(DataError, match='no frames to calibrate with'):
        quantize_model(fp32, [], tmp_path / 'out.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
def test_the_real_builder_takes_every_precision(fp32, int8, precision, tmp_path):
    rtx = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
    path = {'fp32': fp32, 'int8': int8}.get(precision, tmp_path / 'half.onnx')
    if precision == 'fp16':
        export_resnet('resnet18', 'random', path, num_classes=10, image_size=SIDE,
                      precision='fp16')
    built = EngineBuilder(rtx, print).build(
        path, file_sha256(path), BuildSettings(((1, 4, 4),), target_sm='8.9'),
        precision=precision)
    assert built.spec.precision == precision
    weights_bytes = {'fp32': 4, 'fp16': 2, 'int8': 1}[precision] * 11.2e6
    # The engine holds the weights in the graph's own precision.
    assert 0.9 * weights_bytes < len(built.plan) < 1.5 * weights_bytes
