"""What a model file is and what it costs, read from its graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Optional, Union

import onnx
from onnx import shape_inference, TensorProto
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.contract.declared import TensorInfo
from resnet_trt_node.contract.model_file import parse_model, read_model, spec_of
from resnet_trt_node.contract.onnx_parts import parts_of, tensor_info
from resnet_trt_node.contract.sparsity import two_four_layers
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import ModelError, ResnetTrtError
from resnet_trt_node.onnx_tools.graph import opset_of
from resnet_trt_node.onnx_tools.simplify import simplify
from resnet_trt_node.onnx_tools.subgraphs import nodes_of

_QUANTISED = ('QuantizeLinear', 'QLinearConv', 'QLinearMatMul', 'ConvInteger', 'MatMulInteger')
#: Where the weight stands among the inputs of the operators that multiply and accumulate.
_WEIGHT_AT = {
    'Conv': 1, 'ConvTranspose': 1, 'Gemm': 1, 'MatMul': 1, 'ConvInteger': 1, 'MatMulInteger': 1,
    'QLinearConv': 3, 'QLinearMatMul': 3}
_NUMBERS = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
    TensorProto.INT8, TensorProto.UINT8)


@dataclass(frozen=True)
class Inspection:
    """
    What a model file is.

    :param path: the file.
    :param size_bytes: of the file, without external data.
    :param sha256: hex digest of the file.
    :param spec: its contract, None if it is not deployable.
    :param not_deployable_because: why not, and how to make it so; '' if it is.
    :param inputs: of the graph, constants left out.
    :param outputs: of the graph.
    :param opset: of the standard operators.
    :param ir_version: of the file.
    :param precision: what the graph computes in, read from it.
    :param parameters: numbers in its float and 8-bit constants of more than one element.
    :param weight_bytes: what all its constants take.
    :param macs: multiply-accumulates for one picture, of convolutions and matrix products only;
        None where shapes are unknown. One is two floating point operations.
    :param operators: node type to count, most frequent first.
    :param sparse_layers: convolutions and matrix products whose weights are 2:4.
    """

    path: Path
    size_bytes: int
    sha256: str
    spec: Optional[ModelSpec]
    not_deployable_because: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    opset: int
    ir_version: int
    precision: str
    parameters: int
    weight_bytes: int
    macs: Optional[int]
    operators: dict[str, int]
    sparse_layers: int

    @property
    def flops(self) -> Optional[int]:
        """Return floating point operations for one picture, two for a multiply-accumulate."""
        return None if self.macs is None else 2 * self.macs

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, class names included."""
        values = asdict(self)
        return {
            **values, 'path': str(self.path), 'flops': self.flops,
            'deployable': self.spec is not None}


def inspect_model(path: Union[str, Path]) -> Inspection:
    """
    Read what a model file is; any ONNX file will do.

    :raises ModelError: if it is missing, unreadable or no ONNX.
    """
    path = Path(path)
    data = read_model(path)
    model = parse_model(data, path)
    spec, reason = None, ''
    try:
        spec = spec_of(model)
    except ModelError as error:
        reason = str(error)
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    tensors = [tensor for part in parts_of(model) for tensor in _constant_tensors(part).values()]
    return Inspection(
        path=path, size_bytes=len(data), sha256=sha256_of(data), spec=spec,
        not_deployable_because=reason,
        inputs=tuple(tensor_info(value) for value in graph.input if value.name not in constants),
        outputs=tuple(tensor_info(value) for value in graph.output),
        opset=opset_of(model),
        ir_version=model.ir_version, precision=_precision(model),
        parameters=sum(
            prod(tensor.dims) for tensor in tensors
            if tensor.data_type in _NUMBERS and prod(tensor.dims) > 1),
        weight_bytes=sum(
            prod(tensor.dims) * _bytes_of(tensor.data_type) for tensor in tensors),
        macs=_macs_of(model),
        operators=dict(Counter(node.op_type for node in nodes_of(model)).most_common()),
        sparse_layers=len(two_four_layers(model)))


def _macs_of(model: onnx.ModelProto) -> Optional[int]:
    """Count, after simplifying if the exporter's shape arithmetic hides the shapes."""
    macs = count_macs(model)
    if macs is not None:
        return macs
    try:
        return count_macs(simplify(model))
    except ResnetTrtError:
        # Not simplified, not counted: the cost is then shown as unknown.
        return None


def count_macs(model: onnx.ModelProto) -> Optional[int]:
    """
    Count the multiply-accumulates of a graph for a batch of one.

    A convolution makes one for each output, input channel of its group and kernel pixel; a
    matrix product one for each output and element of the summed side. Other nodes are left out,
    as in the figures that papers publish (ResNet-50: 4.09e9).

    :param model: stays as it is.
    :returns: the count, None where a shape that it needs is unknown, or layers stand in branches
        or loops, which may be taken or not.
    """
    if sum(node.op_type in _WEIGHT_AT for node in nodes_of(model)) != sum(
            node.op_type in _WEIGHT_AT for node in model.graph.node):
        return None
    single = onnx.ModelProto()
    single.CopyFrom(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in single.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in constants and dims and not dims[0].dim_value > 0:
            dims[0].dim_value = 1
    del single.graph.value_info[:]
    for value in single.graph.output:
        value.type.tensor_type.ClearField('shape')
    try:
        inferred = shape_inference.infer_shapes(single, data_prop=True).graph
    # Sides beyond all bounds are none of its own errors.
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        return None
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.input, *inferred.value_info, *inferred.output)}
    shapes.update({name: list(item.dims) for name, item in _constant_tensors(inferred).items()})
    total = 0
    for node in inferred.node:
        if node.op_type not in _WEIGHT_AT:
            continue
        if len(node.input) <= _WEIGHT_AT[node.op_type] or not node.output:
            return None
        weight = shapes.get(node.input[_WEIGHT_AT[node.op_type]], [])
        result, first = shapes.get(node.output[0], []), shapes.get(node.input[0], [])
        if not all((weight, result, first)) or 0 in (*weight, *result, *first):
            return None
        total += _macs(node, first, weight, result)
    return total


def _macs(
        node: onnx.NodeProto, first: list[int], weight: list[int], result: list[int]) -> int:
    if node.op_type == 'ConvTranspose':
        # (inputs, outputs / groups, kernel): each input pixel goes through it once.
        return prod(first) * prod(weight[1:])
    if 'Conv' in node.op_type:
        return prod(result) * prod(weight[1:])
    if node.op_type == 'Gemm':
        turned = any(item.name == 'transA' and item.i for item in node.attribute)
        return prod(result) * first[0 if turned else 1]
    return prod(result) * first[-1]


def _constant_tensors(
        graph: Union[onnx.GraphProto, onnx.FunctionProto]) -> dict[str, onnx.TensorProto]:
    """Return initialisers and the values of Constant nodes, by name."""
    tensors = {tensor.name: tensor for tensor in getattr(graph, 'initializer', ())}
    for node in graph.node:
        for item in node.attribute:
            if node.op_type == 'Constant' and item.name == 'value' and node.output:
                tensors[node.output[0]] = item.t
    return tensors


def _precision(model: onnx.ModelProto) -> str:
    if any(node.op_type in _QUANTISED for node in nodes_of(model)):
        return 'int8'
    tensors = {name: tensor for part in parts_of(model)
               for name, tensor in _constant_tensors(part).items()}
    used = {
        tensors[node.input[place]].data_type for node in nodes_of(model)
        for place in [_WEIGHT_AT.get(node.op_type, 0)]
        if node.op_type in _WEIGHT_AT and len(node.input) > place
        and node.input[place] in tensors}
    names: dict[int, str] = {
        TensorProto.FLOAT: 'fp32', TensorProto.FLOAT16: 'fp16', TensorProto.BFLOAT16: 'bf16',
        TensorProto.DOUBLE: 'fp64'}
    return ' and '.join(sorted(names.get(kind, 'other') for kind in used)) or 'unknown'


def _bytes_of(kind: int) -> int:
    return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize)
