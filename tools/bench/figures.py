"""From records to figures: percentiles, accounts, and whether a target is met."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Check:
    """
    A target and what was measured.

    :param name: what is measured.
    :param measured: the figure; None if it could not be had, which misses the target.
    :param limit: the target.
    :param unit: of both.
    :param at_least: whether the limit is a lower one.
    """

    name: str
    measured: Optional[float]
    limit: float
    unit: str = ''
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Tell whether the target is met."""
        if self.measured is None:
            return False
        # bool, since NumPy's own is none to JSON.
        return bool(
            self.measured >= self.limit if self.at_least else self.measured <= self.limit)

    def to_json(self) -> dict[str, Any]:
        """Return the fields and `met`."""
        return {**asdict(self), 'met': self.met}


@dataclass
class Outcome:
    """
    What a scenario found.

    :param name: one word.
    :param title: one line for people.
    :param checks: its targets.
    :param figures: everything else, ready for JSON.
    """

    name: str
    title: str
    checks: list[Check] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {'name': self.name, 'title': self.title,
                'checks': [check.to_json() for check in self.checks], 'figures': self.figures}


def percentile(values: NDArray[Any] | list[float], share: float) -> Optional[float]:
    """
    Return a percentile, between neighbours in proportion; None of nothing.

    :param values: any order.
    :param share: 0 to 100.
    """
    return float(np.percentile(values, share)) if len(values) else None


def latencies_ms(heard: NDArray[np.void]) -> NDArray[np.float64]:
    """Return the milliseconds from each frame's stamp to the arrival of its answer."""
    return np.asarray((heard['received_ns'] - heard['stamp_ns']) / 1e6, np.float64)


def spread(values: NDArray[Any]) -> dict[str, Optional[float]]:
    """Return p50, p95, p99 and the maximum."""
    shares = {'p50': 50, 'p95': 95, 'p99': 99, 'max': 100}
    return {name: rounded(percentile(values, share)) for name, share in shares.items()}


def rounded(value: Optional[float], digits: int = 3) -> Optional[float]:
    """Return a number short enough for JSON that people read."""
    return None if value is None else round(float(value), digits)


@dataclass(frozen=True)
class Account:
    """
    Frames sent against answers heard, by stamp.

    :param sent: frames that were sent whole.
    :param broken: frames that were sent broken.
    :param answered: sent frames with an answer.
    :param foreign: answers with a stamp that was never sent by that camera, or sent broken.
    :param repeated: answers beyond the first to the same frame.
    :param mistaken: answers that name another camera's picture.
    """

    sent: int
    broken: int
    answered: int
    foreign: int
    repeated: int
    mistaken: int


def account(
        sent: NDArray[np.void], heard: NDArray[np.void],
        reds: Optional[dict[int, int]] = None, tolerance: int = 3) -> Account:
    """
    Compare what was sent with what was heard.

    :param sent: records of kind `SENT`.
    :param heard: records of kind `HEARD`.
    :param reds: the red value of each camera by index; None where the backend is a real one.
    :param tolerance: how far the named red value may be off, for JPEG.
    """
    whole = {_frame(row) for row in sent if not row['broken']}
    answers = [_frame(row) for row in heard]
    distinct = set(answers)
    mistaken = 0
    if reds is not None:
        mistaken = sum(
            abs(int(row['answer']) - reds[int(row['camera'])]) > tolerance for row in heard)
    return Account(
        len(whole), int(np.count_nonzero(sent['broken'])), len(distinct & whole),
        len(distinct - whole), len(answers) - len(distinct), mistaken)


@dataclass(frozen=True)
class Balance:
    """
    What the node counts against what others know: the cameras and the listener.

    :param sent: frames that the cameras sent, broken ones too.
    :param received: frames that the node counts as received.
    :param lost: frames that DDS told the node were lost in transport.
    :param answered: frames that the node counts as answered.
    :param heard: answers that the listener heard.
    """

    sent: int
    received: int
    lost: int
    answered: int
    heard: int

    @property
    def lost_silently(self) -> int:
        """
        Return the frames that were sent and of which the node knows nothing.

        DDS tells nothing of those that came while nobody subscribed, nor of those that newer ones
        pushed out of a full queue.
        """
        return self.sent - self.received - self.lost

    def to_json(self) -> dict[str, int]:
        """Return the fields and `lost_silently`."""
        return {**asdict(self), 'lost_silently': self.lost_silently}


def balance_checks(balances: Sequence[Balance]) -> list[Check]:
    """
    Return the checks that the node's counters are true, by what others know.

    :param balances: each is judged by itself, so that one camera cannot make up for another.
    """
    return [
        Check('frames that the node counts and no camera sent',
              sum(max(0, -one.lost_silently) for one in balances), 0),
        Check('answers that the node counts and nobody heard, or the other way round',
              sum(abs(one.answered - one.heard) for one in balances), 0)]


def sum_balances(balances: Iterable[Balance]) -> Balance:
    """Return balances added up."""
    return Balance(*map(sum, zip(*(astuple(one) for one in balances))))


def _frame(row: np.void) -> tuple[int, int]:
    return int(row['camera']), int(row['stamp_ns'])


def unevenness(numbers: list[int]) -> Optional[float]:
    """Return how far the cameras' numbers are apart: (most - least) / mean, in per cent."""
    if not numbers or not sum(numbers):
        return None
    return 100.0 * (max(numbers) - min(numbers)) / (sum(numbers) / len(numbers))


def growth(
        times_s: list[float], values: list[float], settle_s: float = 0.0) -> tuple[float, float]:
    """
    Return how a value grew after it settled: by how much, and its slope per hour.

    The first fifth of the time is left out, as settling. The growth is the last fifth's median
    less the second fifth's; the slope is a straight line's, fitted to what comes behind.

    :param settle_s: how long it settles before the slope counts, where that is a fixed time; 0 for
        the first fifth.
    :raises ValueError: for fewer than ten values.
    """
    if len(values) < 10:
        raise ValueError(f'{len(values)} samples are too few to tell growth: ten at least')
    fifth = len(values) // 5
    grown = float(np.median(values[-fifth:]) - np.median(values[fifth:2 * fifth]))
    start = bisect_left(times_s, times_s[0] + settle_s) if settle_s else fifth
    slope = np.polyfit(np.array(times_s[start:]) / 3600.0, values[start:], 1)[0]
    return grown, float(slope)
