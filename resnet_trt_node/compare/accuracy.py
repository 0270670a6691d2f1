"""Whether backends answer the same, by Polygraphy's Comparator."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Mapping, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.compare.choice import import_runners
from resnet_trt_node.compare.subject import Subject
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
from resnet_trt_node.errors import BackendError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tolerance:
    """
    How far answers may differ.

    :param atol: a probability may differ by this much,
    :param rtol: or by this share of the reference's.
    :param min_agreement: share of the frames whose most probable class must be the reference's.
    :raises UsageError: for numbers out of range.
    """

    atol: float = 1e-3
    rtol: float = 1e-2
    min_agreement: float = 0.99

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        for name in ('atol', 'rtol', 'min_agreement'):
            value = getattr(self, name)
            # So written that NaN is refused too.
            if not 0 <= value <= 1:
                raise UsageError(f'{name} is {value}: choose 0 to 1')


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


@dataclass(frozen=True)
class TopOneResult:
    """
    What `same_top_one` finds in one batch; true if every frame agrees.

    :param frames: frames of the batch.
    :param same: those with the same most probable class.
    """

    frames: int
    same: int

    def __bool__(self) -> bool:
        """Tell whether every frame agrees."""
        return self.same == self.frames


def same_top_one(
        result: Mapping[str, NDArray[np.float32]],
        reference: Mapping[str, NDArray[np.float32]]) -> OrderedDict[str, TopOneResult]:
    """Compare the most probable classes: a function for Polygraphy's Comparator."""
    first, second = result[OUTPUT_NAME].argmax(axis=1), reference[OUTPUT_NAME].argmax(axis=1)
    return OrderedDict([(OUTPUT_NAME, TopOneResult(len(first), int((first == second).sum())))])


def compare_answers(
        subjects: Mapping[str, Subject], frames: NDArray[np.uint8], batch_size: int,
        tolerance: Tolerance) -> dict[str, Agreement]:
    """
    Run all subjects on the same frames and compare them to the first.

    :param subjects: label to open subject; the first is the reference.
    :param frames: uint8 (N, H, W, 3) RGB, at least one.
    :param batch_size: the most that is inferred together.
    :param tolerance: how far answers may differ.
    :returns: label to agreement, without the reference's.
    :raises BackendUnavailable: if Polygraphy is not installed.
    :raises InferenceError: if a runtime fails.
    """
    runners = import_runners()
    from polygraphy.comparator import Comparator, SimpleCompareFunc
    from polygraphy.exception import PolygraphyException
    from polygraphy.logger import G_LOGGER
    feeds = [
        {INPUT_NAME: np.ascontiguousarray(frames[start:start + batch_size])}
        for start in range(0, len(frames), batch_size)]
    labels = list(subjects)
    try:
        # It would print pages to the output; what it finds is in its results.
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
            runs = Comparator.run(
                [runners.runner_for(subject, label) for label, subject in subjects.items()],
                data_loader=feeds)
            values, classes = Comparator.compare_accuracy(
                runs, comparisons=[(place, 0) for place in range(1, len(labels))],
                compare_func=[
                    SimpleCompareFunc(atol=tolerance.atol, rtol=tolerance.rtol), same_top_one])
    except PolygraphyException as error:
        raise BackendError(f'Polygraphy could not compare: {error}') from error
    return {
        label: _sum_up(values[label, labels[0]], classes[label, labels[0]])
        for label in labels[1:]}


def _sum_up(
        values: Sequence[Mapping[str, Any]],
        classes: Sequence[Mapping[str, TopOneResult]]) -> Agreement:
    """Join the batches' results; batches count by their frames."""
    tops = [batch[OUTPUT_NAME] for batch in classes]
    differences = [batch[OUTPUT_NAME] for batch in values]
    frames = sum(top.frames for top in tops)
    return Agreement(
        frames=frames,
        max_difference=max(found.max_absdiff for found in differences),
        mean_difference=sum(
            found.mean_absdiff * top.frames for found, top in zip(differences, tops)) / frames,
        same=sum(top.same for top in tops),
        within=all(map(bool, differences)))
