"""How convolutions and matrix products become loops: NHWC, with weights packed in blocks."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

import numpy as np

from resnet_trt_node.backends.tvm.schedule import TILE, tile_note
from resnet_trt_node.backends.tvm.tiles import choose_tile, Registers, Workload


def layer_rules(tvm: Any, registers: Registers) -> dict[str, Callable[[Any, Any], Any]]:
    """
    Return what replaces TVM's own rules in LegalizeOps, operator's name to rule.

    :param registers: those of the processor, which decide how weights are packed.
    """
    from tvm.relax.transform.legalize_ops import linear_algebra, nn

    def rule(workload_of: Callable[[Any, Any], Optional[Workload]], usual: Any) -> Any:
        def legalize(builder: Any, call: Any) -> Any:
            workload = workload_of(tvm, call)
            if workload is None:
                return usual(builder, call)
            if workload.scales_channels:
                return scale_channels(tvm, builder, call)
            tile = choose_tile(workload, registers)
            packed = tvm.relax.const(pack(workload, call.args[1].value.numpy(), tile.filters))
            return builder.call_te(
                lambda data, weights: _compute(
                    tvm, workload, data, weights, tile.filters, tile_note(workload, tile)),
                call.args[0], packed, primfunc_name_hint=workload.kind)
        return legalize

    return {'relax.nn.conv2d': rule(conv_workload, nn._nn_conv2d),
            'relax.matmul': rule(_dense_workload, linear_algebra._matmul)}


def scale_channels(tvm: Any, builder: Any, call: Any) -> Any:
    """Return a convolution that `Workload.scales_channels` as factors, which fuse with more."""
    factors = tvm.relax.const(call.args[1].value.numpy().reshape(1, 1, 1, -1))
    return builder.call_te(tvm.topi.multiply, call.args[0], factors)


def conv_workload(
        tvm: Any, call: Any, dtypes: Tuple[str, ...] = ('float32',)) -> Optional[Workload]:
    """Return the workload of a relax.nn.conv2d, None for one that is left to TVM's own rule."""
    data, weight = call.args
    attrs = call.attrs
    if not isinstance(weight, tvm.ir.GenericConst) or attrs.data_layout != 'NHWC' \
            or attrs.kernel_layout != 'OHWI' or attrs.out_layout != 'NHWC' \
            or str(data.ty.dtype) not in dtypes \
            or [int(step) for step in attrs.dilation] != [1, 1]:
        return None
    filters, rows, columns, depth = map(int, weight.value.shape)
    shape = data.ty.shape.values
    if not all(isinstance(side, tvm.tirx.IntImm) for side in shape[1:]):
        return None
    height, width, channels = map(int, shape[1:])
    groups = int(attrs.groups)
    if groups == 1:
        kind = 'conv'
    elif groups == channels == filters and depth == 1:
        kind = 'depthwise'
    else:
        return None
    down, right = map(int, attrs.strides)
    top, left, bottom, right_zeros = map(int, attrs.padding)
    return Workload(
        kind, height, width, channels, filters, (rows, columns), (down, right),
        (top, left, bottom, right_zeros))


def _dense_workload(tvm: Any, call: Any) -> Optional[Workload]:
    """Return the workload of a relax.matmul with constant weights, None for any other."""
    data, weight = call.args
    if not isinstance(weight, tvm.ir.GenericConst) or str(data.ty.dtype) != 'float32' \
            or len(weight.value.shape) != 2 or len(data.ty.shape.values) != 2:
        return None
    channels, filters = map(int, weight.value.shape)
    return Workload('dense', 1, 1, channels, filters)


def pack(workload: Workload, weights: np.ndarray, block: int) -> np.ndarray:
    """
    Return weights in the order in which the loops read them.

    :param weights: float32, (filters, rows, columns, channels) of a convolution, (channels,
        filters) of a matrix product.
    :param block: filters in a tile.
    :returns: float32 (filters / block, rows, columns, channels, block); without channels for a
        depthwise convolution, and without rows and columns for a matrix product.
    """
    if workload.kind == 'dense':
        weights = weights.T
    elif workload.kind == 'depthwise':
        weights = weights[..., 0]
    blocks = weights.reshape(-1, block, *weights.shape[1:])
    return np.ascontiguousarray(np.moveaxis(blocks, 1, -1))


def _compute(
        tvm: Any, workload: Workload, data: Any, weights: Any, block: int, note: str) -> Any:
    """
    Return the tensor expression of a workload.

    :param data: a te.Tensor, float32 (N, height, width, channels), (N, channels) for a matrix
        product.
    :param weights: a te.Tensor in the form that `pack` returns.
    :param block: filters in a block of the weights.
    :param note: tells the schedule how to cut it.
    """
    te, integer = tvm.te, integers(tvm)
    depthwise = workload.kind == 'depthwise'
    kernel = () if workload.kind == 'dense' else workload.kernel
    summed = [te.reduce_axis((integer(0), integer(extent)), name) for name, extent in zip(
        'ijk', kernel if depthwise else (*kernel, workload.channels))]
    padded = _padded(tvm, workload, data)
    size, strides = integer(block), [integer(step) for step in workload.strides]

    def term(batch: Any, *place: Any) -> Any:
        pixel, output = place[:-1], place[-1]
        window = [side * step + inside for side, step, inside in zip(pixel, strides, summed)]
        read = (batch, *window, output if depthwise else summed[-1])
        weight = (output // size, *summed, output % size)
        return te.sum(padded[read] * weights[weight], axis=summed)

    sides = () if workload.kind == 'dense' else workload.output
    return te.compute(
        (data.shape[0], *map(integer, (*sides, workload.filters))), term, name='summed',
        attrs={TILE: note})


def _padded(tvm: Any, workload: Workload, data: Any) -> Any:
    if not any(workload.padding):
        return data
    integer = integers(tvm)
    top, left = map(integer, workload.padding[:2])
    return tvm.te.compute(
        (data.shape[0], *map(integer, (*workload.padded, workload.channels))),
        lambda n, y, x, c: zero_outside(tvm, workload, y, x, data[n, y - top, x - left, c]),
        name='padded')


def zero_outside(tvm: Any, workload: Workload, y: Any, x: Any, value: Any) -> Any:
    """Return a value of the input, or zero where a place of the padded input is outside of it."""
    integer = integers(tvm)
    top, left = workload.padding[:2]
    return tvm.tirx.if_then_else(
        tvm.tirx.all(y >= integer(top), y < integer(workload.height + top),
                     x >= integer(left), x < integer(workload.width + left)),
        value, tvm.tirx.const(0.0, value.dtype))


def integers(tvm: Any) -> Callable[[int], Any]:
    """Return what makes 64-bit integers: relax counts in them, and TVM does not mix widths."""
    return lambda value: tvm.tirx.IntImm('int64', value)
