"""How long the last frames took in each stage; reporting percentiles takes little time."""

from __future__ import annotations

from typing import Mapping

import numpy as np
from numpy.typing import NDArray

#: The stages of a frame, each in milliseconds: waiting in the middleware until the executor
#: takes it, where the middleware reports that; waiting in the node's own queue, decoding and
#: resizing, waiting for the backend, inferring, publishing; then all of it but the first, and the
#: same without the inference; last the time from the stamp in the image's header, where that is
#: of the node's own time base.
STAGES = (
    'receive', 'queue', 'preprocess', 'batch', 'infer', 'publish', 'total', 'added',
    'source_to_publish')
#: The percentiles that are reported.
SHARES = (50, 95, 99)
#: Of how many answers.
WINDOW = 1000


class StageTimes:
    """
    The milliseconds of the last `WINDOW` answers by stage; not thread-safe.

    Percentiles are reported while frames are in flight, and whatever holds the GIL then is part of
    their latency. So all stages lie in one array, which NumPy sorts at once and without the GIL;
    `numpy.percentile` stage by stage takes a millisecond.
    """

    def __init__(self) -> None:
        # A row for each answer, so that adding one touches little memory; NaN is not known.
        self._rows = np.full((WINDOW, len(STAGES)), np.nan)
        self._next = 0

    def add(self, stages_ms: Mapping[str, float]) -> None:
        """Take an answer in, with the milliseconds of each of `STAGES` that is known."""
        self._rows[self._next] = [stages_ms.get(stage, np.nan) for stage in STAGES]
        self._next = (self._next + 1) % WINDOW

    def snapshot(self) -> NDArray[np.float64]:
        """Return a copy for `percentiles_ms`: float64 (WINDOW, stages), NaN where not known."""
        copy: NDArray[np.float64] = self._rows.copy()
        return copy


def percentiles_ms(snapshot: NDArray[np.float64]) -> dict[str, tuple[float, ...]]:
    """
    Return the percentiles of each stage of which anything is known, by stage.

    :param snapshot: of `StageTimes`.
    :returns: milliseconds for each of `SHARES`, between neighbours in proportion.
    """
    # Sorted, NaN stands last.
    ordered = np.sort(snapshot.T.copy(), axis=1)
    percentiles = {}
    for stage, values, known in zip(
            STAGES, ordered, WINDOW - np.count_nonzero(np.isnan(ordered), axis=1)):
        if known:
            places = np.array(SHARES) / 100 * (known - 1)
            percentiles[stage] = tuple(
                np.interp(places, np.arange(known), values[:known]).tolist())
    return percentiles
