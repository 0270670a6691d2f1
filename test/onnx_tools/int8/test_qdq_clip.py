"""No pair reads a Clip, and what it reads instead is rounded to the very same levels."""

from __future__ import annotations

from collections import Counter

from models.relu6_model import write_relu6_model
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime
import pytest
from resnet_trt_node.onnx_tools.int8.qdq_clip import move_pairs_off_clips
from resnet_trt_node.onnx_tools.int8.quantize import quantize_model
from resnet_trt_node.onnx_tools.preparation.prepare import prepare
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

INT8 = np.int8(0)
VALUES = np.concatenate([
    np.linspace(-9, 9, 20001), [5.95, 5.976, 5.9765, 6.0, 6.0000005, 6.02, -0.0, np.inf, -np.inf],
]).astype(np.float32)


def clip_and_pair(low, high, scale, zero=INT8, opset=17, also_read=False, node_bounds=False):
    """Return x -> Clip -> pair -> y; the Clip's result too if asked."""
    bounds = {name: np.array(value, np.float32)
              for name, value in (('low', low), ('high', high)) if value is not None}
    constants = {'scale': np.array(scale, np.float32), **({} if zero is None else {'zero': zero})}
    pair = ['scale'] + (['zero'] if zero is not None else [])
    nodes = []
    if opset < 11:
        clip = helper.make_node(
            'Clip', ['x'], ['c'], min=float(bounds['low']), max=float(bounds['high']))
    else:
        inputs = [name if name in bounds else '' for name in ('low', 'high')]
        clip = helper.make_node('Clip', ['x', *inputs], ['c'])
        if node_bounds:
            nodes += [
                helper.make_node('Constant', [], [name], value=numpy_helper.from_array(value))
                for name, value in bounds.items()]
        else:
            constants.update(bounds)
    nodes += [clip, helper.make_node('QuantizeLinear', ['c', *pair], ['q']),
              helper.make_node('DequantizeLinear', ['q', *pair], ['y'])]
    outputs = [helper.make_tensor_value_info('y', TensorProto.FLOAT, ['N'])]
    if also_read:
        nodes.append(helper.make_node('Neg', ['c'], ['z']))
        outputs.append(helper.make_tensor_value_info('z', TensorProto.FLOAT, ['N']))
    graph = helper.make_graph(
        nodes, 'pair', [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['N'])], outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model, values=VALUES, name='x'):
    # Without the runtime's own rewriting, which merges such nodes too.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    return session.run(None, {name: values})


def kinds(model):
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize(('low', 'high', 'scale', 'zero', 'instead'), [
    (0, 6, 6 / 127, INT8, ['Relu']),
    (0, 6, 4.4 / 127, INT8, ['Relu']),
    (0, 6, 6.02 / 127, INT8, ['Relu']),
    (0, 6, 6.1 / 127, INT8, ['Relu', 'Min']),
    (0, 6, 6 / 255, np.uint8(0), ['Relu']),
    (0, 6, 6 / 255, None, ['Relu']),
    (0, 6, 6 / 255, np.int8(-128), ['Relu']),
    (0, 6, 6 / 64, INT8, ['Relu', 'Min']),
    (0, None, 6 / 127, INT8, ['Relu']),
    (None, 6, 6 / 64, INT8, ['Min']),
    (None, 6, 6 / 127, INT8, []),
    (-1, 1, 1 / 127, INT8, ['Max']),
    (-1, 1, 2 / 127, INT8, ['Max', 'Min']),
])
def test_the_levels_are_the_same(low, high, scale, zero, instead):
    model = clip_and_pair(low, high, scale, zero)
    before = run(model)
    assert move_pairs_off_clips(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model) == Counter([*instead, 'QuantizeLinear', 'DequantizeLinear'])
    np.testing.assert_array_equal(run(model), before)


def test_bounds_may_come_from_nodes():
    model = clip_and_pair(0, 6, 6 / 127, node_bounds=True)
    before = run(model)
    move_pairs_off_clips(model)
    assert kinds(model)['Relu'] == 1
    assert not kinds(model)['Min']
    np.testing.assert_array_equal(run(model), before)


def test_another_reader_keeps_the_clip():
    model = clip_and_pair(0, 6, 4 / 127, also_read=True)
    before = run(model)
    assert move_pairs_off_clips(model) == 1
    assert (kinds(model)['Clip'], kinds(model)['Relu']) == (1, 1)
    for found, wanted in zip(run(model), before):
        np.testing.assert_array_equal(found, wanted)


def test_a_reader_within_a_branch_keeps_the_clip():
    model = clip_and_pair(0, 6, 4 / 127)
    branch = helper.make_graph(
        [helper.make_node('Neg', ['c'], ['b'])], 'branch', [],
        [helper.make_tensor_value_info('b', TensorProto.FLOAT, ['N'])])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), 'yes'))
    model.graph.node.append(
        helper.make_node('If', ['yes'], ['z'], then_branch=branch, else_branch=branch))
    model.graph.output.append(helper.make_tensor_value_info('z', TensorProto.FLOAT, ['N']))
    onnx.checker.check_model(model, full_check=True)
    before = run(model)
    assert move_pairs_off_clips(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model)['Clip'] == 1
    for found, wanted in zip(run(model), before):
        np.testing.assert_array_equal(found, wanted)


def test_a_model_without_pairs_on_clips_stays_as_it_is():
    model = clip_and_pair(0, 6, 4 / 127)
    # A Clip whose result nobody reads is none of its business.
    model.graph.node[1].input[0] = 'x'
    before = model.SerializeToString()
    assert move_pairs_off_clips(model) == 0
    assert model.SerializeToString() == before


def test_bounds_that_are_attributes_stay():
    model = clip_and_pair(0, 6, 6 / 127, opset=10)
    before = model.SerializeToString()
    assert move_pairs_off_clips(model) == 0
    assert model.SerializeToString() == before


def test_a_network_with_relu6_is_quantised_without_a_pair_on_it(tmp_path):
    fp32 = write_relu6_model(tmp_path / 'fp32.onnx')
    frames = sample_frames(32, 32, 32, 3)
    int8 = tmp_path / 'int8.onnx'
    quantize_model(fp32, [frames], int8)
    graph = onnx.load(str(int8)).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    read = Counter(makers.get(node.input[0]) for node in graph.node
                   if node.op_type == 'QuantizeLinear')
    assert (read['Clip'], read['Relu']) == (0, 1)
    # The stem's goes to a depthwise convolution, which stays float.
    assert Counter(makers.values())['Clip'] == 1
    before, after = (run(onnx.load(str(path)), frames, 'images')[0] for path in (fp32, int8))
    assert 0 < np.abs(before - after).max() < 0.1


def test_an_int8_network_from_elsewhere_loses_its_pairs_on_clips(tmp_path):
    random = np.random.default_rng(0)
    constants = {
        'w': random.normal(0, 1, (8, 3, 3, 3)).astype(np.float32), 'low': np.float32(0),
        'high': np.float32(6), 'scale': np.float32(6 / 127), 'zero': np.int8(0),
        'v': random.normal(0, 1, (4, 8)).astype(np.float32), 'b': np.zeros(4, np.float32)}
    nodes = [
        helper.make_node('Conv', ['x', 'w'], ['conv']),
        helper.make_node('Clip', ['conv', 'low', 'high'], ['relu6']),
        helper.make_node('QuantizeLinear', ['relu6', 'scale', 'zero'], ['q']),
        helper.make_node('DequantizeLinear', ['q', 'scale', 'zero'], ['d']),
        helper.make_node('GlobalAveragePool', ['d'], ['pool']),
        helper.make_node('Flatten', ['pool'], ['flat']),
        helper.make_node('Gemm', ['flat', 'v', 'b'], ['y'], transB=1)]
    graph = helper.make_graph(
        nodes, 'foreign',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['N', 3, 32, 32])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, ['N', 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    source = tmp_path / 'foreign.onnx'
    onnx.save(helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), str(source))
    report = prepare(source, tmp_path / 'out.onnx', mean=(0.5,) * 3, std=(0.25,) * 3)
    assert report.spec.precision == 'int8'
    assert not kinds(onnx.load(str(report.path)))['Clip']
