"""Ranges by each method, and frames that ranges must not be taken from."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest

from resnet_trt_node.errors import DataError, ModelError
from resnet_trt_node.onnx_tools.choices import METHODS
from resnet_trt_node.onnx_tools.int8.frames import (
    check_frames, distinct_frames, neighbour_correlation)
from resnet_trt_node.onnx_tools.int8.ranges import (
    activation_ranges, entropy_range, percentile_range)
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames


def test_percentile_of_even_counts():
    assert percentile_range(np.full(1000, 10), 2.0, 90) == pytest.approx(1.8)
    assert percentile_range(np.full(1000, 10), 2.0, 100) == pytest.approx(2.0)


def test_entropy_leaves_out_a_lonely_outlier():
    values = np.abs(np.random.default_rng(0).normal(size=200_000))
    values[0] = 40.0
    counts, _ = np.histogram(values, 2048, (0, 40.0))
    assert 2.0 < entropy_range(counts, 40.0) < 10.0


def test_entropy_covers_even_counts():
    assert entropy_range(np.full(2048, 100), 1.0) > 0.95


def test_zeros_do_not_decide_where_entropy_ends():
    values = np.abs(np.random.default_rng(0).normal(size=200_000))
    values[0] = 40.0
    counts, _ = np.histogram(values, 2048, (0, 40.0))
    expected = entropy_range(counts, 40.0)
    counts[0] = 10**9
    assert entropy_range(counts, 40.0) == expected
    assert counts[0] == 10**9


def root_of_the_picture() -> onnx.ModelProto:
    """Return a model of sqrt(x - 100), which is NaN below 100, and of zeros."""
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node('Cast', ['images'], ['x'], to=kind),
         helper.make_node('Sub', ['x', 'hundred'], ['difference']),
         helper.make_node('Sqrt', ['difference'], ['root']),
         helper.make_node('Sub', ['x', 'x'], ['dead'])], 'root',
        [helper.make_tensor_value_info('images', TensorProto.UINT8, ['N', 8, 8, 3])],
        [helper.make_tensor_value_info('root', kind, None)],
        [numpy_helper.from_array(np.float32(100), 'hundred')])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def test_a_nan_is_found_among_numbers():
    frames = np.full((3, 8, 8, 3), 116, np.uint8)
    assert activation_ranges(root_of_the_picture(), ['root'], [frames]) == {'root': 4.0}
    frames[1, 4, 4, 1] = 99
    with pytest.raises(ModelError, match='root becomes NaN'):
        activation_ranges(root_of_the_picture(), ['root'], [frames])


@pytest.mark.parametrize('method', METHODS)
def test_even_and_dead_activations_have_ranges(method):
    frames = np.full((3, 8, 8, 3), 116, np.uint8)
    found = activation_ranges(root_of_the_picture(), ['root', 'dead'], [frames], method)
    assert found == {'root': 4.0, 'dead': 0.0}


def test_real_looking_frames_pass():
    check_frames(sample_frames(40, 64, 64, 1))


def test_few_frames_are_refused():
    with pytest.raises(DataError, match=r'5 different .*32'):
        check_frames(sample_frames(5, 64, 64, 1))


def test_noise_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3)).astype(np.uint8)
    assert abs(neighbour_correlation(noise[0])) < 0.1
    with pytest.raises(DataError, match='are noise'):
        check_frames(noise)


def test_even_frames_are_refused():
    with pytest.raises(DataError, match='even colour'):
        check_frames(np.full((40, 64, 64, 3), 90, np.uint8))


def test_repetitions_count_once_and_the_order_stays():
    frames = sample_frames(3, 8, 8, 1)
    assert distinct_frames(frames) is frames
    assert np.array_equal(distinct_frames(frames[[2, 0, 2, 1, 1, 0]]), frames[[2, 0, 1]])
    frozen = distinct_frames(np.repeat(sample_frames(1, 64, 64, 1), 40, axis=0))
    with pytest.raises(DataError, match=r'^1 different picture .*32'):
        check_frames(frozen)


def test_noise_that_was_enlarged_is_noise():
    random = np.random.default_rng(0)
    noise = np.stack([
        cv2.resize(random.integers(0, 256, (32, 32, 3), np.uint8), (64, 64)) for _ in range(40)])
    with pytest.raises(DataError, match=r'^40 of 40 .*noise'):
        check_frames(noise)


def test_both_directions_count():
    bars = np.random.default_rng(0).integers(0, 256, (1, 64, 1), np.uint8)
    upright = np.broadcast_to(bars, (64, 64, 3))
    correlation = neighbour_correlation(upright)
    # Alike from row to row, independent from column to column.
    assert 0.3 < correlation < 0.7
    assert neighbour_correlation(upright.transpose(1, 0, 2)) == pytest.approx(correlation)


@pytest.mark.parametrize('kind', ['noise', 'even'])
def test_a_tenth_of_bad_frames_is_tolerated(kind):
    frames = sample_frames(40, 64, 64, 1)
    for count in range(1, 6):
        frames[count] = {
            'noise': np.random.default_rng(count).integers(0, 256, (64, 64, 3)),
            'even': 10 * count}[kind]
        if count <= 4:
            check_frames(frames)
    with pytest.raises(DataError, match=r'^5 of 40 '):
        check_frames(frames)
