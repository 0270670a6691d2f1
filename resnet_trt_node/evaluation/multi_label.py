"""Accuracy of a multi-label classifier: each class of a picture is a yes or no of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Collection, Optional, Sequence

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.errors import DataError


@dataclass(frozen=True)
class LabelFigures:
    """
    How well one class is found; a figure that would divide by nothing is None.

    :param index: the class.
    :param count: pictures that show it.
    :param answered: pictures with a score of at least the threshold.
    :param hits: pictures of both kinds.
    :param precision: hits / answered.
    :param recall: hits / count.
    :param f1: their harmonic mean, 2 hits / (count + answered).
    :param average_precision: see `average_precision`, which no threshold changes.
    """

    index: int
    count: int
    answered: int
    hits: int
    precision: Optional[float]
    recall: Optional[float]
    f1: Optional[float]
    average_precision: Optional[float]


@dataclass(frozen=True)
class Means:
    """
    Precision, recall and F1 of several classes together.

    :param precision: what is not defined for a class counts as 0, here and below.
    :param recall: likewise.
    :param f1: likewise.
    """

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class MultiLabelOutcomes:
    """
    What became of N labelled pictures, at least one.

    :param scores: float32 (N, C), probabilities.
    :param targets: bool (N, C), which classes each picture shows.
    :param threshold: the score from which on a class is in an answer.
    """

    scores: NDArray[np.float32]
    targets: NDArray[np.bool_]
    threshold: float

    def __len__(self) -> int:
        """Return N."""
        return len(self.scores)

    @cached_property
    def answers(self) -> NDArray[np.bool_]:
        """Return which classes each answer has, bool (N, C)."""
        return np.asarray(self.scores >= np.float32(self.threshold))

    @property
    def exact_matches(self) -> int:
        """Return how many pictures got all of their classes and no other."""
        return int((self.answers == self.targets).all(axis=1).sum())

    @cached_property
    def classes(self) -> tuple[LabelFigures, ...]:
        """Return the figures of every class."""
        hits = (self.answers & self.targets).sum(axis=0)
        figures = []
        for index, (count, answered, hit) in enumerate(zip(
                self.targets.sum(axis=0).tolist(), self.answers.sum(axis=0).tolist(),
                hits.tolist())):
            figures.append(LabelFigures(
                index, count, answered, hit, _share(hit, answered), _share(hit, count),
                _share(2 * hit, count + answered),
                average_precision(self.scores[:, index], self.targets[:, index])))
        return tuple(figures)

    @property
    def mean_average_precision(self) -> Optional[float]:
        """Return the mean over the classes that any picture shows, None if none does."""
        found = [one.average_precision for one in self.classes
                 if one.average_precision is not None]
        return sum(found) / len(found) if found else None

    @property
    def macro(self) -> Optional[Means]:
        """Return plain means over the classes that any picture shows, None if none does."""
        shown = [one for one in self.classes if one.count]
        return Means(*(
            sum(getattr(one, name) or 0.0 for one in shown) / len(shown)
            for name in ('precision', 'recall', 'f1'))) if shown else None

    @property
    def micro(self) -> Means:
        """Return the figures of all classes of all pictures counted together."""
        count, answered, hits = (
            sum(getattr(one, name) for one in self.classes)
            for name in ('count', 'answered', 'hits'))
        return Means(
            _share(hits, answered) or 0.0, _share(hits, count) or 0.0,
            _share(2 * hits, count + answered) or 0.0)


class MultiLabelCollector:
    """Keeps scores and classes as they come, 5 bytes for each picture and class."""

    def __init__(self) -> None:
        self._scores: list[NDArray[np.float32]] = []
        self._targets: list[NDArray[np.bool_]] = []

    def add(self, scores: NDArray[np.float32], targets: Collection[int]) -> None:
        """
        Take one picture's answer.

        :param scores: float32 (C,); kept.
        :param targets: the classes that it shows, 0 to C - 1.
        """
        shown = np.zeros(len(scores), bool)
        shown[list(targets)] = True
        self._scores.append(scores)
        self._targets.append(shown)

    def outcomes(self, threshold: float) -> MultiLabelOutcomes:
        """
        Return what has been collected so far.

        :param threshold: the score from which on a class is in an answer.
        :raises DataError: if that is nothing.
        """
        if not self._scores:
            raise DataError('no labelled pictures: an accuracy of nothing is no number')
        return MultiLabelOutcomes(np.stack(self._scores), np.stack(self._targets), threshold)


def average_precision(
        scores: NDArray[np.float32], targets: NDArray[np.bool_]) -> Optional[float]:
    """
    Return the average precision of one class, None if no picture shows it.

    The sum of the precision at each score times what the recall grows by there, without any
    interpolation. Pictures of equal scores count together.

    :param scores: float32 (N,).
    :param targets: bool (N,), which pictures show it.
    """
    if not targets.any():
        return None
    order = np.argsort(-scores, kind='stable')
    hits = np.cumsum(targets[order])
    # The last picture of each score.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    precision = hits[ends] / (ends + 1)
    growth = np.diff(hits[ends], prepend=0) / hits[-1]
    return float(precision @ growth)


def weakest(figures: Sequence[LabelFigures], limit: int) -> list[LabelFigures]:
    """
    Return the classes with the lowest F1 of those that any picture shows, perfect ones left out.

    :param figures: of all classes.
    :param limit: how many at most.
    """
    weak = [one for one in figures if one.count and one.f1 is not None and one.f1 < 1]
    return sorted(weak, key=lambda one: (one.f1, one.index))[:limit]


def _share(part: int, whole: int) -> Optional[float]:
    return part / whole if whole else None
