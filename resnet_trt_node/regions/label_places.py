"""Finding places for the labels of boxes where they do not hide each other."""

from __future__ import annotations

from typing import Optional, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How many labels high the search for a free place goes, up and down.
_SEARCH = 5
#: Each place further down the list of a label is as bad as this share of its area on boxes.
_NEXT_PLACE = 0.05


class LabelPlaces:
    """
    What is taken in a picture; every rectangle is left, top, right and bottom in pixels.

    :param height: the picture's.
    :param width: likewise.
    :param boxes: float64 (boxes, 4), what is drawn, inside the picture.
    """

    def __init__(self, height: int, width: int, boxes: NDArray[np.float64]) -> None:
        self._limits = np.array((width, height))
        self._boxes = boxes
        # One label for each box, and one that belongs to none.
        self._labels = np.empty((len(boxes) + 1, 4))
        self._count = 0

    def take(self, rectangle: NDArray[np.float64]) -> None:
        """Mark a rectangle as taken by a label."""
        self._labels[self._count] = rectangle
        self._count += 1

    def find(self, box: int, height: int, width: int) -> Optional[NDArray[np.float64]]:
        """
        Find a free place for a label, near its box, on boxes only where it must.

        :param box: index of the label's box.
        :param height: the label's.
        :param width: likewise.
        :returns: a rectangle of whole pixels, None if every place near the box is taken.
        """
        if (self._limits < (width, height)).any():
            return None
        left, top, right, bottom = self._boxes[box]
        columns = [left, right - width]
        rows = [top - height, bottom, top, bottom - height]
        for step in range(1, _SEARCH + 1):
            rows += [top - height * (step + 1), bottom + height * step]
        corners = np.array([(column, row) for row in rows for column in columns]
                           + [(right, top), (left - width, top)])
        corners = np.rint(corners).clip(0, self._limits - (width, height))
        candidates = np.concatenate((corners, corners + (width, height)), axis=1)
        reach = np.concatenate((corners.min(axis=0), corners.max(axis=0) + (width, height)))
        labels = _near(self._labels[:self._count], reach)
        free = ~(_shared(candidates, labels) > 0).any(axis=1)
        if not free.any():
            return None
        # Its own box counts as well: beside it is a little better than on it.
        covered = _shared(candidates, _near(self._boxes, reach)).sum(axis=1) / (height * width)
        cost = covered + _NEXT_PLACE * np.arange(len(candidates))
        cost[~free] = np.inf
        return np.asarray(candidates[cost.argmin()])

    def leader(self, box: int, label: NDArray[np.float64]) -> Optional[NDArray[np.int32]]:
        """Return a line from a label to its box, (2, 2) in x and y; None where they touch."""
        low, high = self._boxes[box].reshape(2, 2)
        if (label[:2] <= high + 1).all() and (label[2:] >= low - 1).all():
            return None
        on_box = ((label[:2] + label[2:]) / 2).clip(low, high)
        on_label = on_box.clip(label[:2], label[2:])
        return np.rint((on_label, on_box)).clip(0, self._limits - 1).astype(np.int32)


def _near(rectangles: NDArray[np.float64], reach: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rectangles that have a part in another one."""
    return rectangles[
        (rectangles[:, :2] < reach[2:]).all(axis=1) & (rectangles[:, 2:] > reach[:2]).all(axis=1)]


def _shared(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas, (first, second), that rectangles of two lists have in common."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray((high - low).clip(0, None).prod(axis=2))
