"""
Letting no pair of QuantizeLinear and DequantizeLinear read a Clip, such as a ReLU6.

TensorRT 8.6.0 answers wrongly where one does, without a warning: EfficientNet-Lite0 in int8 had
none of 200 photographs right, 180 in float, and with nothing but its first such pair none either.
With a ReLU in the Clip's place it has 180. No number changes by that elsewhere: a pair has a
largest level of its own.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper
from onnx.numpy_helper import to_array
from resnet_trt_node.contract.onnx_graph import (
    Constants, constants_in, refuse_in_subgraphs, remove_unread, replace_all)


def move_pairs_off_clips(model: onnx.ModelProto) -> int:
    """
    Let every QuantizeLinear behind a Clip read a tensor that is rounded to the same levels.

    A Clip from zero becomes a ReLU where the largest level does not lie above its bound, else a
    ReLU and a Min; one from elsewhere a Max and a Min. Other readers keep the Clip.

    :param model: is changed in place. Below opset 11 a Clip's bounds are no inputs: it stays.
    :returns: how many QuantizeLinear nodes were moved.
    :raises ModelError: if one stands in a branch or loop, whose Clips would not be seen.
    """
    refuse_in_subgraphs(model, {'QuantizeLinear'}, 'quantised')
    graph = model.graph
    constants = constants_in(graph)
    # With attributes it is of an older opset: those are its bounds.
    clips = {node.output[0]: node for node in graph.node
             if node.op_type == 'Clip' and not node.attribute}
    nodes: list[onnx.NodeProto] = []
    moved = 0
    for node in graph.node:
        if node.op_type == 'QuantizeLinear' and node.input[0] in clips:
            clip = clips[node.input[0]]
            # It stands here and not at the Clip: a topological order either way.
            made = _instead(clip, node, constants)
            nodes.extend(made)
            node.input[0] = made[-1].output[0] if made else clip.input[0]
            moved += 1
        nodes.append(node)
    if moved:
        replace_all(graph.node, nodes)
        # Clips without readers, and their bounds, which runtimes would warn of.
        remove_unread(graph)
    return moved


def _instead(
        clip: onnx.NodeProto, quantize: onnx.NodeProto,
        constants: Constants) -> list[onnx.NodeProto]:
    """Return the nodes that a pair reads instead of a Clip, in order."""
    low, high = (*clip.input[1:], '', '')[:2]
    made: list[onnx.NodeProto] = []

    def add(kind: str, *bound: str) -> None:
        read = made[-1].output[0] if made else clip.input[0]
        name = f'{quantize.output[0]}:{kind.lower()}'
        made.append(helper.make_node(kind, [read, *bound], [name], name=name))

    if low in constants and to_array(constants[low]).item() == 0:
        add('Relu')
    elif low:
        add('Max', low)
    if high and not (high in constants and _ends_within(
            quantize, to_array(constants[high]).item(), constants)):
        add('Min', high)
    return made


def _ends_within(
        quantize: onnx.NodeProto, bound: float, constants: Constants) -> bool:
    """Tell whether a bound gets the largest level, as every value above it does."""
    names = [name for name in quantize.input[1:] if name]
    if not constants.keys() >= set(names):
        return False
    scale, zero = [*(to_array(constants[name]) for name in names), np.zeros(1, np.uint8)][:2]
    if not np.issubdtype(zero.dtype, np.integer):
        return False
    largest = np.iinfo(zero.dtype).max
    # Half a level below the largest one rounding takes to it.
    steps = largest - 0.5 - zero.astype(np.float64)
    return bool(np.all(steps * scale.astype(np.float64) < bound))
