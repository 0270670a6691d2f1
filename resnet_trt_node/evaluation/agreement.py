"""How far two classifiers agree on the same pictures, and whether one is really better."""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.errors import DataError


def same_answers(
        first: NDArray[np.float32], second: NDArray[np.float32],
        least: Optional[float] = None) -> NDArray[np.bool_]:
    """
    Tell on which pictures two models give the same answer.

    :param first: float32 (N, C), probabilities.
    :param second: likewise.
    :param least: of multi-label models, the score from which on a class is in an answer; None for
        models whose answer is the most probable class.
    :returns: (N,).
    """
    if least is None:
        return np.asarray(first.argmax(axis=1) == second.argmax(axis=1))
    return np.asarray(((first >= least) == (second >= least)).all(axis=1))


@dataclass(frozen=True)
class Agreement:
    """
    What two classifiers answered on the same pictures.

    :param count: pictures.
    :param same: pictures to which both give the same top-1 class, right or wrong.
    :param both_right: pictures that both have right.
    :param only_first: pictures that only the first has right.
    :param only_second: pictures that only the second has right.
    :param mean_difference: mean of |p - q| over all pictures and classes.
    :param max_difference: the largest |p - q| of any picture and class.
    :param mean_kl: mean Kullback-Leibler divergence of the second from the first,
        sum p ln(p / q), in nats; a q that underflowed to 0 counts as the smallest normal float32.
    :param max_kl: the largest of any picture.
    """

    count: int
    same: int
    both_right: int
    only_first: int
    only_second: int
    mean_difference: float
    max_difference: float
    mean_kl: float
    max_kl: float

    @property
    def both_wrong(self) -> int:
        """Return how many pictures both have wrong."""
        return self.count - self.both_right - self.only_first - self.only_second

    @property
    def accuracy_difference(self) -> float:
        """Return the second's top-1 accuracy minus the first's."""
        return (self.only_second - self.only_first) / self.count

    def difference_interval(self) -> tuple[float, float]:
        """
        Return between which bounds the difference of accuracies lies with 95 % confidence.

        Agresti and Min, Statistics in Medicine 24 (2005): Wald's interval for matched pairs after
        adding 1/2 to each of the four cells, so that it holds for few differences too.
        """
        total = self.count + 2
        first, second = self.only_first + 0.5, self.only_second + 0.5
        centre = (second - first) / total
        half = 1.959964 * math.sqrt(first + second - (second - first) ** 2 / total) / total
        return max(-1.0, centre - half), min(1.0, centre + half)

    def mcnemar(self) -> float:
        """Return the p-value of McNemar's exact test, see `mcnemar_exact`."""
        return mcnemar_exact(self.only_first, self.only_second)


class AgreementCollector:
    """Reduces two rows of probabilities as they come to six numbers a picture."""

    def __init__(self) -> None:
        self._rows: list[tuple[bool, bool, bool, float, float, float]] = []

    def add(
            self, first: NDArray[np.float32], second: NDArray[np.float32], target: int) -> None:
        """
        Take both answers to one picture.

        :param first: float32 (C,), probabilities.
        :param second: float32 (C,), probabilities.
        :param target: the right class, 0 to C - 1.
        """
        p, q = first.astype(np.float64), second.astype(np.float64)
        one, other, differences = int(p.argmax()), int(q.argmax()), np.abs(p - q)
        self._rows.append((
            one == other, one == target, other == target, float(differences.mean()),
            float(differences.max()), _divergence(p, q)))

    def agreement(self) -> Agreement:
        """
        Return what has been seen so far.

        :raises DataError: if that is nothing.
        """
        if not self._rows:
            raise DataError('no labelled pictures: the agreement on nothing is no number')
        same, first, second, differences, largest, divergences = np.array(self._rows).T
        return Agreement(
            len(self._rows), int(same.sum()), both_right=int((first * second).sum()),
            only_first=int((first > second).sum()), only_second=int((first < second).sum()),
            mean_difference=float(differences.mean()), max_difference=float(largest.max()),
            mean_kl=float(divergences.mean()), max_kl=float(divergences.max()))


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """
    Return how likely so one-sided a split of the differing pictures is if both are equally good.

    McNemar's test in its exact, two-sided form: of n pictures that only one of the two has right,
    each would be either's with probability 1/2, so that p = 2 sum(C(n, i), i = 0 .. min) / 2^n,
    at most 1. In whole numbers, so that nothing is lost for any n.

    :param only_first: pictures that only the first has right, at least 0.
    :param only_second: pictures that only the second has right, at least 0.
    """
    total = only_first + only_second
    term = tail = 1
    for place in range(min(only_first, only_second)):
        term = term * (total - place) // (place + 1)
        tail += term
    # Two whole numbers divide to the nearest float however large they are.
    return min(1.0, 2 * tail / (1 << total))


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    likely = p > 0
    floor = np.maximum(q[likely], np.finfo(np.float32).tiny)
    # Rows of float32 sum to 1 only nearly: the sum may end a rounding error below 0.
    return max(0.0, float((p[likely] * np.log(p[likely] / floor)).sum()))
