"""
2:4 structured sparsity, as the sparse tensor cores of NVIDIA's GPUs take it: finding it in models.

For each output and each kernel pixel, of every four consecutive numbers along the summed side
(a convolution's input channels, a matrix product's inputs) at least two are zero. So the hardware
skips half of the multiplications. Mishra et al., "Accelerating Sparse Deep Neural Networks",
https://arxiv.org/abs/2104.08378.
"""

from __future__ import annotations

from dataclasses import dataclass
import re
from typing import Any, Optional, Sequence, Tuple, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    import onnx

#: The pattern's name, its group and how many of a group may be other than zero.
PATTERN, GROUP, KEPT = '2:4', 4, 2
#: Nodes between a weight and its layer that keep zeros where they are.
_PASSING = ('QuantizeLinear', 'DequantizeLinear', 'Identity', 'Cast')
#: What TensorRT logs, of 10 and later and of 8: how many layers, if it says so, and their names.
_ELIGIBLE = re.compile(
    r'(?:Found (\d+) layer\(s\) eligible to use sparse tactics'
    r'|Layers eligible for sparse math):(.*)')
_CHOSEN = re.compile(
    r'(?:Chose (\d+) layer\(s\) using sparse tactics'
    r'|picked sparse implementation for layers):(.*)')


@dataclass(frozen=True)
class LayerWeight:
    """
    The weight of a layer that multiplies and accumulates.

    :param layer: the node's name.
    :param tensor: the constant, still in the model: changing it changes the model.
    :param values: its numbers, of any type; read only.
    :param axis: the summed side.
    :param why_dense: why 2:4 is not for this layer, '' if it is.
    """

    layer: str
    tensor: onnx.TensorProto
    values: NDArray[Any]
    axis: int
    why_dense: str


@dataclass(frozen=True)
class SparseBuild:
    """
    What came of building an engine with sparse weights.

    :param two_four: layers of the model whose weights are 2:4.
    :param eligible: layers that TensorRT could run sparse, None where it does not report it.
    :param chosen: layers for which a sparse kernel was the fastest, None likewise.
    :param layers: the names of those, as TensorRT tells them: of layers that it merged, joined.
    """

    two_four: int
    eligible: Optional[int] = None
    chosen: Optional[int] = None
    layers: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take a list for a tuple, which is what JSON makes of it."""
        object.__setattr__(self, 'layers', tuple(self.layers))

    @classmethod
    def of_log(cls, two_four: int, lines: Sequence[str]) -> SparseBuild:
        """
        Parse TensorRT's log.

        :param two_four: as above.
        :param lines: those that begin with '(Sparsity)', such as 'Chose 1 layer(s) using sparse
            tactics: conv2', or of TensorRT 8 'TRT inference plan picked sparse implementation for
            layers: conv2'; of several the last counts.
        """
        eligible, _ = _counted(_ELIGIBLE, lines)
        chosen, layers = _counted(_CHOSEN, lines)
        return cls(two_four, eligible, chosen, layers)

    def describe(self) -> str:
        """Return it in words."""
        if self.eligible is None and self.chosen is None:
            return f'{self.two_four} layers are 2:4; TensorRT does not report which run sparse'
        eligible = 'some' if self.eligible is None else self.eligible
        chosen = 0 if self.chosen is None else self.chosen
        return (f'{self.two_four} layers are 2:4, TensorRT could run {eligible} layers sparse, '
                f'for {chosen} that is the fastest')


def _counted(
        pattern: re.Pattern[str], lines: Sequence[str]) -> tuple[Optional[int], tuple[str, ...]]:
    """Return how many layers the last line of a kind is about, None without one, and which."""
    found = [match for line in lines if (match := pattern.search(line))]
    if not found:
        return None, ()
    names = tuple(name for part in found[-1][2].split(', ') if (name := part.strip()))
    return int(found[-1][1]) if found[-1][1] else len(names), names


def is_two_four(weight: NDArray[Any], axis: int) -> bool:
    """
    Tell whether a weight is 2:4.

    :param weight: any numbers, of any shape.
    :param axis: the summed side; if it is no multiple of 4 long, the answer is no.
    """
    if weight.ndim == 0 or not weight.size or weight.shape[axis] % GROUP:
        return False
    groups = np.moveaxis(weight != 0, axis, -1).reshape(-1, GROUP)
    return int(groups.sum(axis=1).max()) <= KEPT


def why_dense(summed: int, groups: int = 1) -> str:
    """
    Return why a layer cannot be 2:4, '' if it can.

    :param summed: length of the summed side.
    :param groups: of a convolution.
    """
    if groups != 1:
        return f'{groups} groups'
    return f'{summed} inputs, no multiple of {GROUP}' if summed % GROUP else ''


def layer_weights(model: onnx.ModelProto) -> list[LayerWeight]:
    """
    Return the constant weights of convolutions and matrix products, in the graph's order.

    Weights behind a pair of QuantizeLinear and DequantizeLinear are found as well.

    :param model: a loaded model.
    """
    from onnx import numpy_helper
    from resnet_trt_node.contract.onnx_graph import (
        constants_in, integer, name_of, output_axis, producers_of, trace_back)
    constants, producers = constants_in(model.graph), producers_of(model.graph)
    found = []
    for node in model.graph.node:
        if node.op_type not in ('Conv', 'Gemm', 'MatMul') or len(node.input) < 2 or (
                not node.output):
            continue
        name = trace_back(node.input[1], producers, _PASSING)
        if name not in constants:
            continue
        values = numpy_helper.to_array(constants[name])
        axis = 1 - output_axis(node)
        if values.ndim > axis:
            found.append(LayerWeight(
                name_of(node), constants[name], values, axis,
                why_dense(values.shape[axis], integer(node, 'group', 1))))
    return found


def two_four_layers(model: onnx.ModelProto) -> list[str]:
    """
    Return the names of the layers whose weights are 2:4, in the graph's order.

    :param model: a loaded model.
    """
    return [weight.layer for weight in layer_weights(model)
            if not weight.why_dense and is_two_four(weight.values, weight.axis)]
