"""Taking out of a foreign graph what only its exporter needed, and freeing its batch size."""

from __future__ import annotations

from copy import deepcopy
import logging
from math import prod
from typing import Mapping, Optional, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper
from resnet_trt_node.contract.declared import Side
from resnet_trt_node.contract.onnx_graph import Constants, drop_shapes, nodes_of, shapes_of
from resnet_trt_node.errors import BackendUnavailable, ModelError
from resnet_trt_node.onnx_tools.graph import BATCH, tensor


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Fold constants, batch norms and shape arithmetic, and drop what no output needs.

    Graphs with Q/DQ nodes are left as they are: folding would turn their int8 weights to floats.

    :param model: stays as it is.
    :raises BackendUnavailable: if onnxslim is not installed.
    :raises ModelError: if the graph is broken.
    """
    if any(node.op_type == 'DequantizeLinear' for node in nodes_of(model)):
        return model
    try:
        import onnxslim
    except ImportError as error:
        raise BackendUnavailable(
            f'preparing a model needs onnxslim ({error}): pip install onnxslim') from error
    root_level = logging.getLogger().level
    try:
        result: onnx.ModelProto = onnxslim.slim(deepcopy(model))
    except Exception as error:  # noqa: B902  it has no error type of its own
        raise ModelError(
            f'the graph cannot be simplified ({error}): check it with onnx.checker, or export '
            'it again') from error
    finally:
        logging.getLogger().setLevel(root_level)
    return result


def set_input_shape(model: onnx.ModelProto, shape: tuple[int, int, int]) -> None:
    """
    Make the batch of the only input dynamic and its other sides fixed.

    :param model: is changed; every shape that was inferred before is dropped.
    :param shape: sides two to four of the input.
    """
    value = model.graph.input[0]
    value.CopyFrom(tensor(value.name, value.type.tensor_type.elem_type, (BATCH, *shape)))
    drop_shapes(model)


def free_batch(model: onnx.ModelProto, fixed: Optional[int]) -> None:
    """
    Rewrite reshapes that hold the batch size, so that it may vary.

    A reshape to two sides whose batch stays in front becomes Flatten; one to more sides copies
    the batch from its input. Only reshapes of tensors whose first side is known to be the batch
    are touched. Each rewrite may make shapes behind it known, so they are inferred again.

    :param model: is changed; its input's batch is dynamic already.
    :param fixed: the batch size that it was exported with, None if it was dynamic.
    """
    while True:
        shapes = shapes_of(model)
        constants = {one.name: one for one in model.graph.initializer}
        rewritten = [
            _free_reshape(model, node, shapes, constants, fixed)
            for node in model.graph.node if node.op_type == 'Reshape']
        if not any(rewritten):
            return


def _free_reshape(
        model: onnx.ModelProto, node: onnx.NodeProto, shapes: Mapping[str, Sequence[Side]],
        constants: Constants, fixed: Optional[int]) -> bool:
    """Rewrite one reshape if it must and can be; return whether it was."""
    source = shapes.get(node.input[0], ())
    if not source or source[0] != BATCH or node.input[1] not in constants:
        return False
    target = numpy_helper.to_array(constants[node.input[1]]).tolist()
    sides = [side for side in source[1:] if isinstance(side, int)]
    elements = prod(sides) if len(sides) == len(source) - 1 else None
    if target[0] not in (0, fixed) and (target[0] != -1 or prod(target[1:]) != elements):
        return False
    if len(target) == 2 and target[1] in (-1, elements):
        node.CopyFrom(helper.make_node(
            'Flatten', [node.input[0]], list(node.output), name=node.name, axis=1))
        return True
    if target[0] == 0:
        return False
    # The constant may serve other reshapes too, so this one gets its own.
    name = f'{node.output[0]}/shape'
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([0, *target[1:]], np.int64), name))
    node.input[1] = name
    return True
