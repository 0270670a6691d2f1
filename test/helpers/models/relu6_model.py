"""A deployable network with ReLU6, as EfficientNet-Lite and MobileNet have it."""

from __future__ import annotations

from pathlib import Path
from typing import Union

import numpy as np
import onnx
from onnx import TensorProto

from resnet_trt_node.contract.model_file import write_model_spec
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME, ResizeRule
from resnet_trt_node.onnx_tools.graph import BATCH, GraphBuilder, tensor
from resnet_trt_node.onnx_tools.io_nodes import add_postprocessing, add_preprocessing
from resnet_trt_node.onnx_tools.normalisation import IMAGENET

_CHANNELS = 32
_CLASSES = 10


def write_relu6_model(path: Union[str, Path], size: int = 32) -> Path:
    """
    Write a stem, a depthwise and a pointwise convolution, each but the last with ReLU6.

    :param path: the ONNX file to write.
    :param size: H and W of the input.
    :returns: the path.
    """
    random = np.random.default_rng(0)
    builder = GraphBuilder('fp32')

    def convolution(
            name: str, x: str, inputs: int, kernel: int, groups: int = 1, stride: int = 1) -> str:
        # Wide enough that many values lie above six, where ReLU6 matters.
        weight = random.normal(
            0, 3 / np.sqrt(inputs * kernel ** 2), (_CHANNELS, inputs, kernel, kernel))
        return builder.convolution(
            name, x, weight, random.normal(0, 1, _CHANNELS), stride, (kernel // 2,) * 4, groups)

    def relu6(x: str) -> str:
        bounds = [builder.constant(f'{x}.zero', 0.0), builder.constant(f'{x}.six', 6.0)]
        return builder.node('Clip', f'{x}.relu6', [x, *bounds])

    x = add_preprocessing(builder, IMAGENET, 'normalised')
    x = relu6(convolution('stem', x, 3, 3, stride=2))
    x = relu6(convolution('depthwise', x, 1, 3, groups=_CHANNELS))
    x = convolution('project', x, _CHANNELS, 1)
    x = builder.node('Flatten', 'flatten', builder.node('GlobalAveragePool', 'pool', x), axis=1)
    x = builder.linear(
        'logits', x, random.normal(0, 0.2, (_CLASSES, _CHANNELS)), np.zeros(_CLASSES))
    add_postprocessing(builder, x, TensorProto.FLOAT, softmax=True)
    model = builder.model(
        'relu6', [tensor(INPUT_NAME, TensorProto.UINT8, (BATCH, size, size, 3))],
        [tensor(OUTPUT_NAME, TensorProto.FLOAT, (BATCH, _CLASSES))])
    write_model_spec(model, ModelSpec(
        height=size, width=size, labels=tuple(f'class {index}' for index in range(_CLASSES)),
        resize=ResizeRule(size, size, size), precision='fp32', architecture='relu6',
        source='made by the tests'))
    onnx.save(model, str(path))
    return Path(path)
