"""Accuracy of a classifier as numbers: what it answered where the right answer is known."""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.errors import DataError


@dataclass(frozen=True)
class Outcomes:
    """
    What became of N labelled pictures, at least one; every accuracy figure is a function of it.

    :param targets: int64 (N,), the right class of each picture.
    :param predicted: int64 (N,), the most probable class; of equals the lowest index.
    :param confidences: float32 (N,), the probability of `predicted`.
    :param ranks: int64 (N,), how many classes stand before the right one; 0 is a hit.
    :param right_probabilities: float32 (N,), the probability of the right class.
    :param squared_errors: float64 (N,), each row's squared distance to the right answer, whose
        mean is the Brier score.
    """

    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidences: NDArray[np.float32]
    ranks: NDArray[np.int64]
    right_probabilities: NDArray[np.float32]
    squared_errors: NDArray[np.float64]

    def __len__(self) -> int:
        """Return N."""
        return len(self.targets)

    def hits(self, k: int) -> int:
        """Return how many pictures have the right class among their k most probable."""
        return int(np.count_nonzero(self.ranks < k))

    def accuracy(self, k: int = 1) -> float:
        """Return the top-k accuracy, in [0, 1]."""
        return self.hits(k) / len(self)


class OutcomeCollector:
    """Reduces probabilities as they come to six numbers a picture, so N x C never pile up."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, float, int, float, float]] = []

    def add(self, probabilities: NDArray[np.float32], target: int) -> bool:
        """
        Take one picture's answer.

        :param probabilities: float32 (C,); for ranks any scores in which more is likelier will do.
        :param target: the right class, 0 to C - 1.
        :returns: whether the most probable class is the right one.
        """
        winner = int(probabilities.argmax())
        right = probabilities[target]
        # The order of `top_predictions`: of equal scores the lower index stands first.
        rank = int(np.count_nonzero(probabilities > right)
                   + np.count_nonzero(probabilities[:target] == right))
        exact = probabilities.astype(np.float64)
        squared_error = float(exact @ exact - 2 * exact[target] + 1)
        self._rows.append((
            target, winner, float(probabilities[winner]), rank, float(right), squared_error))
        return rank == 0

    def outcomes(self) -> Outcomes:
        """
        Return what has been collected so far.

        :raises DataError: if that is nothing.
        """
        if not self._rows:
            raise DataError('no labelled pictures: an accuracy of nothing is no number')
        # float64 holds whole numbers and float32 exactly.
        targets, predicted, confidences, ranks, right, errors = np.array(self._rows, np.float64).T
        return Outcomes(
            targets.astype(np.int64), predicted.astype(np.int64), confidences.astype(np.float32),
            ranks.astype(np.int64), right.astype(np.float32), errors)


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """
    Return between which bounds an accuracy lies with 95 % confidence, both in [0, 1].

    Wilson's score interval (Journal of the American Statistical Association 22, 1927), which
    holds for few pictures and for rates near 0 and 1 too.

    :param hits: right answers, 0 to `count`.
    :param count: pictures, at least one, drawn independently of each other.
    """
    squared_z = 1.959964 ** 2
    rate = hits / count
    centre = (rate + squared_z / (2 * count)) / (1 + squared_z / count)
    half = math.sqrt(
        squared_z * (rate * (1 - rate) / count + squared_z / (4 * count ** 2))
    ) / (1 + squared_z / count)
    return max(0.0, centre - half), min(1.0, centre + half)
