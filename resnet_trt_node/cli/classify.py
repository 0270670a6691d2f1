"""`resnet_trt classify`: classifies pictures, folders, zip files and bags."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from time import perf_counter_ns
from typing import Any, Optional, Sequence

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.cli.support.annotated import AnnotatedPictures
from resnet_trt_node.cli.support.classified_bag import ClassifiedBag
from resnet_trt_node.cli.support.console import (
    count_of, log, print_json, Progress, table_row, write)
from resnet_trt_node.cli.support.options import (
    add_backend_arguments, add_model_argument, add_node_options, add_output_arguments,
    add_picture_arguments,
    backend_document, describe_backend, max_image_bytes, open_model, print_unread)
from resnet_trt_node.cli.support.sources import Inputs, Source
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import DataError, FrameError, UsageError

#: Largest number of failures that are printed; the others are counted, and --json has all.
_MAX_PRINTED_FAILURES = 10


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_model_argument(parser)
    parser.add_argument(
        'inputs', metavar='INPUT', nargs='+',
        help='picture, folder or zip file of pictures, or bag; any number of each')
    add_node_options(parser, 'top_k', 'score_threshold', 'class_id_format')
    parser.add_argument(
        '--topic', action='append', metavar='TOPIC',
        help='image topic of the bags; may be given several times; not given: all of them')
    parser.add_argument(
        '--annotate', metavar='DIR', help='write each picture with its classes drawn on it')
    parser.add_argument(
        '--output', metavar='BAG',
        help='write a bag of the images with vision_msgs/Classification messages beside them')
    add_output_arguments(parser)
    add_picture_arguments(parser)
    add_backend_arguments(parser)


def run(arguments: Namespace) -> int:
    """Classify all inputs and print the results."""
    _check(arguments)
    with ExitStack() as stack:
        inputs = stack.enter_context(
            Inputs(
                arguments.inputs, arguments.topic, not arguments.skip_bad,
                max_image_bytes(arguments)))
        print_unread(inputs.unread)
        annotated = None if arguments.annotate is None else AnnotatedPictures(
            arguments.annotate, inputs.pictures)
        bag = None if arguments.output is None else stack.enter_context(
            ClassifiedBag(arguments.output, inputs, arguments.class_id_format))
        backend = stack.enter_context(open_model(arguments))
        return _Run(arguments, inputs, backend, annotated, bag).go()


def _check(arguments: Namespace) -> None:
    if arguments.top_k < 1:
        raise UsageError(f'--top-k {arguments.top_k}: choose at least 1')
    if not 0 <= arguments.score_threshold <= 1:
        raise UsageError(f'--score-threshold {arguments.score_threshold}: choose 0 to 1')


class _Run:
    """One run of the command: every input is either classified or in `_failures`."""

    def __init__(
            self, arguments: Namespace, inputs: Inputs, backend: Backend,
            annotated: Optional[AnnotatedPictures], bag: Optional[ClassifiedBag]) -> None:
        self._arguments = arguments
        self._inputs = inputs
        self._backend = backend
        self._annotated = annotated
        self._bag = bag
        self._widths = (inputs.name_width(), -4, -7)
        self._results: list[dict[str, Any]] = []
        self._failures: list[dict[str, Any]] = []
        self._classified = 0

    def go(self) -> int:
        classifier = Classifier(
            self._backend, self._arguments.top_k, self._arguments.score_threshold,
            self._arguments.resize_method)
        start_ns = perf_counter_ns()
        with Progress(self._inputs.count, 'picture', quiet=self._arguments.json) as progress:
            self._progress = progress
            if not self._arguments.json:
                write(table_row(('SOURCE', 'RANK', 'SCORE', 'CLASS'), self._widths))
            for source, predictions in classifier.classify(
                    self._inputs, Source.load, self._fail, _file_name):
                self._take(source, predictions)
                progress.step()
        if not self._classified:
            if not self._failures:
                raise DataError('; '.join(['no picture was read', *self._inputs.warnings]))
            raise DataError(
                f'none of {count_of(self._inputs.count, "picture")} could be used; the first: '
                f'{self._failures[0]["error"]}')
        if self._bag is not None:
            self._bag.finish()
        if self._arguments.json:
            print_json(self._document())
        else:
            self._summarise((perf_counter_ns() - start_ns) / 1e9)
        return 0

    def _take(self, source: Source, predictions: Sequence[Prediction]) -> None:
        self._classified += 1
        written = None
        if self._annotated is not None:
            written = self._annotated.write(source, predictions)
        if self._bag is not None:
            self._bag.write(source, predictions)
        if not self._arguments.json:
            for line in self._lines(source, predictions):
                write(line)
            return
        result = _identity(source)
        if written is not None:
            result['annotated'] = str(written)
        result['predictions'] = [
            {'index': one.index, 'label': one.label, 'score': one.score} for one in predictions]
        self._results.append(result)

    def _fail(self, source: Source, error: FrameError) -> None:
        # A bag with a broken frame is still usable, but a picture file was named on purpose.
        if source.image is None and not self._arguments.skip_bad:
            raise type(error)(
                f'{error}; leave it out, or skip such files with --skip-bad') from error
        if self._bag is not None:
            self._bag.copy(source)
        self._failures.append({**_identity(source), 'error': str(error)})
        self._progress.step()
        if not self._arguments.json and len(self._failures) <= _MAX_PRINTED_FAILURES:
            name = '' if source.image is None else f'{source.describe()}: '
            log(f'skipped: {name}{error}')

    def _lines(self, source: Source, predictions: Sequence[Prediction]) -> list[str]:
        if not predictions:
            cells = (source.describe(), '-', '-', 'no class above the threshold')
            return [table_row(cells, self._widths)]
        return [
            table_row((
                source.describe() if rank == 1 else '', str(rank), f'{one.score * 100:.1f} %',
                one.label), self._widths)
            for rank, one in enumerate(predictions, start=1)]

    def _document(self) -> dict[str, Any]:
        return {
            'model': self._arguments.model, 'backend': backend_document(self._backend.info),
            'results': self._results, 'failures': self._failures,
            'warnings': self._inputs.warnings,
            **({} if self._bag is None else {'output': self._arguments.output})}

    def _summarise(self, took_s: float) -> None:
        log(f'{count_of(self._classified, "picture")} classified by '
            f'{describe_backend(self._backend.info)} in {took_s:.1f} s')
        if self._failures:
            log(f'{count_of(len(self._failures), "picture")} could not be used and '
                f'{"has" if len(self._failures) == 1 else "have"} no result')
        if self._annotated is not None:
            log(f'pictures with their classes: {self._arguments.annotate}')
        if self._bag is not None:
            log(f'bag with the classifications: {self._arguments.output}')


def _file_name(source: Source) -> str:
    """Return a file's path for error messages; recorded images are described by the caller."""
    return str(source.path) if source.image is None else ''


def _identity(source: Source) -> dict[str, Any]:
    if source.image is None:
        return {'source': str(source.path)}
    return {
        'source': str(source.path), 'topic': source.image.topic,
        'stamp_ns': source.image.stamp_ns, 'frame_id': source.image.frame_id}
