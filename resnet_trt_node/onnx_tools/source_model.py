"""A float classifier from elsewhere: what its graph says about its input and output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union

import onnx
from onnx import TensorProto
from resnet_trt_node.contract.onnx_parts import parts_of
from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.onnx_tools.subgraphs import names_read, nodes_of
from resnet_trt_node.onnx_tools.training_mode import refuse_training_mode

LAYOUTS = ('auto', 'nchw', 'nhwc')
#: Nodes that move numbers without changing them; the activation is sought before them.
_TRANSPARENT = ('Identity', 'Cast', 'Flatten', 'Reshape', 'Squeeze', 'Dropout')
_FLOATS = {TensorProto.FLOAT: 'fp32', TensorProto.FLOAT16: 'fp16'}
Side = Union[int, str, None]


@dataclass(frozen=True)
class SourceModel:
    """
    What is known of a float classifier.

    :param model: its graph, with one output and constants that are no inputs.
    :param input_name: of its input.
    :param input_precision: 'fp32' or 'fp16', the input's type.
    :param layout: 'nchw' or 'nhwc'.
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
    layout: str
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
        if any(node.op_type in ('QuantizeLinear', 'QLinearConv', 'ConvInteger')
               for node in nodes_of(self.model)):
            return 'int8'
        kinds = {tensor.name: tensor.data_type for part in parts_of(self.model)
                 for tensor in getattr(part, 'initializer', ())}
        used = {
            kinds[name] for node in nodes_of(self.model)
            if node.op_type in ('Conv', 'Gemm', 'MatMul') for name in node.input[1:2]
            if name in kinds}
        # A mixed graph counts as the narrower: its accuracy is that of its roughest part.
        return 'fp16' if TensorProto.FLOAT16 in used else 'fp32'


def read_source(
        model: onnx.ModelProto, layout: str = 'auto',
        output: Optional[str] = None) -> SourceModel:
    """
    Find the input and output of a float classifier.

    :param model: is changed: constants that stand among the inputs are taken out of them.
    :param layout: one of `LAYOUTS`; 'auto' looks for the side of 3.
    :param output: which output to take, None if there is only one.
    :raises ModelError: if it is not a classifier of three-channel pictures.
    :raises UsageError: if the graph leaves a choice, or does not have what was chosen.
    """
    _constants_to_initialisers(model)
    refuse_training_mode(model)
    chosen = _output(model, output)
    unused = _take_out_unused_inputs(model)
    if len(model.graph.input) != 1:
        raise ModelError(
            f'the model has {len(model.graph.input)} inputs ({_list(model.graph.input)}): only '
            'classifiers of one picture can be prepared')
    value = model.graph.input[0]
    kind = value.type.tensor_type.elem_type
    if kind == TensorProto.DOUBLE:
        raise ModelError(
            f'input {value.name!r} is float64, which TensorRT and GPUs are not made for: make the '
            'network float32 (in PyTorch model.float()) and export it again')
    if kind not in _FLOATS:
        raise ModelError(
            f'input {value.name!r} is {_dtype_name(kind)}: only float classifiers '
            'can be prepared; export the model without its own preprocessing')
    sides = _sides(value)
    found = _layout(value.name, sides, layout)
    height, width = (sides[2], sides[3]) if found == 'nchw' else (sides[1], sides[2])
    return SourceModel(
        model=model, input_name=value.name, input_precision=_FLOATS[kind], layout=found,
        batch=_fixed(sides[0]), height=_fixed(height), width=_fixed(width),
        output_name=chosen.name, output_type=chosen.type.tensor_type.elem_type,
        last_op=_last_op(model.graph, chosen.name),
        unused_inputs=unused)


def _constants_to_initialisers(model: onnx.ModelProto) -> None:
    """Take initialisers out of the inputs, where ONNX before IR 4 had to list them."""
    constants = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _take_out_unused_inputs(model: onnx.ModelProto) -> Tuple[str, ...]:
    """Take out inputs that nothing reads, such as a mask that the exporter left; name them."""
    read = names_read(model.graph.node) | {value.name for value in model.graph.output}
    kept = [value for value in model.graph.input if value.name in read]
    unused = tuple(value.name for value in model.graph.input if value.name not in read)
    if not kept or not unused:
        return ()
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return unused


def _layout(name: str, sides: list[Side], layout: str) -> str:
    if layout not in LAYOUTS:
        raise UsageError(f'unknown layout {layout!r}: choose one of {", ".join(LAYOUTS)}')
    shown = '(' + ', '.join(str(side or '?') for side in sides) + ')'
    if len(sides) != 4:
        raise ModelError(
            f'input {name!r} has the shape {shown}: only (N, 3, H, W) or (N, H, W, 3) can be '
            'prepared')
    fits = {
        found for found, place in (('nchw', 1), ('nhwc', 3))
        if sides[place] == 3 or (layout == found and _fixed(sides[place]) is None)}
    if layout != 'auto':
        fits &= {layout}
    if len(fits) == 1:
        return fits.pop()
    if fits:
        raise UsageError(
            f'input {name!r} has the shape {shown}, which may be either: pass --layout nchw or '
            '--layout nhwc')
    raise ModelError(
        f'input {name!r} has the shape {shown}: no {"side" if layout == "auto" else layout} of '
        'three channels; only RGB or BGR classifiers can be prepared'
        + ('; pass --layout if its channels are a dynamic side' if layout == 'auto' else ''))


def _output(model: onnx.ModelProto, name: Optional[str]) -> onnx.ValueInfoProto:
    outputs = list(model.graph.output)
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
    kind = result.type.tensor_type.elem_type
    if not result.type.HasField('tensor_type') or kind not in (
            TensorProto.UNDEFINED, TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16,
            TensorProto.DOUBLE):
        made = _dtype_name(kind) if result.type.HasField('tensor_type') else 'a list or map'
        raise ModelError(
            f'output {result.name!r} is {made}: a classifier gives a float for each class; '
            'export the model without what comes behind that')
    del model.graph.output[:]
    model.graph.output.extend(chosen)
    return chosen[0]


def _last_op(graph: onnx.GraphProto, name: str) -> str:
    makers = {output: node for node in graph.node for output in node.output}
    # Taken out, since a malformed graph may go round in circles.
    while name in makers and makers[name].op_type in _TRANSPARENT and makers[name].input:
        name = makers.pop(name).input[0]
    return str(makers[name].op_type) if name in makers else ''


def _dtype_name(kind: int) -> str:
    try:
        return str(TensorProto.DataType.Name(kind))
    except ValueError:
        return f'of the unknown type {kind}'


def _sides(value: onnx.ValueInfoProto) -> list[Side]:
    return [
        dim.dim_value if dim.HasField('dim_value') else dim.dim_param or None
        for dim in value.type.tensor_type.shape.dim]


def _fixed(side: Side) -> Optional[int]:
    # Some exporters write -1 or 0 for a dynamic side.
    return side if isinstance(side, int) and side > 0 else None


def _list(values: object) -> str:
    return ', '.join(
        f'{value.name} ({", ".join(str(side or "?") for side in _sides(value))})'
        for value in values)  # type: ignore[attr-defined]
