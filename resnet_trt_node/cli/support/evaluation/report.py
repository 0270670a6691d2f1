"""The results of `resnet_trt evaluate`: tables for people, one JSON document for machines."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.cli.support.console import count_of, log, print_table, table_row, write
from resnet_trt_node.cli.support.evaluation.measurement import Measured
from resnet_trt_node.cli.support.options import backend_document, describe_backend
from resnet_trt_node.evaluation.agreement import Agreement
from resnet_trt_node.evaluation.confusion import (
    class_figures, ClassFigures, confusion_matrix, filled_cells, macro_figures)
from resnet_trt_node.evaluation.outcomes import wilson_interval
from resnet_trt_node.evaluation.reliability import Calibration, measure_calibration
from resnet_trt_node.text.printable import some

_TOP_K = (1, 5)


@dataclass(frozen=True)
class Evaluation(Measured):
    """
    All results of one run: what was measured, and of what.

    :param models: the files: the model, and the one it is compared with.
    :param infos: the backend of each model.
    :param labels: C class names.
    :param unlabelled: number of pictures left out because the table does not name them.
    :param absent: classes without a folder.
    :param bins: number of bins of the calibration error.
    :param noun: what was measured, such as 'picture'.
    """

    models: Sequence[str]
    infos: Sequence[BackendInfo]
    labels: Sequence[str]
    unlabelled: int
    absent: tuple[str, ...]
    bins: int
    noun: str

    @cached_property
    def matrix(self) -> NDArray[np.int64]:
        """Return the confusion matrix of the first model, int64 (C, C)."""
        outcomes = self.outcomes[0]
        return confusion_matrix(outcomes.targets, outcomes.predicted, len(self.labels))

    @cached_property
    def classes(self) -> tuple[ClassFigures, ...]:
        """Return the figures of the classes, of the first model."""
        return class_figures(self.matrix)

    @cached_property
    def calibrations(self) -> list[Calibration]:
        """Return each model's calibration."""
        return [measure_calibration(outcomes, self.bins) for outcomes in self.outcomes]


def print_report(evaluation: Evaluation, worst: int) -> None:
    """
    Print the tables.

    :param evaluation: the results.
    :param worst: largest number of classes in the table of the weakest ones.
    """
    _print_row(f'{evaluation.noun}s', str(len(evaluation.outcomes[0])))
    _print_model(evaluation, 0)
    macro = macro_figures(evaluation.classes)
    shown = sum(figure.count > 0 for figure in evaluation.classes)
    _print_row(
        'F1', f'{macro.f1 * 100:.2f}',
        f'%  mean over {shown} of {count_of(len(evaluation.labels), "class")} with '
        f'{evaluation.noun}s; precision {macro.precision:.1%}, recall {macro.recall:.1%}')
    _print_worst(evaluation, worst)
    if evaluation.agreement is not None:
        write()
        write(f'Compared with {evaluation.models[1]} on {evaluation.infos[1].name}')
        _print_model(evaluation, 1)
        _print_agreement(evaluation.agreement)
    _print_notes(evaluation)


def _print_row(*cells: str) -> None:
    write(table_row(cells, (8, -7)), hanging=20)


def _print_model(evaluation: Evaluation, place: int) -> None:
    outcomes = evaluation.outcomes[place]
    for k in _TOP_K:
        low, high = wilson_interval(outcomes.hits(k), len(outcomes))
        _print_row(f'top-{k}', f'{outcomes.accuracy(k) * 100:.2f}',
                   f'%  (95 % confidence: {low * 100:.1f} to {high * 100:.1f} %)')
    found = evaluation.calibrations[place]
    _print_row(
        'sure', f'{found.mean_confidence * 100:.2f}',
        f'%  in the mean; expected calibration error {found.expected_error * 100:.2f} points, '
        f'maximum {found.maximum_error * 100:.1f}')


def _print_worst(evaluation: Evaluation, worst: int) -> None:
    weak = sorted(
        (figure for figure in evaluation.classes
         if figure.count and figure.f1 is not None and figure.f1 < 1),
        key=lambda figure: (figure.f1, figure.index))[:worst]
    if not weak:
        return
    labels = evaluation.labels
    rows = [(
        labels[figure.index], str(figure.count), _percent(figure.precision),
        _percent(figure.recall), _percent(figure.f1),
        '' if figure.confused_with is None
        else f'{labels[figure.confused_with]} ({figure.confused} x)') for figure in weak]
    head = ('weakest classes', f'{evaluation.noun}s', 'precision', 'recall', 'F1',
            'most often taken for')
    write()
    print_table(head, rows, 'lrrrr')


def _print_agreement(found: Agreement) -> None:
    low, high = wilson_interval(found.same, found.count)
    _print_row('same', f'{found.same / found.count * 100:.2f}',
               f'%  of the answers (95 % confidence: {low * 100:.1f} to {high * 100:.1f} %)')
    low, high = found.difference_interval()
    _print_row('gained', f'{found.accuracy_difference * 100:+.2f}',
               f'points of top-1 (95 % confidence: {low * 100:+.2f} to {high * 100:+.2f})')
    write(
        f'right only without it {found.only_first} x, only with it {found.only_second} x: '
        f"McNemar's exact p = {found.mcnemar():.3g}")
    write(
        f'probabilities differ by {found.max_difference:.2g} at most, '
        f'{found.mean_difference:.2g} in the mean; KL divergence {found.mean_kl:.2g} nats in the '
        'mean')


def _print_notes(evaluation: Evaluation) -> None:
    rate = len(evaluation.outcomes[0]) / (evaluation.wall_ns / 1e9)
    who = ' and '.join(map(describe_backend, evaluation.infos))
    log(f'{who}: {rate:.1f} {evaluation.noun}s a second here, '
        f'{evaluation.decode_ns / evaluation.wall_ns:.0%} of the time spent on reading, and on '
        'decoding on the CPU')
    notes = [
        (len(evaluation.failures), evaluation.noun, 'could not be used and count neither way'),
        (evaluation.unlabelled, 'picture', 'without a class left out'),
        (len(evaluation.absent), 'class',
         f'of the model without a folder: {some(evaluation.absent)}')]
    for number, what, note in notes:
        if number:
            log(f'{count_of(number, what)} {note}')
    if evaluation.unusable:
        log(evaluation.describe_unusable())


def _percent(share: Optional[float]) -> str:
    return '-' if share is None else f'{share * 100:.1f}'


def report_document(evaluation: Evaluation, arguments: Namespace) -> dict[str, Any]:
    """
    Return everything as one JSON document.

    :param evaluation: the results.
    :param arguments: the command's options.
    """
    document: dict[str, Any] = {
        'model': evaluation.models[0], 'images': arguments.images, 'crops': arguments.crops,
        'backend': backend_document(evaluation.infos[0]), 'resize_method': arguments.resize_method,
        'count': len(evaluation.outcomes[0]), **_model_document(evaluation, 0),
        'macro': asdict(macro_figures(evaluation.classes)),
        'classes': [
            {'label': evaluation.labels[figure.index], **asdict(figure)}
            for figure in evaluation.classes],
        # Right class, answer, pictures: of 1000 x 1000 cells most are 0.
        'confusion': filled_cells(evaluation.matrix),
        'wall_s': evaluation.wall_ns / 1e9,
        'decode_share': evaluation.decode_ns / evaluation.wall_ns,
        'unlabelled': evaluation.unlabelled, 'absent': list(evaluation.absent),
        'failures': evaluation.failures, 'unusable': evaluation.unusable}
    if evaluation.agreement is not None:
        document['comparison'] = {
            'model': evaluation.models[1], 'backend': backend_document(evaluation.infos[1]),
            **_model_document(evaluation, 1),
            'agreement': _agreement_document(evaluation.agreement)}
    return document


def _model_document(evaluation: Evaluation, place: int) -> dict[str, Any]:
    outcomes = evaluation.outcomes[place]
    found = evaluation.calibrations[place]
    count = len(found.counts)
    return {
        **{f'top{k}': {
            'hits': outcomes.hits(k), 'accuracy': outcomes.accuracy(k),
            'confidence_95': wilson_interval(outcomes.hits(k), len(outcomes))} for k in _TOP_K},
        'calibration': {
            'expected_error': found.expected_error, 'maximum_error': found.maximum_error,
            'mean_confidence': found.mean_confidence, 'nll': found.nll, 'brier': found.brier,
            'bins': [{
                'above': place / count, 'to': (place + 1) / count, 'count': int(number),
                # NaN is not valid JSON.
                'confidence': float(found.confidences[place]) if number else None,
                'accuracy': float(found.accuracies[place]) if number else None}
                for place, number in enumerate(found.counts)]}}


def _agreement_document(found: Agreement) -> dict[str, Any]:
    return {
        'same': found.same, 'rate': found.same / found.count,
        'confidence_95': wilson_interval(found.same, found.count),
        'both_right': found.both_right, 'only_model_right': found.only_first,
        'only_other_right': found.only_second, 'both_wrong': found.both_wrong,
        'accuracy_difference': found.accuracy_difference,
        'accuracy_difference_95': found.difference_interval(),
        'mcnemar_p': found.mcnemar(),
        'mean_probability_difference': found.mean_difference,
        'max_probability_difference': found.max_difference,
        'mean_kl_nats': found.mean_kl, 'max_kl_nats': found.max_kl}
