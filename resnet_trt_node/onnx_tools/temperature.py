"""A temperature in a deployable model: its logits are divided by it before the softmax."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns
from typing import Optional, TYPE_CHECKING, Union

import numpy as np
import onnx
from onnx import numpy_helper, TensorProto
from resnet_trt_node import __version__
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.contract.model_file import file_sha256, load_model, naming, spec_of
from resnet_trt_node.contract.onnx_check import check_valid
from resnet_trt_node.contract.onnx_graph import (
    constants_in, integer, names_of, producers_of, replace_all)
from resnet_trt_node.contract.spec import (
    activation_in, INPUT_NAME, OUTPUT_NAME, own_properties)
from resnet_trt_node.errors import ModelError
from resnet_trt_node.evaluation.temperature import with_temperature
from resnet_trt_node.onnx_tools.deployable import write_model, WrittenModel
from resnet_trt_node.onnx_tools.graph import GraphBuilder

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Tensors that it adds, and the metadata that tells the temperature to other programs.
_SCALED, _VALUE, _FLOAT = 'temperature_logits', 'temperature', 'temperature_float'
_METADATA = 'resnet_trt.temperature'


def find_softmax(model: onnx.ModelProto) -> tuple[onnx.NodeProto, bool]:
    """
    Find the softmax that makes a deployable model's output.

    :returns: the node, and whether its result is float32 as it is, without a cast behind it.
    :raises ModelError: if another node makes it.
    """
    producers = producers_of(model.graph)
    name, is_float = OUTPUT_NAME, True
    # As many steps as there are nodes: a malformed graph may go round in a circle.
    for _ in producers:
        node = producers.get(name)
        if node is None or node.op_type not in ('Cast', 'Identity'):
            break
        is_float = is_float and node.op_type == 'Identity'
        name = _input(node, 0)
    node = producers.get(name)
    if node is None or node.op_type != 'Softmax':
        made_by = 'no node' if node is None else f'the {node.op_type} {node.name!r}'
        if activation_in(own_properties(
                {one.key: one.value for one in model.metadata_props}))[1]:
            raise ModelError(
                'it is multi-label: each of its classes is a yes or no of its own, for which one '
                'temperature is not made. Choose score_threshold by the precision and recall of '
                '`resnet_trt evaluate` instead')
        raise ModelError(
            f'its probabilities are made by {made_by} instead of a Softmax. Export the network '
            'without its last layer and prepare it again, with --activation softmax, or sigmoid '
            'if it has one output')
    if integer(node, 'axis', -1) not in (1, -1):
        raise ModelError(
            f'the Softmax {node.name!r} is not over the classes: prepare the model again')
    return node, is_float


def temperature_of(model: onnx.ModelProto) -> float:
    """
    Return the temperature that a model has in its graph, 1 if it was not calibrated.

    :raises ModelError: see `find_softmax`.
    """
    value = _constant(model, find_softmax(model)[0])
    try:
        return 1.0 if value is None else float(numpy_helper.to_array(value))
    except (TypeError, ValueError) as error:  # what onnx and NumPy make of a malformed tensor
        raise ModelError(
            f'its temperature {_VALUE!r} is no number: calibrate the model as it was before '
            'again') from error


def _constant(model: onnx.ModelProto, softmax: onnx.NodeProto) -> Optional[onnx.TensorProto]:
    """Return the constant that the softmax's logits are divided by, None for none."""
    node = producers_of(model.graph).get(_input(softmax, 0))
    if node is None or node.op_type != 'Div' or node.output[0] != _SCALED:
        return None
    return constants_in(model.graph).get(_input(node, 1))


def _input(node: onnx.NodeProto, index: int) -> str:
    """Return the name of an input, '' for one that a malformed node lacks."""
    return node.input[index] if index < len(node.input) else ''


def set_temperature(model: onnx.ModelProto, temperature: float) -> None:
    """
    Let a model divide its logits by a temperature, in place of the one that it has.

    :param model: deployable; changed.
    :param temperature: above 0, computed with in float32.
    :raises ModelError: see `find_softmax`, and for a graph that has our names for something else.
    """
    softmax, is_float = find_softmax(model)
    constant = _constant(model, softmax)
    builder = GraphBuilder('fp32')
    if constant is not None:
        constant.CopyFrom(numpy_helper.from_array(np.float32(temperature), constant.name))
    else:
        taken = {_SCALED, _VALUE, _FLOAT} & set(names_of(model))
        if taken:
            raise ModelError(
                f'it has a tensor called {min(taken)!r}, which is not the one of `resnet_trt '
                'calibrate`: rename it')
        logits = softmax.input[0]
        if not is_float:
            # fp16 would round the logits once more; the cast behind the softmax stays and does
            # nothing.
            logits = builder.node('Cast', _FLOAT, logits, to=TensorProto.FLOAT)
        softmax.input[0] = builder.node(
            'Div', _SCALED, [logits, builder.constant(_VALUE, temperature)])
        place = list(model.graph.node).index(softmax)
        replace_all(model.graph.node, [
            *model.graph.node[:place], *builder.nodes, *model.graph.node[place:]])
        model.graph.initializer.extend(builder.constants)
        # The types of what follows may have changed.
        del model.graph.value_info[:]
    replace_all(model.metadata_props, [
        one for one in model.metadata_props if one.key != _METADATA])
    model.metadata_props.add(key=_METADATA, value=f'{temperature:.9g}')


def write_calibrated(
        source: Union[str, Path], out: Union[str, Path], factor: float) -> WrittenModel:
    """
    Write a deployable model whose temperature is multiplied by a factor.

    :param source: deployable, of a softmax; it may have been calibrated before.
    :param out: the file; it appears whole and checked, or not at all: its answers are those of
        `source` at the other temperature.
    :param factor: above 0.
    :raises ModelError: if the model is not such a one, or what was written answers otherwise.
    """
    start_ns = perf_counter_ns()
    model = load_model(source)
    with naming(source):
        spec = replace(spec_of(model), tool_version=__version__)
        check_valid(model, 'the model')
        session = CpuSession(model.SerializeToString(), source)
        set_temperature(model, temperature_of(model) * factor)

    def reference(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows, = session.run([OUTPUT_NAME], {INPUT_NAME: frames})
        return with_temperature(rows, factor)

    difference = write_model(model, spec, out, f'what was made of {source}', reference)
    out = Path(out)
    return WrittenModel(
        out, spec, difference, file_sha256(out), out.stat().st_size,
        (perf_counter_ns() - start_ns) / 1e9)
