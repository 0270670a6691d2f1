"""The sections of the report about one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import PurePath
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.fleet.report import plots
from resnet_trt_node.fleet.report.markup import (
    cards, duration, legend, moment, percent, table, text)
from resnet_trt_node.fleet.results.comparison import Comparison
from resnet_trt_node.fleet.results.files import Results
from resnet_trt_node.fleet.results.summary import DriveSummary, Summary
from resnet_trt_node.fleet.table import ANSWERED

#: Classes that have a bar, and drives that have a row.
_MOST_BARS, _MOST_DRIVES = 20, 1000


@dataclass
class Run:
    """
    A run and what was counted in it.

    :param results: the run.
    :param summary: its counts.
    :param timelines: drives and their `timeline`, by the classes of `colours`.
    """

    results: Results
    summary: Summary
    timelines: list[tuple[DriveSummary, NDArray[np.int64]]] = field(default_factory=list)

    @property
    def colours(self) -> dict[str, str]:
        """Return the most frequent classes with their colours."""
        frequent = [name for name, _ in ranked(self.summary.classes)]
        return dict(zip(frequent, plots.COLOURS))

    @property
    def name(self) -> str:
        """Return the name of its folder and of its model, for people."""
        return f'{self.results.folder} ({PurePath(self.results.model).name})'


def ranked(counts: Any) -> list[tuple[str, int]]:
    """Return what was counted, the most frequent first, equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def head(run: Run, other: Optional[Run], comparison: Optional[Comparison]) -> list[str]:
    """Return the title, what was run, and the figures in short."""
    drives = run.summary.drives
    outcomes = run.summary.outcomes
    parts = [f'<h1>Fleet report: {text(run.results.folder.absolute().name)}</h1>', _model(run)]
    if other is not None:
        parts.append(_model(other, 'Compared with'))
    for warning in run.results.warnings + (other.results.warnings if other else []):
        parts.append(f'<p class="warning">{text(warning, 400)}</p>')
    figures = [
        (f'{len(drives):,}', 'drives'), (f'{outcomes.total():,}', 'frames or regions'),
        (percent(outcomes[ANSWERED] / (outcomes.total() or nan)), 'answered'),
        (f'{len(run.summary.classes):,}', 'classes seen')]
    if comparison is not None:
        figures += [(percent(comparison.total.rate), 'same best class in both runs'),
                    (f'{comparison.total.drift:.3f}', 'drift of classes (PSI)')]
    parts.append(cards(figures))
    if drives:
        start, end = min(one.start_ns for one in drives), max(one.end_ns for one in drives)
        parts.append(
            f'<p class="faint">Recorded from {moment(start)} to {moment(end)} UTC.</p>')
    return parts


def _model(run: Run, what: str = 'Model') -> str:
    results = run.results
    return (f'<p>{what}: <b>{text(PurePath(results.model).name)}</b> <span class="faint">sha256 '
            f'{text(results.model_sha256[:12])}, resnet_trt_node {text(results.software_version)},'
            f' {text(results.folder)}</span></p>')


def drives(run: Run) -> list[str]:
    """Return the classes of drives over their time, and a table of all drives."""
    colours = run.colours
    names = [*colours, 'other classes', 'no answer']
    shades = [*colours.values(), plots.OTHER, plots.SKIPPED]
    number = len(run.summary.drives)
    shown = 'each drive' if len(run.timelines) == number else (
        f'{len(run.timelines)} of {number:,} drives (--drives shows more)')
    parts = [
        '<h2>Drives by class over time</h2>',
        f'<p class="faint">Shares of the best class in {shown}, from its start; white: nothing '
        'was recorded or sampled.</p>', legend(zip(names, shades))]
    for drive, counts in run.timelines:
        length = (drive.end_ns - drive.start_ns) / 1e9
        parts += [
            f'<h3>{text(drive.name)} <span class="faint">{moment(drive.start_ns)} UTC, '
            f'{duration(length)}, {drive.rows:,} rows</span></h3>',
            plots.timeline(counts, shades, names, length)]
    rows = [_drive_row(one) for one in run.summary.drives[:_MOST_DRIVES]]
    title = f'All {number:,} drives' if number <= _MOST_DRIVES else (
        f'The first {_MOST_DRIVES:,} of {number:,} drives')
    return [*parts, f'<details><summary>{title} as a table</summary>', table(
        ('drive', 'start (UTC)', 'length', 'rows', 'answered', 'most frequent classes'), rows,
        'llrrrl'), '</details>']


def _drive_row(drive: DriveSummary) -> Sequence[str]:
    frequent = ', '.join(f'{name} {percent(number / drive.answered, 0)}'
                         for name, number in ranked(drive.classes)[:3])
    return (drive.name, moment(drive.start_ns), duration((drive.end_ns - drive.start_ns) / 1e9),
            f'{drive.rows:,}', percent(drive.answered / drive.rows), frequent)


def classes(run: Run, other: Optional[Run]) -> list[str]:
    """Return the shares of the most frequent classes of a run, and of the other beside them."""
    runs = [run] if other is None else [run, other]
    counts = [one.summary.classes for one in runs]
    totals = [max(1, one.total()) for one in counts]
    names = ranked(sum(counts[1:], counts[0]))
    rows = []
    for name, _ in names[:_MOST_BARS]:
        shares = [one[name] / total for one, total in zip(counts, totals)]
        score = run.summary.score_sums[name] / max(1, counts[0][name])
        note = ' / '.join(map(percent, shares))
        if other is None:
            note += f', {counts[0][name]:,}, mean score {percent(score, 0)}'
        rows.append((name, shares, note))
    colours = [run.colours.get(name, plots.OTHER) for name, _ in names[:_MOST_BARS]]
    more = len(names) - _MOST_BARS
    return [
        '<h2>Class shares</h2>',
        '<p class="faint">Share of all answers whose best class it is'
        + (f'; {more:,} less frequent classes are left out' if more > 0 else '') + '.</p>',
        *_legend_of(runs),
        plots.bars(rows, [plots.FIRST, plots.SECOND] if other else colours, 'class shares')]


def scores(run: Run, other: Optional[Run]) -> list[str]:
    """Return the distribution of the scores."""
    return [
        '<h2>Confidence</h2>',
        '<p class="faint">Share of the answers by the score of their best class.</p>',
        *_legend_of([run] if other is None else [run, other]),
        plots.histogram(run.summary.histogram,
                        None if other is None else other.summary.histogram, 'confidence')]


def skips(run: Run, other: Optional[Run]) -> list[str]:
    """Return how many rows have no answer, by the reason."""
    runs = [run] if other is None else [run, other]
    # The manifest also counts frames that have no row: not sampled, or of a unit that failed.
    outcomes = [one.results.skipped | one.summary.outcomes for one in runs]
    names = [name for name, _ in ranked(sum(outcomes[1:], outcomes[0])) if name != ANSWERED]
    parts = ['<h2>Frames without an answer</h2>']
    if not names:
        return [*parts, '<p>Every frame was answered.</p>']
    rows = [(name, *(cell for one in outcomes for cell in (
        f'{one[name]:,}', percent(one[name] / (one.total() or nan), 2)))) for name in names]
    heads = [cell for one in runs for cell in (
        'rows' if other is None else f'rows, {PurePath(one.results.model).name}', 'share')]
    return [*parts, table(('reason', *heads), rows, 'l' + 'rr' * len(runs))]


def incomplete(run: Run) -> list[str]:
    """Return the bags of which frames are missing."""
    bags = list(run.results.incomplete.items())
    if not bags:
        return []
    more = len(bags) - _MOST_DRIVES
    return ['<h2>Bags that are not complete</h2>', table(
        ('bag', 'reason'), bags[:_MOST_DRIVES], 'll'),
        *([f'<p class="faint">{more:,} more bags are left out.</p>'] if more > 0 else [])]


def _legend_of(runs: Sequence[Run]) -> list[str]:
    return [legend((one.name, colour) for one, colour in zip(
        runs, (plots.FIRST, plots.SECOND)))] if len(runs) > 1 else []
