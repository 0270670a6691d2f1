"""Ranges by each method, and frames that ranges must not be taken from."""

from __future__ import annotations

import numpy as np
import pytest

from resnet_trt_node.errors import DataError
from resnet_trt_node.model.calibration import entropy_range, percentile_range
from resnet_trt_node.model.calibration_frames import check_frames, neighbour_correlation
from resnet_trt_node.model.frames import sample_frames


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


def test_real_looking_frames_pass():
    check_frames(sample_frames(40, 64, 64, 1))


def test_few_frames_are_refused():
    with pytest.raises(DataError, match='5 pictures to calibrate with, 32 are needed'):
        check_frames(sample_frames(5, 64, 64, 1))


def test_noise_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3)).astype(np.uint8)
    assert abs(neighbour_correlation(noise[0])) < 0.1
    with pytest.raises(DataError, match='are noise'):
        check_frames(noise)


def test_even_and_repeated_frames_are_refused():
    with pytest.raises(DataError, match='one even colour'):
        check_frames(np.full((40, 64, 64, 3), 90, np.uint8))
    with pytest.raises(DataError, match='repetitions'):
        check_frames(np.repeat(sample_frames(2, 64, 64, 1), 20, axis=0))
