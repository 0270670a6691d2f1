"""
Which values the 255 levels of int8 cover: the range of each activation, from example frames.

Three ways. minmax covers everything that was seen. percentile leaves out the share of the largest
magnitudes. entropy chooses the range whose 128 levels keep the distribution of the magnitudes
best, by Kullback-Leibler divergence: S. Migacz, "8-bit Inference with TensorRT", GTC 2017.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
import os
from typing import Callable, Dict, Sequence, TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.contract.spec import INPUT_NAME
from resnet_trt_node.errors import check_choice, DataError, ModelError, UsageError
from resnet_trt_node.onnx_tools.choices import METHODS

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Equal bins of a histogram of magnitudes, from 0 to the largest that was seen.
BINS = 2048
#: Magnitudes that int8 tells apart.
_LEVELS = 128
#: Values of one tensor that one frame adds to its histogram at most: enough for every percentile
#: in use over a hundred frames, and a tenth of the time that all values would take.
_VALUES_A_FRAME = 16384
#: Candidates for the range: every so many bins.
_STRIDE = 8

Ranges = Dict[str, float]


def activation_ranges(
        model: onnx.ModelProto, tensors: Sequence[str], frames: Sequence[NDArray[np.uint8]],
        method: str = 'minmax', percentile: float = 99.99,
        step: Callable[[], None] = lambda: None) -> Ranges:
    """
    Return the largest magnitude that int8 shall cover, for each tensor.

    :param model: a deployable fp32 model; read only.
    :param tensors: names of activations.
    :param frames: batches of uint8 (N, H, W, 3) RGB; gone through twice, but for minmax.
    :param method: one of `METHODS`.
    :param percentile: share of the magnitudes that 'percentile' covers, in per cent.
    :param step: called after each batch, so twice for each but for minmax.
    :raises DataError: without frames.
    :raises UsageError: for an unknown method or a percentile out of range.
    :raises ModelError: if an activation is not finite.
    """
    check_choice('method', method, METHODS)
    if not 50 <= percentile <= 100:
        raise UsageError(f'--percentile {percentile}: choose 50 to 100')
    if not sum(len(batch) for batch in frames):
        raise DataError('no frames to calibrate with: give at least one picture')
    largest = _largest(model, tensors, frames, step)
    broken = next((name for name in tensors if not np.isfinite(largest[name])), None)
    if broken is not None:
        raise ModelError(
            f'{broken} becomes NaN or infinite on these pictures: the fp32 model is broken, train '
            'or export it again')
    if method == 'minmax':
        return largest
    counts = _histograms(model, largest, frames, step)
    if method == 'percentile':
        return {name: percentile_range(counts[name], largest[name], percentile)
                for name in tensors}
    return {name: entropy_range(counts[name], largest[name]) for name in tensors}


def percentile_range(counts: NDArray[np.int64], largest: float, percentile: float) -> float:
    """
    Return the magnitude that a share of the values does not exceed.

    :param counts: int64 (B,), values in equal bins of magnitude from 0 to `largest`.
    :param largest: upper edge of the last bin.
    :param percentile: that share in per cent.
    """
    reached = np.cumsum(counts) >= counts.sum() * (percentile / 100)
    return largest * (int(np.argmax(reached)) + 1) / len(counts)


def entropy_range(counts: NDArray[np.int64], largest: float) -> float:
    """
    Return the range with the least Kullback-Leibler divergence.

    :param counts: as in `percentile_range`.
    :param largest: upper edge of the last bin.
    """
    counts = np.asarray(counts, np.float64).copy()
    # Zeros, half of what a ReLU gives, are exact at every range; they would drown the rest.
    counts[0] = counts[1]
    best, best_divergence = len(counts), np.inf
    for width in range(_LEVELS, len(counts) + 1, _STRIDE):
        reference = counts[:width].copy()
        present = reference > 0
        # The levels are spread over what lies within; what lies beyond ends at the last one.
        level = np.arange(width) * _LEVELS // width
        total = np.bincount(level, reference, _LEVELS)
        number = np.bincount(level, present, _LEVELS)
        coarse = np.where(present, (total / np.maximum(number, 1))[level], 0.0)
        reference[-1] += counts[width:].sum()
        divergence = _divergence(reference, coarse)
        if divergence < best_divergence:
            best, best_divergence = width, divergence
    return largest * best / len(counts)


def _divergence(reference: NDArray[np.float64], coarse: NDArray[np.float64]) -> float:
    """Return the divergence of one histogram from another, in nats; infinite where it must be."""
    if not coarse.sum() or not reference.sum():
        return np.inf
    reference, coarse = reference / reference.sum(), coarse / coarse.sum()
    there = reference > 0
    if (coarse[there] <= 0).any():
        return np.inf
    return float((reference[there] * np.log(reference[there] / coarse[there])).sum())


def _largest(
        model: onnx.ModelProto, tensors: Sequence[str], frames: Sequence[NDArray[np.uint8]],
        step: Callable[[], None]) -> Ranges:
    watched = deepcopy(model)
    for name in tensors:
        # The maximum is taken inside, so that megabytes of activations never come out.
        watched.graph.node.append(helper.make_node('Abs', [name], [f'{name}:abs']))
        watched.graph.node.append(helper.make_node(
            'ReduceMax', [f'{name}:abs'], [f'{name}:max'], keepdims=0))
        # ONNX Runtime's maximum passes over a NaN, its sum does not.
        watched.graph.node.append(helper.make_node(
            'ReduceL1', [name], [f'{name}:sum'], keepdims=0))
    wanted = [f'{name}:{kind}' for kind in ('max', 'sum') for name in tensors]
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, []) for name in wanted)
    session = CpuSession(watched.SerializeToString(), 'the model')
    largest = np.zeros(len(tensors))
    for batch in frames:
        maxima, sums = np.array(session.run(wanted, {INPUT_NAME: batch})).reshape(2, -1)
        largest = np.maximum(largest, np.where(np.isnan(sums), np.nan, maxima))
        step()
    return dict(zip(tensors, largest.tolist()))


def _histograms(
        model: onnx.ModelProto, largest: Ranges, frames: Sequence[NDArray[np.uint8]],
        step: Callable[[], None]) -> dict[str, NDArray[np.int64]]:
    """Count magnitudes in `BINS` equal bins up to the largest, for each tensor."""
    watched = deepcopy(model)
    there = {output.name for output in watched.graph.output}
    for name in largest:
        if name not in there:
            watched.graph.output.append(
                helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = CpuSession(watched.SerializeToString(), 'the model')
    counts = {name: np.zeros(BINS, np.int64) for name in largest}

    def add(name: str, values: NDArray[np.float32]) -> None:
        # A stride without common factors with the width of a picture meets all columns.
        stride = max(1, values.size // (len(values) * _VALUES_A_FRAME)) | 1
        magnitudes = np.abs(values.reshape(-1)[::stride])
        scale = BINS / max(largest[name], 1e-12)
        bins = np.minimum((magnitudes * scale).astype(np.int64), BINS - 1)
        counts[name] += np.bincount(bins, minlength=BINS)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in frames:
            values = session.run(list(largest), {INPUT_NAME: batch})
            list(pool.map(add, largest, values))
            step()
    return counts
