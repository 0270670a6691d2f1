"""A ResNet as a deployable ONNX graph, batch norms folded."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

import onnx
from onnx import TensorProto
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
from resnet_trt_node.onnx_tools.graph import BATCH, folded, GraphBuilder, tensor
from resnet_trt_node.onnx_tools.io_nodes import add_postprocessing, add_preprocessing
from resnet_trt_node.onnx_tools.normalisation import IMAGENET, Normalisation
from resnet_trt_node.training.networks.resnet import Block, ResNet
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    import torch


def resnet_graph(
        network: ResNet, precision: str, image_size: int,
        normalisation: Normalisation = IMAGENET) -> onnx.ModelProto:
    """
    Write a network as a deployable graph, without metadata.

    Nodes are called as the modules that they come from ('layer1.0.conv2'), a convolution's
    constants as its parameters, with the batch norm's in them.

    :param network: read only.
    :param precision: 'fp32' or 'fp16'.
    :param image_size: H and W.
    :param normalisation: of the network's input.
    :raises UsageError: for another precision.
    :raises ModelError: if a weight does not fit the precision.
    """
    builder = GraphBuilder(precision)
    x = add_preprocessing(builder, normalisation, 'normalise')
    x = _stem(builder, x, network)
    x = builder.node(
        'MaxPool', 'maxpool', x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage in ('layer1', 'layer2', 'layer3', 'layer4'):
        for index, block in enumerate(getattr(network, stage)):
            x = _block(builder, f'{stage}.{index}', x, block)
    x = builder.node('GlobalAveragePool', 'avgpool', x)
    x = builder.node('Flatten', 'flatten', x, axis=1)
    x = builder.linear('fc', x, array(network.fc.weight), array(network.fc.bias))
    add_postprocessing(builder, x, builder.float_type, softmax=True)
    return builder.model(
        network.arch,
        [tensor(INPUT_NAME, TensorProto.UINT8, (BATCH, image_size, image_size, 3))],
        [tensor(OUTPUT_NAME, TensorProto.FLOAT, (BATCH, network.fc.out_features))])


def array(values: torch.Tensor) -> NDArray[Any]:
    """Return a tensor's numbers as a NumPy array on the CPU, a view where that is possible."""
    result: NDArray[Any] = values.detach().cpu().numpy()
    return result


def _stem(builder: GraphBuilder, x: str, network: ResNet) -> str:
    """Add the first convolution, or those of a deep stem, with what follows each of them."""
    first = network.conv1
    if not isinstance(first, nn.Sequential):
        x = _convolution(builder, 'conv1', x, first, network.bn1)
        return builder.node('Relu', 'relu', x)
    # Convolution, norm and ReLU by turns; the last norm is the network's own.
    layers = [*first, network.bn1]
    for index in range(0, len(layers), 3):
        x = _convolution(builder, f'conv1.{index}', x, layers[index], layers[index + 1])
        x = builder.node('Relu', f'conv1.relu{index}', x)
    return x


def _block(builder: GraphBuilder, name: str, x: str, block: Block) -> str:
    y = x
    count = len(block.layers)
    for index, (convolution, norm) in enumerate(block.layers, start=1):
        y = _convolution(builder, f'{name}.conv{index}', y, convolution, norm)
        if index < count:
            y = builder.node('Relu', f'{name}.relu{index}', y)
    if block.downsample is not None:
        *pools, convolution, norm = block.downsample
        for pool in pools:
            if isinstance(pool, nn.AvgPool2d):
                x = builder.node(
                    'AveragePool', f'{name}.downsample.0', x, kernel_shape=2 * [pool.kernel_size],
                    strides=2 * [pool.stride], ceil_mode=1, count_include_pad=0)
        x = _convolution(builder, f'{name}.downsample.{len(pools)}', x, convolution, norm)
    y = builder.node('Add', f'{name}.add', [y, x])
    return builder.node('Relu', f'{name}.relu{count}', y)


def _convolution(
        builder: GraphBuilder, name: str, x: str, convolution: Any, norm: Any) -> str:
    """Add a convolution with its batch norm folded into it."""
    weight, bias = folded(
        array(convolution.weight), None, array(norm.weight), array(norm.bias),
        array(norm.running_mean), array(norm.running_var), norm.eps)
    return builder.convolution(
        name, x, weight, bias, convolution.stride[0], 2 * tuple(convolution.padding),
        convolution.groups)
