"""What a loaded ONNX model is made of, all subgraphs and functions included."""

from __future__ import annotations

from math import prod
from typing import Iterable, Iterator, Optional, TYPE_CHECKING, Union

from resnet_trt_node.contract.declared import TensorInfo

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


def tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    """Describe an input or output."""
    from onnx import helper
    kind = value.type.tensor_type
    try:
        dtype = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except (KeyError, ValueError, TypeError):
        # None is declared, or one of a newer ONNX.
        dtype = '?'
    return TensorInfo(value.name, dtype, tuple(
        dim.dim_value if dim.HasField('dim_value') else dim.dim_param or '?'
        for dim in kind.shape.dim))


def damaged_constant(model: onnx.ModelProto) -> Optional[str]:
    """Return the name of a constant whose type, shape and bytes do not fit, None if all do."""
    return next((tensor.name for tensor in tensors_of(model) if not _is_whole(tensor)), None)


def _is_whole(tensor: onnx.TensorProto) -> bool:
    from onnx import helper, TensorProto
    if tensor.data_location == TensorProto.EXTERNAL:
        return True
    try:
        bits = 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        name = TensorProto.DataType.Name(tensor.data_type)
    except (KeyError, ValueError, TypeError):
        return False
    packed = next((width for width in (2, 4) if name.lstrip('UFLOAIN').startswith(str(width))), 0)
    if min(tensor.dims, default=0) < 0:
        return False
    count = prod(tensor.dims)
    if tensor.HasField('raw_data'):
        return bool(len(tensor.raw_data) == -(-count * (packed or bits) // 8))
    held = max(len(tensor.float_data), len(tensor.int32_data), len(tensor.int64_data),
               len(tensor.double_data), len(tensor.uint64_data), len(tensor.string_data))
    # Complex numbers take two, small integers share one.
    return held == (2 * count if name.startswith('COMPLEX') else count) or bool(packed)


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
