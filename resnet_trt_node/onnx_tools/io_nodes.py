"""Pre- and postprocessing nodes: from uint8 frames to the network, then to probabilities."""

from __future__ import annotations

from onnx import TensorProto
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
from resnet_trt_node.onnx_tools.activation import Answers
from resnet_trt_node.onnx_tools.graph import GraphBuilder
from resnet_trt_node.onnx_tools.normalisation import Normalisation


def add_preprocessing(builder: GraphBuilder, normalisation: Normalisation, name: str) -> str:
    """
    Add the nodes from `images`, uint8 (N, H, W, 3), to normalised (N, 3, H, W).

    The cast comes first, since TensorRT cannot transpose uint8. The normalisation is a depthwise
    1x1 convolution, since TensorRT 8.6 cannot build Q/DQ layers behind a multiplication and an
    addition. All of 0..255 is exact in fp16.

    :param builder: takes the nodes; its type is that of the network's input.
    :param normalisation: what the network was trained with.
    :param name: of the result.
    """
    x = builder.node('Cast', 'images_float', INPUT_NAME, to=builder.float_type)
    x = builder.node('Transpose', 'images_nchw', x, perm=[0, 3, 1, 2])
    weight, bias, groups = normalisation.convolution()
    return builder.convolution(name, x, weight, bias, groups=groups)


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
