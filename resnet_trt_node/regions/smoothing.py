"""
Smoothing of a track's answers, so that its label does not flicker.

Smoothing costs delay, counted in inferences of the track. If its class changes from one that the
model is sure of to another that it is sure of, the answer changes with the k-th inference of the
new class:

- ema: the smallest k with ((window - 1) / (window + 1)) ** k < 1/2, about 0.35 * (window + 1);
- majority: ceil(window / 2).

======  ===  ========
window  ema  majority
======  ===  ========
1       1    1
3       2    2
5       2    3
9       4    5
15      6    8
30      11   15
======  ===  ========

So a window of 5 delays the answer of 'ema' by one frame and that of 'majority' by two, where every
frame is inferred. With `track_cache` inferences are up to reinfer_interval_ms apart, and the delay
is that much longer.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Optional, TYPE_CHECKING, Union

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What `smoothing` may be.
SMOOTHINGS = ('none', 'ema', 'majority')
#: Bounds the memory of 'majority', which keeps as many rows of each track.
MAX_WINDOW = 30


class Ema:
    """
    Exponential moving average of the probabilities.

    The newest inference weighs 2 / (window + 1), so that the weights' mean age is that of a plain
    mean over `window` inferences. Rows that sum to 1 stay so.

    :param window: at least 1; 1 changes nothing.
    """

    def __init__(self, window: int) -> None:
        self._weight = np.float32(2 / (window + 1))
        self._mean: Optional[NDArray[np.float32]] = None

    def add(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Take an inference and return the average.

        :param probabilities: float32 (C,); copied.
        :returns: float32 (C,), not to be changed.
        """
        if self._mean is None:
            self._mean = probabilities.copy()
        else:
            self._mean = self._weight * probabilities + (1 - self._weight) * self._mean
        return self._mean


class Majority:
    """
    The class that was best most often among the last `window` inferences.

    Of classes that were best equally often, the one that was best last wins. The probabilities
    are the mean of those of the inferences that it was best in: the winner has the highest score,
    it tells how sure the model was when it chose that class, and rows that sum to 1 stay so.

    :param window: at least 1; 1 changes nothing.
    """

    def __init__(self, window: int) -> None:
        self._rows: deque[NDArray[np.float32]] = deque(maxlen=window)
        self._classes: deque[int] = deque(maxlen=window)

    def add(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Take an inference and return the majority's mean.

        :param probabilities: float32 (C,); copied.
        :returns: float32 (C,), not to be changed.
        """
        self._rows.append(probabilities.copy())
        self._classes.append(int(probabilities.argmax()))
        # Counter gives equal counts in the order in which it met them: the newest first.
        (winner, count), = Counter(reversed(self._classes)).most_common(1)
        if count == 1:
            return self._rows[-1]
        rows = [row for row, best in zip(self._rows, self._classes) if best == winner]
        mean: NDArray[np.float32] = np.stack(rows).mean(axis=0, dtype=np.float64).astype(
            np.float32)
        if mean.argmax() != winner:
            # Its lead over a class of a lower index is less than float32 resolves.
            mean[winner] = np.nextafter(mean[winner], np.float32(2))
        return mean


def make_smoother(smoothing: str, window: int) -> Union[Ema, Majority, None]:
    """
    Return a smoother for one track.

    :param smoothing: one of `SMOOTHINGS`.
    :param window: see the classes.
    :returns: None for 'none'.
    """
    if smoothing == 'ema':
        return Ema(window)
    return Majority(window) if smoothing == 'majority' else None
