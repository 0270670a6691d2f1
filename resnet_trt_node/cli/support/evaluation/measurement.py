"""Opens labelled pictures, runs one or two models on them and collects the outcomes."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import get_ident
from time import perf_counter_ns
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.bag.storage.names import is_bag
from resnet_trt_node.cli.support.console import count_of, log, Progress
from resnet_trt_node.cli.support.options import max_image_bytes, print_unread
from resnet_trt_node.cli.support.regions.crops import LabelledCrops, UnusableCrop
from resnet_trt_node.cli.support.regions.options import (
    CROP_OPTIONS, refuse_region_options, region_parameters)
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.datasets.class_folders import ClassFolders
from resnet_trt_node.datasets.labelled import LabelledPictures, PictureSet, RowWriter, spread
from resnet_trt_node.datasets.listing import describe_several
from resnet_trt_node.datasets.names import TABLE_NAME
from resnet_trt_node.datasets.picture_file import PictureFile
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.datasets.table import LabelledPicture
from resnet_trt_node.errors import AnswerError, DataError, FrameError, UsageError
from resnet_trt_node.evaluation.agreement import Agreement, AgreementCollector
from resnet_trt_node.evaluation.outcomes import OutcomeCollector, Outcomes
from resnet_trt_node.imaging.on_device.device_rows import DeviceRows
from resnet_trt_node.imaging.on_device.planned import PlannedPicture


def open_labelled(arguments: Namespace, spec: ModelSpec) -> PictureSet:
    """
    Open the pictures by their table if there is one, else as class folders; or crops of them.

    :param arguments: the options of `add_labelled_pictures`, `add_picture_memory` and
        `add_backend`.
    :param spec: of the model whose classes they have.
    :raises DataError: if they cannot be read, or have other classes.
    :raises UsageError: for options that do not go together.
    """
    if arguments.crops is not None:
        if arguments.labels is not None:
            raise UsageError('--labels and --crops both give classes: leave one of them out')
        return LabelledCrops(
            arguments.images, arguments.crops, spec.labels,
            region_parameters(arguments, CROP_OPTIONS).region_settings().rules,
            max_image_bytes(arguments))
    refuse_region_options(arguments, CROP_OPTIONS, '--crops')
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
        arguments.images, arguments.labels, spec.labels, max_image_bytes(arguments))


def refuse_simulated(*backends: Optional[str]) -> None:
    """
    Refuse a backend that makes its answers up, for load tests of the node.

    :param backends: their names; None for one that was not given.
    :raises UsageError: if it is among them.
    """
    if 'simulated' in backends:
        raise UsageError(
            'simulated makes up its answers, so the comparison would be meaningless: choose a '
            'real backend, such as onnxruntime, or --compare MODEL on the same backend')


def labelled_items(arguments: Namespace, pictures: PictureSet) -> Sequence[LabelledPicture]:
    """Return the pictures that --limit leaves; print what was assumed and was not read."""
    print_unread(pictures.unread)
    for line in pictures.assumptions:
        log(line)
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
    :param unusable: crops that cannot be classified, with the reason; they count neither way.
    :param wall_ns: time from the first picture to the last answer.
    :param decode_ns: the part of it spent on reading, and on decoding on the CPU.
    """

    outcomes: list[Outcomes]
    agreement: Optional[Agreement]
    failures: list[dict[str, Any]]
    unusable: list[dict[str, Any]]
    wall_ns: int
    decode_ns: int

    def describe_unusable(self) -> str:
        """Return how many crops cannot be classified, and why; '' if all can."""
        counts = Counter(one['outcome'] for one in self.unusable)
        return f'{count_of(len(self.unusable), "crop")} cannot be cut out and ' \
            f'{"counts" if len(self.unusable) == 1 else "count"} neither way: ' + ', '.join(
                f'{number} {outcome}' for outcome, number in sorted(counts.items())
            ) if counts else ''


def measure(
        backends: Sequence[Backend], items: Sequence[LabelledPicture], pictures: PictureSet,
        arguments: Namespace,
        take: Optional[Callable[[Sequence[Any], int], object]] = None) -> Measured:
    """
    Run one or two models on labelled pictures.

    :param backends: open backends, whose models have the same classes.
    :param items: those of the pictures that are measured.
    :param pictures: reads and decodes them.
    :param arguments: the options of `add_skip_bad`, `add_json` and `add_backend`.
    :param take: gets each picture's rows of probabilities, one of each model, and its class.
    :raises FrameError: for the first picture that cannot be used, unless --skip-bad is given.
    :raises DataError: if no picture can be used.
    """
    collectors = [OutcomeCollector() for _ in backends]
    pair = AgreementCollector() if len(backends) == 2 else None
    hits = done = 0

    def add(item: LabelledPicture, rows: Sequence[Any]) -> str:
        nonlocal hits, done
        for place, (collector, row) in enumerate(zip(collectors, rows)):
            hits += collector.add(row, item.target) and place == 0
        if take is not None:
            take(rows, item.target)
        if pair is not None:
            pair.add(rows[0], rows[1], item.target)
        done += 1
        return f'top-1 {hits / done:.1%}'

    run = run_models(backends, items, pictures, arguments, add)
    return Measured(
        [collector.outcomes() for collector in collectors],
        pair.agreement() if pair is not None else None, *run)


def run_models(
        backends: Sequence[Backend], items: Sequence[LabelledPicture], pictures: PictureSet,
        arguments: Namespace, add: Callable[[LabelledPicture, Sequence[Any]], str],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int, int]:
    """
    Run models on labelled pictures.

    :param backends: open backends, whose models have the same classes.
    :param items: those of the pictures that are measured.
    :param pictures: reads and decodes them.
    :param arguments: the options of `add_skip_bad`, `add_json` and `add_backend`.
    :param add: gets each picture with its rows of probabilities, one of each model, and returns
        what the progress shows.
    :returns: failures, unusable crops and the two times, see `Measured`.
    :raises FrameError: for the first picture that cannot be used, unless --skip-bad is given.
    :raises DataError: if no picture can be used.
    """
    failures: list[dict[str, Any]] = []
    unusable: list[dict[str, Any]] = []
    clock = _Clock()

    with Progress(len(items), pictures.noun, quiet=arguments.json) as progress:
        def fail(item: LabelledPicture, error: FrameError) -> None:
            if isinstance(error, UnusableCrop):
                unusable.append(
                    {**item.place, 'outcome': error.outcome, 'error': str(error)})
                progress.step()
                return
            if not arguments.skip_bad:
                remedy = '' if isinstance(error, AnswerError) else 'fix the data, or '
                raise type(error)(
                    f'{error}; {remedy}skip such files with --skip-bad') from error
            failures.append({**item.place, 'error': str(error)})
            progress.step()
            if not arguments.json:
                log(f'skipped: {error}')

        done = 0
        start_ns = perf_counter_ns()
        writers = [pictures.writer(one.spec, arguments.resize_method) for one in backends]
        for item, rows in _answers(backends, writers, items, pictures, clock, fail):
            done += 1
            progress.step(add(item, rows))
        wall_ns = perf_counter_ns() - start_ns
    several = describe_several(len(pictures.store.several))
    if several:
        log(several)
    if not done:
        raise DataError(
            f'none of {count_of(len(items), pictures.noun)} could be used; the first: '
            f'{(*failures, *unusable)[0]["error"]}')
    return failures, unusable, wall_ns, clock.spent_ns


class _Clock:
    """Adds up what a thread spends on reading and decoding; on others it stands still."""

    def __init__(self) -> None:
        self._thread = get_ident()
        self.spent_ns = 0

    def timed(self, work: Callable[[], Any]) -> Any:
        start_ns = perf_counter_ns()
        try:
            return work()
        finally:
            if get_ident() == self._thread:
                self.spent_ns += perf_counter_ns() - start_ns


def _answers(
        backends: Sequence[Backend], writers: Sequence[RowWriter],
        items: Sequence[LabelledPicture], pictures: PictureSet, clock: _Clock,
        fail: Callable[[LabelledPicture, FrameError], None],
) -> Iterator[tuple[LabelledPicture, list[Any]]]:
    """Yield each picture with one row for each model; a failure in one model skips it for all."""
    classifiers = [Classifier(backend) for backend in backends]

    def answered(
            place: int, some: Sequence[LabelledPicture],
            files: Callable[[LabelledPicture], PictureFile],
    ) -> Iterator[tuple[LabelledPicture, Any]]:
        return classifiers[place].written(
            some, partial(_write, files, clock, writers[place]), fail,
            lambda item: item.describe(), partial(_offload, files, clock, writers[place]))
    if len(backends) == 1:
        # The row comes after what a device may decode was looked for in the same file.
        files = lru_cache(maxsize=1)(partial(pictures.file, keep=False))
        for item, row in answered(0, items, files):
            yield item, [row]
        return
    size = max(backend.max_batch_size for backend in backends)
    for start in range(0, len(items), size):
        usable = items[start:start + size]
        # Each picture is read and decoded once for all models; the cache holds one batch.
        files = lru_cache(maxsize=None)(partial(pictures.file, keep=True))
        answers: list[dict[LabelledPicture, Any]] = []
        for place in range(len(backends)):
            answers.append(dict(answered(place, usable, files)))
            usable = [item for item in usable if item in answers[-1]]
        for item in usable:
            yield item, [rows[item] for rows in answers]


def _write(
        files: Callable[[LabelledPicture], PictureFile], clock: _Clock, writer: RowWriter,
        item: LabelledPicture, row: NDArray[np.uint8]) -> None:
    writer.write(item, clock.timed(files(item).frame), row)


def _offload(
        files: Callable[[LabelledPicture], PictureFile], clock: _Clock, writer: RowWriter,
        item: LabelledPicture, rows: DeviceRows, place: int) -> str:
    """Have a device decode a picture and write its row, see `RowBatches.put`."""
    file = files(item)
    picture = clock.timed(partial(file.picture, rows.decodes))
    grid = picture and writer.grid(item, picture.height, picture.width)
    return '' if not picture or not grid else PlannedPicture(picture, grid).put(
        rows, place, partial(_write, lambda _: file, clock, writer, item))
