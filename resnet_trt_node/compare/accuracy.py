"""Whether backends answer the same, by Polygraphy's Comparator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.backends.options import check_fields, number
from resnet_trt_node.compare.choice import import_runners
from resnet_trt_node.contract.prediction import MULTI_LABEL_THRESHOLD
from resnet_trt_node.contract.spec import OUTPUT_NAME
from resnet_trt_node.errors import BackendError
from resnet_trt_node.evaluation.agreement import same_answers


@dataclass(frozen=True)
class Tolerance:
    """
    How far answers may differ.

    :param atol: a probability may differ by this much,
    :param rtol: or by this share of the reference's.
    :param min_agreement: share of the frames whose most probable class must be the reference's.
    :raises UsageError: for numbers out of range.
    """

    atol: float = number(1e-3, 0, 1)
    rtol: float = number(1e-2, 0, 1)
    min_agreement: float = number(0.99, 0, 1)

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        check_fields(self)


@dataclass(frozen=True)
class Agreement:
    """
    One subject's answers against the reference's, over all frames.

    :param frames: how many were compared.
    :param max_difference: largest difference of a probability.
    :param mean_difference: mean difference of a probability.
    :param same: frames with the same most probable class.
    :param within: whether every probability is within `Tolerance.atol` or `rtol`.
    """

    frames: int
    max_difference: float
    mean_difference: float
    same: int
    within: bool

    def agrees(self, tolerance: Tolerance) -> bool:
        """Tell whether all this is tolerated."""
        return self.within and self.same / self.frames >= tolerance.min_agreement

    def to_json(self, tolerance: Tolerance) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            'frames': self.frames, 'max_difference': self.max_difference,
            'mean_difference': self.mean_difference, 'same_top1': self.same,
            'top1_agreement': self.same / self.frames, 'within_tolerance': self.within,
            'agrees': self.agrees(tolerance)}


def compare_answers(
        answers: Mapping[str, NDArray[np.float32]], tolerance: Tolerance,
        multi_label: bool = False) -> dict[str, Agreement]:
    """
    Compare answers on the same frames to the first ones.

    :param answers: label to float32 (N, C) probabilities; the first are the reference's.
    :param tolerance: how far answers may differ.
    :param multi_label: whether the models are, whose answer are the classes of at least 0.5.
    :returns: label to agreement, without the reference's.
    :raises BackendUnavailable: if Polygraphy is not installed.
    """
    import_runners()
    from polygraphy.comparator import Comparator, IterationResult, RunResults, SimpleCompareFunc
    from polygraphy.exception import PolygraphyException
    from polygraphy.logger import G_LOGGER
    runs = RunResults([
        (label, [IterationResult({OUTPUT_NAME: rows}, runner_name=label)])
        for label, rows in answers.items()])
    try:
        # It would print pages to the output; what it finds is in its results.
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
            found, = Comparator.compare_accuracy(
                runs, comparisons=[(place, 0) for place in range(1, len(answers))],
                compare_func=[SimpleCompareFunc(atol=tolerance.atol, rtol=tolerance.rtol)])
    except PolygraphyException as error:
        raise BackendError(f'Polygraphy could not compare: {error}') from error
    reference, *others = answers
    least = MULTI_LABEL_THRESHOLD if multi_label else None
    agreements = {}
    for label in others:
        difference = found[label, reference][0][OUTPUT_NAME]
        agreements[label] = Agreement(
            len(answers[reference]), float(difference.max_absdiff), float(difference.mean_absdiff),
            int(same_answers(answers[label], answers[reference], least).sum()), bool(difference))
    return agreements
