"""The best of many frames in bounded memory, no two of them from the same moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """
    What a model said.

    :param classes: names, the best first.
    :param scores: their scores, 0 to 1.
    """

    classes: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def best(self) -> str:
        """Return the best class in words, with its score."""
        return f'{self.classes[0]} {self.scores[0] * 100:.1f} %' if self.classes else 'no class'


@dataclass(frozen=True)
class FoundFrame:
    """
    A frame, or a region of one, that was chosen.

    :param value: why, the larger the better; its meaning is that of the criterion.
    :param drive: the drive.
    :param bag: path or address of the bag.
    :param topic: of the images.
    :param stamp_ns: the header's stamp, in nanoseconds.
    :param log_time_ns: when it was recorded, in nanoseconds.
    :param frame: number of the message in its topic.
    :param region_id: None for a whole frame.
    :param answer: of the run.
    :param other: of the run that it is compared with, None without one.
    :param entropy: of the answer, NaN if it is unknown.
    """

    value: float
    drive: str
    bag: str
    topic: str
    stamp_ns: int
    log_time_ns: int
    frame: int
    region_id: Optional[str]
    answer: Answer
    other: Optional[Answer]
    entropy: float

    def order(self) -> tuple[float, str, str, str, int, str]:
        """Return what it is sorted by, the best first; of equal ones always the same first."""
        return (-self.value, self.drive, self.bag, self.topic, self.frame, self.region_id or '')


class BestFrames:
    """
    The frames with the largest values among any number of them.

    Consecutive frames of a camera look alike. So of each interval of a topic the best frame alone
    is kept, and `chosen` leaves out those that are still closer to a better one.

    :param number: how many, at least 1.
    :param apart_ns: the shortest time between two frames of a topic, 0 for none.
    """

    def __init__(self, number: int, apart_ns: int) -> None:
        self._number, self._apart_ns = number, apart_ns
        # A chosen frame rules out at most those of the interval before and the one after it.
        self._most = 3 * number if apart_ns else number
        self._kept: dict[tuple[object, ...], FoundFrame] = {}
        self._bound = -np.inf

    def offer(self, values: NDArray[np.float64], frame_of: Callable[[int], FoundFrame]) -> None:
        """
        Take the best of several frames.

        :param values: float64 (n,), NaN for frames that are no candidates.
        :param frame_of: returns one of them by its place.
        """
        places = np.flatnonzero(values >= self._bound)
        # The largest first, so that the bound rises before the others are made.
        for place in places[np.argsort(-values[places], kind='stable')].tolist():
            if values[place] < self._bound:
                return
            frame = frame_of(place)
            key = self._key(frame)
            if key not in self._kept or frame.order() < self._kept[key].order():
                self._kept[key] = frame
            if len(self._kept) > 2 * self._most + 64:
                self._cut()

    def chosen(self) -> list[FoundFrame]:
        """Return the frames, the best first."""
        taken: list[FoundFrame] = []
        times: dict[tuple[str, str, str], list[int]] = {}
        for frame in sorted(self._kept.values(), key=FoundFrame.order):
            near = times.setdefault((frame.drive, frame.bag, frame.topic), [])
            if all(abs(frame.log_time_ns - one) >= self._apart_ns for one in near):
                near.append(frame.log_time_ns)
                taken.append(frame)
            if len(taken) == self._number:
                break
        return taken

    def _key(self, frame: FoundFrame) -> tuple[object, ...]:
        if self._apart_ns:
            return (frame.drive, frame.bag, frame.topic, frame.log_time_ns // self._apart_ns)
        return frame.order()[1:]

    def _cut(self) -> None:
        """Forget all that cannot be among the best any more."""
        best = sorted(self._kept.items(), key=lambda item: item[1].order())[:self._most]
        self._kept = dict(best)
        self._bound = best[-1][1].value
