"""
Other ways to normalise the picture inside a ResNet's graph, to find out which one TensorRT likes.

The deployable contract leaves this to the graph; all of these compute the same function.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def dense(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the depthwise 1x1 convolution as an ordinary one, 3 to 3 channels."""
    model = _copy(model)
    node, constants = _normalise(model)
    weight = constants[node.input[1]]
    values = numpy_helper.to_array(weight)
    matrix = np.zeros((3, 3, 1, 1), values.dtype)
    matrix[np.arange(3), np.arange(3)] = values[:, 0]
    weight.CopyFrom(numpy_helper.from_array(matrix, weight.name))
    for attribute in node.attribute:
        if attribute.name == 'group':
            attribute.i = 1
    return model


def subtract(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Return the model with the mean subtracted and the rest of the scale in the first weights.

    Scaling an input channel commutes with the convolution, and leaves the zeros of its padding
    zero, so this is exact but for rounding.
    """
    model = _copy(model)
    node, constants = _normalise(model)
    scale = numpy_helper.to_array(constants[node.input[1]]).astype(np.float64).reshape(3)
    bias = numpy_helper.to_array(constants[node.input[2]]).astype(np.float64)
    first = next(layer for layer in model.graph.node if node.output[0] in layer.input)
    weight = constants[first.input[1]]
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(
        (values * scale.reshape(1, 3, 1, 1)).astype(values.dtype), weight.name))
    offset = (bias / scale).reshape(1, 3, 1, 1).astype(values.dtype)
    model.graph.initializer.append(numpy_helper.from_array(offset, 'normalise.offset'))
    for name in node.input[1:]:
        model.graph.initializer.remove(constants[name])
    node.CopyFrom(helper.make_node(
        'Add', [node.input[0], 'normalise.offset'], list(node.output), name=node.name))
    return model


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _normalise(
        model: onnx.ModelProto) -> tuple[onnx.NodeProto, dict[str, onnx.TensorProto]]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    return next(node for node in model.graph.node if node.name == 'normalise'), constants


FRONTS = {'depthwise': _copy, 'dense': dense, 'subtract': subtract}
