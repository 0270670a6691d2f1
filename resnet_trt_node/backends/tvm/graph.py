"""From a deployable ONNX file to TVM's Relax: NHWC, constants folded, Q/DQ as plain arithmetic."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.tvm.runtime import lines_of
from resnet_trt_node.errors import ModelError

if TYPE_CHECKING:
    import onnx

#: What is computed beforehand where it reads constants alone.
_FOLDED = frozenset({
    'Constant', 'QuantizeLinear', 'DequantizeLinear', 'Cast', 'Reshape', 'Transpose', 'Identity'})
_LEVELS = {'int8': (-128.0, 127.0), 'uint8': (0.0, 255.0)}


def import_graph(tvm: Any, model: onnx.ModelProto, half: bool) -> Any:
    """
    Return a model as a Relax module in NHWC.

    :param tvm: the package.
    :param model: a deployable model; changed in place.
    :param half: compute fp16 layers in fp16. A CPU without such arithmetic converts each number
        back and forth; without it they compute in fp32, from the weights that fp16 left.
    :raises ModelError: for an operator that TVM does not know.
    """
    from tvm.relax.frontend.onnx import from_onnx
    fold_constants(model)
    if not half:
        widen(model)
    replace_pairs(model)
    try:
        module = from_onnx(model)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f'TVM cannot read the model: {lines_of(error)[0]}') from error
    module = tvm.relax.transform.ConvertLayout({'relax.nn.conv2d': ['NHWC', 'OHWI']})(module)
    return tvm.relax.transform.FoldConstant()(tvm.IRModule({
        name: _join_transposes(tvm, _move_weights(tvm, function))
        if isinstance(function, tvm.relax.Function) else function
        for name, function in module.functions.items()}))


def fuse(
        tvm: Any, module: Any, rules: Mapping[str, Callable[[Any, Any], Any]],
        names: Sequence[str] = ('main',)) -> Any:
    """
    Return a module whose operators are loops, fused with what follows them.

    :param rules: what replaces TVM's own in LegalizeOps, operator's name to rule.
    :param names: the functions that are called from outside.
    """
    transform = tvm.relax.transform
    return tvm.transform.Sequential([
        transform.LegalizeOps(rules),
        transform.AnnotateTIROpPattern(),
        transform.FuseOps(),
        transform.FuseTIR(),
        transform.DeadCodeElimination(names),
    ])(module)


def _move_weights(tvm: Any, function: Any) -> Any:
    """
    Bring the weights into the layout they are read in.

    FoldConstant would do it as well, with a compilation for each shape: half of the time that a
    ResNet-50 takes to compile.
    """
    from tvm.relax.dpl import is_const, is_op, rewrite_call, wildcard
    weights = is_const()

    def reshaped(call: Any, matched: Any) -> Any:
        shape = [int(side) for side in call.ty.shape.values]
        return tvm.relax.const(matched[weights].value.numpy().reshape(shape))

    def transposed(call: Any, matched: Any) -> Any:
        axes = call.attrs.axes
        values = matched[weights].value.numpy().transpose(
            None if axes is None else [int(axis) for axis in axes])
        return tvm.relax.const(np.ascontiguousarray(values))

    function = rewrite_call(is_op('relax.reshape')(weights, wildcard()), reshaped, function)
    return rewrite_call(is_op('relax.permute_dims')(weights), transposed, function)


def _join_transposes(tvm: Any, function: Any) -> Any:
    """Drop the way from the picture's NHWC to the graph's NCHW and back."""
    from tvm.relax.dpl import is_op, rewrite_call, wildcard
    data = wildcard()
    first = is_op('relax.permute_dims')(data)
    second = is_op('relax.permute_dims')(first)

    def rewrite(call: Any, matched: Any) -> Any:
        inner = [int(axis) for axis in matched[first].attrs.axes]
        outer = [int(axis) for axis in matched[second].attrs.axes]
        axes = [inner[axis] for axis in outer]
        if axes == sorted(axes):
            return matched[data]
        return tvm.relax.op.permute_dims(matched[data], axes)

    return rewrite_call(second, rewrite, function)


def fold_constants(model: onnx.ModelProto) -> None:
    """Compute the nodes that read constants alone, such as weights behind their Q/DQ pair."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator
    from resnet_trt_node.contract.onnx_graph import remove_unread, replace_all
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type not in _FOLDED or not all(name in constants for name in inputs):
            kept.append(node)
            continue
        result, = ReferenceEvaluator(
            node, opsets={opset.domain: opset.version for opset in model.opset_import}).run(
            None, {name: numpy_helper.to_array(constants[name]) for name in inputs})
        constants[node.output[0]] = numpy_helper.from_array(
            np.asarray(result), node.output[0])
    replace_all(model.graph.node, kept)
    replace_all(model.graph.initializer, constants.values())
    remove_unread(model.graph)


def widen(model: onnx.ModelProto) -> None:
    """Make fp16 tensors fp32."""
    import onnx
    from onnx import numpy_helper
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == 'Cast' and attribute.name == 'to' and attribute.i == half:
                attribute.i = single
            elif attribute.HasField('t'):
                tensors.append(attribute.t)
    for tensor in tensors:
        if tensor.data_type == half:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*model.graph.value_info, *model.graph.output):
        if value.type.tensor_type.elem_type == half:
            value.type.tensor_type.elem_type = single


def replace_pairs(model: onnx.ModelProto) -> None:
    """
    Write QuantizeLinear and DequantizeLinear as the arithmetic that they stand for.

    The levels stay whole numbers in a float tensor, so that TVM can change the layout and fuse
    them; its own operators round halves away from zero, where ONNX rounds them to even.

    :raises ModelError: for a pair on an activation that has a scale for each channel.
    """
    from onnx import helper, numpy_helper
    from resnet_trt_node.contract.onnx_graph import replace_all
    constants = {tensor.name: numpy_helper.to_array(tensor)
                 for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: Any, dtype: Any) -> str:
        model.graph.initializer.append(
            numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    for node in model.graph.node:
        if node.op_type not in ('QuantizeLinear', 'DequantizeLinear'):
            nodes.append(node)
            continue
        scale = constants.get(node.input[1])
        if scale is None or scale.size != 1:
            raise ModelError(
                f'{node.op_type} {node.name} has a scale for each channel of an activation, '
                'which the TVM backend does not compute: quantise with `resnet_trt quantize`, '
                'or use another backend')
        zero = constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.uint8(0)
        base, dtype = node.output[0], scale.dtype
        factor = constant(f'{base}.scale', scale.reshape(()), dtype)
        offset = constant(f'{base}.zero', zero.reshape(()).astype(dtype), dtype)
        if node.op_type == 'QuantizeLinear':
            low, high = _LEVELS[str(zero.dtype)]
            steps = [
                ('Div', [factor]), ('Round', []), ('Add', [offset]),
                ('Clip', [constant(f'{base}.low', low, dtype),
                          constant(f'{base}.high', high, dtype)])]
        else:
            steps = [('Sub', [offset]), ('Mul', [factor])]
        if not zero.any():
            steps = [(kind, inputs) for kind, inputs in steps if kind not in ('Add', 'Sub')]
        name = node.input[0]
        for kind, inputs in steps:
            result = base if kind == steps[-1][0] else f'{base}.{kind.lower()}'
            nodes.append(helper.make_node(kind, [name, *inputs], [result]))
            name = result
    replace_all(model.graph.node, nodes)
    # Their types were those of the integers.
    del model.graph.value_info[:]
