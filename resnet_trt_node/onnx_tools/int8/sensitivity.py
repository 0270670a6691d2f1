"""How much each layer's rounding to int8 changes the answers, layer by layer."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence, TYPE_CHECKING, Union

import numpy as np
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.contract.prediction import MULTI_LABEL_THRESHOLD
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
from resnet_trt_node.evaluation.agreement import same_answers
from resnet_trt_node.onnx_tools.int8.quantize import (
    insert_pairs, load_fp32, Placement, quantizable_layers, quantized_tensors)
from resnet_trt_node.onnx_tools.int8.ranges import activation_ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray
    import onnx


@dataclass(frozen=True)
class LayerSensitivity:
    """
    What one layer in int8 does to the answers, all others in float.

    :param layer: its name.
    :param agreement: share of the frames whose most probable class stays; of a multi-label model
        whose classes of at least 0.5 stay.
    :param divergence: mean Kullback-Leibler divergence of the probabilities, in nats.
    """

    layer: str
    agreement: float
    divergence: float


def measure_sensitivity(
        path: Union[str, Path], frames: NDArray[np.uint8], method: str = 'minmax',
        percentile: float = 99.99, batch_size: int = 16,
        step: Callable[[], None] = lambda: None) -> list[LayerSensitivity]:
    """
    Quantise one layer at a time and compare with the fp32 model.

    :param path: a deployable fp32 model.
    :param frames: uint8 (N, H, W, 3) RGB.
    :param method: see `ranges.activation_ranges`, as is the next.
    :param percentile: of that method.
    :param batch_size: frames inferred together.
    :param step: called after each layer.
    :returns: the layers, the one that hurts most first.
    :raises ModelError: if the model is not a deployable fp32 one.
    """
    model, spec = load_fp32(path)
    batches = [frames[start:start + batch_size] for start in range(0, len(frames), batch_size)]
    layers = quantizable_layers(model)
    ranges = activation_ranges(
        model, quantized_tensors(model, Placement()), batches, method, percentile)
    reference = answers_of(model, batches)
    found = []
    for layer in layers:
        alone = deepcopy(model)
        insert_pairs(alone, ranges, Placement(
            shortcuts=False, pooled=False, keep=frozenset(layers) - {layer}))
        answers = answers_of(alone, batches)
        found.append(LayerSensitivity(
            layer, float(same_answers(
                answers, reference, MULTI_LABEL_THRESHOLD if spec.multi_label else None).mean()),
            divergence(reference, answers, spec.multi_label)))
        step()
    return sorted(found, key=lambda one: (-one.divergence, one.layer))


def divergence(
        reference: NDArray[np.float32], answers: NDArray[np.float32],
        multi_label: bool = False) -> float:
    """
    Return the mean Kullback-Leibler divergence of answers from a reference, in nats.

    :param reference: float32 (N, C), rows sum to 1 unless the model is multi-label.
    :param answers: the same shape.
    :param multi_label: whether each class is a yes or no of its own, whose divergences add up.
    """
    if multi_label:
        reference, answers = (np.stack([rows, 1 - rows], -1) for rows in (reference, answers))
    # Below float32's resolution near 1, so that an exact 0 does not make it infinite.
    first = np.maximum(reference.astype(np.float64), 1e-12)
    second = np.maximum(answers.astype(np.float64), 1e-12)
    return float((first * np.log(first / second)).sum() / len(first))


def answers_of(
        model: onnx.ModelProto, batches: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """
    Return a model's answers on ONNX Runtime, float32 (N, C).

    :param model: a deployable model.
    :param batches: uint8 (N, H, W, 3) RGB each.
    """
    session = CpuSession(model.SerializeToString(), 'the model')
    return np.concatenate(
        [session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0] for batch in batches])
