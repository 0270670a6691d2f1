"""The most probable classes, in their order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from resnet_trt_node.contract.prediction import top_predictions


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 32))
def test_scores_fall_and_of_equal_ones_the_lower_index_comes_first(fifths, top_k):
    scores = np.array(fifths, np.float32) / 5
    labels = tuple(f'class {index}' for index in range(len(fifths)))
    found = top_predictions(scores, labels, top_k)
    expected = sorted(range(len(fifths)), key=lambda index: (-fifths[index], index))[:top_k]
    assert [one.index for one in found] == expected
    assert [one.label for one in found] == [labels[index] for index in expected]
    assert [one.score for one in found] == [float(scores[index]) for index in expected]
    assert (scores == np.array(fifths, np.float32) / 5).all()
