"""
Making a deployable fp32 model int8: QuantizeLinear and DequantizeLinear pairs at chosen places.

A pair rounds a tensor to 255 levels, so any runtime computes the same numbers; one that has int8
kernels merges a pair with the layer around it. Everything is symmetric, as TensorRT wants it:
level = round(value / scale), -127 to 127, one scale for an activation, one for each output channel
of a weight. Weights stay float in front of their pair, since TensorRT 8.6 cannot build from int8
constants.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterable, Mapping, TYPE_CHECKING, Union

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter
from resnet_trt_node.contract.model_file import write_model_spec
from resnet_trt_node.contract.onnx_graph import (
    constants_in, integer, name_of, opset_of, output_axis, producers_of, replace_all, trace_back)
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.deployable import load_float, write_model
from resnet_trt_node.onnx_tools.int8.qdq_clip import move_pairs_off_clips
from resnet_trt_node.onnx_tools.int8.ranges import activation_ranges
from resnet_trt_node.text.printable import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEVELS = 127
#: Layers whose inputs and weights are rounded.
_COMPUTING = ('Conv', 'Gemm')
#: All that multiply and accumulate.
_MULTIPLYING = frozenset({*_COMPUTING, 'ConvTranspose', 'MatMul'})
#: Nodes between the picture and its normalisation.
_PASSING = ('Cast', 'Transpose', 'Mul', 'ReduceSum', 'Add', 'Floor')
#: The first one whose pairs know a scale for each channel.
_MIN_OPSET = 13


@dataclass(frozen=True)
class Placement:
    """
    Where pairs stand, apart from the inputs and weights of convolutions.

    :param shortcuts: on the input of each addition that is not a convolution's own result, so that
        the addition merges into the convolution before it and runs on int8.
    :param pooled: in front of the global average pooling, so that the last block ends in int8.
    :param keep: names of layers whose inputs and weights stay float.
    """

    shortcuts: bool = True
    pooled: bool = True
    keep: FrozenSet[str] = frozenset()


def quantize_model(
        path: Union[str, Path], frames: Iterable[NDArray[np.uint8]], out: Union[str, Path],
        placement: Placement = Placement(), **options: Any) -> ModelSpec:
    """
    Write the int8 form of a deployable fp32 model.

    :param path: the fp32 model.
    :param frames: as for `quantized_model`.
    :param out: the file to write; it appears whole or not at all.
    :param placement: where pairs stand.
    :param options: the others of `quantized_model`.
    :returns: the contract of the new model.
    :raises ModelError: if the model is not a deployable fp32 one.
    :raises DataError: without frames.
    """
    model, spec = quantized_model(path, frames, placement, **options)
    write_model(model, spec, out, f'the int8 form of {path}')
    return spec


def quantized_model(
        path: Union[str, Path], frames: Iterable[NDArray[np.uint8]],
        placement: Placement = Placement(), method: str = 'minmax', percentile: float = 99.99,
        step: Callable[[], None] = lambda: None) -> tuple[onnx.ModelProto, ModelSpec]:
    """
    Return the int8 form of a deployable fp32 model, checked, and its contract.

    :param path: the fp32 model.
    :param frames: batches of uint8 (N, H, W, 3) RGB, such as the model will see; they decide
        which values the 255 levels cover.
    :param placement: where pairs stand.
    :param method: how ranges are chosen, one of `ranges.METHODS`.
    :param percentile: of the method of that name.
    :param step: called after each batch of each pass.
    :raises ModelError: if the model is not a deployable fp32 one.
    :raises DataError: without frames.
    """
    model, spec = load_fp32(path)
    tensors = quantized_tensors(model, placement)
    ranges = activation_ranges(model, tensors, list(frames), method, percentile, step)
    insert_pairs(model, ranges, placement)
    spec = replace(spec, precision='int8')
    write_model_spec(model, spec)
    onnx.checker.check_model(model, full_check=True)
    return model, spec


def load_fp32(path: Union[str, Path]) -> tuple[onnx.ModelProto, ModelSpec]:
    """
    Return a model that can be quantised, and its contract.

    :param path: the file.
    :raises ModelError: if it is not a deployable fp32 model, or has no layer to quantise.
    """
    model, spec = load_float(path, _MULTIPLYING, 'quantised')
    if spec.precision != 'fp32':
        raise ModelError(
            f'{path} is {spec.precision}: quantise the fp32 model that it was made from')
    if not quantizable_layers(model):
        raise ModelError(
            f'{path} has nothing to quantise: no convolution but depthwise ones and no fully '
            'connected layer with constant weights')
    return _recent(model, path), spec


def _recent(model: onnx.ModelProto, path: Union[str, Path]) -> onnx.ModelProto:
    """Return a model of an opset that has pairs by channel; itself if it is."""
    if opset_of(model) >= _MIN_OPSET:
        return model
    try:
        return version_converter.convert_version(model, _MIN_OPSET)
    except Exception as error:  # noqa: B902  the converter has no error type of its own
        raise ModelError(
            f'{path} is of an ONNX opset below {_MIN_OPSET} and cannot be brought to it '
            f'({one_line(error)}): export it again with a newer one') from error


def quantizable_layers(model: onnx.ModelProto) -> list[str]:
    """
    Return the names of the layers that compute in int8, in the graph's order.

    :param model: a deployable fp32 model; read only.
    """
    return [name_of(node) for node in _Graph(model).layers]


def layers_left_float(model: onnx.ModelProto) -> Dict[str, int]:
    """
    Return how many layers no pair is for, whatever the placement, by what they are.

    :param model: a deployable fp32 model; read only.
    """
    graph = _Graph(model)
    return dict(Counter(
        'depthwise convolution' if _is_depthwise(node, graph.constants) else
        f'{node.op_type} with a computed weight' if node.op_type in _COMPUTING else node.op_type
        for node in graph.nodes if node.op_type in _MULTIPLYING and not graph.is_layer(node)
        and not graph.normalises(node)))


def quantized_tensors(model: onnx.ModelProto, placement: Placement) -> list[str]:
    """
    Return the activations that get a pair, in the graph's order.

    :param model: a deployable fp32 model; read only.
    :param placement: where pairs stand.
    """
    graph = _Graph(model)
    return list(dict.fromkeys(
        node.input[place] for node in graph.nodes
        for place in graph.rounded_inputs(node, placement)))


class _Graph:
    """A graph's nodes by what they mean for int8; read only."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.constants = constants_in(model.graph)
        self._producers = producers_of(model.graph)
        # A depthwise convolution moves more bytes than it computes: int8 wins nothing there.
        self.layers = [
            node for node in self.nodes if node.op_type in _COMPUTING
            and not _is_depthwise(node, self.constants) and node.input[1] in self.constants
            and not self.normalises(node)]
        self._results = {node.output[0] for node in self.layers}

    def is_layer(self, node: onnx.NodeProto) -> bool:
        """Tell whether a node has a weight that is rounded."""
        return node.output[0] in self._results

    def rounded_inputs(self, node: onnx.NodeProto, placement: Placement) -> list[int]:
        """Return the places of a node's activations that are rounded."""
        if self.is_layer(node):
            return [] if name_of(node) in placement.keep else [0]
        if node.op_type == 'Add' and placement.shortcuts:
            # The convolution's own result stays in the accumulators, the other side comes from
            # memory. A constant is a bias, whose digits cost nothing.
            for name, other in zip(node.input, (1, 0)):
                if name in self._producers and self._producers[name].op_type == 'Conv':
                    return [] if node.input[other] in self.constants else [other]
            return []
        return [0] if node.op_type == 'GlobalAveragePool' and placement.pooled else []

    def normalises(self, node: onnx.NodeProto) -> bool:
        """Tell whether a node normalises the picture, all digits of which the network needs."""
        # Depthwise for RGB; for BGR it exchanges the channels as well. The sum is of grey ones.
        source = trace_back(node.input[0], self._producers, _PASSING)
        return source == INPUT_NAME and node.input[1] in self.constants and (
            list(self.constants[node.input[1]].dims) in (
                [3, 1, 1, 1], [3, 3, 1, 1], [1, 1, 1, 1]))


def insert_pairs(
        model: onnx.ModelProto, ranges: Mapping[str, float],
        placement: Placement = Placement()) -> None:
    """
    Put the pairs into a model.

    :param model: a deployable fp32 model; is changed in place.
    :param ranges: largest magnitude of each tensor of `quantized_tensors`.
    :param placement: where pairs stand.
    """
    graph = _Graph(model)
    wanted = [(node, graph.rounded_inputs(node, placement)) for node in graph.nodes]
    # One pair for all readers of a tensor, so that they share one int8 copy of it.
    rounded: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node, places in wanted:
        largest = {place: np.array(max(ranges[node.input[place]], 1e-6)) for place in places}
        if places and graph.is_layer(node):
            weight = np.abs(numpy_helper.to_array(graph.constants[node.input[1]]))
            others = tuple({*range(weight.ndim)} - {output_axis(node)})
            largest[1] = np.maximum(weight.max(axis=others), 1e-8)
        for place, values in largest.items():
            name = node.input[place]
            if name not in rounded:
                rounded[name] = _add_pair(
                    model.graph, nodes, name, values / _LEVELS, output_axis(node))
            node.input[place] = rounded[name]
        nodes.append(node)
    replace_all(model.graph.node, nodes)
    move_pairs_off_clips(model)


def _is_depthwise(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Tell whether each output of a convolution reads one channel alone, not a group of them."""
    return integer(node, 'group', 1) > 1 and node.input[1] in constants and (
        list(constants[node.input[1]].dims[1:2]) == [1])


def _add_pair(
        graph: onnx.GraphProto, nodes: list[onnx.NodeProto], name: str,
        scale: NDArray[np.floating[Any]], axis: int) -> str:
    """Append a pair that reads a tensor; a scale for each place along the axis if several."""
    constants: dict[str, NDArray[Any]] = {
        f'{name}:scale': np.asarray(scale, np.float32),
        f'{name}:zero': np.zeros(np.shape(scale), np.int8)}
    graph.initializer.extend(
        numpy_helper.from_array(values, key) for key, values in constants.items())
    along: dict[str, Any] = {'axis': axis} if np.ndim(scale) else {}
    nodes.append(helper.make_node(
        'QuantizeLinear', [name, *constants], [f'{name}:int8'], name=f'{name}.quantize', **along))
    nodes.append(helper.make_node(
        'DequantizeLinear', [f'{name}:int8', *constants], [f'{name}:rounded'],
        name=f'{name}.dequantize', **along))
    return f'{name}:rounded'
