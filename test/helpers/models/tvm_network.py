"""A network with every kind of layer, and the answers of backends."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.contract.model_file import write_model_spec
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME, ResizeRule

SIDE = 33
BATCH = 3


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
    with open_backend(
            path, backend, implied=('engine_dir', 'tvm_target'), num_buffers=1, threads=2,
            engine_dir=engine_dir, **options) as opened:
        while sum(map(len, rows)) < len(frames):
            batch = frames[sum(map(len, rows)):][:size]
            opened.buffer()[:len(batch)] = batch
            rows.append(opened.infer(len(batch)).copy())
            size = size % largest + 1
    return np.concatenate(rows)
