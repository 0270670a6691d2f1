"""
Loops for NVIDIA GPUs: convolutions as matrix products, scheduled by TVM's own rules for GPUs.

Those rules (dlight) know matrix products, in tensor cores where they are of fp16, and leave a
convolution to one thread for each result. So a convolution becomes the product of the patches
under its filter with its weights; the patches are gathered while they are read and never stored.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import numpy as np

from resnet_trt_node.inference.tvm_layers import conv_workload
from resnet_trt_node.inference.tvm_workload import Workload

#: kOutEWiseFusable: what follows element by element may be fused behind it.
_FUSABLE = 4


def gpu_rules(tvm: Any) -> dict[str, Callable[[Any, Any], Any]]:
    """Return what replaces TVM's own rules in LegalizeOps, operator's name to rule."""
    from tvm.relax.transform.legalize_ops import nn

    def conv2d(builder: Any, call: Any) -> Any:
        workload = conv_workload(tvm, call, ('float32', 'float16'))
        if workload is None or workload.kind != 'conv':
            return nn._nn_conv2d(builder, call)
        weights = call.args[1].value.numpy()
        matrix = np.ascontiguousarray(weights.reshape(workload.filters, -1).T)
        return builder.call_te(
            lambda data, product: _product(tvm, workload, data, product),
            call.args[0], tvm.relax.const(matrix), primfunc_name_hint='conv',
            primfunc_attrs={'op_pattern': _FUSABLE})

    return {'relax.nn.conv2d': conv2d}


def schedule_gpu(tvm: Any, module: Any) -> Any:
    """Return a module whose loops are bound to a GPU's threads; needs the target's scope."""
    from tvm.s_tir import dlight
    rules = dlight.gpu
    return dlight.ApplyDefaultSchedule(
        rules.Matmul(), rules.GEMV(), rules.Reduction(), rules.GeneralReduction(),
        rules.Fallback())(module)


def _product(tvm: Any, workload: Workload, data: Any, weights: Any) -> Any:
    """
    Return a convolution as a tensor expression, summed in fp32.

    :param data: a te.Tensor (N, height, width, channels).
    :param weights: a te.Tensor (rows * columns * channels, filters).
    """
    te, tirx = tvm.te, tvm.tirx

    def integer(value: int) -> Any:
        return tirx.IntImm('int64', value)

    rows, columns = workload.output
    depth = workload.kernel[0] * workload.kernel[1] * workload.channels
    top, left = workload.padding[:2]

    def patch(pixel: Any, place: Any) -> Any:
        inside = pixel % integer(rows * columns)
        y = (inside // integer(columns)) * integer(workload.strides[0]) \
            + place // integer(workload.kernel[1] * workload.channels)
        x = (inside % integer(columns)) * integer(workload.strides[1]) \
            + place // integer(workload.channels) % integer(workload.kernel[1])
        value = data[
            pixel // integer(rows * columns), y - integer(top), x - integer(left),
            place % integer(workload.channels)]
        if not any(workload.padding):
            return value
        return tirx.if_then_else(
            tirx.all(y >= integer(top), y < integer(workload.height + top),
                     x >= integer(left), x < integer(workload.width + left)),
            value, tirx.const(0.0, data.dtype))

    pixels = data.shape[0] * integer(rows * columns)
    patches = te.compute((pixels, integer(depth)), patch, name='patches')
    k = te.reduce_axis((integer(0), integer(depth)), 'k')
    product = te.compute(
        (pixels, integer(workload.filters)),
        lambda pixel, filter_: te.sum(
            patches[pixel, k].astype('float32') * weights[k, filter_].astype('float32'),
            axis=[k]), name='product')
    return te.compute(
        (data.shape[0], integer(rows), integer(columns), integer(workload.filters)),
        lambda n, y, x, f: product[
            (n * integer(rows) + y) * integer(columns) + x, f].astype(data.dtype),
        name='unfolded')


def gpu_target(tvm: Any, device_id: int) -> Optional[Any]:
    """Return the target of a GPU, None if TVM sees none."""
    device = tvm.cuda(device_id)
    if not device.exist:
        return None
    return cuda_target(tvm, f'sm_{device.compute_version.replace(".", "")}')


def cuda_target(tvm: Any, architecture: str) -> Any:
    """Return the target of an architecture such as 'sm_90'."""
    return tvm.target.Target({
        'kind': 'cuda', 'arch': architecture, 'max_threads_per_block': 1024,
        'max_shared_memory_per_block': 49152, 'thread_warp_size': 32}, host='llvm')
