"""From probabilities to named predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """
    One class that a frame may show.

    :param index: the class's place in the model's output, from 0.
    :param label: its name.
    :param score: its probability, in [0, 1].
    """

    index: int
    label: str
    score: float


def top_predictions(
        probabilities: NDArray[np.float32], labels: Sequence[str], top_k: int,
        score_threshold: float = 0.0) -> list[Prediction]:
    """
    Name the most probable classes of one frame.

    :param probabilities: float32 (C,), one row of a backend's result.
    :param labels: C class names.
    :param top_k: how many classes at most, at least 1; more than C gives C.
    :param score_threshold: classes below it are left out, 0 to 1.
    :returns: falling scores; of equal ones the lower index first.
    """
    if top_k < 1:
        raise UsageError(f'top_k is {top_k}: it must be at least 1')
    # A stable sort of the negated scores puts the lower index first among equals.
    order = np.argsort(-probabilities, kind='stable')[:top_k]
    return [
        # Softmax in float32 can end a rounding error above 1.
        Prediction(int(index), labels[index], min(1.0, float(probabilities[index])))
        for index in order if probabilities[index] >= score_threshold]
