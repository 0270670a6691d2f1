"""Where Q/DQ pairs stand, what they round, and that the real TensorRT-RTX builds the result."""

from __future__ import annotations

from collections import Counter

from models.classifiers import branching_copy, SIDE as SMALL, write_classifier
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime
import pytest

from resnet_trt_node.backends.tensorrt.builder import EngineBuilder
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.contract.model_file import read_model_spec, write_model_spec
from resnet_trt_node.contract.spec import ModelSpec, ResizeRule
from resnet_trt_node.errors import DataError, ModelError
from resnet_trt_node.onnx_tools.graph import BATCH, GraphBuilder, tensor as described
from resnet_trt_node.onnx_tools.int8.quantize import (
    layers_left_float, load_fp32, Placement, quantizable_layers, quantize_model,
    quantized_tensors)
from resnet_trt_node.onnx_tools.int8.ranges import activation_ranges
from resnet_trt_node.onnx_tools.io_nodes import add_postprocessing, add_preprocessing
from resnet_trt_node.onnx_tools.normalisation import IMAGENET
from resnet_trt_node.onnx_tools.preparation.prepare import prepare
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.export import export_resnet
import torch

pytestmark = pytest.mark.slow

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


class Grouped(torch.nn.Module):
    """A stem, a convolution of two groups, a depthwise one and a classifier."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3)
        self.grouped = torch.nn.Conv2d(8, 12, 3, groups=2)
        self.depthwise = torch.nn.Conv2d(12, 24, 3, groups=12)

    def write(self, path):
        builder = GraphBuilder('fp32')
        x = add_preprocessing(builder, IMAGENET, 'normalised')
        for name in ('stem', 'grouped', 'depthwise'):
            layer = getattr(self, name)
            x = builder.convolution(
                name, x, layer.weight.detach().numpy(), layer.bias.detach().numpy(),
                groups=layer.groups)
        x = builder.node('Flatten', 'flat', builder.node('GlobalAveragePool', 'pool', x), axis=1)
        product = builder.constant('product', np.eye(24, 5, dtype=np.float32))
        x = builder.node('MatMul', 'logits', [x, product])
        add_postprocessing(builder, x, TensorProto.FLOAT, softmax=True)
        model = builder.model(
            'grouped', [described('images', TensorProto.UINT8, (BATCH, SMALL, SMALL, 3))],
            [described('probabilities', TensorProto.FLOAT, (BATCH, 5))])
        write_model_spec(model, ModelSpec(
            SMALL, SMALL, tuple('abcde'), ResizeRule(SMALL, SMALL, SMALL), 'fp32'))
        onnx.save(model, str(path))
        return path


def test_grouped_convolutions_are_rounded_by_channel_and_depthwise_ones_are_not(tmp_path):
    torch.manual_seed(3)
    source = Grouped().write(tmp_path / 'grouped.onnx')
    model = onnx.load(str(source))
    assert quantizable_layers(model) == ['stem', 'grouped']
    assert layers_left_float(model) == {'depthwise convolution': 1, 'MatMul': 1}
    pictures = sample_frames(8, SMALL, SMALL, 2)
    quantize_model(source, [pictures], tmp_path / 'int8.onnx')
    graph = onnx.load(str(tmp_path / 'int8.onnx')).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    weight = constants['grouped.weight']
    scales = constants['grouped.weight:scale']
    np.testing.assert_allclose(scales, np.abs(weight).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
    assert scales.shape == (12,)
    assert 'depthwise.weight:scale' not in constants
    found = answers(tmp_path / 'int8.onnx', pictures)
    np.testing.assert_allclose(found, answers(source, pictures), atol=0.03)
    assert np.ptp(found, axis=0).max() > 0.02


def test_layers_in_branches_are_refused_by_name(fp32, tmp_path):
    path = branching_copy(fp32, tmp_path / 'branches.onnx')
    with pytest.raises(ModelError, match=r"Gemm 'twin' .*If 'choice'"):
        load_fp32(path)


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


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_the_normalisation_of_prepared_models_does_too(order, tmp_path):
    source = write_classifier(tmp_path / 'in.onnx')
    prepare(source, tmp_path / 'float.onnx', mean=(120,), std=(60,), channel_order=order)
    assert quantizable_layers(onnx.load(str(tmp_path / 'float.onnx'))) == ['conv']
    quantize_model(
        tmp_path / 'float.onnx', [sample_frames(4, SMALL, SMALL, 1)], tmp_path / 'int8.onnx')
    nodes = {node.name: node for node in onnx.load(str(tmp_path / 'int8.onnx')).graph.node}
    assert not any(':rounded' in name for name in nodes['normalised'].input)
    assert ':rounded' in nodes['conv'].input[0]


def test_what_is_always_zero_gets_a_scale_too(fp32, frames, tmp_path):
    model = onnx.load(str(fp32))
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name == 'layer1.0.conv1.weight':
            values[3] = 0
        elif tensor.name == 'layer2.0.conv1.bias':
            values[:] = -1e4  # its ReLU lets nothing through
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(tmp_path / 'dead.onnx'))
    quantize_model(tmp_path / 'dead.onnx', [frames], tmp_path / 'int8.onnx')
    scales = {tensor.name: numpy_helper.to_array(tensor)
              for tensor in onnx.load(str(tmp_path / 'int8.onnx')).graph.initializer
              if tensor.name.endswith(':scale')}
    assert all((scale > 0).all() for scale in scales.values())
    assert scales['layer2.0.relu1:scale'] < 1e-7
    assert scales['layer1.0.conv1.weight:scale'][3] < 1e-9
    exact, rounded = (answers(tmp_path / name, frames) for name in ('dead.onnx', 'int8.onnx'))
    assert np.abs(exact - rounded).mean() < 0.03


def test_a_bias_that_is_added_keeps_its_digits(tmp_path):
    prepare(write_classifier(tmp_path / 'in.onnx'), tmp_path / 'out.onnx', mean=(120,), std=(60,))
    model = onnx.load(str(tmp_path / 'out.onnx'))
    nodes = list(model.graph.node)
    place = next(place for place, node in enumerate(nodes) if node.name == 'conv')
    bias = nodes[place].input.pop()
    result = nodes[place].output[0]
    nodes[place].output[0] = 'bare'
    constant = next(one for one in model.graph.initializer if one.name == bias)
    constant.CopyFrom(numpy_helper.from_array(
        numpy_helper.to_array(constant).reshape(1, -1, 1, 1), bias))
    nodes.insert(place + 1, helper.make_node('Add', ['bare', bias], [result]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    assert len(quantized_tensors(model, Placement())) == 2
    assert bias not in quantized_tensors(model, Placement())


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


def test_the_spec_is_of_int8_and_keeps_the_rest(fp32, int8):
    before, after = read_model_spec(fp32), read_model_spec(int8)
    assert after.precision == 'int8'
    assert (after.labels, after.resize, after.architecture) == (
        before.labels, before.resize, before.architecture)


@pytest.mark.parametrize(('placement', 'pairs'), [
    (Placement(shortcuts=False), 40), (Placement(pooled=False), 42),
    (Placement(keep=frozenset({'conv1'})), 41), (Placement(keep=frozenset({'fc'})), 41)])
def test_places_can_be_left_out(fp32, frames, placement, pairs):
    path = fp32.with_name('placed.onnx')
    quantize_model(fp32, [frames], path, placement)
    kinds = Counter(node.op_type for node in onnx.load(str(path)).graph.node)
    assert kinds['QuantizeLinear'] == pairs


def test_an_int8_model_is_refused(int8, frames, tmp_path):
    with pytest.raises(ModelError, match='is int8'):
        quantize_model(int8, [frames], tmp_path / 'again.onnx')
    assert not list(tmp_path.iterdir())


def test_no_frames_are_refused(fp32, tmp_path):
    with pytest.raises(DataError, match='no frames'):
        quantize_model(fp32, [], tmp_path / 'out.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
def test_the_real_builder_takes_every_precision(fp32, int8, precision, tmp_path):
    rtx = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
    path = {'fp32': fp32, 'int8': int8}.get(precision, tmp_path / 'half.onnx')
    if precision == 'fp16':
        export_resnet('resnet18', 'random', path, num_classes=10, image_size=SIDE,
                      precision='fp16')
    built = EngineBuilder(
        rtx, path, path.read_bytes(), TensorRtOptions(target_sm='8.9', precision=precision),
        ((1, 4, 4),)).build()
    assert built.spec.precision == precision
    weights_bytes = {'fp32': 4, 'fp16': 2, 'int8': 1}[precision] * 11.2e6
    # The engine holds the weights in the graph's own precision.
    assert 0.9 * weights_bytes < len(built.plan) < 1.5 * weights_bytes
