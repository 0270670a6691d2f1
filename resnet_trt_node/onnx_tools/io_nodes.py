"""Pre- and postprocessing nodes: from uint8 frames to the network, then to probabilities."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper, TensorProto
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
from resnet_trt_node.onnx_tools.graph import GraphBuilder, OPSET
from resnet_trt_node.onnx_tools.normalisation import (
    LUMINANCE_SHIFT, LUMINANCE_WEIGHTS, Normalisation)
from resnet_trt_node.onnx_tools.preparation.activation import Answers

#: From this opset on the axes of a sum are an input.
_AXES_ARE_AN_INPUT = 13


def add_preprocessing(
        builder: GraphBuilder, normalisation: Normalisation, name: str, opset: int = OPSET,
        pixels: bool = False) -> str:
    """
    Add the nodes from `images`, uint8 (N, H, W, 3), to normalised (N, 3, H, W), or (N, 1, H, W).

    The cast comes first, since TensorRT cannot transpose uint8. The normalisation is a depthwise
    1x1 convolution, since TensorRT 8.6 cannot build Q/DQ layers behind a multiplication and an
    addition. All of 0..255 is exact in fp16.

    :param builder: takes the nodes; its type is that of the network's input.
    :param normalisation: what the network was trained with.
    :param name: of the result.
    :param opset: of the graph that the nodes go into.
    :param pixels: whether the network takes pixels as they are, see `pixels_of`.
    """
    if normalisation.is_grey:
        x = _add_luminance(builder, opset)
    else:
        x = builder.node('Cast', 'images_float', INPUT_NAME, to=builder.float_type)
        x = builder.node('Transpose', 'images_nchw', x, perm=[0, 3, 1, 2])
    if pixels and not normalisation.bgr:
        return x
    weight, bias, groups = normalisation.convolution()
    return builder.convolution(name, x, weight, bias, groups=groups)


def _add_luminance(builder: GraphBuilder, opset: int) -> str:
    """
    Add the nodes from `images` to grey pixels of 0..255, (N, 1, H, W), exactly as `luminance`.

    All in float32, in which every number up to 2^24 is exact: the largest sum is 255.5 * 2^16. No
    convolution or matrix product, whose inputs GPUs may round to TF32, and int8 would round too.
    """
    exact = GraphBuilder('fp32')
    x = exact.node('Cast', 'images_float', INPUT_NAME, to=TensorProto.FLOAT)
    x = exact.node('Mul', 'luminance_parts', [
        x, exact.constant('luminance.weights', LUMINANCE_WEIGHTS)])
    if opset < _AXES_ARE_AN_INPUT:
        x = exact.node('ReduceSum', 'luminance_sum', x, axes=[3], keepdims=1)
    else:
        exact.constants.append(numpy_helper.from_array(np.array([3]), 'luminance.axes'))
        x = exact.node('ReduceSum', 'luminance_sum', [x, 'luminance.axes'], keepdims=1)
    x = exact.node('Add', 'luminance_half', [
        x, exact.constant('luminance.half', 2.0 ** (LUMINANCE_SHIFT - 1))])
    x = exact.node('Mul', 'luminance_scaled', [
        x, exact.constant('luminance.scale', 2.0 ** -LUMINANCE_SHIFT)])
    x = exact.node('Floor', 'luminance', x)
    builder.nodes += exact.nodes
    builder.constants += exact.constants
    x = builder.node('Transpose', 'images_nchw', x, perm=[0, 3, 1, 2])
    return x if builder.precision == 'fp32' else builder.node(
        'Cast', 'luminance_half_precision', x, to=builder.float_type)


def add_postprocessing(builder: GraphBuilder, x: str, kind: int, softmax: bool) -> str:
    """
    Add the nodes from the network's result to `probabilities`, float32 (N, C).

    Softmax is computed in float32: its sum over a thousand classes loses digits in fp16, and on
    so few numbers it costs nothing.

    :param builder: takes the nodes.
    :param x: the network's result, (N, C).
    :param kind: its ONNX element type.
    :param softmax: whether it is logits; False for probabilities.
    """
    return add_activation(builder, x, kind, Answers('softmax' if softmax else 'none'))


def add_activation(builder: GraphBuilder, x: str, kind: int, answers: Answers) -> str:
    """
    Add the nodes from a network's result to `probabilities`, float32 (N, C), of any kind.

    The other class of a binary model is made of its only number: softmax(0, x) is
    (1 - sigmoid(x), sigmoid(x)) without what a subtraction rounds, and can be calibrated.

    :param builder: takes the nodes; of fp32.
    :param x: the network's result, (N, C), or (N, 1) of a binary model.
    :param kind: its ONNX element type.
    :param answers: what it is.
    """
    is_float, activation = kind == TensorProto.FLOAT, answers.added
    if not answers.binary and activation == 'none':
        return builder.node('Identity', OUTPUT_NAME, x) if is_float else builder.node(
            'Cast', OUTPUT_NAME, x, to=TensorProto.FLOAT)
    if not is_float:
        x = builder.node('Cast', 'logits_float', x, to=TensorProto.FLOAT)
    if activation == 'sigmoid' and not answers.binary:
        return builder.node('Sigmoid', OUTPUT_NAME, x)
    if answers.binary:
        # Of a probability: 1 - p and p.
        factors = (0, 1) if activation == 'sigmoid' else (-1, 1)
        x = builder.node('Mul', 'both' if activation == 'sigmoid' else 'both_signs', [
            x, builder.constant('both.factors', [factors])])
        if activation == 'none':
            return builder.node(
                'Add', OUTPUT_NAME, [x, builder.constant('both.first', [(1, 0)])])
    return builder.node('Softmax', OUTPUT_NAME, x, axis=1)
