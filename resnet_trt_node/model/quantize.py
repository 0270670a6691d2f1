"""
Making a deployable fp32 model int8: QuantizeLinear and DequantizeLinear pairs at chosen places.

A pair rounds a tensor to 255 levels, so any runtime computes the same numbers; one that has int8
kernels merges a pair with the layer around it. Everything is symmetric, as TensorRT wants it:
level = round(value / scale), -127 to 127, one scale for an activation, one for each output channel
of a weight. Weights stay float in front of their pair, since TensorRT 8.6 cannot build from int8
constants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, FrozenSet, Iterable, Mapping, TYPE_CHECKING, Union

import numpy as np
import onnx
from onnx import helper, numpy_helper
from resnet_trt_node.errors import ModelError
from resnet_trt_node.inference.model_file import load_model, spec_of, write_model_spec
from resnet_trt_node.inference.spec import ModelSpec
from resnet_trt_node.model.calibration import activation_ranges
from resnet_trt_node.model.files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEVELS = 127
#: Layers whose inputs and weights are rounded.
_COMPUTING = ('Conv', 'Gemm')


@dataclass(frozen=True)
class Placement:
    """
    Where pairs stand, apart from the inputs and weights of convolutions.

    :param shortcuts: on the input of each addition that is not a convolution's own result, so that
        the addition merges into the convolution before it and runs on int8.
    :param pooled: in front of the global average pooling, so that the last block ends in int8.
    :param first: on the first convolution, which reads the normalised picture.
    :param last: on the last layer, which gives the logits.
    :param keep: names of layers whose inputs and weights stay float.
    """

    shortcuts: bool = True
    pooled: bool = True
    first: bool = True
    last: bool = True
    keep: FrozenSet[str] = frozenset()


def quantize_model(
        path: Union[str, Path], frames: Iterable[NDArray[np.uint8]], out: Union[str, Path],
        placement: Placement = Placement(), method: str = 'minmax', percentile: float = 99.99,
        step: Callable[[], None] = lambda: None) -> ModelSpec:
    """
    Write the int8 form of a deployable fp32 model.

    :param path: the fp32 model.
    :param frames: batches of uint8 (N, H, W, 3) RGB, such as the model will see; they decide
        which values the 255 levels cover.
    :param out: the file to write; it appears whole or not at all.
    :param placement: where pairs stand.
    :param method: how ranges are chosen, one of `calibration.METHODS`.
    :param percentile: of the method of that name.
    :param step: called after each batch of each pass.
    :returns: the contract of the new model.
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
    with whole_file(out) as temporary:
        onnx.save(model, str(temporary))
    return spec


def load_fp32(path: Union[str, Path]) -> tuple[onnx.ModelProto, ModelSpec]:
    """
    Return a model that can be quantised, and its contract.

    :param path: the file.
    :raises ModelError: if it is not a deployable fp32 model.
    """
    model = load_model(path)
    spec = spec_of(model)
    if spec.precision != 'fp32':
        raise ModelError(
            f'{path} is {spec.precision}: quantise the fp32 model that it was made from')
    return model, spec


def quantizable_layers(model: onnx.ModelProto) -> list[str]:
    """
    Return the names of the layers that compute in int8, in the graph's order.

    :param model: a deployable fp32 model; read only.
    """
    return [node.name for node in model.graph.node
            if node.op_type in _COMPUTING and not _is_depthwise(node)]


def quantized_tensors(model: onnx.ModelProto, placement: Placement) -> list[str]:
    """
    Return the activations that get a pair, in the graph's order.

    :param model: a deployable fp32 model; read only.
    """
    found: dict[str, None] = {}
    for node in model.graph.node:
        for index in _rounded_inputs(model, node, placement):
            found[node.input[index]] = None
    return list(found)


def _rounded_inputs(
        model: onnx.ModelProto, node: onnx.NodeProto, placement: Placement) -> list[int]:
    """Return the places of a node's activations that are rounded."""
    makers = {output: maker for maker in model.graph.node for output in maker.output}
    if node.name in placement.keep:
        return []
    if node.op_type in _COMPUTING:
        layers = [layer for layer in model.graph.node
                  if layer.op_type in _COMPUTING and not _is_depthwise(layer)]
        # A depthwise convolution moves more bytes than it computes: int8 wins nothing there,
        # and the one that normalises the picture must not lose digits.
        if _is_depthwise(node) or (node is layers[0] and not placement.first) or (
                node is layers[-1] and not placement.last):
            return []
        return [0]
    if node.op_type == 'Add' and placement.shortcuts:
        # The convolution's own result stays in the accumulators, the other side comes from memory.
        own = next((index for index, name in enumerate(node.input)
                    if name in makers and makers[name].op_type == 'Conv'), None)
        return [] if own is None else [1 - own]
    return [0] if node.op_type == 'GlobalAveragePool' and placement.pooled else []


def insert_pairs(
        model: onnx.ModelProto, ranges: Mapping[str, float],
        placement: Placement = Placement()) -> None:
    """
    Put the pairs into a model.

    :param model: a deployable fp32 model; is changed in place.
    :param ranges: largest magnitude of each tensor of `quantized_tensors`.
    :param placement: where pairs stand.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    wanted = [(node, _rounded_inputs(model, node, placement)) for node in graph.node]
    rounded: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node, places in wanted:
        for place in places:
            name = node.input[place]
            if name not in rounded:
                # One pair for all readers of a tensor, so that they share one int8 copy of it.
                scale = np.float32(max(ranges[name], 1e-6) / _LEVELS)
                rounded[name] = _add_pair(graph, nodes, name, scale)
            node.input[place] = rounded[name]
        if places and node.op_type in _COMPUTING:
            name = node.input[1]
            weight = numpy_helper.to_array(weights[name])
            axes = tuple(range(1, weight.ndim))
            scales = np.maximum(np.abs(weight).max(axis=axes), 1e-8) / _LEVELS
            node.input[1] = _add_pair(graph, nodes, name, scales.astype(np.float32))
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _is_depthwise(node: onnx.NodeProto) -> bool:
    return any(attribute.name == 'group' and attribute.i > 1 for attribute in node.attribute)


def _add_pair(
        graph: onnx.GraphProto, nodes: list[onnx.NodeProto], name: str,
        scale: Union[np.float32, NDArray[np.float32]]) -> str:
    """Append a pair that reads a tensor; a scale for each row of axis 0 if there are several."""
    constants: dict[str, NDArray[Any]] = {
        f'{name}:scale': np.asarray(scale, np.float32),
        f'{name}:zero': np.zeros(np.shape(scale), np.int8)}
    graph.initializer.extend(
        numpy_helper.from_array(values, key) for key, values in constants.items())
    axis: dict[str, Any] = {'axis': 0} if np.ndim(scale) else {}
    nodes.append(helper.make_node(
        'QuantizeLinear', [name, *constants], [f'{name}:int8'], name=f'{name}.quantize', **axis))
    nodes.append(helper.make_node(
        'DequantizeLinear', [f'{name}:int8', *constants], [f'{name}:rounded'],
        name=f'{name}.dequantize', **axis))
    return f'{name}:rounded'
