"""
The branches and loop bodies of a graph, which read the tensors around them by name.

A pass that renames, drops or rounds a tensor changes its readers there too, or refuses them.
"""

from __future__ import annotations

from typing import FrozenSet, Iterable, Iterator, List, Set

import onnx
from resnet_trt_node.contract.onnx_parts import parts_of
from resnet_trt_node.errors import ModelError


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node: of the main graph, of branches and loops however deep, of functions."""
    for part in parts_of(model):
        yield from part.node


def name_of(node: onnx.NodeProto) -> str:
    """Return what to call a node: those of other tools need not have names, or even outputs."""
    return str(node.name or next(iter(node.output), '') or node.op_type)


def subgraphs_of(node: onnx.NodeProto) -> List[onnx.GraphProto]:
    """Return the graphs that a node holds, such as both branches of an If."""
    found: List[onnx.GraphProto] = []
    for attribute in node.attribute:
        if attribute.HasField('g'):
            found.append(attribute.g)
        found.extend(attribute.graphs)
    return found


def names_read(nodes: Iterable[onnx.NodeProto]) -> Set[str]:
    """Return the names of all tensors that nodes read, those in branches and loops too."""
    found: Set[str] = set()
    for node in nodes:
        found.update(node.input)
        for graph in subgraphs_of(node):
            found |= names_read(graph.node) | {output.name for output in graph.output}
    return found


def rename_readers(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    """Let nodes read `new` where they read `old`, in branches and loops too."""
    for node in nodes:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
        for graph in subgraphs_of(node):
            if old in _made_in(graph):
                continue
            rename_readers(graph.node, old, new)
            for output in graph.output:
                if output.name == old:
                    output.name = new


def refuse_in_subgraphs(model: onnx.ModelProto, kinds: FrozenSet[str], what: str) -> None:
    """
    Refuse a model that has nodes of some kinds outside of its main graph.

    :param kinds: operators.
    :param what: cannot be done to them, for the message.
    :raises ModelError: naming the nodes that hold them.
    """
    for node in model.graph.node:
        inner = [one for graph in subgraphs_of(node) for one in _nodes_within(graph)
                 if one.op_type in kinds]
        if inner:
            raise ModelError(
                f'the {inner[0].op_type} {name_of(inner[0])!r} is within the '
                f'{node.op_type} {name_of(node)!r}, where layers cannot be {what}: '
                f'export the network without {node.op_type}')
    inner = [one for function in model.functions for one in function.node if one.op_type in kinds]
    if inner:
        raise ModelError(
            f'the {inner[0].op_type} {name_of(inner[0])!r} is within a function '
            f'of the file, where layers cannot be {what}: export the network without functions')


def _nodes_within(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for inner in subgraphs_of(node):
            yield from _nodes_within(inner)


def _made_in(graph: onnx.GraphProto) -> Set[str]:
    return {value.name for value in (*graph.input, *graph.initializer)} | {
        name for node in graph.node for name in node.output}
