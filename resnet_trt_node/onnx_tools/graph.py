"""
Writing ONNX graphs node by node.

The networks here are few and plain, so their graphs are written directly instead of traced:
every name, type and folded constant is chosen, nothing is left to simplify, and the result does
not depend on the PyTorch version (its TorchScript exporter is announced to go, the other one
needs onnxscript and opset 18).
"""

from __future__ import annotations

from typing import Any, Optional, Sequence, TYPE_CHECKING, Union

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
from resnet_trt_node import __version__
from resnet_trt_node.errors import check_choice, ModelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Opset 17 and IR 8 are what TensorRT 8.6 and ONNX Runtime 1.16 read.
OPSET = 17
IR_VERSION = 8
BATCH = 'N'
#: What graphs are written in, with the types of their tensors.
FLOAT_TYPES = {'fp32': TensorProto.FLOAT, 'fp16': TensorProto.FLOAT16}
#: Describes an input or output by name, type and shape; names in its shape are dynamic sides.
tensor = helper.make_tensor_value_info


class GraphBuilder:
    """
    Collects the nodes and constants of one graph; a node's output is called as the node.

    :param precision: 'fp32' or 'fp16', the type of every constant: the graph is strongly typed.
    :raises UsageError: for another precision.
    """

    def __init__(self, precision: str) -> None:
        check_choice('precision', precision, tuple(FLOAT_TYPES))
        self.precision = precision
        self.float_type = FLOAT_TYPES[precision]
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: ArrayLike) -> str:
        """
        Add a constant of the graph's type.

        :param name: of the tensor.
        :param values: any floats, or a single one for a constant of no sides; copied.
        :raises ModelError: if a number is too large for the type.
        """
        dtype = np.float16 if self.precision == 'fp16' else np.float32
        # Too large a number becomes infinite, which is refused below in the user's terms.
        with np.errstate(over='ignore'):
            cast = np.asarray(values).astype(dtype, order='C')
        if not np.isfinite(cast).all():
            raise ModelError(
                f'{name} holds numbers that {self.precision} cannot: '
                'use --precision fp32, or check the weights')
        self.constants.append(numpy_helper.from_array(cast, name))
        return name

    def node(
            self, kind: str, name: str, inputs: Union[str, Sequence[str]],
            **attributes: Any) -> str:
        """Add a node of one output, and return that output's name."""
        names = [inputs] if isinstance(inputs, str) else list(inputs)
        self.nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return name

    def convolution(
            self, name: str, x: str, weight: NDArray[Any], bias: NDArray[Any], stride: int = 1,
            pads: Sequence[int] = (0, 0, 0, 0), groups: int = 1) -> str:
        """
        Add a 2-d convolution.

        :param name: of the node; its constants are `name`.weight and `name`.bias.
        :param x: tensor (N, C, H, W).
        :param weight: (outputs, C / groups, kernel height, kernel width).
        :param bias: (outputs,).
        :param stride: of both axes.
        :param pads: pixels of zeros at the top, left, bottom, right.
        :param groups: C for a depthwise convolution.
        """
        inputs = [x, self.constant(f'{name}.weight', weight), self.constant(f'{name}.bias', bias)]
        return self.node(
            'Conv', name, inputs, kernel_shape=list(weight.shape[2:]), strides=[stride] * 2,
            pads=list(pads), dilations=[1, 1], group=groups)

    def linear(self, name: str, x: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """Add x @ weight.T + bias; x is (N, inputs), weight (outputs, inputs)."""
        inputs = [x, self.constant(f'{name}.weight', weight), self.constant(f'{name}.bias', bias)]
        return self.node('Gemm', name, inputs, transB=1)

    def model(
            self, name: str, inputs: Sequence[onnx.ValueInfoProto],
            outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """Return the graph as a model that has passed ONNX's checker."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION,
            producer_name='resnet_trt_node', producer_version=__version__)
        onnx.checker.check_model(model, full_check=True)
        return model


def folded(
        weight: NDArray[Any], bias: Optional[NDArray[Any]], gamma: NDArray[Any],
        beta: NDArray[Any], mean: NDArray[Any], variance: NDArray[Any],
        epsilon: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Fold a batch norm into the convolution before it.

    gamma * (w * x + b - mean) / sqrt(variance + epsilon) + beta is again a convolution; it is
    computed in float64, so that folding adds no error of its own.

    :param weight: (outputs, ...); the others (outputs,).
    :returns: the folded weight and bias, owned by the caller.
    """
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    start = 0.0 if bias is None else bias.astype(np.float64)
    shape = (-1,) + (1,) * (weight.ndim - 1)
    return weight.astype(np.float64) * factor.reshape(shape), (start - mean) * factor + beta
