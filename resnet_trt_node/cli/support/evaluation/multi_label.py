"""`resnet_trt evaluate` for multi-label models: their pictures, figures and results."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Optional

import numpy as np
from resnet_trt_node.backends.base import Backend
from resnet_trt_node.cli.support.console import (
    count_of, log, print_json, print_table, table_row, write)
from resnet_trt_node.cli.support.evaluation.measurement import open_labelled, run_models
from resnet_trt_node.cli.support.options import (
    backend_document, describe_backend, max_image_bytes)
from resnet_trt_node.contract.prediction import MULTI_LABEL_THRESHOLD
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.datasets.labelled import PictureSet
from resnet_trt_node.datasets.multi_label import MultiLabelPicture, MultiLabelPictures
from resnet_trt_node.datasets.names import TABLE_NAME
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.datasets.table import LabelledPicture
from resnet_trt_node.errors import UsageError
from resnet_trt_node.evaluation.agreement import same_answers
from resnet_trt_node.evaluation.multi_label import (
    MultiLabelCollector, MultiLabelOutcomes, weakest)
from resnet_trt_node.evaluation.outcomes import wilson_interval


def check_multi_label(arguments: Namespace, spec: ModelSpec) -> None:
    """
    Refuse what does not fit the kind of a model.

    :param arguments: of `resnet_trt evaluate`.
    :param spec: of its model.
    :raises UsageError: for an option of the other kind.
    """
    threshold = arguments.score_threshold
    if not spec.multi_label:
        if threshold is not None:
            raise UsageError(
                '--score-threshold is for multi-label models; of this one the most probable class '
                'counts: leave it out')
        return
    # NaN is in no range.
    if threshold is not None and not 0 < threshold <= 1:
        raise UsageError(f'--score-threshold {threshold}: choose above 0 and up to 1')
    for option in ('confusion', 'reliability'):
        if getattr(arguments, option):
            raise UsageError(
                f'--{option} is for models of one class of all, this one is multi-label: leave it '
                'out, --json has the figures of all classes')


def open_pictures(arguments: Namespace, spec: ModelSpec) -> PictureSet:
    """
    Open labelled pictures, of any number of classes each where the model is multi-label.

    Class folders and crops have one class each: it is taken for the only one.

    :param arguments: see `open_labelled`.
    :param spec: see there.
    :raises DataError: see there, and `MultiLabelPictures`.
    """
    if not spec.multi_label or arguments.crops is not None:
        return open_labelled(arguments, spec)
    table = arguments.labels is not None
    if not table:
        with PictureStore(arguments.images) as store:
            table = TABLE_NAME in store.file_names()
    if not table:
        return open_labelled(arguments, spec)
    return MultiLabelPictures(
        arguments.images, arguments.labels, spec.labels, max_image_bytes(arguments))


def report_multi_label(
        arguments: Namespace, backends: Sequence[Backend], items: Sequence[LabelledPicture],
        pictures: PictureSet, others: Sequence[Namespace]) -> int:
    """
    Measure and print.

    :param arguments: the command's options.
    :param backends: open backends.
    :param items: those of the pictures that are measured.
    :param pictures: reads them.
    :param others: options of the model to compare with, if there is one.
    :returns: the exit code.
    """
    collectors = [MultiLabelCollector() for _ in backends]

    def add(item: LabelledPicture, rows: Sequence[Any]) -> str:
        targets = item.targets if isinstance(item, MultiLabelPicture) else (item.target,)
        for collector, row in zip(collectors, rows):
            collector.add(row, targets)
        return ''

    failures, unusable, wall_ns, decode_ns = run_models(
        backends, items, pictures, arguments, add)
    threshold = arguments.score_threshold or MULTI_LABEL_THRESHOLD
    found = [collector.outcomes(threshold) for collector in collectors]
    labels = backends[0].spec.labels
    one_each = not isinstance(pictures, MultiLabelPictures)
    if arguments.json:
        document = {
            'model': arguments.model, 'images': arguments.images, 'crops': arguments.crops,
            'backend': backend_document(backends[0].info),
            'resize_method': arguments.resize_method, 'score_threshold': threshold,
            'one_class_each': one_each, 'count': len(found[0]), **_figures(found[0], labels),
            'wall_s': wall_ns / 1e9, 'decode_share': decode_ns / wall_ns,
            'unlabelled': pictures.unlabelled, 'failures': failures, 'unusable': unusable}
        if others:
            document['comparison'] = {
                'model': others[0].model, 'backend': backend_document(backends[1].info),
                **_figures(found[1], labels), 'agreement': _agreement(found)}
        print_json('evaluate_multi_label', document)
        return 0
    _row(f'{pictures.noun}s', str(len(found[0])))
    _print_figures(found[0])
    _print_weakest(found[0], labels, arguments.worst)
    if others:
        write()
        write(f'Compared with {others[0].model} on {backends[1].info.name}')
        _print_figures(found[1])
        pair = _agreement(found)
        _row('same', f'{pair["rate"] * 100:.2f}',
             '%  of the answers; scores differ by '
             f'{pair["max_probability_difference"]:.2g} at most, '
             f'{pair["mean_probability_difference"]:.2g} in the mean')
    log(' and '.join(describe_backend(one.info) for one in backends)
        + f': {len(found[0]) / (wall_ns / 1e9):.1f} {pictures.noun}s a second here')
    if one_each:
        log(f'each {pictures.noun} has one class here: all others count as absent from it')
    for number, note in ((len(failures), 'could not be used and count neither way'),
                         (len(unusable), 'cannot be cut out and count neither way'),
                         (pictures.unlabelled, 'without classes left out')):
        if number:
            log(f'{count_of(number, pictures.noun)} {note}')
    return 0


def _figures(found: MultiLabelOutcomes, labels: Sequence[str]) -> dict[str, Any]:
    exact = found.exact_matches
    return {
        'mean_average_precision': found.mean_average_precision,
        'exact_match': {'hits': exact, 'accuracy': exact / len(found),
                        'confidence_95': wilson_interval(exact, len(found))},
        'macro': None if found.macro is None else asdict(found.macro),
        'micro': asdict(found.micro),
        'classes': [{'label': labels[one.index], **asdict(one)} for one in found.classes]}


def _agreement(found: Sequence[MultiLabelOutcomes]) -> dict[str, Any]:
    first, second = found
    same = int(same_answers(first.scores, second.scores, np.float32(first.threshold)).sum())
    differences = np.abs(first.scores - second.scores)
    return {'same': same, 'rate': same / len(first),
            'mean_probability_difference': float(differences.mean(dtype=np.float64)),
            'max_probability_difference': float(differences.max())}


def _row(*cells: str) -> None:
    write(table_row(cells, (8, -7)), hanging=20)


def _print_figures(found: MultiLabelOutcomes) -> None:
    shown = sum(one.count > 0 for one in found.classes)
    _row('mAP', _percent(found.mean_average_precision, 2),
         f'%  mean of the average precision of {shown} of '
         f'{count_of(len(found.classes), "class")} with pictures')
    for name, means, what in (
            ('F1', found.macro, 'mean over these classes'),
            ('micro F1', found.micro, 'all classes of all pictures together')):
        if means is not None:
            _row(name, f'{means.f1 * 100:.2f}',
                 f'%  {what}; precision {means.precision:.1%}, recall {means.recall:.1%}')
    exact = found.exact_matches
    low, high = wilson_interval(exact, len(found))
    _row('exact', f'{exact / len(found) * 100:.2f}',
         f'%  have all of their classes and no other at {found.threshold:g} '
         f'(95 % confidence: {low * 100:.1f} to {high * 100:.1f} %)')


def _print_weakest(found: MultiLabelOutcomes, labels: Sequence[str], limit: int) -> None:
    weak = weakest(found.classes, limit)
    if weak:
        write()
        print_table(
            ('weakest classes', 'pictures', 'precision', 'recall', 'F1', 'AP'),
            [(labels[one.index], str(one.count), *map(_percent, (
                one.precision, one.recall, one.f1, one.average_precision))) for one in weak],
            'lrrrrr')


def _percent(share: Optional[float], digits: int = 1) -> str:
    return '-' if share is None else f'{share * 100:.{digits}f}'
