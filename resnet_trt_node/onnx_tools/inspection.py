"""What a model file is and what it costs, read from its graph."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Optional, Union

import onnx
from onnx import helper, TensorProto
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.contract.declared import TensorInfo
from resnet_trt_node.contract.model_file import parse_model, read_model, spec_of
from resnet_trt_node.contract.onnx_graph import (
    constants_in, drop_shapes, graphs_of, inputs_of, integer, is_int8, nodes_of, opset_of,
    shapes_of, tensor_info, WEIGHT_PLACES, weight_types)
from resnet_trt_node.contract.sparsity import two_four_layers
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import ModelError, ResnetTrtError
from resnet_trt_node.onnx_tools.simplify import simplify
from resnet_trt_node.onnx_tools.temperature import temperature_of

_PRECISIONS: dict[int, str] = {
    TensorProto.FLOAT: 'fp32', TensorProto.FLOAT16: 'fp16', TensorProto.BFLOAT16: 'bf16',
    TensorProto.DOUBLE: 'fp64'}
_NUMBERS = (*_PRECISIONS, TensorProto.INT8, TensorProto.UINT8)


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
    :param temperature: that `resnet_trt calibrate` wrote into it, 1 if none; None if its output
        is not made by a softmax.
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
    temperature: Optional[float]
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
    tensors = [one for part in graphs_of(model) for one in constants_in(part).values()]
    return Inspection(
        path=path, size_bytes=len(data), sha256=sha256_of(data), spec=spec,
        not_deployable_because=reason,
        inputs=tuple(map(tensor_info, inputs_of(graph))),
        outputs=tuple(map(tensor_info, graph.output)),
        opset=opset_of(model), ir_version=model.ir_version, precision=_precision(model),
        parameters=sum(
            prod(tensor.dims) for tensor in tensors
            if tensor.data_type in _NUMBERS and prod(tensor.dims) > 1),
        weight_bytes=sum(
            prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            for tensor in tensors),
        macs=_macs_of(model),
        operators=dict(Counter(node.op_type for node in nodes_of(model)).most_common()),
        temperature=_temperature_of(model), sparse_layers=len(two_four_layers(model)))


def _temperature_of(model: onnx.ModelProto) -> Optional[float]:
    with suppress(ModelError):
        return temperature_of(model)
    return None


def _macs_of(model: onnx.ModelProto) -> Optional[int]:
    """Count, after simplifying if the exporter's shape arithmetic hides the shapes."""
    macs = count_macs(model)
    # Not simplified, not counted: the cost is then shown as unknown.
    with suppress(ResnetTrtError):
        return count_macs(simplify(model)) if macs is None else macs
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
    layers = [node for node in model.graph.node if node.op_type in WEIGHT_PLACES]
    if sum(node.op_type in WEIGHT_PLACES for node in nodes_of(model)) != len(layers):
        return None
    single = deepcopy(model)
    for value in inputs_of(single.graph):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value > 0:
            dims[0].dim_value = 1
    drop_shapes(single)
    try:
        inferred = shapes_of(single)
    except ModelError:
        return None
    shapes = {name: [int(side) for side in shape] for name, shape in inferred.items()
              if all(isinstance(side, int) and side for side in shape)}
    total = 0
    for node in layers:
        place = WEIGHT_PLACES[node.op_type]
        if len(node.input) <= place or not node.output:
            return None
        names = (node.input[0], node.input[place], node.output[0])
        if not all(map(shapes.get, names)):
            return None
        total += _macs(node, *(shapes[name] for name in names))
    return total


def _macs(
        node: onnx.NodeProto, first: list[int], weight: list[int], result: list[int]) -> int:
    if node.op_type == 'ConvTranspose':
        # (inputs, outputs / groups, kernel): each input pixel goes through it once.
        return prod(first) * prod(weight[1:])
    if 'Conv' in node.op_type:
        return prod(result) * prod(weight[1:])
    if node.op_type == 'Gemm':
        return prod(result) * first[0 if integer(node, 'transA') else 1]
    return prod(result) * first[-1]


def _precision(model: onnx.ModelProto) -> str:
    if is_int8(model):
        return 'int8'
    names = {_PRECISIONS.get(kind, 'other') for kind in weight_types(model)}
    return ' and '.join(sorted(names)) or 'unknown'
