"""`resnet_trt evaluate`: measures top-1 and top-5 accuracy on labelled pictures."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
import sys
from time import perf_counter_ns
from typing import Any

from resnet_trt_node.cli.console import count_of, print_json, Progress, table_row
from resnet_trt_node.cli.options import (
    add_backend_arguments, add_model_argument, add_output_arguments, describe_backend, open_model)
from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.inference.backend import Backend
from resnet_trt_node.inference.classifier import Classifier
from resnet_trt_node.inference.evaluation import OutcomeCollector, Outcomes, wilson_interval
from resnet_trt_node.inference.frame import Frame
from resnet_trt_node.inference.labelled_pictures import (
    LabelledPicture, LabelledPictures, spread, TABLE_NAME)
from resnet_trt_node.inference.model_file import read_model_spec

_TOP_K = (1, 5)


@dataclass
class _Measured:
    """
    What one evaluation gave.

    :param outcomes: of the pictures that could be used.
    :param failures: name and error of the others.
    :param wall_ns: time from the first picture to the last answer.
    :param decode_ns: how much of it went into reading and decoding.
    """

    outcomes: Outcomes
    failures: list[dict[str, str]]
    wall_ns: int
    decode_ns: int


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_model_argument(parser)
    parser.add_argument(
        '--images', required=True, metavar='DIR', help='folder or zip file of the pictures')
    parser.add_argument(
        '--labels', metavar='TSV',
        help=f'table of file<TAB>class index; without it {TABLE_NAME} among the pictures')
    parser.add_argument(
        '--limit', type=int, metavar='N', help='only N pictures, evenly spread over the table')
    add_output_arguments(parser)
    add_backend_arguments(parser)


def run(arguments: Namespace) -> int:
    """Measure and tell."""
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError(f'--limit {arguments.limit}: choose at least 1')
    # Opening a backend may take minutes: a wrong table shall be told before.
    num_classes = read_model_spec(arguments.model).num_classes
    with LabelledPictures(arguments.images, arguments.labels, num_classes) as pictures:
        items = pictures.items
        if arguments.limit is not None:
            items = spread(items, arguments.limit)
        with open_model(arguments) as backend:
            measured = _measure(backend, items, pictures.frame, arguments)
            if arguments.json:
                print_json(_document(arguments, backend, measured, pictures.unlabelled))
            else:
                _print(backend, measured, pictures.unlabelled)
    return 0


@dataclass
class _Timed:
    """Decodes pictures and adds up the time it takes."""

    decode: Callable[[LabelledPicture], Frame]
    spent_ns: int = field(default=0)

    def __call__(self, item: LabelledPicture) -> Frame:
        start_ns = perf_counter_ns()
        try:
            return self.decode(item)
        finally:
            self.spent_ns += perf_counter_ns() - start_ns


def _measure(
        backend: Backend, items: tuple[LabelledPicture, ...],
        decode: Callable[[LabelledPicture], Frame], arguments: Namespace) -> _Measured:
    collector = OutcomeCollector(backend.spec.num_classes)
    classifier = Classifier(backend, method=arguments.fit)
    timed = _Timed(decode)
    failures: list[dict[str, str]] = []
    with Progress(len(items), 'picture', quiet=arguments.json) as progress:
        def fail(item: LabelledPicture, error: FrameError) -> None:
            if not arguments.skip_bad:
                raise FrameError(
                    f'{error}; mend the data, or skip such files with --skip-bad') from error
            failures.append({'file': item.name, 'error': str(error)})
            progress.step()
            if not arguments.json:
                progress.warn(f'skipped: {error}')

        hits = done = 0
        start_ns = perf_counter_ns()
        for item, row in classifier.probabilities(items, timed, fail):
            hits += collector.add(row, item.target)
            done += 1
            progress.step(f'top-1 {hits / done:.1%}')
        wall_ns = perf_counter_ns() - start_ns
    if not done:
        raise DataError(
            f'none of {count_of(len(items), "picture")} could be used; the first: '
            f'{failures[0]["error"]}')
    return _Measured(collector.outcomes(), failures, wall_ns, timed.spent_ns)


def _print(backend: Backend, measured: _Measured, unlabelled: int) -> None:
    outcomes = measured.outcomes
    widths = (8, -7)
    print(table_row(('pictures', str(len(outcomes))), widths))
    for k in _TOP_K:
        low, high = wilson_interval(outcomes.hits(k), len(outcomes))
        print(table_row((
            f'top-{k}', f'{outcomes.accuracy(k) * 100:.2f}',
            f'%  (95 % confidence: {low * 100:.1f} to {high * 100:.1f} %)'), widths))
    rate = len(outcomes) / (measured.wall_ns / 1e9)
    print(
        f'{describe_backend(backend)}: {rate:.1f} pictures a second here, '
        f'{measured.decode_ns / measured.wall_ns:.0%} of the time spent on decoding',
        file=sys.stderr)
    if measured.failures:
        print(
            f'{count_of(len(measured.failures), "picture")} could not be used and count neither '
            'way', file=sys.stderr)
    if unlabelled:
        print(f'{count_of(unlabelled, "picture")} without a class left out', file=sys.stderr)


def _document(
        arguments: Namespace, backend: Backend, measured: _Measured,
        unlabelled: int) -> dict[str, Any]:
    outcomes, info = measured.outcomes, backend.info
    document: dict[str, Any] = {
        'model': arguments.model,
        'backend': {'name': info.name, 'version': info.version, 'device': info.device},
        'fit': arguments.fit,
        'count': len(outcomes),
    }
    for k in _TOP_K:
        low, high = wilson_interval(outcomes.hits(k), len(outcomes))
        document[f'top{k}'] = {
            'hits': outcomes.hits(k), 'accuracy': outcomes.accuracy(k),
            'confidence_95': [low, high]}
    document['wall_s'] = measured.wall_ns / 1e9
    document['decode_share'] = measured.decode_ns / measured.wall_ns
    document['unlabelled'] = unlabelled
    document['failures'] = measured.failures
    return document
