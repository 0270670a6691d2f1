"""Answers that differ are found, and how far they differ is the number computed by hand."""

from __future__ import annotations

from fake_subject import OPTIONS
import numpy as np
import pytest
from resnet_trt_node.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeOptions
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.compare.accuracy import (
    Agreement, compare_answers, same_top_one, Tolerance, TopOneResult)
from resnet_trt_node.compare.choice import open_subject
from resnet_trt_node.compare.subject import Answer, BackendSubject
from resnet_trt_node.errors import InferenceError, UsageError


@pytest.fixture
def three(model, perturbed, subject):
    """Return the reference, the same in Polygraphy's own runner, and one with other weights."""
    with open_subject('polygraphy:onnxrt', model, OPTIONS) as same, \
            open_subject('onnxruntime', perturbed, OPTIONS) as other:
        yield {'reference': subject, 'same': same, 'other': other}


def test_perturbed_weights_are_found(three, frames):
    tolerance = Tolerance()
    found = compare_answers(three, frames, 4, tolerance)
    assert list(found) == ['same', 'other']
    assert found['same'].agrees(tolerance)
    assert not found['other'].agrees(tolerance)
    assert not found['other'].within
    # By hand, over all batches, the short last one too.
    rows = {
        label: np.concatenate([
            one.infer(frames[start:start + 4]).probabilities for start in (0, 4, 8)])
        for label, one in three.items()}
    differences = np.abs(rows['other'] - rows['reference'])
    assert found['other'].frames == 10
    assert found['other'].max_difference == pytest.approx(differences.max(), rel=1e-5)
    assert found['other'].mean_difference == pytest.approx(differences.mean(), rel=1e-5)
    assert found['other'].same == (
        rows['other'].argmax(axis=1) == rows['reference'].argmax(axis=1)).sum()


def test_a_wide_tolerance_takes_them(three, frames):
    tolerance = Tolerance(atol=1.0, min_agreement=0.0)
    assert compare_answers(three, frames, 4, tolerance)['other'].agrees(tolerance)


class Late(BackendSubject):
    """Is far off where a batch is not full."""

    def answer(self):
        found = super().answer()
        off = 0.5 if self._batch_size < 4 else 0
        return Answer(found.probabilities + np.float32(off), found.took_ns)


def test_one_batch_outside_is_enough(model, subject, frames):
    with Late(OnnxRuntimeBackend(model, OnnxRuntimeOptions(**OPTIONS))) as late:
        found = compare_answers({'a': subject, 'b': late}, frames, 4, Tolerance())['b']
    assert (found.same, found.within) == (10, False)
    assert found.max_difference == pytest.approx(0.5, rel=1e-5)


def test_each_bound_counts():
    one = Agreement(frames=100, max_difference=0.1, mean_difference=0.01, same=98, within=True)
    assert one.agrees(Tolerance(min_agreement=0.98))
    assert not one.agrees(Tolerance(min_agreement=0.981))
    # 0.81 * 300 is a little more than 243.
    assert Agreement(300, 0.1, 0.01, 243, within=True).agrees(Tolerance(min_agreement=0.81))
    outside = Agreement(100, 0.1, 0.01, 100, within=False)
    assert not outside.agrees(Tolerance(min_agreement=0))
    assert outside.to_json(Tolerance())['top1_agreement'] == 1


def test_the_most_probable_classes_are_compared():
    first = {'probabilities': np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]], np.float32)}
    second = {'probabilities': np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]], np.float32)}
    result = same_top_one(first, second)['probabilities']
    assert result == TopOneResult(3, 2)
    assert not result
    assert TopOneResult(3, 3)


@pytest.mark.parametrize('name', ['atol', 'rtol', 'min_agreement'])
@pytest.mark.parametrize('value', [-0.1, 1.1, float('nan')])
def test_senseless_tolerances_are_refused(name, value):
    with pytest.raises(UsageError, match=name):
        Tolerance(**{name: value})


def test_a_runtime_that_fails_is_told(model, subject, frames):
    failing = BackendSubject(SimulatedBackend(model, SimulatedOptions(
        max_batch_size=4, num_buffers=1, simulated_ms=0, simulated_fail_every=1)))
    for _ in range(4):  # its warm-up does not fail
        failing.infer(frames[:1])
    with failing, pytest.raises(InferenceError, match='FAIL_EVERY'):
        compare_answers({'a': subject, 'b': failing}, frames, 4, Tolerance())
