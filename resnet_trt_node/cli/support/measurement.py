"""Opens labelled pictures, runs one or two models on them and collects the outcomes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Optional, Union

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.bag.storage.names import is_bag
from resnet_trt_node.cli.support.console import count_of, log, Progress
from resnet_trt_node.cli.support.options import max_image_bytes, print_unread
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.datasets.class_folders import ClassFolders
from resnet_trt_node.datasets.labelled import (
    LabelledPicture, LabelledPictures, spread, TABLE_NAME)
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.errors import AnswerError, DataError, FrameError
from resnet_trt_node.evaluation.agreement import Agreement, AgreementCollector
from resnet_trt_node.evaluation.outcomes import OutcomeCollector, Outcomes
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import ResizeMethod

_Decode = Callable[[LabelledPicture], Frame]


#: What the pictures of `open_labelled` may be, for the help of their argument.
LABELLED_HELP = (
    'folder, zip file or folder within a zip file (pictures.zip/test) of the pictures: with a '
    "table of classes, or with one folder for each class, named as the model's labels")


def add_labelled_arguments(parser: ArgumentParser) -> None:
    """Add --labels and --limit."""
    parser.add_argument(
        '--labels', metavar='TSV',
        help=f'table of file<TAB>class index; without it {TABLE_NAME} among the pictures, or '
        'class folders')
    parser.add_argument(
        '--limit', type=int, metavar='N', help='only N pictures, evenly spread over the table')


def open_labelled(
        arguments: Namespace, spec: ModelSpec) -> Union[LabelledPictures, ClassFolders]:
    """
    Open the pictures by their table if there is one, else as class folders.

    :param arguments: the options of `add_labelled_arguments` and `add_picture_arguments`, and the
        pictures as `images`.
    :param spec: of the model whose classes they have.
    :raises DataError: if they cannot be read, or have other classes.
    """
    path = Path(arguments.images)
    if is_bag(path) and not (path.is_dir() and (arguments.labels is not None or any(
            file.name == TABLE_NAME or file.is_dir() for file in path.iterdir()))):
        raise DataError(
            f'{arguments.images} is a bag: its images have no file names that a table could give '
            'classes to. Classify them with `resnet_trt classify`, or compare models on them with '
            '`resnet_trt compare --images`')
    if arguments.labels is None:
        with PictureStore(arguments.images) as store:
            folders = TABLE_NAME not in store.file_names() and bool(store.listing.folders)
        if folders:
            try:
                return ClassFolders(
                    Path(arguments.images), spec.labels, max_image_bytes(arguments))
            except DataError as error:
                raise DataError(
                    f'there is no {TABLE_NAME} in {arguments.images}, and its folders cannot be '
                    f"the model's classes: {error}") from error
    return LabelledPictures(
        arguments.images, arguments.labels, spec.num_classes, max_image_bytes(arguments))


def labelled_items(
        arguments: Namespace,
        pictures: Union[LabelledPictures, ClassFolders]) -> Sequence[LabelledPicture]:
    """Return the pictures that --limit leaves, and print how many files were not read."""
    print_unread(pictures.unread)
    if arguments.limit is None:
        return pictures.items
    return spread(pictures.items, arguments.limit)


@dataclass(frozen=True)
class Measured:
    """
    The result of one evaluation.

    :param outcomes: one for each model, on the pictures that no model failed on.
    :param agreement: agreement of two models; None for one.
    :param failures: name and error of the other pictures.
    :param wall_ns: time from the first picture to the last answer.
    :param decode_ns: the part of it spent on reading and decoding.
    """

    outcomes: list[Outcomes]
    agreement: Optional[Agreement]
    failures: list[dict[str, str]]
    wall_ns: int
    decode_ns: int


def measure(
        backends: Sequence[Backend], items: Sequence[LabelledPicture], decode: _Decode,
        arguments: Namespace,
        take: Optional[Callable[[Sequence[Any], int], object]] = None) -> Measured:
    """
    Run one or two models on labelled pictures.

    :param backends: open backends, whose models have the same classes.
    :param items: the pictures.
    :param decode: reads and decodes one.
    :param arguments: the options of `add_output_arguments` and `add_backend_arguments`.
    :param take: gets each picture's rows of probabilities, one of each model, and its class.
    :raises FrameError: for the first picture that cannot be used, unless --skip-bad is given.
    :raises DataError: if no picture can be used.
    """
    collectors = [OutcomeCollector() for _ in backends]
    pair = AgreementCollector() if len(backends) == 2 else None
    failures: list[dict[str, str]] = []
    decode_ns = 0

    def timed(item: LabelledPicture) -> Frame:
        nonlocal decode_ns
        start_ns = perf_counter_ns()
        try:
            return decode(item)
        finally:
            decode_ns += perf_counter_ns() - start_ns

    with Progress(len(items), 'picture', quiet=arguments.json) as progress:
        def fail(item: LabelledPicture, error: FrameError) -> None:
            if not arguments.skip_bad:
                remedy = '' if isinstance(error, AnswerError) else 'mend the data, or '
                raise type(error)(
                    f'{error}; {remedy}skip such files with --skip-bad') from error
            failures.append({'file': item.name, 'error': str(error)})
            progress.step()
            if not arguments.json:
                log(f'skipped: {error}')

        hits = done = 0
        start_ns = perf_counter_ns()
        for item, rows in _answers(backends, items, timed, fail, arguments.resize_method):
            for place, (collector, row) in enumerate(zip(collectors, rows)):
                hits += collector.add(row, item.target) and place == 0
            if take is not None:
                take(rows, item.target)
            if pair is not None:
                pair.add(rows[0], rows[1], item.target)
            done += 1
            progress.step(f'top-1 {hits / done:.1%}')
        wall_ns = perf_counter_ns() - start_ns
    if not done:
        raise DataError(
            f'none of {count_of(len(items), "picture")} could be used; the first: '
            f'{failures[0]["error"]}')
    return Measured(
        [collector.outcomes() for collector in collectors],
        pair.agreement() if pair is not None else None, failures, wall_ns, decode_ns)


def _answers(
        backends: Sequence[Backend], items: Sequence[LabelledPicture], decode: _Decode,
        fail: Callable[[LabelledPicture, FrameError], None],
        method: ResizeMethod) -> Iterator[tuple[LabelledPicture, list[Any]]]:
    """Yield each picture with one row for each model; a failure in one model skips it for all."""
    classifiers = [Classifier(backend, method=method) for backend in backends]
    size = max(backend.max_batch_size for backend in backends)
    for start in range(0, len(items), size):
        usable = items[start:start + size]
        # Each picture is decoded once for all models; the cache holds one batch.
        frames = lru_cache(maxsize=None)(decode)
        answers: list[dict[str, Any]] = []
        for classifier in classifiers:
            answers.append({
                item.name: row for item, row in classifier.probabilities(
                    usable, frames, fail, lambda item: item.name)})
            usable = [item for item in usable if item.name in answers[-1]]
        for item in usable:
            yield item, [rows[item.name] for rows in answers]
