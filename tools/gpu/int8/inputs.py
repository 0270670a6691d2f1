"""
Forms of an int8 model that take the picture in other ways: what the first layers cost.

In a model of `quantize` the pixels become floats, are normalised and rounded to int8 again. Here
the normalisation stands in the first convolution instead, and its input is the pixel less 128,
which is an int8 as it is. The answers stay, but for what rounding changes and for the border,
where the padding is a grey of 128 instead of the mean colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
import onnx
from onnx import helper, numpy_helper, TensorProto
from resnet_trt_node.contract.onnx_graph import constants_in, producers_of, remove_unread
from resnet_trt_node.contract.spec import INPUT_NAME
from resnet_trt_node.errors import ModelError

#: Kind to what it is.
KINDS = {
    'as_it_is': 'uint8 (N, H, W, 3), cast, normalised and rounded, as `quantize` writes it',
    'folded': 'uint8 (N, H, W, 3), cast, 128 subtracted; the normalisation in the weights',
    'int8': 'int8 (N, H, W, 3), the pixels less 128; no cast',
    'int8_planes': 'int8 (N, 3, H, W), neither cast nor transposed',
    'int8_fours': 'the same with the channels together and one of zeros: (N, H, W, 4)',
}
#: What is subtracted from a pixel.
MIDDLE = 128
_LEVELS = 127


def with_input(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """
    Return a model in another form.

    :param model: an int8 ResNet of `quantize`; read only.
    :param kind: one of `KINDS`; 'int8_fours' is the same graph as 'int8_planes', since it is the
        engine that is told how its input lies in memory.
    :raises ModelError: if it does not begin as those do.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if kind == 'as_it_is':
        return changed
    graph = changed.graph
    normalise, first = _first_two(graph)
    _fold(graph, normalise, first)
    if kind == 'folded':
        head = [helper.make_node('Cast', [INPUT_NAME], ['floats'], to=TensorProto.FLOAT),
                helper.make_node('Transpose', ['floats'], ['planes'], perm=[0, 3, 1, 2]),
                helper.make_node('Add', ['planes', 'middle'], ['less']),
                helper.make_node('QuantizeLinear', ['less', 'one', 'none'], ['levels']),
                helper.make_node('DequantizeLinear', ['levels', 'one', 'none'], ['pixels'])]
        graph.initializer.append(numpy_helper.from_array(np.float32(-MIDDLE), 'middle'))
    elif kind == 'int8':
        head = [helper.make_node('DequantizeLinear', [INPUT_NAME, 'one', 'none'], ['less']),
                helper.make_node('Transpose', ['less'], ['pixels'], perm=[0, 3, 1, 2])]
    else:
        head = [helper.make_node('DequantizeLinear', [INPUT_NAME, 'one', 'none'], ['pixels'])]
    for node in head:
        node.name = f'head.{node.output[0]}'
    graph.initializer.extend([numpy_helper.from_array(np.float32(1), 'one'),
                              numpy_helper.from_array(np.int8(0), 'none')])
    first.input[0] = 'pixels'
    for node in head[::-1]:
        graph.node.insert(0, node)
    remove_unread(graph)
    if kind != 'folded':
        batch, height, width = graph.input[0].type.tensor_type.shape.dim[:3]
        sides = [batch.dim_param or 'N', height.dim_value, width.dim_value]
        shape = [*sides, 3] if kind == 'int8' else [sides[0], 3, *sides[1:]]
        graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT_NAME, TensorProto.INT8, shape))
    del graph.value_info[:]
    onnx.checker.check_model(changed, full_check=True)
    return changed


def host_array(frames: NDArray[np.uint8], kind: str) -> NDArray[Any]:
    """
    Return frames as an engine of a kind takes them, in the order of its memory.

    :param frames: uint8 (N, H, W, 3).
    :param kind: one of `KINDS`.
    """
    if kind in ('as_it_is', 'folded'):
        return frames
    less = (frames ^ np.uint8(MIDDLE)).view(np.int8)
    if kind == 'int8':
        return less
    if kind == 'int8_planes':
        return np.ascontiguousarray(less.transpose(0, 3, 1, 2))
    return np.pad(less, ((0, 0), (0, 0), (0, 0), (0, 1)))


def _first_two(graph: onnx.GraphProto) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """Return the normalisation and the first convolution, with a pair between them."""
    nodes = [node for node in graph.node if node.name == 'normalise']
    for kind in ('QuantizeLinear', 'DequantizeLinear', 'Conv'):
        nodes += [node for node in graph.node
                  if node.op_type == kind and nodes and node.input[0] == nodes[-1].output[0]]
    if len(nodes) != 4 or len(nodes[-1].input) < 3:
        raise ModelError('it does not begin as an int8 ResNet of `quantize` does: give one')
    return nodes[0], nodes[-1]


def _fold(
        graph: onnx.GraphProto, normalise: onnx.NodeProto, first: onnx.NodeProto) -> None:
    """Put the normalisation into the weights and the bias of the first convolution."""
    constants = constants_in(graph)
    scale, offset = (numpy_helper.to_array(constants[name]).astype(np.float64).reshape(-1)
                     for name in normalise.input[1:3])
    producers = producers_of(graph)
    dequantize = producers[first.input[1]]
    quantize = producers[dequantize.input[0]]
    weight, steps, bias = (constants[name] for name in (
        quantize.input[0], quantize.input[1], first.input[2]))
    values = numpy_helper.to_array(weight).astype(np.float64) * scale.reshape(1, -1, 1, 1)
    step = np.abs(values).max(axis=(1, 2, 3)).clip(1e-8) / _LEVELS
    levels = np.rint(values / step.reshape(-1, 1, 1, 1)).clip(-_LEVELS, _LEVELS)
    # What a pixel of MIDDLE gives, in the weights as they are rounded.
    middle = (scale * MIDDLE + offset) / scale
    added = (levels * step.reshape(-1, 1, 1, 1) * middle.reshape(1, -1, 1, 1)).sum((1, 2, 3))
    for tensor, numbers in ((weight, values), (steps, step),
                            (bias, numpy_helper.to_array(bias) + added)):
        tensor.CopyFrom(numpy_helper.from_array(numbers.astype(np.float32), tensor.name))
