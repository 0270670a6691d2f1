"""Answers that differ are found, and how far they differ is the number computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.compare.accuracy import Agreement, compare_answers, Tolerance
from resnet_trt_node.compare.choice import open_subject
from resnet_trt_node.compare.subject import BackendSubject
from resnet_trt_node.errors import InferenceError, UsageError
from stand_ins.fake_subject import OPTIONS

# Polygraphy imports PyTorch where that is installed.
pytestmark = pytest.mark.slow


@pytest.fixture
def three(model, perturbed, subject, frames):
    """Return answers of a reference, of Polygraphy's own runner, and of other weights."""
    with open_subject('polygraphy:onnxrt', model, OPTIONS) as same, \
            open_subject('onnxruntime', perturbed, OPTIONS) as other:
        yield {label: one.infer(frames) for label, one in (
            ('reference', subject), ('same', same), ('other', other))}


def test_perturbed_weights_are_found(three):
    tolerance = Tolerance()
    found = compare_answers(three, tolerance)
    assert list(found) == ['same', 'other']
    assert found['same'].agrees(tolerance)
    assert not found['other'].agrees(tolerance)
    assert not found['other'].within
    # By hand.
    differences = np.abs(three['other'] - three['reference'])
    assert found['other'].frames == 10
    assert found['other'].max_difference == pytest.approx(differences.max(), rel=1e-5)
    assert found['other'].mean_difference == pytest.approx(differences.mean(), rel=1e-5)
    assert found['other'].same == (
        three['other'].argmax(axis=1) == three['reference'].argmax(axis=1)).sum()


def test_a_wide_tolerance_takes_them(three):
    tolerance = Tolerance(atol=1.0, min_agreement=0.0)
    assert compare_answers(three, tolerance)['other'].agrees(tolerance)


def test_one_row_outside_is_enough(subject, frames):
    answers = subject.infer(frames)
    off = answers.copy()
    off[-1] += 0.5
    found = compare_answers({'a': answers, 'b': off}, Tolerance())['b']
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


@pytest.mark.parametrize('name', ['atol', 'rtol', 'min_agreement'])
@pytest.mark.parametrize('value', [-0.1, 1.1, float('nan')])
def test_senseless_tolerances_are_refused(name, value):
    with pytest.raises(UsageError, match=name):
        Tolerance(**{name: value})


def test_a_runtime_that_fails_is_an_error(model, subject, frames):
    failing = BackendSubject(SimulatedBackend(model, SimulatedOptions(
        max_batch_size=4, num_buffers=1, simulated_ms=0, simulated_fail_every=1)))
    for _ in range(4):  # its warm-up does not fail
        failing.infer(frames[:1])
    with failing, pytest.raises(InferenceError, match='FAIL_EVERY'):
        failing.infer(frames)


def test_answers_of_multi_label_models_are_all_their_classes():
    first = np.array([[0.9, 0.6, 0.1], [0.8, 0.4, 0.1], [0.2, 0.1, 0.1]], np.float32)
    second = np.array([[0.6, 0.9, 0.1], [0.8, 0.6, 0.1], [0.1, 0.2, 0.1]], np.float32)
    rows = {'a': first, 'b': second}
    assert compare_answers(rows, Tolerance())['b'].same == 1
    assert compare_answers(rows, Tolerance(), multi_label=True)['b'].same == 2
