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
from typing import Any, Optional, Sequence, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    import onnx

#: The pattern's name, its group and how many of a group may be other than zero.
PATTERN, GROUP, KEPT = '2:4', 4, 2
#: Nodes between a weight and its layer that keep zeros where they are.
_PASSING = ('QuantizeLinear', 'DequantizeLinear', 'Identity', 'Cast')
#: How many of them may follow each other; a malformed graph may go round in circles.
_LONGEST_WAY = 8


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
    :param eligible: layers that TensorRT could run sparse, None where it does not say.
    :param chosen: layers for which a sparse kernel was the fastest, None likewise.
    """

    two_four: int
    eligible: Optional[int] = None
    chosen: Optional[int] = None

    @classmethod
    def of_log(cls, two_four: int, lines: Sequence[str]) -> SparseBuild:
        """
        Read what TensorRT logged.

        :param two_four: as above.
        :param lines: those that begin with '(Sparsity)'; 8.6 and 10 say 'Found 9 layer(s)
            eligible' and 'Chose 3 layer(s)', older ones 'Layers eligible for sparse math:' and
            'picked sparse implementation for layers:' with the names.
        """
        text = '\n'.join(lines)
        return cls(
            two_four,
            _count(text, r'Found (\d+) layer', r'Layers eligible for sparse math:(.*)'),
            _count(text, r'Chose (\d+) layer', r'picked sparse implementation for layers:(.*)'))

    def describe(self) -> str:
        """Return it in words."""
        if self.eligible is None and self.chosen is None:
            return f'{self.two_four} layers are 2:4; this TensorRT does not say which it runs so'
        eligible = 'some' if self.eligible is None else self.eligible
        chosen = 0 if self.chosen is None else self.chosen
        return (f'{self.two_four} layers are 2:4, TensorRT could run {eligible} layers sparse, '
                f'for {chosen} that is the fastest')


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
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == 'Constant':
            constants.update(
                (name, one.t) for name in node.output[:1] for one in node.attribute
                if one.name == 'value')
    makers = {output: node for node in model.graph.node for output in node.output}
    found = []
    for node in model.graph.node:
        if node.op_type not in ('Conv', 'Gemm', 'MatMul') or len(node.input) < 2 or (
                not node.output):
            continue
        name = node.input[1]
        for _ in range(_LONGEST_WAY):
            if name in constants or name not in makers or not makers[name].input or (
                    makers[name].op_type not in _PASSING):
                break
            name = makers[name].input[0]
        if name not in constants:
            continue
        values = numpy_helper.to_array(constants[name])
        axis, groups = _summed_side(node)
        if values.ndim > axis:
            found.append(LayerWeight(
                node.name or node.output[0], constants[name], values, axis,
                why_dense(values.shape[axis], groups)))
    return found


def two_four_layers(model: onnx.ModelProto) -> list[str]:
    """
    Return the names of the layers whose weights are 2:4, in the graph's order.

    :param model: a loaded model.
    """
    return [weight.layer for weight in layer_weights(model)
            if not weight.why_dense and is_two_four(weight.values, weight.axis)]


def _summed_side(node: onnx.NodeProto) -> tuple[int, int]:
    """Return the axis of a node's weight that is summed over, and the number of groups."""
    numbers = {one.name: one.i for one in node.attribute}
    if node.op_type == 'Conv':
        return 1, numbers.get('group', 1)
    return (1 if node.op_type == 'Gemm' and numbers.get('transB', 0) else 0), 1


def _count(text: str, number: str, names: str) -> Optional[int]:
    """Return the number that is told, or how many names are; the last of several."""
    found = re.findall(number, text)
    if found:
        return int(found[-1])
    listed = re.findall(names, text)
    if not listed:
        return None
    return len([name for name in listed[-1].split(',') if name.strip()])
