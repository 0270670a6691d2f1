"""Graphs that were exported in training mode, or whose answers are drawn at random."""

from __future__ import annotations

from typing import Dict

import onnx
from onnx import numpy_helper
from resnet_trt_node.contract.onnx_parts import parts_of
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.graph import opset_of
from resnet_trt_node.onnx_tools.subgraphs import name_of, nodes_of

_RANDOM = ('RandomNormal', 'RandomNormalLike', 'RandomUniform', 'RandomUniformLike', 'Bernoulli',
           'Multinomial')
_SHOWN = 3


def refuse_training_mode(model: onnx.ModelProto) -> None:
    """
    Refuse a model that answers a picture differently each time, or by its neighbours in a batch.

    :raises ModelError: naming the nodes, and what to do.
    """
    constants = _constants(model)
    opset = opset_of(model)
    nodes = list(nodes_of(model))
    training = [node for node in nodes if _trains(node, constants, opset)]
    if training:
        raise ModelError(
            f'the model was exported in training mode ({_list(training)}): call model.eval() and '
            'export it again')
    random = [node for node in nodes if node.op_type in _RANDOM]
    if random:
        raise ModelError(
            f'the model draws random numbers ({_list(random)}), so its answers differ from run to '
            'run: export it without')


def _trains(node: onnx.NodeProto, constants: Dict[str, onnx.TensorProto], opset: int) -> bool:
    numbers = {one.name: one.i for one in node.attribute}
    if node.op_type not in ('Dropout', 'BatchNormalization'):
        return False
    if opset < 7:
        return not numbers.get('is_test')
    if node.op_type == 'BatchNormalization':
        # Before opset 14, further outputs were what told it: the batch's own statistics.
        return bool(numbers.get('training_mode')) or (opset < 14 and any(node.output[1:]))
    mode = (*node.input, '', '', '')[2]
    # A mode that is computed may be on.
    return bool(mode) and (mode not in constants or bool(
        numpy_helper.to_array(constants[mode]).any()))


def _constants(model: onnx.ModelProto) -> Dict[str, onnx.TensorProto]:
    found = {}
    for part in parts_of(model):
        found.update({tensor.name: tensor for tensor in getattr(part, 'initializer', ())})
        found.update({
            name: one.t for node in part.node if node.op_type == 'Constant'
            for name in node.output[:1]
            for one in node.attribute if one.name == 'value'})
    return found


def _list(nodes: list[onnx.NodeProto]) -> str:
    names = [f'{node.op_type} {name_of(node)!r}' for node in nodes[:_SHOWN]]
    more = len(nodes) - len(names)
    return ', '.join(names) + (f' and {more} more' if more else '')
