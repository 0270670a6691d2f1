"""How convolutions and matrix products become loops: NHWC, with weights packed in blocks."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

import numpy as np

from resnet_trt_node.backends.tvm.schedule import Choose, WORKLOAD
from resnet_trt_node.backends.tvm.workload import Workload


def layer_rules(tvm: Any, choose: Choose) -> dict[str, Callable[[Any, Any], Any]]:
    """
    Return what replaces TVM's own rules in LegalizeOps, operator's name to rule.

    :param choose: gives the tile of a workload, which decides how its weights are packed.
    """
    from tvm.relax.transform.legalize_ops import linear_algebra, nn

    def conv2d(builder: Any, call: Any) -> Any:
        workload = conv_workload(tvm, call)
        if workload is None:
            return nn._nn_conv2d(builder, call)
        weights = call.args[1].value.numpy()
        if workload.kind == 'depthwise' and workload.kernel == workload.strides == (1, 1) \
                and not any(workload.padding):
            # A factor for each channel, which fuses with its neighbours.
            factors = tvm.relax.const(weights.reshape(1, 1, 1, -1))
            return builder.call_te(tvm.topi.multiply, call.args[0], factors)
        return _emit(tvm, builder, workload, choose, call.args[0], weights)

    def matmul(builder: Any, call: Any) -> Any:
        workload = dense_workload(tvm, call)
        if workload is None:
            return linear_algebra._matmul(builder, call)
        weights = call.args[1].value.numpy()
        return _emit(tvm, builder, workload, choose, call.args[0], weights)

    return {'relax.nn.conv2d': conv2d, 'relax.matmul': matmul}


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
    filters, rows, columns, depth = weight.value.shape
    shape = data.ty.shape.values
    if not all(isinstance(side, tvm.tirx.IntImm) for side in shape[1:]):
        return None
    height, width, channels = (int(side) for side in shape[1:])
    groups = int(attrs.groups)
    if groups == 1:
        kind = 'conv'
    elif groups == channels == filters and depth == 1:
        kind = 'depthwise'
    else:
        return None
    top, left, bottom, right = (int(side) for side in attrs.padding)
    strides = tuple(int(step) for step in attrs.strides)
    return Workload(
        kind, height, width, channels, int(filters), (int(rows), int(columns)),
        (strides[0], strides[1]), (top, left, bottom, right))


def dense_workload(tvm: Any, call: Any) -> Optional[Workload]:
    """Return the workload of a relax.matmul with constant weights, None for any other."""
    data, weight = call.args
    if not isinstance(weight, tvm.ir.GenericConst) or str(data.ty.dtype) != 'float32' \
            or len(weight.value.shape) != 2 or len(data.ty.shape.values) != 2:
        return None
    channels, filters = (int(side) for side in weight.value.shape)
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
        packed = weights.T.reshape(-1, block, workload.channels).transpose(0, 2, 1)
    elif workload.kind == 'depthwise':
        packed = weights[..., 0].reshape(-1, block, *workload.kernel).transpose(0, 2, 3, 1)
    else:
        packed = weights.reshape(
            -1, block, *workload.kernel, workload.channels).transpose(0, 2, 3, 4, 1)
    return np.ascontiguousarray(packed)


def _emit(
        tvm: Any, builder: Any, workload: Workload, choose: Choose, data: Any,
        weights: np.ndarray) -> Any:
    block = choose(workload).filters
    packed = tvm.relax.const(pack(workload, weights, block))
    return builder.call_te(
        lambda x, w: compute(tvm, workload, x, w, block), data, packed,
        primfunc_name_hint=workload.kind)


def compute(tvm: Any, workload: Workload, data: Any, weights: Any, block: int) -> Any:
    """
    Return the tensor expression of a workload.

    :param data: a te.Tensor, float32 (N, height, width, channels), (N, channels) for a matrix
        product.
    :param weights: a te.Tensor in the form that `pack` returns.
    :param block: filters in a block of the weights.
    """
    te, integer = tvm.te, _integer(tvm)

    def summed(extent: int, name: str) -> Any:
        return te.reduce_axis((integer(0), integer(extent)), name)

    attributes = {WORKLOAD: str(workload)}
    size = integer(block)
    if workload.kind == 'dense':
        k = summed(workload.channels, 'k')
        return te.compute(
            (data.shape[0], integer(workload.filters)),
            lambda n, f: te.sum(data[n, k] * weights[f // size, k, f % size], axis=[k]),
            name='summed', attrs=attributes)
    padded = _padded(tvm, workload, data)
    down, right = (integer(step) for step in workload.strides)
    i, j = summed(workload.kernel[0], 'i'), summed(workload.kernel[1], 'j')
    shape = (data.shape[0], *map(integer, workload.output), integer(workload.filters))
    if workload.kind == 'depthwise':
        return te.compute(
            shape,
            lambda n, y, x, f: te.sum(
                padded[n, y * down + i, x * right + j, f]
                * weights[f // size, i, j, f % size], axis=[i, j]),
            name='summed', attrs=attributes)
    k = summed(workload.channels, 'k')
    return te.compute(
        shape,
        lambda n, y, x, f: te.sum(
            padded[n, y * down + i, x * right + j, k]
            * weights[f // size, i, j, k, f % size], axis=[i, j, k]),
        name='summed', attrs=attributes)


def _padded(tvm: Any, workload: Workload, data: Any) -> Any:
    if not any(workload.padding):
        return data
    integer = _integer(tvm)
    top, left = (integer(side) for side in workload.padding[:2])
    height, width = integer(workload.height), integer(workload.width)
    return tvm.te.compute(
        (data.shape[0], *map(integer, workload.padded), integer(workload.channels)),
        lambda n, y, x, c: tvm.tirx.if_then_else(
            tvm.tirx.all(y >= top, y < height + top, x >= left, x < width + left),
            data[n, y - top, x - left, c], tvm.tirx.const(0.0, 'float32')),
        name='padded')


def _integer(tvm: Any) -> Callable[[int], Any]:
    """Return what makes 64-bit integers: relax counts in them, and TVM does not mix widths."""
    return lambda value: tvm.tirx.IntImm('int64', value)
