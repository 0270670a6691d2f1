"""
Loops for NVIDIA GPUs: convolutions as matrix products, scheduled by TVM's own rules for GPUs.

Those rules (dlight) know matrix products and leave a convolution to one thread for each result.
So a convolution becomes the product of the patches under its filter with its weights; the patches
are gathered while they are read and never stored.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Callable, Iterator, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.tvm.graph import fuse, import_graph
from resnet_trt_node.backends.tvm.layers import (
    conv_workload, integers, scale_channels, zero_outside)
from resnet_trt_node.backends.tvm.tiles import Workload

if TYPE_CHECKING:
    import onnx

#: kOutEWiseFusable: what follows element by element may be fused behind it.
_FUSABLE = 4


def _gpu_rules(tvm: Any) -> dict[str, Callable[[Any, Any], Any]]:
    """Return what replaces TVM's own rules in LegalizeOps, operator's name to rule."""
    from tvm.relax.transform.legalize_ops import nn

    def conv2d(builder: Any, call: Any) -> Any:
        workload = conv_workload(tvm, call, ('float32', 'float16'))
        if workload is not None and workload.scales_channels:
            # Not left a sum of one term, into whose start and step dlight moves what follows it:
            # the bias was added twice (TVM 0.27, Fallback).
            return scale_channels(tvm, builder, call)
        if workload is None or workload.kind != 'conv':
            return nn._nn_conv2d(builder, call)
        weights = call.args[1].value.numpy()
        matrix = np.ascontiguousarray(weights.reshape(workload.filters, -1).T)
        return builder.call_te(
            lambda data, product: _product(tvm, workload, data, product),
            call.args[0], tvm.relax.const(matrix), primfunc_name_hint='conv',
            primfunc_attrs={'op_pattern': _FUSABLE})

    return {'relax.nn.conv2d': conv2d}


def gpu_module(tvm: Any, model: onnx.ModelProto, sizes: Sequence[int]) -> Any:
    """
    Return a model as Relax calls of fused loops, with a function for each batch size.

    Constant sizes let the rules for GPUs prove what they need; equal weights are stored once.

    :param model: a deployable model.
    :param sizes: batch sizes; their functions are called 'batch_1' and so on.
    :raises ModelError: for an operator that TVM does not know.
    """
    builder = tvm.relax.BlockBuilder()
    for size in sizes:
        sized = deepcopy(model)
        for value in (*sized.graph.input, *sized.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = size
        _add(tvm, builder, import_graph(tvm, sized, half=True), f'batch_{size}')
    return fuse(
        tvm, builder.get(), _gpu_rules(tvm), [f'batch_{size}' for size in sizes])


def _add(tvm: Any, builder: Any, module: Any, name: str) -> None:
    """Add a module's main function to those of other batch sizes, with the loops that it calls."""
    from tvm.relax.expr_functor import mutator, PyExprMutator
    loops = {
        old: builder.add_func(function, old.name_hint)
        for old, function in module.functions.items()
        if isinstance(function, tvm.tirx.PrimFunc)}

    @mutator
    class Rename(PyExprMutator):  # type: ignore[misc]

        def visit_global_var_(self, old: Any) -> Any:
            return loops[old]

    function = Rename(builder.get()).visit_expr(module['main'])
    builder.add_func(function.with_attr('global_symbol', name), name)


def schedule_gpu(tvm: Any, module: Any) -> Any:
    """Return a module whose loops are bound to a GPU's threads."""
    from tvm.s_tir import dlight
    rules = dlight.gpu
    # The last one without tensor cores: the rule for these crashes the process in TVM 0.27.
    target = cuda_target(tvm, 'sm_60')
    matmul = rules.Matmul()
    config = matmul.get_configs(target)
    matmul.get_configs = lambda target: config
    with target:
        # It changes the module that it is given.
        return dlight.ApplyDefaultSchedule(
            matmul, rules.GEMV(), rules.Reduction(), rules.GeneralReduction(),
            rules.Fallback())(module.clone())


def batch_sizes(largest: int) -> list[int]:
    """Return the batch sizes to compile for: powers of two; others are made up of them."""
    return [1 << power for power in range(largest.bit_length())]


def pieces(batch_size: int) -> Iterator[tuple[int, int]]:
    """Give start and size of the powers of two that a batch is made up of, largest first."""
    start = 0
    while start < batch_size:
        size = 1 << ((batch_size - start).bit_length() - 1)
        yield start, size
        start += size


def _product(tvm: Any, workload: Workload, data: Any, weights: Any) -> Any:
    """
    Return a convolution as a tensor expression, summed in fp32.

    :param data: a te.Tensor (N, height, width, channels).
    :param weights: a te.Tensor (rows * columns * channels, filters).
    """
    te, integer = tvm.te, integers(tvm)
    rows, columns = map(integer, workload.output)
    channels, kernel_columns = integer(workload.channels), integer(workload.kernel[1])
    down, right = map(integer, workload.strides)
    top, left = map(integer, workload.padding[:2])
    depth = integer(workload.kernel[0] * workload.kernel[1] * workload.channels)

    def patch(pixel: Any, place: Any) -> Any:
        within = pixel % (rows * columns)
        y = within // columns * down + place // (kernel_columns * channels)
        x = within % columns * right + place // channels % kernel_columns
        value = data[pixel // (rows * columns), y - top, x - left, place % channels]
        return zero_outside(tvm, workload, y, x, value) if any(workload.padding) else value

    pixels = data.shape[0] * rows * columns
    patches = te.compute((pixels, depth), patch, name='patches')
    k = te.reduce_axis((integer(0), depth), 'k')
    product = te.compute(
        (pixels, integer(workload.filters)),
        lambda pixel, filter_: te.sum(
            patches[pixel, k].astype('float32') * weights[k, filter_].astype('float32'),
            axis=[k]), name='product')
    return te.compute(
        (data.shape[0], rows, columns, integer(workload.filters)),
        lambda n, y, x, f: product[(n * rows + y) * columns + x, f].astype(data.dtype),
        name='unfolded')


def cuda_target(tvm: Any, architecture: str) -> Any:
    """Return the target of an architecture such as 'sm_90'."""
    return tvm.target.Target({
        'kind': 'cuda', 'arch': architecture, 'max_threads_per_block': 1024,
        'max_shared_memory_per_block': 49152, 'thread_warp_size': 32}, host='llvm')
