"""A float classifier from elsewhere: what its graph declares of its input and output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional, Tuple

import onnx
from resnet_trt_node.contract.declared import TensorInfo
from resnet_trt_node.contract.onnx_graph import (
    inputs_of, names_read, precision_of, producers_of, replace_all, subgraphs_of, tensor_info,
    trace_back)
from resnet_trt_node.errors import check_choice, ModelError, UsageError
from resnet_trt_node.onnx_tools.choices import LAYOUTS
from resnet_trt_node.onnx_tools.preparation.training_mode import refuse_training_mode

#: Nodes that move numbers without changing them; the activation is sought before them.
_TRANSPARENT = ('Identity', 'Cast', 'Flatten', 'Reshape', 'Squeeze', 'Dropout')
#: Nodes that move numbers of any type.
_MOVING = ('Identity', 'Transpose', 'Reshape', 'Squeeze', 'Unsqueeze', 'Slice', 'Gather', 'Split')
_INPUTS = {'float32': 'fp32', 'float16': 'fp16', 'uint8': 'fp32'}


@dataclass(frozen=True)
class SourceModel:
    """
    What is known of a float classifier.

    :param model: its graph, with one output and constants that are no inputs.
    :param input_name: of its input.
    :param input_precision: 'fp32' or 'fp16', the input's type; 'fp32' if it takes pixels.
    :param takes_pixels: whether its input is uint8, so that it normalises by itself.
    :param layout: 'nchw' or 'nhwc'.
    :param channels: 3, or 1 of a grey network.
    :param batch: the fixed batch size, None if it is dynamic.
    :param height: rows, None if dynamic.
    :param width: columns, None if dynamic.
    :param output_name: of its output.
    :param output_type: its ONNX element type.
    :param last_op: the node type that computes it, casts and reshapes skipped.
    :param unused_inputs: further inputs, which nothing reads; they were taken out.
    """

    model: onnx.ModelProto
    input_name: str
    input_precision: str
    takes_pixels: bool
    layout: str
    channels: int
    batch: Optional[int]
    height: Optional[int]
    width: Optional[int]
    output_name: str
    output_type: int
    last_op: str
    unused_inputs: Tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        """Return what the graph computes in, by the constants of its large layers."""
        return precision_of(self.model)


def read_source(
        model: onnx.ModelProto, layout: str = 'auto',
        output: Optional[str] = None) -> SourceModel:
    """
    Find the input and output of a float classifier.

    :param model: is changed: constants that stand among the inputs are taken out of them.
    :param layout: one of `LAYOUTS`; 'auto' looks for the side of 3.
    :param output: which output to take, None if there is only one.
    :raises ModelError: if it is not a classifier of pictures of three channels or one.
    :raises UsageError: if the graph leaves a choice, or does not have what was chosen.
    """
    replace_all(model.graph.input, inputs_of(model.graph))
    refuse_training_mode(model)
    chosen = _output(model, output)
    unused = _remove_unused_inputs(model)
    if len(model.graph.input) != 1:
        raise ModelError(
            f'the model has {len(model.graph.input)} inputs ({_list(model.graph.input)}): only '
            'classifiers of one picture can be prepared')
    value = tensor_info(model.graph.input[0])
    if value.dtype == 'float64':
        raise ModelError(
            f'input {value.name!r} is float64, which TensorRT and GPUs are not made for: make the '
            'network float32 (in PyTorch model.float()) and export it again')
    if value.dtype not in _INPUTS:
        raise ModelError(
            f'input {value.name!r} has the type {value.dtype}: only classifiers of floats or of '
            'uint8 pixels can be prepared; export the model without its own preprocessing')
    found, channels = _layout(value, layout)
    batch, *rest = (side if isinstance(side, int) and side > 0 else None for side in value.shape)
    height, width = rest[1:] if found == 'nchw' else rest[:2]
    return SourceModel(
        model=model, input_name=value.name, input_precision=_INPUTS[value.dtype],
        takes_pixels=value.dtype == 'uint8', layout=found,
        channels=channels, batch=batch, height=height, width=width,
        output_name=chosen.name, output_type=chosen.type.tensor_type.elem_type,
        last_op=_last_op(model.graph, chosen.name), unused_inputs=unused)


def reads_as_float(graph: onnx.GraphProto, name: str) -> bool:
    """
    Tell whether a graph can take a uint8 tensor as floats of the same numbers.

    It can if all that reads it, directly or after moving its numbers, is a cast. TensorRT moves no
    uint8, so that it is then cast first.

    :param graph: read only.
    :param name: of the tensor.
    """
    names = [name]
    # Grows meanwhile.
    for one in names:
        for node in graph.node:
            if one not in names_read([node]) or node.op_type == 'Cast':
                continue
            if node.op_type not in _MOVING or one in node.input[1:] or subgraphs_of(node):
                return False
            names.extend(node.output)
    return not set(names) & {value.name for value in graph.output}


def _remove_unused_inputs(model: onnx.ModelProto) -> Tuple[str, ...]:
    """Remove inputs that nothing reads, such as a mask that the exporter left; name them."""
    read = names_read(model.graph.node) | {value.name for value in model.graph.output}
    kept = [value for value in model.graph.input if value.name in read]
    if not kept:
        return ()
    unused = tuple(value.name for value in model.graph.input if value.name not in read)
    replace_all(model.graph.input, kept)
    return unused


def _layout(value: TensorInfo, layout: str) -> Tuple[str, int]:
    """Return the layout and the number of channels."""
    check_choice('layout', layout, LAYOUTS)
    shown = f'input {value.name!r} has the shape {value.shown_shape}'
    if len(value.shape) != 4:
        raise ModelError(
            f'{shown}: only (N, 3, H, W) or (N, H, W, 3) can be prepared, or one channel instead '
            'of three')
    # Some exporters write -1 or 0 for a dynamic side.
    sides = {'nchw': value.shape[1], 'nhwc': value.shape[3]}
    fits = {
        found for found, side in sides.items()
        if side == 3 or (layout == found and (isinstance(side, str) or side <= 0))}
    channels = 3
    if layout != 'auto':
        fits &= {layout}
        sides = {layout: sides[layout]}
    if not fits and 1 in sides.values():
        fits, channels = {found for found, side in sides.items() if side == 1}, 1
    if len(fits) == 1:
        return fits.pop(), channels
    if fits:
        raise UsageError(f'{shown}, which may be either: pass --layout nchw or --layout nhwc')
    raise ModelError(
        f'{shown}: no {"side" if layout == "auto" else layout} of '
        'three channels or one; only RGB, BGR or grey classifiers can be prepared'
        + ('; pass --layout if its channels are a dynamic side' if layout == 'auto' else ''))


def _output(model: onnx.ModelProto, name: Optional[str]) -> onnx.ValueInfoProto:
    outputs = model.graph.output
    chosen: list[onnx.ValueInfoProto] = [
        value for value in outputs if name is None or value.name == name]
    if not chosen:
        raise UsageError(
            f'the model has no output {name!r}: choose one of {_list(outputs)}')
    if len(chosen) > 1:
        raise UsageError(
            f'the model has {len(outputs)} outputs: choose one with --output from '
            f'{_list(outputs)}')
    result = chosen[0]
    dtype = tensor_info(result).dtype if result.type.HasField('tensor_type') else 'list or map'
    # Its type may be left open.
    if dtype not in ('?', 'float32', 'float16', 'bfloat16', 'float64'):
        raise ModelError(
            f'output {result.name!r} has the type {dtype}: a classifier gives a float for each '
            'class; export the model without what comes behind that')
    replace_all(outputs, chosen)
    return result


def _last_op(graph: onnx.GraphProto, name: str) -> str:
    producers = producers_of(graph)
    last = producers.get(trace_back(name, producers, _TRANSPARENT))
    return '' if last is None else str(last.op_type)


def _list(values: Iterable[onnx.ValueInfoProto]) -> str:
    return ', '.join(f'{value.name} {value.shown_shape}' for value in map(tensor_info, values))
