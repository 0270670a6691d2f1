"""Pre- and postprocessing nodes: from uint8 frames to the network, and from it to softmax."""

from __future__ import annotations

from onnx import TensorProto
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
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
    if softmax:
        if kind != TensorProto.FLOAT:
            x = builder.node('Cast', 'logits_float', x, to=TensorProto.FLOAT)
        return builder.node('Softmax', OUTPUT_NAME, x, axis=1)
    if kind != TensorProto.FLOAT:
        return builder.node('Cast', OUTPUT_NAME, x, to=TensorProto.FLOAT)
    return builder.node('Identity', OUTPUT_NAME, x)
