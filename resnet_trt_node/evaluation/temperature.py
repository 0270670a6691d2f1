"""
Temperature scaling: one number that makes a classifier as sure as it is right.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, section 4.2:
logits are divided by a temperature T before the softmax, and T minimises the negative
log-likelihood of labelled pictures. The order of the classes stays as it is, so no answer changes.
The logarithm of a softmax's output serves as its logits: it differs from them by a constant for
each picture, which the softmax takes out again.
"""

from __future__ import annotations

from typing import Iterator

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.errors import DataError

#: A temperature beyond these is none of a model, but of pictures that say nothing about it.
LOWEST, HIGHEST = 0.05, 100.0
#: Halvings of that range, each of a factor: the last leaves 1e-11 of T.
_HALVINGS = 40
#: Rows whose powers are in memory at a time.
_ROWS = 1024


def fit_temperature(
        probabilities: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """
    Return the temperature of the least negative log-likelihood.

    In 1 / T the likelihood is convex, so there is one; its derivative's sign is followed.

    :param probabilities: float32 (N, C), of a softmax; 0 counts as the smallest normal float32.
    :param targets: int64 (N,), the right classes.
    :returns: T; above 1 for a model that is too sure.
    :raises DataError: if it lies beyond `LOWEST` or `HIGHEST`.
    """
    if _slope(probabilities, targets, 1 / LOWEST) <= 0:
        raise DataError(
            'these pictures fit no temperature, the surer the model the better: take more '
            'pictures, which it was not trained on, and some that it gets wrong')
    if _slope(probabilities, targets, 1 / HIGHEST) > 0:
        raise DataError(
            'these pictures fit no temperature, the less sure the model the better: its answers '
            'are hardly better than guesses; check the classes of the pictures')
    low, high = LOWEST, HIGHEST
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        # Too sure there: the temperature must rise.
        if _slope(probabilities, targets, 1 / middle) > 0:
            low = middle
        else:
            high = middle
    return float((low * high) ** 0.5)


def with_temperature(
        probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """
    Return the probabilities that logits divided by a temperature give.

    :param probabilities: float32 (N, C), as `fit_temperature` takes them.
    :param temperature: above 0.
    :returns: float32 (N, C), owned by the caller.
    """
    parts = [_softmax(logits / temperature) for logits in _logits(probabilities)]
    return np.concatenate(parts).astype(np.float32)


def _slope(
        probabilities: NDArray[np.float32], targets: NDArray[np.int64], inverse: float) -> float:
    """Return the derivative of the negative log-likelihood's sum by 1 / T."""
    total, start = 0.0, 0
    for logits in _logits(probabilities):
        rows = np.arange(len(logits))
        expected = (_softmax(inverse * logits) * logits).sum(axis=1)
        total += float((expected - logits[rows, targets[start:start + len(logits)]]).sum())
        start += len(logits)
    return total


def _logits(probabilities: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    least = np.finfo(np.float32).tiny
    for start in range(0, len(probabilities), _ROWS):
        yield np.log(np.maximum(probabilities[start:start + _ROWS], least).astype(np.float64))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
