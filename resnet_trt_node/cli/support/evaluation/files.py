"""Files written by `resnet_trt evaluate`: the confusion matrix and the reliability diagram."""

from __future__ import annotations

from argparse import Namespace
import csv
from importlib.util import find_spec
import json
from pathlib import Path
from typing import Any

import numpy as np

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.cli.support.console import count_of
from resnet_trt_node.cli.support.evaluation.report import Evaluation
from resnet_trt_node.errors import UsageError
from resnet_trt_node.evaluation.confusion import most_confused
from resnet_trt_node.json_document import json_document
from resnet_trt_node.text.fitting import shortened
from resnet_trt_node.text.printable import printable

_PICTURES = ('.png', '.svg', '.pdf')
_TABLES = ('.csv', '.json')
#: More classes than this cannot be read in one picture.
_MOST_CLASSES = 25
_LONGEST_LABEL, _LONGEST_NAME = 26, 40
_INCH_A_CELL = 0.42
#: Cells with a larger share are dark, so their number is white.
_DARK = 0.3


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
        if path.suffix.lower() in _PICTURES and find_spec('matplotlib') is None:
            raise UsageError(
                'pictures are drawn by matplotlib, which is not installed: pip install '
                'matplotlib, or write .csv or .json')


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
                _draw_confusion(evaluation, arguments.images, temporary, ending[1:])
    if arguments.reliability is not None:
        with whole_file(arguments.reliability) as temporary:
            _draw_reliability(
                evaluation, arguments.images, temporary,
                Path(arguments.reliability).suffix.lower()[1:])


def _write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write one row for each true class, one column for each prediction."""
    with path.open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['right class', *evaluation.labels])
        for label, row in zip(evaluation.labels, evaluation.matrix.tolist()):
            writer.writerow([label, *row])


def _write_json(evaluation: Evaluation, path: Path) -> None:
    document = json_document('confusion', {
        'labels': list(evaluation.labels), 'counts': evaluation.matrix.tolist()})
    path.write_text(json.dumps(document, ensure_ascii=False) + '\n', encoding='utf-8')


def _draw_confusion(evaluation: Evaluation, images: str, path: Path, form: str) -> None:
    """
    Plot the confusion matrix; of more than 25 classes the most confused ones.

    :param evaluation: the results.
    :param images: path of the pictures.
    :param path: the file to write.
    :param form: 'png', 'svg' or 'pdf'.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    chosen, title = _chosen_classes(evaluation)
    counts = evaluation.matrix[np.ix_(chosen, chosen)]
    names = [_short(evaluation.labels[index]) for index in chosen]
    columns = list(names)
    totals = evaluation.matrix[chosen].sum(axis=1)
    if len(chosen) < len(evaluation.labels):
        counts = np.column_stack([counts, totals - counts.sum(axis=1)])
        columns.append('any other class')
    shares = counts / np.maximum(totals, 1)[:, None]
    side = max(3.0, _INCH_A_CELL * len(chosen))
    figure = Figure(figsize=(side + 3.4, side + 2.6), layout='constrained')
    axis = figure.add_subplot()
    # The square root maps the few per cent of typical confusions to half of the colour range.
    image = axis.imshow(shares, cmap='Blues', norm=PowerNorm(0.5, 0, 1), aspect='equal')
    axis.set_xticks(range(len(columns)), columns, rotation=90, parse_math=False)
    axis.set_yticks(
        range(len(names)), [f'{name}  ({total})' for name, total in zip(names, totals)],
        parse_math=False)
    axis.tick_params(length=0, labelsize=9)
    axis.set_xlabel('answer')
    axis.set_ylabel(f'right class ({evaluation.noun}s)')
    # Over the whole picture, which may be narrower than the text above its cells.
    figure.suptitle(f'{_what(evaluation, 0)} on {_set_name(images)}\n{title}', fontsize=10,
                    parse_math=False)
    _write_numbers(axis, counts, shares)
    bar = figure.colorbar(
        image, ax=axis, fraction=0.04, pad=0.02, ticks=[0, 0.01, 0.05, 0.1, 0.2, 0.5, 1],
        format=lambda share, _: f'{100 * share:.0f} %')
    bar.set_label(f"share of the right class's {evaluation.noun}s")
    # Tight: with square cells the constrained layout may cut a label off.
    figure.savefig(path, format=form, dpi=120, bbox_inches='tight')


def _chosen_classes(evaluation: Evaluation) -> tuple[list[int], str]:
    """Return the plotted classes and the title."""
    matrix, labels = evaluation.matrix, evaluation.labels
    total, wrong = int(matrix.sum()), int(matrix.sum() - np.trace(matrix))
    title = f'top-1 {100 * (1 - wrong / total):.1f} % of {count_of(total, evaluation.noun)}'
    if len(labels) <= _MOST_CLASSES:
        return list(range(len(labels))), title
    chosen = list(most_confused(matrix, _MOST_CLASSES))
    if not chosen:
        chosen = np.flatnonzero(matrix.sum(axis=1))[:_MOST_CLASSES].tolist()
        return chosen, f'{title}; the first {len(chosen)} of {len(labels)} classes'
    part = matrix[np.ix_(chosen, chosen)]
    return chosen, (
        f'{title}; the {len(chosen)} most confused of {len(labels)} classes,\nwhose confusions '
        f'with each other are {int(part.sum() - np.trace(part))} of {wrong} wrong answers')


def _write_numbers(axis: Any, counts: Any, shares: Any) -> None:
    size = 8 if counts.max() < 1000 else 6.5
    for row, column in zip(*np.nonzero(counts)):
        axis.text(
            column, row, str(counts[row, column]), ha='center', va='center', fontsize=size,
            color='white' if shares[row, column] > _DARK else 'black')


def _draw_reliability(evaluation: Evaluation, images: str, path: Path, form: str) -> None:
    """
    Plot accuracy over confidence, and the number of pictures in each bin, for each model.

    :param evaluation: the results.
    :param images: path of the pictures.
    :param path: the file to write.
    :param form: 'png', 'svg' or 'pdf'.
    """
    from matplotlib.figure import Figure
    number = len(evaluation.calibrations)
    figure = Figure(figsize=(4.6 * number, 5.8), layout='constrained')
    count = count_of(len(evaluation.outcomes[0]), evaluation.noun)
    figure.suptitle(f'Reliability on {_set_name(images)}, {count}', fontsize=11, parse_math=False)
    axes = figure.subplots(
        2, number, squeeze=False, sharex=True, height_ratios=(3, 1))
    for place, found in enumerate(evaluation.calibrations):
        top, bottom = axes[0][place], axes[1][place]
        width = 100 / len(found.counts)
        centres = (np.arange(len(found.counts)) + 0.5) * width
        filled = found.counts > 0
        top.plot(
            [0, 100], [0, 100], '--', color='#888888', linewidth=1, zorder=3,
            label='as sure as right')
        top.bar(
            centres[filled], 100 * found.accuracies[filled], 0.92 * width, color='#4c72b0',
            label='accuracy')
        top.plot(
            100 * found.confidences[filled], 100 * found.accuracies[filled], 'o',
            color='#dd8452', markersize=4, zorder=4, label='at the mean confidence')
        top.set_xlim(0, 100)
        top.set_ylim(0, 102)
        top.set_title(
            f'{_what(evaluation, place)}\ncalibration error {100 * found.expected_error:.1f} % '
            f'expected, {100 * found.maximum_error:.1f} % at most', fontsize=10, parse_math=False)
        bottom.bar(centres, found.counts, 0.92 * width, color='#999999')
        bottom.yaxis.get_major_locator().set_params(integer=True)
        bottom.set_xlabel('confidence in %')
        for axis, label in ((top, 'accuracy in %'), (bottom, f'{evaluation.noun}s')):
            axis.spines[['top', 'right']].set_visible(False)
            if not place:
                axis.set_ylabel(label)
    # Below the axes, since bars may cover any place within them.
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc='outside lower center', ncols=3,
        fontsize=8, frameon=False)
    figure.savefig(path, format=form, dpi=120)


def _what(evaluation: Evaluation, place: int) -> str:
    """Return the name of a model, with its runtime where two run the same file."""
    same = len(set(evaluation.models)) < len(evaluation.models)
    runtime = f', {evaluation.infos[place].name}' if same else ''
    name = printable(Path(evaluation.models[place]).name)
    return shortened(name, _LONGEST_NAME - len(runtime)) + runtime


def _set_name(images: str) -> str:
    return shortened(printable(Path(images).absolute().name), _LONGEST_NAME)


def _short(label: str) -> str:
    return shortened(printable(label), _LONGEST_LABEL)
