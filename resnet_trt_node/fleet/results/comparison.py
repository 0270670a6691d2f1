"""Where two runs over the same drives differ, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from resnet_trt_node.fleet.results.candidates import BestFrames, FoundFrame
from resnet_trt_node.fleet.results.drift import stability_index
from resnet_trt_node.fleet.results.files import first_classes, Results
from resnet_trt_node.fleet.results.matching import column, Match, matches
from resnet_trt_node.fleet.results.summary import counts_of
from resnet_trt_node.fleet.table import ANSWERED


@dataclass
class Agreement:
    """
    Two runs on a drive, or on all of them; `first` is the run and `second` the one before.

    :param name: of the drive, '' for all.
    :param both: number of rows with an answer in both runs.
    :param same: number of these with the same best class.
    :param first: number of these by the best class of the first run.
    :param second: likewise of the second run.
    """

    name: str
    both: int = 0
    same: int = 0
    first: Counter[str] = field(default_factory=Counter)
    second: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Return the share of the same best class, NaN without any answer."""
        return self.same / self.both if self.both else float('nan')

    @property
    def drift(self) -> float:
        """Return the population stability index of the best classes."""
        names = sorted({*self.first, *self.second})
        return stability_index(
            [self.first[name] for name in names], [self.second[name] for name in names])

    def add(self, other: Agreement) -> None:
        """Add what was counted on a part of the drives."""
        self.both += other.both
        self.same += other.same
        self.first += other.first
        self.second += other.second


@dataclass
class Comparison:
    """
    Two runs compared.

    :param total: over all drives.
    :param drives: each drive that is in both runs, in the order of the names.
    :param matched: number of rows that are in both runs.
    :param only_first: number of rows of the first run that are not in the second.
    :param only_second: the other way round.
    :param lost: rows answered in the second run and skipped in the first.
    :param won: the other way round.
    :param pairs: number of rows by (class of the second run, class of the first) that differ.
    :param frames: those where both are surest and differ, the surest first.
    """

    total: Agreement = field(default_factory=lambda: Agreement(''))
    drives: list[Agreement] = field(default_factory=list)
    matched: int = 0
    only_first: int = 0
    only_second: int = 0
    lost: int = 0
    won: int = 0
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    frames: list[FoundFrame] = field(default_factory=list)


def compare(
        first: Results, second: Results, number: int, apart_ns: int,
        step: Callable[[int], None]) -> Comparison:
    """
    Compare two runs, usually of two models.

    :param first: the run.
    :param second: the run that it is compared with.
    :param number: how many of the frames that differ are kept, at least 1.
    :param apart_ns: the shortest time between two of them on a topic.
    :param step: called with the number of rows of the first run after each part of them.
    :raises DataError: as `matches`.
    """
    found = Comparison()
    best = BestFrames(number, apart_ns)
    for match in matches(first, second):
        found.matched += match.first.num_rows
        found.only_first += match.only_first
        found.only_second += match.only_second
        if match.first.num_rows:
            part = _count(match, found)
            if not found.drives or found.drives[-1].name != match.drive:
                found.drives.append(Agreement(match.drive))
            found.drives[-1].add(part)
            found.total.add(part)
            offer(match, best)
        step(match.first.num_rows + match.only_first)
    found.frames = best.chosen()
    return found


def offer(match: Match, best: BestFrames) -> None:
    """Offer the frames of which the two runs have different answers."""
    values = match.disagreement()
    best.offer(values, lambda place: match.frame_at(place, float(values[place])))


def _count(match: Match, found: Comparison) -> Agreement:
    answered = [pc.equal(table.column('outcome'), ANSWERED) for table in (
        match.first, match.second)]
    found.won += pc.sum(pc.and_not(answered[0], answered[1])).as_py() or 0
    found.lost += pc.sum(pc.and_not(answered[1], answered[0])).as_py() or 0
    both, same = match.both, match.same
    names = [first_classes(column(table, 'classes')) for table in (match.first, match.second)]
    changed = both & ~same
    pairs = zip(*(one.filter(pa.array(changed)).to_pylist() for one in reversed(names)))
    found.pairs.update(pairs)
    return Agreement(
        match.drive, int(both.sum()), int((both & same).sum()),
        *(Counter(counts_of(one.filter(pa.array(both)))) for one in names))
