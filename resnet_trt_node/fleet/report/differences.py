"""The sections of the report about two runs: where they differ, and a sheet of such frames."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path, PurePath
from typing import Optional

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_trt_node.errors import FrameError
from resnet_trt_node.fleet.report.markup import moment, percent, table, text
from resnet_trt_node.fleet.report.sections import Run
from resnet_trt_node.fleet.results.candidates import FoundFrame
from resnet_trt_node.fleet.results.comparison import Comparison
from resnet_trt_node.fleet.results.drift import describe, SOURCE, stability_index
from resnet_trt_node.fleet.results.pictures import take_pictures

_MOST_PAIRS, _MOST_CLASSES, _MOST_DRIVES = 25, 15, 25
#: Pixels of the sides of a picture on the sheet, at most.
_PICTURE = (320, 240)


def differences(run: Run, other: Run, found: Comparison) -> list[str]:
    """Return the agreement, the drift, and which classes and drives changed."""
    names = [PurePath(one.results.model).name for one in (run, other)]
    if names[0] == names[1]:
        names = [str(one.results.folder) for one in (run, other)]
    return [
        '<h2>Where the runs differ</h2>', *_agreement(names, found),
        '<h3>Changed classes</h3>',
        table((names[1], names[0], 'rows', 'of all changes'), _pairs(found), 'llrr'),
        *_more(len(found.pairs), _MOST_PAIRS, 'pairs'),
        '<h3>Drift of the class shares</h3>', *_drift(run, other, names, found),
        '<h3>Drives that changed most</h3>',
        table(('drive', 'rows', 'same best class', 'PSI', ''), _drives(found), 'lrrrl'),
        *_more(len(found.drives), _MOST_DRIVES, 'drives')]


def _agreement(names: Sequence[str], found: Comparison) -> list[str]:
    total = found.total
    lines = [
        f'{found.matched:,} rows are in both runs, {total.both:,} of them answered in both. The '
        f'best class is the same for {total.same:,} of these, {percent(total.rate, 2)}.']
    if found.won or found.lost:
        lines.append(f'{found.won:,} rows have an answer of {names[0]} only, {found.lost:,} of '
                     f'{names[1]} only.')
    if found.only_first or found.only_second:
        lines.append(f'{found.only_first:,} rows are in the run of {names[0]} only, '
                     f'{found.only_second:,} in that of {names[1]} only.')
    return [f'<p>{text(line, 600)}</p>' for line in lines]


def _pairs(found: Comparison) -> list[Sequence[str]]:
    changes = found.pairs.total()
    pairs = sorted(found.pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(before, after, f'{number:,}', percent(number / changes))
            for (before, after), number in pairs[:_MOST_PAIRS]]


def _drift(run: Run, other: Run, names: Sequence[str], found: Comparison) -> list[str]:
    total = found.total
    scores = stability_index(
        run.summary.histogram.tolist(), other.summary.histogram.tolist())
    after, before = ({name: number / max(1, total.both) for name, number in one.items()}
                     for one in (total.first, total.second))
    change = {name: after.get(name, 0) - before.get(name, 0) for name in {*after, *before}}
    largest = sorted(change, key=lambda name: (-abs(change[name]), name))[:_MOST_CLASSES]
    rows = [(name, percent(before.get(name, 0), 2), percent(after.get(name, 0), 2),
             f'{100 * change[name]:+.2f}') for name in largest]
    return [
        f'<p>Population stability index of the best classes: <b>{total.drift:.3f}</b> '
        f'({describe(total.drift)}); of the scores: <b>{scores:.3f}</b> ({describe(scores)}). '
        f'<span class="faint">Below 0.1 is usually called stable, from 0.25 on a large drift; '
        f'a rule of thumb, see {SOURCE}.</span></p>',
        table(('class', names[1], names[0], 'points'), rows, 'lrrr'),
        *_more(len(change), _MOST_CLASSES, 'classes')]


def _drives(found: Comparison) -> list[Sequence[str]]:
    # The rate of those without a common answer is NaN, which has no order.
    drives = sorted(found.drives, key=lambda one: (one.rate if one.both else 2, one.name))
    return [(one.name, f'{one.both:,}', percent(one.rate), f'{one.drift:.3f}',
             describe(one.drift)) for one in drives[:_MOST_DRIVES]]


def _more(number: int, shown: int, what: str) -> list[str]:
    return [f'<p class="faint">{number - shown:,} more {what} are left out.</p>'] if (
        number > shown) else []


def sheet(
        frames: Sequence[FoundFrame], bags: Optional[Path], cache_bytes: int,
        warn: Callable[[str], None]) -> tuple[list[str], list[str]]:
    """
    Return a sheet of frames with their pictures.

    :param frames: the surest disagreements, the first one first.
    :param bags: see `take_pictures`, as the others.
    :param cache_bytes: disk space for copies of bags from stores.
    :param warn: called with each warning about a bag.
    :returns: HTML, and why frames have no picture, each reason once.
    """
    tiles = [''] * len(frames)
    reasons: dict[str, None] = {}
    for place, picture, reason in take_pictures(frames, bags, cache_bytes, warn):
        shown = ''
        if picture is not None:
            try:
                shown = _image(picture.pixels())
            except FrameError as error:
                reason = str(error)
        if reason:
            reasons[reason] = None
            shown = f'<div class="none">{text(reason, 120)}</div>'
        tiles[place] = _tile(frames[place], shown)
    parts = ['<h3>Frames to look at</h3>']
    if not frames:
        return [*parts, '<p>Both runs agree on every frame.</p>'], []
    return [
        *parts,
        '<p class="faint">Where both are surest and differ: sorted by the lower one of the two '
        'scores. <code>resnet_trt fleet-pick --disagreeing</code> writes such frames as '
        'files.</p>',
        '<div class="sheet">', *tiles, '</div>'], list(reasons)


def _tile(frame: FoundFrame, picture: str) -> str:
    assert frame.other is not None
    place = f'{frame.drive}, {frame.topic}'
    if frame.region_id is not None:
        place += f', region {frame.region_id}'
    return (f'<figure>{picture}<figcaption><b>{text(frame.answer.best, 60)}</b><br>'
            f'before: {text(frame.other.best, 60)}<br><span class="faint">{text(place)}<br>'
            f'{moment(frame.log_time_ns)}, frame {frame.frame:,}</span></figcaption></figure>')


def _image(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail(_PICTURE)
    content = BytesIO()
    image.save(content, 'JPEG', quality=82)
    data = b64encode(content.getvalue()).decode('ascii')
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'
