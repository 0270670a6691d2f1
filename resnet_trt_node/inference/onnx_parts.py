"""What a loaded ONNX model is made of, all subgraphs and functions included."""

from __future__ import annotations

from typing import Iterable, Iterator, TYPE_CHECKING, Union

if TYPE_CHECKING:
    import onnx

    Part = Union[onnx.GraphProto, onnx.FunctionProto]


def parts_of(model: onnx.ModelProto) -> Iterator[Part]:
    """Yield the main graph, every function, and the subgraphs of their nodes, however deep."""
    waiting: list[Part] = [model.graph, *model.functions]
    while waiting:
        part = waiting.pop()
        yield part
        for attribute in _attributes(part):
            if attribute.HasField('g'):
                waiting.append(attribute.g)
            waiting.extend(attribute.graphs)


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every constant: initialisers and those in attributes, dense and sparse."""
    for part in parts_of(model):
        # Functions have no initialisers.
        yield from getattr(part, 'initializer', ())
        yield from _dense(getattr(part, 'sparse_initializer', ()))
        for attribute in _attributes(part):
            if attribute.HasField('t'):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField('sparse_tensor'):
                yield from _dense([attribute.sparse_tensor])
            yield from _dense(attribute.sparse_tensors)


def outside_files(model: onnx.ModelProto) -> list[str]:
    """Return the names of the files that hold tensors of a model, as it gives them, each once."""
    import onnx
    names: dict[str, None] = {}
    for tensor in tensors_of(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            names[str(entries.get('location', ''))] = None
    return list(names)


def names_of(model: onnx.ModelProto) -> Iterator[Union[str, bytes]]:
    """Yield every name in the graphs; protobuf gives bytes for one that is no UTF-8."""
    for part in parts_of(model):
        yield part.name
        for values in (part.input, part.output):
            for value in values:
                # A function's inputs and outputs are bare names.
                yield getattr(value, 'name', value)
        for node in part.node:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for tensor in getattr(part, 'initializer', ()):
            yield tensor.name


def _attributes(part: Part) -> Iterator[onnx.AttributeProto]:
    for node in part.node:
        yield from node.attribute


def _dense(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)
