"""What a backend may return: the shape of the whole, and which rows are probabilities."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from resnet_trt_node.backends.result_check import bad_rows, check_shape
from resnet_trt_node.errors import InferenceError

GOOD = np.full((3, 4), 0.25, np.float32)


@pytest.mark.parametrize(('result', 'found'), [
    (GOOD[:2], r'float32 \(2, 4\) .*\(3, 4\)'),
    (GOOD[:, :3], r'float32 \(3, 3\)'),
    (GOOD[0], r'float32 \(4,\)'),
    (GOOD[None], r'float32 \(1, 3, 4\)'),
    (GOOD.astype(np.float64), r'float64 \(3, 4\)'),
    (GOOD.astype(np.float16), r'float16 \(3, 4\)'),
    (np.array(0.5, np.float32), r'float32 \(\)'),
    (np.float32(0.5), r'float32 \(\)'),
    (0.5, 'float instead'),
    (None, 'NoneType'),
    (GOOD.tolist(), 'list'),
])
def test_a_result_of_another_shape_or_type_fails_the_batch(result, found):
    with pytest.raises(InferenceError, match=found) as raised:
        check_shape(result, 3, 4)
    assert 'batch of 3' in str(raised.value)
    assert '\n' not in str(raised.value)


def test_a_row_for_each_frame_is_taken():
    check_shape(GOOD, 3, 4)
    check_shape(GOOD[:1], 1, 4)
    assert bad_rows(GOOD) == {}


@pytest.mark.parametrize(('row', 'reason'), [
    ([np.nan, 0.5, 0.25, 0.25], 'NaN'),
    ([np.nan] * 4, 'NaN'),
    ([np.inf, 0, 0, 0], 'NaN'),
    ([np.inf, -np.inf, 0, 0], 'NaN'),
    ([3e38, 3e38, 0, 0], '3e+38'),
    ([-0.5, 0.5, 0.5, 0.5], '-0.5 to 0.5'),
    ([2.5, -1.5, 0, 0], '-1.5 to 2.5'),
    ([1.5, 0, 0, 0], '0 to 1.5'),
    ([0, 0, 0, 0], 'sum to 0 '),
    ([0.5, 0.5, 0.5, 0.5], 'sum to 2 '),
    ([0.25, 0.25, 0.25, 0.245], 'sum to 0.995 '),
])
@pytest.mark.parametrize('index', [0, 1, 2])
def test_a_bad_row_is_found_and_its_neighbours_are_not_blamed(row, reason, index):
    result = GOOD.copy()
    result[index] = row
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = bad_rows(result)
    assert list(found) == [index]
    assert reason in found[index]


def test_roundings_of_fp16_and_of_float32_are_no_faults():
    random = np.random.default_rng(0)
    logits = random.normal(0, 4, (16, 1000))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert bad_rows(softmax.astype(np.float16).astype(np.float32)) == {}
    assert bad_rows(np.array([[1.0000001, 0], [0.0, 1.0]], np.float32)) == {}


def test_scores_of_sigmoids_need_not_sum_to_one():
    rows = np.array([[0.9, 0.8], [0.0, 0.0], [1.1, 0.5], [np.nan, 0.5]], np.float32)
    assert list(bad_rows(rows, sums_to_one=False)) == [2, 3]
    assert list(bad_rows(rows)) == [0, 1, 2, 3]
