"""
Letting no pair of QuantizeLinear and DequantizeLinear read a Clip, such as a ReLU6.

TensorRT 8.6.0 answers wrongly where one does, without a warning: EfficientNet-Lite0 in int8 had
none of 200 photographs right, 180 in float, and with nothing but its first such pair none either.
With a ReLU in the Clip's place it has 180. No number changes by that elsewhere: a pair has a
largest level of its own.
"""

from __future__ import annotations

from typing import Any, Mapping, TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper
from resnet_trt_node.onnx_tools.subgraphs import names_read, refuse_in_subgraphs

if TYPE_CHECKING:
    from numpy.typing import NDArray


def move_pairs_off_clips(model: onnx.ModelProto) -> int:
    """
    Let every QuantizeLinear behind a Clip read a tensor that is rounded to the same levels.

    A Clip from zero becomes a ReLU where the largest level does not lie above its bound, else a
    ReLU and a Min; one from elsewhere a Max and a Min. Other readers keep the Clip.

    :param model: is changed in place. Below opset 11 a Clip's bounds are no inputs: it stays.
    :returns: how many QuantizeLinear nodes were moved.
    :raises ModelError: if one stands in a branch or loop, whose Clips would not be seen.
    """
    refuse_in_subgraphs(model, frozenset({'QuantizeLinear'}), 'quantised')
    graph = model.graph
    constants = _constants(graph)
    # With attributes it is of an older opset: those are its bounds.
    clips = {node.output[0]: node for node in graph.node
             if node.op_type == 'Clip' and not node.attribute}
    nodes: list[onnx.NodeProto] = []
    left: set[str] = set()
    moved = 0
    for node in graph.node:
        if node.op_type == 'QuantizeLinear' and node.input[0] in clips:
            clip = clips[node.input[0]]
            # It stands here and not at the Clip: a topological order either way.
            made = _instead(clip, node, constants)
            nodes.extend(made)
            left.add(node.input[0])
            node.input[0] = made[-1].output[0] if made else clip.input[0]
            moved += 1
        nodes.append(node)
    if not moved:
        return 0
    read = names_read(nodes) | {output.name for output in graph.output}
    unread = {name for name in left if name not in read}
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes
            if not unread.intersection(node.output)]
    # Runtimes warn of constants that nothing reads.
    bounds = {name for output in unread for name in clips[output].input[1:]} - names_read(kept)
    del graph.node[:]
    graph.node.extend(kept)
    for item in [item for item in graph.initializer if item.name in bounds]:
        graph.initializer.remove(item)
    return moved


def _instead(
        clip: onnx.NodeProto, quantize: onnx.NodeProto,
        constants: Mapping[str, NDArray[Any]]) -> list[onnx.NodeProto]:
    """Return the nodes that a pair reads instead of a Clip, in order."""
    low, high = (*clip.input[1:], '', '')[:2]
    made: list[onnx.NodeProto] = []

    def add(kind: str, *bound: str) -> None:
        read = made[-1].output[0] if made else clip.input[0]
        name = f'{quantize.output[0]}:{kind.lower()}'
        made.append(helper.make_node(kind, [read, *bound], [name], name=name))

    if low and low in constants and constants[low].item() == 0:
        add('Relu')
    elif low:
        add('Max', low)
    if high and not (high in constants and _ends_within(quantize, constants[high], constants)):
        add('Min', high)
    return made


def _ends_within(
        quantize: onnx.NodeProto, bound: NDArray[Any],
        constants: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether a bound gets the largest level, as every value above it does."""
    scale, zero = (constants.get(name) for name in (*quantize.input[1:], '')[:2])
    if scale is None:
        return False
    if zero is None:
        # What the operator does without one, unless its name was given and is no constant.
        if len(quantize.input) > 2 and quantize.input[2]:
            return False
        zero = np.zeros(1, np.uint8)
    if not np.issubdtype(zero.dtype, np.integer):
        return False
    largest = np.iinfo(zero.dtype).max
    # Half a level below the largest one rounding takes to it.
    steps = largest - 0.5 - zero.astype(np.float64)
    return bool(np.all(steps * scale.astype(np.float64) < float(bound.item())))


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    found = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Constant' and node.attribute[0].name == 'value':
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found
