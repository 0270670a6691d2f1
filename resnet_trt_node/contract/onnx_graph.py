"""
Reading and rewriting loaded ONNX graphs: nodes, constants, names, shapes.

All code of the package that looks into a graph does it through this module. A graph may hold
others: the branches of an If and the body of a Loop read the tensors around them by name, and a
file may define functions. Functions here see all of them unless they take a single graph. An
optional input that is left out has the name '', which is nobody's.

What is returned belongs to the model, unless said otherwise: a change of it changes the model.
"""

from __future__ import annotations

from typing import (
    AbstractSet, Any, Collection, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple,
    Union)

import onnx
from onnx import helper, shape_inference, TensorProto
from resnet_trt_node.contract.declared import Side, TensorInfo
from resnet_trt_node.errors import ModelError
from resnet_trt_node.text.printable import one_line

Graph = Union[onnx.GraphProto, onnx.FunctionProto]
Constants = Dict[str, onnx.TensorProto]
#: Operator that multiplies and accumulates to the place of the weight among its inputs.
WEIGHT_PLACES = {
    'Conv': 1, 'ConvTranspose': 1, 'Gemm': 1, 'MatMul': 1, 'ConvInteger': 1, 'MatMulInteger': 1,
    'QLinearConv': 3, 'QLinearMatMul': 3}
#: Operators of graphs that compute in int8.
_INT8 = frozenset({
    'QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear', 'QLinearConv', 'QLinearMatMul',
    'ConvInteger', 'MatMulInteger'})


# Nodes

def subgraphs_of(node: onnx.NodeProto) -> List[onnx.GraphProto]:
    """Return the graphs that a node holds, such as both branches of an If."""
    return [graph for attribute in node.attribute for graph in (
        *([attribute.g] if attribute.HasField('g') else ()), *attribute.graphs)]


def nodes_within(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes, each followed by those of its branches and loops, however deep."""
    for node in nodes:
        yield node
        for graph in subgraphs_of(node):
            yield from nodes_within(graph.node)


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node: of the main graph, of branches and loops, of functions."""
    for graph in (model.graph, *model.functions):
        yield from nodes_within(graph.node)


def graphs_of(model: onnx.ModelProto) -> Iterator[Graph]:
    """Yield the main graph, every function, and the subgraphs of their nodes."""
    yield model.graph
    yield from model.functions
    for node in nodes_of(model):
        yield from subgraphs_of(node)


def name_of(node: onnx.NodeProto) -> str:
    """Return what to call a node: those of other tools need not have names, or even outputs."""
    return str(node.name or next(iter(node.output), '') or node.op_type)


def integer(node: onnx.NodeProto, name: str, default: int = 0) -> int:
    """Return an integer attribute of a node."""
    return next((int(one.i) for one in node.attribute if one.name == name), default)


def output_axis(node: onnx.NodeProto) -> int:
    """Return the side of a Conv's, Gemm's or matrix MatMul's weight that counts its outputs."""
    return 0 if node.op_type == 'Conv' or (
        node.op_type == 'Gemm' and integer(node, 'transB')) else 1


def producers_of(graph: Graph) -> Dict[str, onnx.NodeProto]:
    """Return tensor name to the node that computes it, subgraphs left out."""
    return {name: node for node in graph.node for name in node.output if name}


def trace_back(
        name: str, producers: Mapping[str, onnx.NodeProto], through: Collection[str]) -> str:
    """
    Follow a tensor back through the first inputs of nodes that only move or convert it.

    :param name: the tensor.
    :param producers: see `producers_of`.
    :param through: operators to pass.
    :returns: the first tensor that none of them computes; in a malformed graph that goes round
        in a circle, one of that circle.
    """
    for _ in producers:
        node = producers.get(name)
        if node is None or node.op_type not in through or not node.input:
            break
        name = node.input[0]
    return name


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators, 0 if the model names none."""
    return max((item.version for item in model.opset_import
                if item.domain in ('', 'ai.onnx')), default=0)


def is_int8(model: onnx.ModelProto) -> bool:
    """Tell whether any node quantises, whatever the metadata say."""
    return any(node.op_type in _INT8 for node in nodes_of(model))


def refuse_in_subgraphs(
        model: onnx.ModelProto, kinds: AbstractSet[str], what: str) -> None:
    """
    Refuse a model that has nodes of some kinds outside of its main graph.

    :param kinds: operators.
    :param what: cannot be done to them, for the message.
    :raises ModelError: naming the nodes that hold them.
    """
    for outer in (*model.graph.node, *model.functions):
        if isinstance(outer, onnx.FunctionProto):
            inner, where, without = outer.node, 'a function of the file', 'functions'
        else:
            inner = [node for graph in subgraphs_of(outer) for node in graph.node]
            where, without = f'the {outer.op_type} {name_of(outer)!r}', outer.op_type
        for node in nodes_within(inner):
            if node.op_type in kinds:
                raise ModelError(
                    f'the {node.op_type} {name_of(node)!r} is within {where}, where layers '
                    f'cannot be {what}: export the network without {without}')


# Constants

def constants_in(graph: Graph, outer: Optional[Constants] = None) -> Constants:
    """
    Return the initialisers and the values of Constant nodes by name.

    :param graph: subgraphs are left out.
    :param outer: constants of the graphs around it, which it sees unless a tensor of its own has
        the same name; None for none.
    """
    found = {}
    if outer:
        own = _made_in(graph)
        found = {name: value for name, value in outer.items() if name not in own}
    # Functions have no initialisers.
    found.update((value.name, value) for value in getattr(graph, 'initializer', ()))
    found.update(
        (node.output[0], one.t) for node in graph.node if node.op_type == 'Constant'
        for one in node.attribute if one.name == 'value' and node.output)
    return found


def nodes_with_constants(
        model: onnx.ModelProto) -> Iterator[Tuple[onnx.NodeProto, Constants]]:
    """Yield every node and the constants that it can read, those of graphs around it too."""
    waiting: List[Tuple[Graph, Constants]] = [
        (graph, {}) for graph in (*model.functions, model.graph)]
    while waiting:
        graph, outer = waiting.pop()
        constants = constants_in(graph, outer)
        for node in graph.node:
            yield node, constants
            waiting.extend((inner, constants) for inner in subgraphs_of(node))


def weight_types(model: onnx.ModelProto) -> Set[int]:
    """Return the ONNX element types of the constant weights of layers; see `WEIGHT_PLACES`."""
    return {
        constants[name].data_type for node, constants in nodes_with_constants(model)
        if node.op_type in WEIGHT_PLACES
        for name in node.input[WEIGHT_PLACES[node.op_type]:][:1] if name in constants}


def precision_of(model: onnx.ModelProto) -> str:
    """Return what the graph computes in, one of `spec.PRECISIONS`, by its large layers."""
    if is_int8(model):
        return 'int8'
    # A mixed graph counts as the narrower: its accuracy is that of its roughest part.
    return 'fp16' if TensorProto.FLOAT16 in weight_types(model) else 'fp32'


# Names

def names_of(model: onnx.ModelProto) -> Iterator[Union[str, bytes]]:
    """Yield every name in the graphs; protobuf gives bytes for one that is no UTF-8."""
    for graph in graphs_of(model):
        yield graph.name
        for value in (*graph.input, *graph.output, *getattr(graph, 'initializer', ())):
            # A function's inputs and outputs are bare names.
            yield getattr(value, 'name', value)
    for node in nodes_of(model):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)


def names_read(nodes: Iterable[onnx.NodeProto]) -> Set[str]:
    """Return the names of all tensors that nodes read, those in branches and loops too."""
    found: Set[str] = set()
    for node in nodes_within(nodes):
        found.update(node.input)
        found.update(value.name for graph in subgraphs_of(node) for value in graph.output)
    return found - {''}


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


def _made_in(graph: Graph) -> Set[str]:
    """Return the names of a graph's own tensors."""
    values = (*graph.input, *getattr(graph, 'initializer', ()))
    return {getattr(value, 'name', value) for value in values}.union(
        *(node.output for node in graph.node))


# Rewriting

def replace_all(field: Any, values: Iterable[Any]) -> None:
    """
    Put messages in place of all of a repeated field, such as a graph's nodes.

    :param field: of the model.
    :param values: are copied; they may be some of the field's own.
    """
    kept = list(values)
    del field[:]
    field.extend(kept)


def remove_unread(graph: onnx.GraphProto) -> None:
    """
    Remove nodes that no output depends on, and initialisers that nothing reads.

    :param graph: its nodes stand in topological order, as ONNX demands.
    """
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed |= names_read([node])
    replace_all(graph.node, reversed(kept))
    replace_all(graph.initializer, [one for one in graph.initializer if one.name in needed])


# Types and shapes

def tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    """Describe an input or output."""
    kind = value.type.tensor_type
    try:
        dtype = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except (KeyError, ValueError, TypeError):
        # None is declared, or one of a newer ONNX.
        dtype = '?'
    # NumPy would say object.
    dtype = 'string' if kind.elem_type == TensorProto.STRING else dtype
    return TensorInfo(value.name, dtype, tuple(
        dim.dim_value if dim.HasField('dim_value') else dim.dim_param or '?'
        for dim in kind.shape.dim))


def inputs_of(graph: onnx.GraphProto) -> List[onnx.ValueInfoProto]:
    """Return the inputs without the constants, which ONNX before IR 4 lists among them."""
    constants = {value.name for value in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def drop_shapes(model: onnx.ModelProto) -> None:
    """Remove all shapes but those of the main graph's inputs, to infer them anew."""
    for graph in graphs_of(model):
        del graph.value_info[:]
        for value in graph.output if isinstance(graph, onnx.GraphProto) else ():
            if value.type.HasField('tensor_type'):
                value.type.tensor_type.ClearField('shape')


def shapes_of(model: onnx.ModelProto) -> Dict[str, Tuple[Side, ...]]:
    """
    Infer the shapes of the main graph's tensors.

    :param model: stays as it is.
    :returns: tensor name to sides: numbers, names of dynamic sides, or '?'.
    :raises ModelError: if they contradict each other.
    """
    try:
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    # Sides beyond all bounds are none of its own errors.
    except (shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(
            f'the shapes of the graph contradict each other ({one_line(error)}): '
            'export it again') from error
    shapes = {value.name: tensor_info(value).shape
              for value in (*graph.input, *graph.value_info, *graph.output)}
    shapes.update((name, tuple(value.dims)) for name, value in constants_in(graph).items())
    return shapes
