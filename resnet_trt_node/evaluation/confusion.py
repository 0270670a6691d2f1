"""Which classes a classifier takes for which: the confusion matrix and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassFigures:
    """
    How well one class is recognised; a figure that would divide by nothing is None.

    :param index: the class.
    :param count: pictures that show it.
    :param answered: pictures that were given this class.
    :param hits: pictures of both kinds.
    :param precision: hits / answered.
    :param recall: hits / count, the class's own top-1 accuracy.
    :param f1: their harmonic mean, 2 hits / (count + answered).
    :param confused_with: what the class is taken for most often when it is not recognised.
    :param confused: how often that is.
    """

    index: int
    count: int
    answered: int
    hits: int
    precision: Optional[float]
    recall: Optional[float]
    f1: Optional[float]
    confused_with: Optional[int]
    confused: int


@dataclass(frozen=True)
class MacroFigures:
    """
    Plain means over the classes that have pictures, each class weighing the same.

    :param precision: a class that is never answered counts as 0.
    :param recall: also called balanced accuracy.
    :param f1: mean of the classes' F1.
    """

    precision: float
    recall: float
    f1: float


def confusion_matrix(
        targets: NDArray[np.int64], predicted: NDArray[np.int64],
        num_classes: int) -> NDArray[np.int64]:
    """
    Count each pair of a right class and an answer.

    :param targets: int64 (N,), right classes, 0 to C - 1.
    :param predicted: int64 (N,), answers, 0 to C - 1.
    :param num_classes: C.
    :returns: int64 (C, C), rows are right classes, columns are answers.
    """
    counts = np.bincount(targets * num_classes + predicted, minlength=num_classes ** 2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def class_figures(matrix: NDArray[np.int64]) -> tuple[ClassFigures, ...]:
    """
    Return the figures of every class that has pictures or was answered.

    :param matrix: int64 (C, C) of `confusion_matrix`.
    """
    counts, answers, hits = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    figures = []
    for index in np.flatnonzero(counts + answers):
        count, answered, hit = int(counts[index]), int(answers[index]), int(hits[index])
        wrong = matrix[index].copy()
        wrong[index] = 0
        worst = int(wrong.argmax())
        figures.append(ClassFigures(
            int(index), count, answered, hit,
            precision=hit / answered if answered else None,
            recall=hit / count if count else None,
            f1=2 * hit / (count + answered),
            confused_with=worst if wrong[worst] else None, confused=int(wrong[worst])))
    return tuple(figures)


def macro_figures(figures: Sequence[ClassFigures]) -> MacroFigures:
    """
    Average over the classes that have pictures.

    :param figures: of `class_figures`, at least one with pictures.
    """
    shown = [figure for figure in figures if figure.count]
    return MacroFigures(
        precision=sum(figure.precision or 0.0 for figure in shown) / len(shown),
        recall=sum(figure.recall or 0.0 for figure in shown) / len(shown),
        f1=sum(figure.f1 or 0.0 for figure in shown) / len(shown))


def most_confused(matrix: NDArray[np.int64], limit: int) -> tuple[int, ...]:
    """
    Choose the classes that take part in the most frequent confusions.

    Pairs of classes are taken by falling count, both directions together, until they name `limit`
    classes; a pair that would name one too many is left out.

    :param matrix: int64 (C, C) of `confusion_matrix`.
    :param limit: how many classes at most, at least 2.
    :returns: rising class indices; fewer where fewer are confused.
    """
    both = np.triu(matrix + matrix.T, k=1)
    rows, columns = np.nonzero(both)
    chosen: set[int] = set()
    # A stable sort keeps pairs of equal count in the classes' order.
    for place in np.argsort(-both[rows, columns], kind='stable'):
        grown = chosen | {int(rows[place]), int(columns[place])}
        if len(grown) <= limit:
            chosen = grown
        if len(chosen) == limit:
            break
    return tuple(sorted(chosen))


def filled_cells(matrix: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """
    Return the cells that are not 0, which for many classes are few.

    :param matrix: int64 (C, C) of `confusion_matrix`.
    :returns: right class, answer and count, in rising order.
    """
    return [(int(row), int(column), int(matrix[row, column]))
            for row, column in np.argwhere(matrix)]
