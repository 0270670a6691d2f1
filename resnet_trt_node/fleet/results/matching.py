"""The rows of two runs over the same frames, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
import pyarrow as pa
import pyarrow.compute as pc

from resnet_trt_node.errors import DataError
from resnet_trt_node.fleet.results.candidates import Answer, FoundFrame
from resnet_trt_node.fleet.results.files import element, first_classes, floats, Results
from resnet_trt_node.fleet.table import ANSWERED
from resnet_trt_node.text.printable import printable

#: What a found frame is made of.
FRAME_COLUMNS = (
    'drive', 'bag', 'topic', 'stamp_ns', 'log_time_ns', 'frame', 'region_id', 'outcome', 'classes',
    'scores', 'entropy')
#: The time tells recordings apart whose paths have an end in common by chance.
_KEYS = ['topic', 'frame', 'log_time_ns', 'region_id']
#: How many rows before have the same keys: detectors may give regions of a frame the same id.
_AGAIN = 'again'
#: Rows of each run that are matched at a time; a drive with more is taken in stretches.
MOST_ROWS = 100_000
_ALL_FRAMES = range(2**63 - 1)


@dataclass(frozen=True)
class Match:
    """
    A stretch of a bag in two runs.

    :param drive: its drive in the first run, or in the second if the first does not have it.
    :param first: table of the rows of one run that the other has too.
    :param second: that of the other, row by row the same frames.
    :param only_first: number of rows of the first run that the second does not have.
    :param only_second: the other way round.
    """

    drive: str
    first: Any
    second: Any
    only_first: int
    only_second: int

    @property
    def both(self) -> NDArray[np.bool_]:
        """Return bool (n,), which rows have an answer in both runs."""
        answered = [_answered(table) for table in (self.first, self.second)]
        return np.asarray(answered[0] & answered[1])

    @property
    def same(self) -> NDArray[np.bool_]:
        """Return bool (n,), which rows have the same best class."""
        return np.asarray(pc.equal(*(
            first_classes(column(table, 'classes')) for table in (self.first, self.second))
        ).to_numpy(zero_copy_only=False))

    def disagreement(self) -> NDArray[np.float64]:
        """
        Return float64 (n,), how sure both are where they differ in the best class.

        It is the lower one of their two scores, and NaN where they agree or one has no answer.
        """
        scores = [np.nan_to_num(floats(element(column(table, 'scores'), 0)))
                  for table in (self.first, self.second)]
        return np.where(self.both & ~self.same, np.minimum(*scores), np.nan)

    def frame_at(self, place: int, value: float) -> FoundFrame:
        """Return one of the rows with its answers; `value` is why it was chosen."""
        return found_frame(self.first, place, value, answer_at(self.second, place))


def matches(first: Results, second: Results) -> Iterator[Match]:
    """
    Yield the bags of both runs, and of those of one run alone their number of rows.

    Bags are the same by `same_bags`, and rows if topic, number and log time of the frame, and
    region are; of regions of a frame that share an id, the first, the second and so on. What the
    bags' drives are called does not count.

    :param first: a run.
    :param second: another run.
    :raises DataError: if a file is damaged, or a frame is twice in a run.
    """
    runs = first, second
    for drives in same_bags(*(
            {name: run.bag_of(name) for name in run.drives if run.rows_of(name)}
            for run in runs)):
        sizes = [run.rows_of(drive) for run, drive in zip(runs, drives)]
        stretches = [_ALL_FRAMES]
        if max(sizes) > MOST_ROWS:
            last = max(run.last_frame(drive) for run, drive in zip(runs, drives) if drive)
            length = -(-(last + 1) * MOST_ROWS // max(sizes))
            stretches = [range(start, start + length) for start in range(0, last + 1, length)]
        for frames in stretches:
            yield _match(drives, runs, [
                run.table(FRAME_COLUMNS, drive, frames) for run, drive in zip(runs, drives)])


def same_bags(
        first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, str]]:
    """
    Return which drives of two runs are of the same bag.

    It is that of the same path. Of what is left it is that whose path has the longest end in
    common, which no other bag has: the bags were moved.

    :param first: bag by drive.
    :param second: likewise of the other run.
    :returns: drives of the first run and of the second, sorted; '' where it has none.
    """
    left = [{PurePosixPath(bag).parts: drive for drive, bag in one.items()}
            for one in (first, second)]
    pairs = []
    for parts in left[0].keys() & left[1].keys():
        pairs.append((left[0].pop(parts), left[1].pop(parts)))
    longest = max((len(parts) for one in left for parts in one), default=0)
    for length in range(longest, 0, -1):
        ends: list[dict[tuple[str, ...], list[tuple[str, ...]]]] = [{}, {}]
        for one, by_end in zip(left, ends):
            for parts in one:
                if len(parts) >= length:
                    by_end.setdefault(parts[-length:], []).append(parts)
        for end in ends[0].keys() & ends[1].keys():
            if len(ends[0][end]) == len(ends[1][end]) == 1:
                pairs.append((left[0].pop(ends[0][end][0]), left[1].pop(ends[1][end][0])))
    return sorted([*pairs, *((drive, '') for drive in left[0].values()),
                   *(('', drive) for drive in left[1].values())])


def _match(drives: tuple[str, str], runs: Sequence[Results], tables: Sequence[Any]) -> Match:
    keys = []
    for run, drive, table in zip(runs, drives, tables):
        keys.append(_keys(table))
        again = pc.and_(pc.greater(keys[-1].column(_AGAIN), 0),
                        pc.is_null(table.column('region_id')))
        if pc.any(again).as_py():
            raise DataError(
                f'{run.folder}: frames of the drive {printable(drive)} are there twice: remove '
                'its files and run `resnet_trt fleet` with --resume')
    joined = keys[0].join(
        keys[1], keys=[*_KEYS, _AGAIN], join_type='inner', right_suffix='_right',
        use_threads=False)
    places = [joined.column(name).to_numpy() for name in ('row', 'row_right')]
    order = np.argsort(places[0])
    return Match(
        drives[0] or drives[1], *(table.take(place[order]) for table, place in zip(
            tables, places)), *(table.num_rows - order.size for table in tables))


def _keys(table: Any) -> Any:
    """Return the columns that identify a row of a bag, and its place."""
    # Null equals nothing in a join.
    regions = pc.fill_null(column(table, 'region_id'), '')
    columns = [*(column(table, name) for name in _KEYS[:-1]), regions]
    codes = [one.dictionary_encode().indices.to_numpy() for one in columns]
    places = np.arange(table.num_rows)
    # Equal rows come together, in the order of their places.
    order = np.lexsort(codes)
    is_first = np.ones(places.size, bool)
    is_first[1:] = np.any([np.diff(one[order]) != 0 for one in codes], axis=0)
    again = np.empty_like(places)
    again[order] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    return pa.table([*columns, pa.array(again), pa.array(places)], names=[*_KEYS, _AGAIN, 'row'])


def _answered(table: Any) -> NDArray[np.bool_]:
    return np.asarray(
        pc.equal(column(table, 'outcome'), ANSWERED).to_numpy(zero_copy_only=False))


def column(table: Any, name: str) -> Any:
    """Return a column of a table or a batch as one array."""
    found = table.column(name)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def answer_at(table: Any, place: int) -> Answer:
    """Return the answer of a row of a table or a batch."""
    row = {name: table.column(name)[place].as_py() for name in ('classes', 'scores')}
    return Answer(tuple(row['classes'] or ()), tuple(row['scores'] or ()))


def found_frame(
        table: Any, place: int, value: float, other: Any = None) -> FoundFrame:
    """
    Return a row with its answer.

    :param table: a table or a batch of `FRAME_COLUMNS`.
    :param place: of the row.
    :param value: why it was chosen.
    :param other: answer of the other run.
    """
    row = {name: table.column(name)[place].as_py() for name in FRAME_COLUMNS}
    entropy = row['entropy']
    return FoundFrame(
        value, row['drive'], row['bag'], row['topic'], row['stamp_ns'], row['log_time_ns'],
        row['frame'], row['region_id'], answer_at(table, place), other,
        float('nan') if entropy is None else entropy)
