"""Files written by `resnet_trt evaluate`: the confusion matrix and the reliability diagram."""

from __future__ import annotations

from argparse import Namespace
import csv
import json
from pathlib import Path

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.cli.support.evaluation_plots import (
    check_plotting, draw_confusion, draw_reliability)
from resnet_trt_node.cli.support.evaluation_report import Evaluation
from resnet_trt_node.errors import UsageError

_PICTURES = ('.png', '.svg', '.pdf')
_TABLES = ('.csv', '.json')


def check_outputs(arguments: Namespace) -> None:
    """
    Refuse files that cannot be written, before the evaluation.

    :raises UsageError: for an unknown suffix, a folder, or a picture without matplotlib.
    """
    wanted: list[tuple[str, str, tuple[str, ...]]] = [
        ('--confusion', name, _PICTURES + _TABLES) for name in arguments.confusion]
    if arguments.reliability is not None:
        wanted.append(('--reliability', arguments.reliability, _PICTURES))
    for option, name, endings in wanted:
        path = Path(name)
        if path.suffix.lower() not in endings:
            raise UsageError(
                f'{option} {name}: choose the format by the suffix, one of {", ".join(endings)}')
        if path.is_dir():
            raise UsageError(f'{option} {name} is a folder: name a file in it')
        if path.suffix.lower() in _PICTURES:
            check_plotting()


def write_outputs(evaluation: Evaluation, arguments: Namespace) -> None:
    """
    Write the requested files, each atomically.

    :raises UsageError: if a file cannot be written.
    """
    for name in arguments.confusion:
        ending = Path(name).suffix.lower()
        with whole_file(name) as temporary:
            if ending == '.csv':
                _write_csv(evaluation, temporary)
            elif ending == '.json':
                _write_json(evaluation, temporary)
            else:
                draw_confusion(evaluation, temporary, ending[1:])
    if arguments.reliability is not None:
        with whole_file(arguments.reliability) as temporary:
            draw_reliability(
                evaluation, temporary, Path(arguments.reliability).suffix.lower()[1:])


def _write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write one row for each true class, one column for each prediction."""
    with path.open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['right class', *evaluation.labels])
        for label, row in zip(evaluation.labels, evaluation.matrix.tolist()):
            writer.writerow([label, *row])


def _write_json(evaluation: Evaluation, path: Path) -> None:
    document = {'labels': list(evaluation.labels), 'counts': evaluation.matrix.tolist()}
    path.write_text(json.dumps(document, ensure_ascii=False) + '\n', encoding='utf-8')
