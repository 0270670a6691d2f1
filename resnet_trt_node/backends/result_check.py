"""
What a backend returned: whether it is class probabilities at all, and of which frames.

A result of another shape or type is a failure of the whole batch. A bad row is a failure of its
own frame only: the frame, or the model at this frame, is at fault, and its neighbours are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from resnet_trt_node.errors import InferenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How far a row's sum may be from 1; fp16 rounds each of its values by up to 0.05 %.
SUM_TOLERANCE = 1e-3


def check_shape(probabilities: object, batch: int, classes: int) -> None:
    """
    Refuse a result that does not have one row of float32 for each frame.

    :param probabilities: what a backend returned for a batch.
    :param batch: frames in the batch.
    :param classes: classes of the model.
    :raises InferenceError: for anything but float32 (batch, classes).
    """
    if (isinstance(probabilities, np.ndarray) and probabilities.dtype == np.float32
            and probabilities.shape == (batch, classes)):
        return
    # Of what is no array only the type is shown, since its text may be of any length.
    found = f'{probabilities.dtype} {probabilities.shape}' \
        if isinstance(probabilities, (np.ndarray, np.generic)) else type(probabilities).__name__
    raise InferenceError(
        f'the model returned {found} instead of float32 {(batch, classes)} for a batch of '
        f'{batch}: check it with `resnet_trt evaluate`, or export it again')


def bad_rows(
        probabilities: NDArray[np.float32], sums_to_one: bool = True) -> dict[int, str]:
    """
    Find the rows that are no class probabilities.

    :param probabilities: float32 (batch, classes), see `check_shape`.
    :param sums_to_one: whether each row has to sum to 1, as that of any model but a multi-label
        one.
    :returns: why each bad row is one, by its index; mostly empty.
    """
    # Nearly always all are good, and each call of NumPy costs a thread that has slept some 20 us.
    # So this comes first: what is nowhere below 0 and sums to 1 is nowhere above 1, NaN is not
    # above 0, and in float64 no sum overflows.
    if probabilities.min() >= 0 and (all(
            abs(total - 1) <= SUM_TOLERANCE
            for total in probabilities.sum(axis=1, dtype=np.float64).tolist())
            if sums_to_one else probabilities.max() <= 1 + SUM_TOLERANCE):
        return {}
    # Infinities of both signs have no sum, and need none.
    with np.errstate(invalid='ignore', over='ignore'):
        sums = probabilities.sum(axis=1)
    lowest, highest = probabilities.min(axis=1), probabilities.max(axis=1)
    # NaN is in no range, so that it fails these comparisons too.
    good = (lowest >= 0) & (highest <= 1 + SUM_TOLERANCE)
    if sums_to_one:
        good &= np.abs(sums - 1) <= SUM_TOLERANCE
    return {
        int(row): _reason(float(lowest[row]), float(highest[row]), float(sums[row]))
        for row in np.flatnonzero(~good)}


def refuse_bad(
        probabilities: NDArray[np.float32], batch: int, classes: int,
        sums_to_one: bool = True) -> None:
    """
    Refuse a result in which any frame has no answer, for callers that need one for each.

    :param probabilities: what the model returned, float32 (batch, classes).
    :param batch: how many frames were inferred.
    :param classes: how many the model has.
    :param sums_to_one: see `bad_rows`.
    :raises InferenceError: as `check_shape`, and for the first bad row.
    """
    check_shape(probabilities, batch, classes)
    for row, reason in bad_rows(probabilities, sums_to_one).items():
        raise InferenceError(f'frame {row} of a batch of {batch}: {reason}')


def _reason(lowest: float, highest: float, total: float) -> str:
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        return ('the model returned NaN or infinity for it: check the model with `resnet_trt '
                'evaluate`, an fp16 model may overflow where the fp32 one does not')
    if lowest < 0 or highest > 1 + SUM_TOLERANCE:
        return (f'the model returned scores from {lowest:.4g} to {highest:.4g} for it instead of '
                'probabilities: prepare the model again, with --activation softmax, or sigmoid if '
                'it is multi-label')
    return (f'the scores that the model returned for it sum to {total:.4g} instead of 1: '
            'prepare the model again, with --activation softmax, or sigmoid if it is multi-label')
