"""The confusion matrix and the figures of each class, against ones counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from resnet_trt_node.evaluation.confusion import (
    class_figures, ClassFigures, confusion_matrix, filled_cells, macro_figures, most_confused)

# Class 0: three pictures, two right, one taken for 1. Class 1: two pictures, both taken for 0.
# Class 2: one picture, right. Class 3: no picture, but answered once, for class 2's second one.
TARGETS = np.array([0, 0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 1, 0, 0, 0, 2, 3])


@pytest.fixture
def matrix():
    """Return the matrix of the pictures above, and of a class that nobody mentions."""
    return confusion_matrix(TARGETS, PREDICTED, 5)


def test_rows_are_right_classes_and_columns_answers(matrix):
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, [
        [2, 1, 0, 0, 0], [2, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    assert filled_cells(matrix) == [(0, 0, 2), (0, 1, 1), (1, 0, 2), (2, 2, 1), (2, 3, 1)]


def test_figures_of_each_class(matrix):
    assert class_figures(matrix) == (
        ClassFigures(0, 3, 4, 2, precision=2 / 4, recall=2 / 3, f1=4 / 7,
                     confused_with=1, confused=1),
        ClassFigures(1, 2, 1, 0, precision=0.0, recall=0.0, f1=0.0, confused_with=0, confused=2),
        ClassFigures(2, 2, 1, 1, precision=1.0, recall=1 / 2, f1=2 / 3,
                     confused_with=3, confused=1),
        # Without pictures there is no recall, and nothing it could be taken for.
        ClassFigures(3, 0, 1, 0, precision=0.0, recall=None, f1=0.0,
                     confused_with=None, confused=0))


def test_figures_leave_the_matrix_as_it_is(matrix):
    before = matrix.copy()
    class_figures(matrix)
    np.testing.assert_array_equal(matrix, before)


def test_a_class_that_is_never_answered_has_no_precision():
    one, other = class_figures(confusion_matrix(np.array([0, 1]), np.array([1, 1]), 2))
    assert (one.precision, one.recall, one.f1) == (None, 0.0, 0.0)
    assert (other.precision, other.recall) == (1 / 2, 1.0)


def test_means_are_over_the_classes_with_pictures(matrix):
    macro = macro_figures(class_figures(matrix))
    assert macro.precision == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert macro.recall == pytest.approx((2 / 3 + 0 + 1 / 2) / 3)
    assert macro.f1 == pytest.approx((4 / 7 + 0 + 2 / 3) / 3)


def test_most_confused_pairs_come_first_in_both_directions():
    matrix = np.zeros((6, 6), np.int64)
    matrix[0, 0] = 100
    matrix[1, 4], matrix[4, 1] = 2, 3  # five in both directions
    matrix[2, 3] = 4
    matrix[3, 5] = 1
    assert most_confused(matrix, 2) == (1, 4)
    assert most_confused(matrix, 3) == (1, 4)  # the next pair would be one too many
    assert most_confused(matrix, 4) == (1, 2, 3, 4)
    assert most_confused(matrix, 9) == (1, 2, 3, 4, 5)
    assert most_confused(np.diag([3, 4]), 2) == ()


def test_of_pairs_confused_as_often_the_lower_classes_come_first():
    matrix = np.ones((30, 30), np.int64)
    matrix[20, 21] = 2
    assert most_confused(matrix, 5) == (0, 1, 2, 20, 21)
