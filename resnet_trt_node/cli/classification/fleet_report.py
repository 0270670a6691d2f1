"""`resnet_trt fleet-report`: what a fleet run found, and how it differs from another, as HTML."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Optional

from resnet_trt_node.atomic_file import check_place, whole_file
from resnet_trt_node.cli.support.console import (
    count_of, log, print_json, print_warning, Progress, write)
from resnet_trt_node.errors import UsageError
from resnet_trt_node.fleet.report.report import (
    make_report, Report, report_rows, ReportOptions)
from resnet_trt_node.fleet.report.sections import ranked, Run
from resnet_trt_node.fleet.results.comparison import Comparison
from resnet_trt_node.fleet.results.files import Results
from resnet_trt_node.fleet.table import ANSWERED

_REPORT = 'report.html'
#: Changed classes that are printed.
_MOST_PAIRS = 5


def run(arguments: Namespace) -> int:
    """Write the report and print its main figures."""
    for name in ('frames', 'drives'):
        if getattr(arguments, name) < 1:
            raise UsageError(f'--{name} {getattr(arguments, name)}: choose at least 1')
    options = ReportOptions(
        arguments.drives, arguments.frames, apart_ns(arguments.apart), arguments.bags,
        cache_bytes(arguments.cache_gib))
    first = open_results(arguments.results)
    second = None if arguments.against is None else open_results(arguments.against)
    path = arguments.results / _REPORT if arguments.output is None else arguments.output
    check_place(path)
    with Progress(report_rows(first, second), 'row', arguments.json, scaled=True) as progress:
        report = make_report(
            first, second, options, print_warning,
            lambda rows: progress.advance(rows, report_rows(first, second)))
    with whole_file(path) as temporary:
        temporary.write_text(report.html, encoding='utf-8')
    for reason in report.without_picture:
        print_warning(f'no picture: {reason}')
    if arguments.json:
        print_json('fleet-report', _document(report, path))
        return 0
    _write_run(report.run)
    if report.comparison is not None:
        _write_comparison(report.comparison)
    log(f'report: {path}')
    return 0


def open_results(folder: Path) -> Results:
    """
    Open the results of a run, and print what is missing.

    :raises DataError: if they cannot be read.
    """
    results = Results(folder)
    for warning in results.warnings:
        print_warning(warning)
    return results


def apart_ns(seconds: float) -> int:
    """
    Return the value of --apart in nanoseconds.

    :raises UsageError: if it is no length of time.
    """
    if not 0 <= seconds < 1e9:
        raise UsageError(f'--apart {seconds}: give seconds, 0 or more')
    return round(seconds * 1e9)


def cache_bytes(gibibytes: float) -> int:
    """
    Return the value of --cache-gib in bytes.

    :raises UsageError: if it is no size.
    """
    if not 0 <= gibibytes < 1e9:
        raise UsageError(f'--cache-gib {gibibytes}: give GiB, 0 or more')
    return round(gibibytes * 2**30)


def _write_run(run: Run) -> None:
    outcomes = run.summary.outcomes
    write(f'{count_of(len(run.summary.drives), "drive")}, {outcomes.total():,} rows, '
          f'{outcomes[ANSWERED]:,} answered')
    for name, number in ranked(outcomes):
        if name != ANSWERED:
            write(f'  {number:,} not answered: {name}')


def _write_comparison(found: Comparison) -> None:
    total = found.total
    write(f'{found.matched:,} rows in both runs, the same best class in '
          f'{100 * total.rate:.2f} % of {total.both:,}; drift of classes (PSI) {total.drift:.3f}')
    pairs = sorted(found.pairs.items(), key=lambda item: (-item[1], item[0]))
    for (before, after), number in pairs[:_MOST_PAIRS]:
        write(f'  {number:,} from {before} to {after}')


def _document(report: Report, path: Path) -> dict[str, Any]:
    return {
        'report': str(path), 'run': _run_document(report.run),
        'against': None if report.other is None else _run_document(report.other),
        'comparison': _comparison_document(report.comparison),
        'without_picture': report.without_picture}


def _run_document(run: Run) -> dict[str, Any]:
    summary = run.summary
    return {
        'folder': str(run.results.folder), 'model': run.results.model,
        'model_sha256': run.results.model_sha256, 'rows': summary.outcomes.total(),
        'outcomes': dict(ranked(summary.outcomes)), 'classes': dict(ranked(summary.classes)),
        'confidence': summary.histogram.tolist(), 'drives': [{
            'drive': one.name, 'start_ns': one.start_ns, 'end_ns': one.end_ns,
            'outcomes': dict(ranked(one.outcomes)), 'classes': dict(ranked(one.classes)),
        } for one in summary.drives], 'skipped': dict(ranked(run.results.skipped)),
        'incomplete': [{'bag': bag, 'reason': reason}
                       for bag, reason in run.results.incomplete.items()],
        'warnings': run.results.warnings}


def _comparison_document(found: Optional[Comparison]) -> Optional[dict[str, Any]]:
    if found is None:
        return None
    total = found.total
    return {
        'matched': found.matched, 'only_run': found.only_first, 'only_against': found.only_second,
        'both': total.both, 'same': total.same,
        'drift': total.drift if total.both else None,
        'changes': [{'against': before, 'run': after, 'rows': number}
                    for (before, after), number in sorted(
                        found.pairs.items(), key=lambda item: (-item[1], item[0]))],
        'drives': [{'drive': one.name, 'both': one.both, 'same': one.same,
                    'drift': one.drift if one.both else None} for one in found.drives]}
