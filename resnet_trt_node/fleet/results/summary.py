"""What a run found, counted: classes, scores, skips, and each drive over its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
import pyarrow as pa
import pyarrow.compute as pc

from resnet_trt_node.fleet.results.files import element, first_classes, floats, Results
from resnet_trt_node.fleet.table import ANSWERED

#: Bins of the scores from 0 to 1.
SCORE_BINS = 20
_COLUMNS = ('log_time_ns', 'outcome', 'classes', 'scores')


@dataclass
class DriveSummary:
    """
    One drive.

    :param name: its name.
    :param start_ns: log time of its first row, in nanoseconds since the epoch.
    :param end_ns: that of its last row.
    :param outcomes: number of rows by outcome.
    :param classes: number of answers by their best class.
    """

    name: str
    start_ns: int
    end_ns: int
    outcomes: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.outcomes.total()

    @property
    def answered(self) -> int:
        """Return the number of answers."""
        return self.outcomes[ANSWERED]


@dataclass
class Summary:
    """
    All drives of a run.

    :param drives: in the order of their names.
    :param histogram: int64 (SCORE_BINS,), number of answers by the score of their best class.
    :param score_sums: sum of the scores of the answers of each best class.
    """

    drives: list[DriveSummary] = field(default_factory=list)
    histogram: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    score_sums: Counter[str] = field(default_factory=Counter)

    @property
    def outcomes(self) -> Counter[str]:
        """Return the number of rows by outcome."""
        return sum((one.outcomes for one in self.drives), Counter())

    @property
    def classes(self) -> Counter[str]:
        """Return the number of answers by their best class."""
        return sum((one.classes for one in self.drives), Counter())


def summarise(results: Results, step: Callable[[int], None]) -> Summary:
    """
    Count all rows.

    :param results: the run.
    :param step: called with the number of rows after each batch of them.
    :raises DataError: if a file is damaged.
    """
    summary = Summary()
    for name in results.drives:
        drive = None
        for batch in results.batches(_COLUMNS, name):
            times = pc.min_max(batch.column('log_time_ns')).as_py()
            if drive is None:
                drive = DriveSummary(name, times['min'], times['max'])
                summary.drives.append(drive)
            drive.start_ns = min(drive.start_ns, times['min'])
            drive.end_ns = max(drive.end_ns, times['max'])
            drive.outcomes.update(counts_of(batch.column('outcome')))
            _count_answers(batch, drive, summary)
            step(batch.num_rows)
    return summary


def _count_answers(batch: Any, drive: DriveSummary, summary: Summary) -> None:
    batch = batch.filter(pc.equal(batch.column('outcome'), ANSWERED))
    classes = first_classes(batch.column('classes'))
    scores = floats(element(batch.column('scores'), 0))
    drive.classes.update(counts_of(classes))
    summary.histogram += score_histogram(scores)
    # Of an answer without a class there is no score.
    sums = pa.table({'name': classes, 'score': np.nan_to_num(scores)}).group_by(
        'name', use_threads=False).aggregate([('score', 'sum')])
    for name, total in zip(*(sums.column(one).to_pylist() for one in ('name', 'score_sum'))):
        summary.score_sums[name] += total


def counts_of(values: Any) -> dict[str, int]:
    """Return how often each value of an array of texts occurs."""
    return {one['values']: one['counts'] for one in pc.value_counts(values).to_pylist()}


def score_histogram(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """
    Return how many scores are in each of `SCORE_BINS` equal parts from 0 to 1.

    :param scores: float64 (n,), NaN for none.
    """
    # As float32 a score of 0.9 is below 0.9.
    known = np.round(scores[~np.isnan(scores)], 6)
    return np.histogram(np.clip(known, 0, 1), SCORE_BINS, (0, 1))[0].astype(np.int64)


def timeline(
        results: Results, drive: DriveSummary, classes: Sequence[str], bins: int,
) -> NDArray[np.int64]:
    """
    Count the rows of a drive in equal parts of its time.

    :param drive: as `summarise` returned it.
    :param classes: the classes that are told apart.
    :param bins: number of parts.
    :returns: int64 (bins, len(classes) + 2): answers of each class, of other classes, and rows
        without an answer.
    """
    counts = np.zeros((bins, len(classes) + 2), np.int64)
    length = drive.end_ns - drive.start_ns + 1
    for batch in results.batches(('log_time_ns', 'outcome', 'classes'), drive.name):
        # In floats, since nanoseconds times bins would not fit 64 bits.
        since = batch.column('log_time_ns').to_numpy(zero_copy_only=False) - drive.start_ns
        place = np.minimum((since / length * bins).astype(np.int64), bins - 1)
        known = pc.index_in(first_classes(batch.column('classes')), pa.array(classes, pa.string()))
        column = pc.fill_null(known, len(classes)).to_numpy(zero_copy_only=False).copy()
        answered = pc.equal(batch.column('outcome'), ANSWERED).to_numpy(zero_copy_only=False)
        column[~answered] = len(classes) + 1
        np.add.at(counts, (place, column), 1)
    return counts
