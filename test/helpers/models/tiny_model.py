"""A deployable model that a test can predict: it names a picture's mean colour."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence, Union

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from resnet_trt_node.contract.model_file import write_model_spec
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME, ResizeRule

#: The corners of the RGB cube, in the order of the model's output.
COLOURS = {
    'black': (0, 0, 0),
    'red': (255, 0, 0),
    'green': (0, 255, 0),
    'yellow': (255, 255, 0),
    'blue': (0, 0, 255),
    'magenta': (255, 0, 255),
    'cyan': (0, 255, 255),
    'white': (255, 255, 255),
}
#: Softmax(-SHARPNESS * distance^2) to each corner, in units of the cube's side: a pure colour
#: scores above 0.99, and a swap of red and blue changes the class.
_SHARPNESS = 6.0


def write_tiny_model(
        path: Union[str, Path], labels: Sequence[str] = tuple(COLOURS), size: int = 32,
        short_side: int = 36) -> Path:
    """
    Write a deployable model that classifies the mean colour of its input.

    :param path: the ONNX file to write.
    :param labels: the eight class names, those of `COLOURS` unless a test needs others.
    :param size: H and W of the input.
    :param short_side: the resize rule's short side; the centre `size` x `size` is cut from it.
    :returns: the path.
    """
    corners = np.array(list(COLOURS.values()), np.float32) / 255.0
    # -s|x - c|^2 = 2s x.c - s|c|^2 - s|x|^2, and the last term is the same for every class.
    weights = (2 * _SHARPNESS * corners.T / 255.0).astype(np.float32)
    bias = (-_SHARPNESS * (corners ** 2).sum(axis=1)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node('Cast', [INPUT_NAME], ['pixels'], to=TensorProto.FLOAT),
            helper.make_node('ReduceMean', ['pixels'], ['mean'], axes=[1, 2], keepdims=0),
            helper.make_node('Gemm', ['mean', 'weights', 'bias'], ['logits']),
            helper.make_node('Softmax', ['logits'], [OUTPUT_NAME], axis=1),
        ],
        'mean_colour',
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ['N', size, size, 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ['N', len(COLOURS)])],
        [numpy_helper.from_array(weights, 'weights'), numpy_helper.from_array(bias, 'bias')])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    write_model_spec(model, ModelSpec(
        height=size, width=size, labels=tuple(labels),
        resize=ResizeRule(short_side, size, size), precision='fp32',
        architecture='mean_colour', source='made by the tests'))
    onnx.checker.check_model(model)
    path = Path(path)
    onnx.save(model, str(path))
    return path


def colour_picture(colour: str, width: int = 64, height: int = 48) -> np.ndarray:
    """Return a uint8 (height, width, 3) RGB picture of one of `COLOURS`."""
    return np.full((height, width, 3), COLOURS[colour], np.uint8)


def write_blind_model(path: Union[str, Path], size: int = 32, short_side: int = 36) -> Path:
    """Write `write_tiny_model`'s model, but one that answers NaN where a frame is white."""
    model = onnx.load(str(write_tiny_model(path, size=size, short_side=short_side)))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(700), 'limit'))
    softmax = model.graph.node.pop()
    model.graph.node.extend([
        helper.make_node('ReduceSum', ['mean', 'axes'], ['bright'], keepdims=1),
        helper.make_node('Sub', ['limit', 'bright'], ['room']),
        # Of a negative number there is none.
        helper.make_node('Sqrt', ['room'], ['root']),
        helper.make_node('Add', ['logits', 'root'], ['shifted']),
    ])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), 'axes'))
    softmax.input[0] = 'shifted'
    model.graph.node.append(softmax)
    onnx.save(model, str(path))
    return Path(path)


def write_endless_model(path: Union[str, Path]) -> Path:
    """Write `write_tiny_model`'s model with a loop in it that never ends."""
    model = onnx.load(str(write_tiny_model(path)))

    def value(name: str, kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [] if kind != TensorProto.FLOAT else None)
    body = helper.make_graph(
        [helper.make_node('Identity', ['go_on'], ['go_on_then']),
         helper.make_node('Identity', ['scores'], ['same_scores'])],
        'body',
        [value('number', TensorProto.INT64), value('go_on', TensorProto.BOOL),
         value('scores', TensorProto.FLOAT)],
        [value('go_on_then', TensorProto.BOOL), value('same_scores', TensorProto.FLOAT)])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), 'yes'))
    softmax = model.graph.node.pop()
    model.graph.node.append(helper.make_node('Loop', ['', 'yes', 'logits'], ['late'], body=body))
    softmax.input[0] = 'late'
    model.graph.node.append(softmax)
    onnx.save(model, str(path))
    return Path(path)


#: The classes of `write_multi_label_model`, with the channel that each looks at.
LIGHTS = {'red': 0, 'green': 1, 'blue': 2, 'warm': 0, 'leaf': 1, 'sky': 2}


def light_scores(frames: np.ndarray) -> np.ndarray:
    """Return what `write_multi_label_model` gives for uint8 (N, H, W, 3), float64 (N, 6)."""
    means = frames.reshape(len(frames), -1, 3).mean(axis=1) / 255.0
    return 1 / (1 + np.exp(-10 * (means[:, list(LIGHTS.values())] - 0.5)))


def write_multi_label_model(path: Union[str, Path], size: int = 32) -> Path:
    """Write a deployable multi-label model of `LIGHTS`: whether a channel's mean is above half."""
    weights = np.zeros((3, len(LIGHTS)), np.float32)
    weights[list(LIGHTS.values()), range(len(LIGHTS))] = 10 / 255
    graph = helper.make_graph(
        [
            helper.make_node('Cast', [INPUT_NAME], ['pixels'], to=TensorProto.FLOAT),
            helper.make_node('ReduceMean', ['pixels'], ['mean'], axes=[1, 2], keepdims=0),
            helper.make_node('Gemm', ['mean', 'weights', 'bias'], ['logits'], name='linear'),
            helper.make_node('Sigmoid', ['logits'], [OUTPUT_NAME]),
        ],
        'lights',
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ['N', size, size, 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ['N', len(LIGHTS)])],
        [numpy_helper.from_array(weights, 'weights'),
         numpy_helper.from_array(np.full(len(LIGHTS), -5, np.float32), 'bias')])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    write_model_spec(model, ModelSpec(
        height=size, width=size, labels=tuple(LIGHTS), resize=ResizeRule(None, size, size),
        precision='fp32', architecture='lights', activation='sigmoid', multi_label=True))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return Path(path)
