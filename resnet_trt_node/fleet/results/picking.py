"""Chooses frames for labelling, and writes their pictures with a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
import csv
from dataclasses import dataclass, field
import json
from pathlib import Path
import re
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray
import pyarrow.compute as pc

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.fleet.results.candidates import Answer, BestFrames, FoundFrame
from resnet_trt_node.fleet.results.comparison import offer
from resnet_trt_node.fleet.results.files import element, first_classes, floats, Results
from resnet_trt_node.fleet.results.matching import found_frame, FRAME_COLUMNS, matches
from resnet_trt_node.fleet.results.pictures import take_pictures
from resnet_trt_node.fleet.table import ANSWERED
from resnet_trt_node.text.printable import printable, some
from resnet_trt_node.text.spelling import instead

#: The table in the folder of the pictures.
TABLE = 'frames.csv'
HEAD = ('file', 'drive', 'bag', 'topic', 'stamp_ns', 'log_time_ns', 'frame', 'region_id',
        'classes', 'scores', 'entropy', 'other_classes', 'other_scores', 'error')
_NAME = re.compile(r'\d{4,}_[\w.-]+\.(?:jpg|png|webp)', re.ASCII)

#: Values of the answers of a batch, float64 (n,), the larger the better.
Criterion = Callable[[Any], NDArray[np.float64]]


def by_entropy(batch: Any) -> NDArray[np.float64]:
    """Return the entropy of each answer."""
    return np.asarray(floats(batch.column('entropy')))


def by_margin(batch: Any) -> NDArray[np.float64]:
    """Return 1 less how far the best score is above the second; NaN without a second."""
    scores = batch.column('scores')
    return np.asarray(1 - (floats(element(scores, 0)) - floats(element(scores, 1))))


def choose(
        results: Results, criterion: Criterion, best: BestFrames, step: Callable[[int], None],
) -> None:
    """
    Offer the answers of a run.

    :param results: the run.
    :param criterion: `by_entropy`, `by_margin` or a `ByClass`.
    :param best: takes them.
    :param step: called with the number of rows after each batch of them.
    :raises DataError: if a file is damaged.
    """
    for batch in results.batches(FRAME_COLUMNS):
        step(batch.num_rows)
        batch = batch.filter(pc.equal(batch.column('outcome'), ANSWERED))
        values = criterion(batch)
        best.offer(values, _maker(batch, values))


def _maker(batch: Any, values: NDArray[np.float64]) -> Callable[[int], FoundFrame]:
    return lambda place: found_frame(batch, place, float(values[place]))


class ByClass:
    """
    The score of answers of one class.

    :param name: of the class.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: set[str] = set()

    def __call__(self, batch: Any) -> NDArray[np.float64]:
        """Return the score where the best class is this one, NaN elsewhere."""
        classes = first_classes(batch.column('classes'))
        self._seen.update(classes.unique().to_pylist())
        is_class = pc.equal(classes, self._name).to_numpy(zero_copy_only=False)
        return np.where(is_class, floats(element(batch.column('scores'), 0)), np.nan)

    def check(self) -> None:
        """
        Refuse a class that no answer has, once all batches were seen.

        :raises UsageError: with a class of a similar name, or some of those there are.
        """
        if self._name not in self._seen:
            seen = sorted(self._seen)
            hint = instead(self._name, seen) or f'there are answers of {some(seen)}'
            raise UsageError(f'no frame was answered with {printable(repr(self._name))}: {hint}')


def choose_disagreeing(
        first: Results, second: Results, best: BestFrames, step: Callable[[int], None]) -> None:
    """
    Offer the frames of which two runs have different best classes, the surest first.

    :param first: the run.
    :param second: the run that it is compared with.
    :param best: takes them.
    :param step: called with the number of rows of the first run after each part of them.
    :raises DataError: if a file is damaged, or the runs have no frame in common.
    """
    matched = 0
    for match in matches(first, second):
        matched += match.first.num_rows
        offer(match, best)
        step(match.first.num_rows + match.only_first)
    check_matched(first, second, matched)


def check_matched(first: Results, second: Results, matched: int) -> None:
    """
    Refuse two runs over other frames.

    :param matched: number of rows that both have.
    :raises DataError: if that is 0.
    """
    if not matched:
        raise DataError(
            f'{first.folder} and {second.folder} have no frame in common: the drives are '
            f'{printable(some(first.drives, 3))} and {printable(some(second.drives, 3))}; name '
            'two runs over the same bags')


@dataclass
class Picked:
    """
    What was written.

    :param rows: cells of `HEAD` of each frame, the best first.
    :param problems: number of frames without a picture, by the reason.
    """

    rows: list[dict[str, object]] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)

    @property
    def pictures(self) -> int:
        """Return the number of pictures."""
        return len({row['file'] for row in self.rows if row['file']})


def check_folder(folder: Path, overwrite: bool) -> None:
    """
    Make the folder of the pictures, before the work that is to be kept there.

    :param folder: its path.
    :param overwrite: whether it may hold files.
    :raises UsageError: if it cannot be made, or holds files and may not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not overwrite:
            raise UsageError(
                f'{folder} is not empty: name another folder, or write into it with --overwrite')
    except OSError as error:
        raise UsageError(
            f'cannot write to {folder} ({error.strerror or error}): choose another folder'
        ) from error


def write_pictures(
        frames: Sequence[FoundFrame], folder: Path, bags: Optional[Path], cache_bytes: int,
        warn: Callable[[str], None], step: Callable[[int], None]) -> Picked:
    """
    Write the pictures of frames, and a table of them.

    The name of each picture begins with its place, 0001 for the best. Several regions of a frame
    share its picture. A frame whose picture cannot be had is in the table with the reason. What
    a former pick wrote into the folder, by its table, is removed, other files stay.

    :param frames: the best first.
    :param folder: as `check_folder` made it.
    :param bags: see `take_pictures`.
    :param cache_bytes: disk space for copies of bags from stores.
    :param warn: called with each warning about a bag.
    :param step: called with 1 after each frame.
    :raises UsageError: if a file cannot be written.
    """
    picked = Picked([_row(frame) for frame in frames])
    written: dict[tuple[str, str, int], str] = {}
    for name in _earlier_pictures(folder / TABLE):
        (folder / name).unlink(missing_ok=True)
    # The regions of a frame come together, the best first.
    for place, picture, reason in take_pictures(frames, bags, cache_bytes, warn):
        frame = frames[place]
        key = frame.bag, frame.topic, frame.frame
        if picture is not None and key not in written:
            try:
                data, ending = picture.file()
            except FrameError as error:
                reason = str(error)
            else:
                written[key] = f'{_stem(place, frame)}{ending}'
                with whole_file(folder / written[key]) as temporary:
                    temporary.write_bytes(data)
        picked.rows[place].update({'file': written.get(key, ''), 'error': reason})
        if reason:
            picked.problems[reason] += 1
        step(1)
    with whole_file(folder / TABLE) as temporary, temporary.open(
            'w', encoding='utf-8', errors='backslashreplace', newline='') as file:
        table = csv.DictWriter(file, HEAD)
        table.writeheader()
        table.writerows(picked.rows)
    return picked


def _earlier_pictures(table: Path) -> list[str]:
    """Return the pictures that a table lists, none without a table that can be read."""
    try:
        with table.open(encoding='utf-8', newline='') as file:
            names = {row.get('file') or '' for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    # Others may have written the table, and it must not remove files elsewhere.
    return [name for name in names if _NAME.fullmatch(name)]


def _row(frame: FoundFrame) -> dict[str, object]:
    row: dict[str, object] = {
        name: getattr(frame, name) for name in (
            'drive', 'bag', 'topic', 'stamp_ns', 'log_time_ns', 'frame', 'region_id')}
    row.update(_answer('', frame.answer))
    if frame.other is not None:
        row.update(_answer('other_', frame.other))
    return {**row, 'entropy': '' if np.isnan(frame.entropy) else f'{frame.entropy:.6g}'}


def _answer(prefix: str, answer: Answer) -> dict[str, str]:
    # JSON, since the names of classes may hold any character.
    return {f'{prefix}classes': json.dumps(answer.classes, ensure_ascii=False),
            f'{prefix}scores': json.dumps([round(score, 6) for score in answer.scores])}


def _stem(place: int, frame: FoundFrame) -> str:
    names = f'{frame.drive[:60]}_{frame.topic.strip("/")[:60]}'
    words = re.sub(r'[^\w.-]+', '_', names, flags=re.ASCII)
    return f'{place + 1:04d}_{words}_{frame.stamp_ns}'
