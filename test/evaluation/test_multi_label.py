"""The figures of multi-label models; scikit-learn is the reference."""

from __future__ import annotations

import numpy as np
import pytest
from resnet_trt_node.errors import DataError
from resnet_trt_node.evaluation.multi_label import (
    average_precision, Means, MultiLabelCollector, MultiLabelOutcomes, weakest)


def made(pictures: int, classes: int, levels: int, seed: int) -> MultiLabelOutcomes:
    """Return random outcomes with scores in steps, so that many are equal."""
    random = np.random.default_rng(seed)
    scores = (random.integers(0, levels + 1, (pictures, classes)) / levels).astype(np.float32)
    return MultiLabelOutcomes(scores, random.random((pictures, classes)) < 0.4, 0.5)


@pytest.mark.parametrize(('pictures', 'classes', 'levels', 'seed'), [
    (1, 2, 4, 0), (7, 3, 2, 1), (200, 6, 10, 2), (300, 4, 1 << 20, 3)])
def test_figures_are_those_of_scikit_learn(
        pictures: int, classes: int, levels: int, seed: int) -> None:
    metrics = pytest.importorskip(
        'sklearn.metrics', reason='scikit-learn is the reference: pip install scikit-learn')
    found = made(pictures, classes, levels, seed)
    shown = np.flatnonzero(found.targets.any(axis=0))
    targets, scores, answers = (
        part[:, shown] for part in (found.targets, found.scores, found.answers))
    assert found.mean_average_precision == pytest.approx(
        metrics.average_precision_score(targets, scores, average='macro'))
    for average, means, of in (
            ('macro', found.macro, (targets, answers)),
            ('micro', found.micro, (found.targets, found.answers))):
        expected = metrics.precision_recall_fscore_support(
            *of, average=average, zero_division=0)
        assert means is not None
        assert (means.precision, means.recall, means.f1) == pytest.approx(expected[:3])
    each = metrics.precision_recall_fscore_support(
        found.targets, found.answers, average=None, zero_division=np.nan)
    for one, precision, recall, f1, count in zip(found.classes, *each):
        assert one.count == count
        for figure, expected in ((one.precision, precision), (one.recall, recall)):
            assert figure == (None if np.isnan(expected) else pytest.approx(expected))
        if one.f1 is not None:
            assert one.f1 == pytest.approx(f1)
    assert found.exact_matches / pictures == pytest.approx(
        metrics.accuracy_score(found.targets, found.answers))


def test_figures_by_hand() -> None:
    collector = MultiLabelCollector()
    for scores, targets in (
            ((0.9, 0.2, 0.5), (0, 2)), ((0.8, 0.7, 0.4), (1,)), ((0.1, 0.3, 0.2), ()),
            ((0.6, 0.6, 0.1), (0, 1))):
        collector.add(np.array(scores, np.float32), targets)
    found = collector.outcomes(0.5)
    first, second, third = found.classes
    assert (first.count, first.answered, first.hits) == (2, 3, 2)
    assert first.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert (second.precision, second.recall, second.average_precision) == (1, 1, 1)
    assert (third.count, third.answered, third.f1) == (1, 1, 1)
    assert found.exact_matches == 3
    assert found.micro == Means(5 / 6, 1.0, pytest.approx(10 / 11))
    assert [one.index for one in weakest(found.classes, 5)] == [0]
    strict = collector.outcomes(0.95)
    assert strict.micro == Means(0.0, 0.0, 0.0)
    assert strict.classes[0].precision is None
    assert strict.mean_average_precision == found.mean_average_precision


def test_a_class_that_no_picture_shows_has_no_average_precision() -> None:
    assert average_precision(np.array([0.5], np.float32), np.array([False])) is None
    found = MultiLabelOutcomes(np.zeros((2, 2), np.float32), np.zeros((2, 2), bool), 0.5)
    assert (found.mean_average_precision, found.macro, found.exact_matches) == (None, None, 2)
    with pytest.raises(DataError, match='no labelled pictures'):
        MultiLabelCollector().outcomes(0.5)
