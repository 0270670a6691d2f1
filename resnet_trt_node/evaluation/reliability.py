"""Whether a classifier's probabilities can be believed: calibration error and proper scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.evaluation.outcomes import Outcomes

#: The number of bins in Guo et al. 2017.
BINS = 15


@dataclass(frozen=True)
class Calibration:
    """
    Confidence against accuracy, in M bins of equal width, bin m holding ((m - 1) / M, m / M].

    The formulas are those of Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural
    Networks, ICML 2017.

    :param counts: int64 (M,), pictures whose confidence lies in each bin.
    :param confidences: float64 (M,), their mean confidence; NaN in an empty bin.
    :param accuracies: float64 (M,), their top-1 accuracy; NaN in an empty bin.
    :param mean_confidence: mean confidence of all.
    :param nll: mean of -ln(probability of the right class), in nats; one that underflowed to 0
        counts as the smallest normal float32.
    :param brier: mean squared distance between the probabilities and the right answer, 0 to 2.
    """

    counts: NDArray[np.int64]
    confidences: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    mean_confidence: float
    nll: float
    brier: float

    @property
    def expected_error(self) -> float:
        """Return the expected calibration error, equation (3): the gaps weighed by pictures."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracies - self.confidences)[filled]
        return float((self.counts[filled] * gaps).sum() / self.counts.sum())

    @property
    def maximum_error(self) -> float:
        """Return the maximum calibration error, equation (5): the widest gap of any bin."""
        return float(np.nanmax(np.abs(self.accuracies - self.confidences)))


def measure_calibration(outcomes: Outcomes, bins: int = BINS) -> Calibration:
    """
    Compare what a classifier was sure of with what was right.

    :param outcomes: from probabilities.
    :param bins: M, at least 1.
    """
    # Edges of the confidences' own type: 0.2 lies on the edge 0.2 and not beside it.
    edges = np.linspace(0, 1, bins + 1).astype(np.float32)
    # Softmax in float32 can end a rounding error above 1.
    confidences = np.minimum(outcomes.confidences, np.float32(1)).astype(np.float64)
    place = np.searchsorted(edges[1:-1], outcomes.confidences, side='left')
    hits = (outcomes.ranks == 0).astype(np.float64)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid='ignore'):
        mean_confidences = np.bincount(place, confidences, bins) / counts
        accuracies = np.bincount(place, hits, bins) / counts
    right = np.maximum(outcomes.right_probabilities, np.finfo(np.float32).tiny)
    return Calibration(
        counts.astype(np.int64), mean_confidences, accuracies,
        mean_confidence=float(confidences.mean()),
        nll=float(-np.log(right.astype(np.float64)).mean()),
        brier=float(outcomes.squared_errors.mean()))
