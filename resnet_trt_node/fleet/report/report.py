"""Counts a run, and another one that it is compared with, and puts the page together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from resnet_trt_node.fleet.report import sections
from resnet_trt_node.fleet.report.differences import differences, sheet
from resnet_trt_node.fleet.report.markup import page
from resnet_trt_node.fleet.report.sections import Run
from resnet_trt_node.fleet.results.comparison import compare, Comparison
from resnet_trt_node.fleet.results.files import Results
from resnet_trt_node.fleet.results.picking import check_matched
from resnet_trt_node.fleet.results.summary import DriveSummary, summarise, timeline

#: Parts of the time of a drive, at most; of a drive with few rows each part has two of them.
_BINS = 118


@dataclass(frozen=True)
class ReportOptions:
    """
    What the report shows.

    :param drives: how many drives are drawn over time.
    :param frames: how many frames are on the sheet.
    :param apart_ns: the shortest time between two of them on a topic.
    :param bags: where bags are looked for that are no more at their recorded path.
    :param cache_bytes: disk space for copies of bags from stores.
    """

    drives: int
    frames: int
    apart_ns: int
    bags: Optional[Path]
    cache_bytes: int


@dataclass
class Report:
    """
    The page, and what it is made of.

    :param html: the page.
    :param run: the run.
    :param other: the run that it is compared with.
    :param comparison: of the two.
    :param without_picture: why frames of the sheet have no picture, each reason once.
    """

    html: str
    run: Run
    other: Optional[Run] = None
    comparison: Optional[Comparison] = None
    without_picture: list[str] = field(default_factory=list)


def make_report(
        first: Results, second: Optional[Results], options: ReportOptions,
        warn: Callable[[str], None], step: Callable[[int], None]) -> Report:
    """
    Make the report; `step` is called with as many rows as `report_rows` says, more or less.

    :param first: the run.
    :param second: the run that it is compared with, usually of the model before.
    :param options: what is shown.
    :param warn: called with each warning about a bag.
    :param step: called with numbers of rows as they have been read.
    :raises DataError: if a file is damaged, or the runs have no frame in common.
    """
    run = Run(first, summarise(first, step))
    other = comparison = None
    if second is not None:
        other = Run(second, summarise(second, step))
        comparison = compare(first, second, options.frames, options.apart_ns, step)
        check_matched(first, second, comparison.matched)
    names = list(run.colours)
    for drive in _chosen(run, comparison, options.drives):
        bins = max(1, min(_BINS, drive.rows // 2))
        run.timelines.append((drive, timeline(first, drive, names, bins)))
    parts = [*sections.head(run, other, comparison)]
    reasons: list[str] = []
    if other is not None and comparison is not None:
        parts += differences(run, other, comparison)
        tiles, reasons = sheet(comparison.frames, options.bags, options.cache_bytes, warn)
        parts += tiles
    parts += [*sections.drives(run), *sections.classes(run, other), *sections.scores(run, other),
              *sections.skips(run, other), *sections.incomplete(run)]
    title = f'Fleet report: {first.folder.absolute().name}'
    return Report(page(title, parts), run, other, comparison, reasons)


def report_rows(first: Results, second: Optional[Results]) -> int:
    """Return how many rows `make_report` reads."""
    return first.rows if second is None else 2 * first.rows + second.rows


def _chosen(run: Run, comparison: Optional[Comparison], number: int) -> list[DriveSummary]:
    """Return the drives that are drawn: the first ones, or those that changed most."""
    drives = run.summary.drives
    if comparison is None or len(drives) <= number:
        return drives[:number]
    rates = {one.name: one.rate for one in comparison.drives if one.both}
    return sorted(drives, key=lambda one: (rates.get(one.name, 2), one.name))[:number]
