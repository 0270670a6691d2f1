"""Graphs that were exported in training mode, or whose answers are drawn at random."""

from __future__ import annotations

import onnx
from onnx import numpy_helper
from resnet_trt_node.contract.onnx_graph import (
    Constants, integer, name_of, nodes_with_constants, opset_of)
from resnet_trt_node.errors import ModelError
from resnet_trt_node.text.printable import some

_RANDOM = ('RandomNormal', 'RandomNormalLike', 'RandomUniform', 'RandomUniformLike', 'Bernoulli',
           'Multinomial')


def refuse_training_mode(model: onnx.ModelProto) -> None:
    """
    Refuse a model that answers a picture differently each time, or by its neighbours in a batch.

    :raises ModelError: naming the nodes, and what to do.
    """
    opset = opset_of(model)
    nodes = list(nodes_with_constants(model))
    training = [node for node, constants in nodes if _trains(node, constants, opset)]
    if training:
        raise ModelError(
            f'the model was exported in training mode ({_list(training)}): call model.eval() and '
            'export it again')
    random = [node for node, _ in nodes if node.op_type in _RANDOM]
    if random:
        raise ModelError(
            f'the model draws random numbers ({_list(random)}), so its answers differ from run to '
            'run: export it without')


def _trains(node: onnx.NodeProto, constants: Constants, opset: int) -> bool:
    if node.op_type not in ('Dropout', 'BatchNormalization'):
        return False
    if opset < 7:
        return not integer(node, 'is_test')
    if node.op_type == 'BatchNormalization':
        # Before opset 14, further outputs were the sign of it: the batch's own statistics.
        return bool(integer(node, 'training_mode')) or (opset < 14 and any(node.output[1:]))
    mode = (*node.input, '', '', '')[2]
    # A mode that is computed may be on.
    return bool(mode) and (mode not in constants or bool(
        numpy_helper.to_array(constants[mode]).any()))


def _list(nodes: list[onnx.NodeProto]) -> str:
    return some([f'{node.op_type} {name_of(node)!r}' for node in nodes], 3)
