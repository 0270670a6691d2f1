"""`resnet_trt classify`: classifies pictures, folders, zip files and bags."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
import shlex
from time import perf_counter_ns
from typing import Any, Optional, Sequence, Union

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.bag.video_images import check_video
from resnet_trt_node.cli.support.annotated import AnnotatedPictures
from resnet_trt_node.cli.support.classified_bag import ClassifiedBag
from resnet_trt_node.cli.support.console import (
    count_of, fit_columns, log, print_json, Progress, table_row, text_width, write)
from resnet_trt_node.cli.support.options import (
    backend_document, describe_backend, max_image_bytes, open_model, print_unread)
from resnet_trt_node.cli.support.regions.bag_run import classify_regions
from resnet_trt_node.cli.support.regions.options import refuse_region_options, REGION_OPTIONS
from resnet_trt_node.cli.support.sources import Inputs, Source
from resnet_trt_node.contract.prediction import Prediction, UnknownRule
from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.raw.encodings import RawImage

#: Largest number of failures that are printed; the others are counted, and --json has all.
_MAX_PRINTED_FAILURES = 10
_NO_CLASS = 'no class above the threshold'


def run(arguments: Namespace) -> int:
    """Classify all inputs and print the results."""
    unknown = _check(arguments)
    if arguments.regions is not None:
        return classify_regions(arguments, unknown)
    refuse_region_options(arguments, REGION_OPTIONS, '--regions')
    with ExitStack() as stack:
        inputs = stack.enter_context(Inputs(
            arguments.inputs, arguments.topic, not arguments.skip_bad,
            max_image_bytes(arguments)))
        print_unread(inputs.unread)
        for bag in inputs.bags:
            check_video(bag, inputs.image_topics(bag))
        annotated = None if arguments.annotate is None else AnnotatedPictures(
            arguments.annotate, inputs.pictures)
        output = None if arguments.output is None else stack.enter_context(
            ClassifiedBag(arguments.output, inputs, arguments.class_id_format))
        backend = stack.enter_context(open_model(arguments))
        return _Run(
            arguments, inputs, backend, annotated, output, inputs.name_width(), unknown).go()


def _check(arguments: Namespace) -> UnknownRule:
    """Refuse values out of range before the model is opened; return when nothing is known."""
    _check_order(arguments.model, arguments.inputs)
    if arguments.top_k < 1:
        raise UsageError(f'--top-k {arguments.top_k}: choose at least 1')
    if not 0 <= arguments.score_threshold <= 1:
        raise UsageError(f'--score-threshold {arguments.score_threshold}: choose 0 to 1')
    return UnknownRule(
        arguments.unknown_below, arguments.unknown_label, arguments.unknown_criterion)


def _check_order(model: str, inputs: Sequence[str]) -> None:
    """Refuse models among the pictures, where most users who wrote them meant another order."""
    models = [word for word in inputs if Path(word).suffix.lower() == '.onnx']
    if not models:
        return
    if Path(model).suffix.lower() != '.onnx':
        pictures = [model, *(word for word in inputs if word != models[0])]
        raise UsageError(
            'the model comes before the pictures: write '
            f'`{shlex.join(["resnet_trt", "classify", models[0], *pictures])}`')
    raise UsageError(
        f'{models[0]} is a model, and there is one already: `resnet_trt evaluate --compare` and '
        '`resnet_trt compare` take several')


@dataclass
class _Run:
    """One run of the command: every input is either classified or in `failures`."""

    arguments: Namespace
    inputs: Inputs
    backend: Backend
    annotated: Optional[AnnotatedPictures]
    bag: Optional[ClassifiedBag]
    name_width: int
    unknown: UnknownRule
    progress: Progress = field(init=False)
    widths: tuple[int, ...] = field(init=False)
    classified: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        name, label = fit_columns([self.name_width, max(map(text_width, (
            _NO_CLASS, self.unknown.label, *self.backend.spec.labels)))], 4 + 7 + 3 * len('  '))
        self.widths = (name, -4, -7, label)

    def go(self) -> int:
        classifier = Classifier(
            self.backend, self.arguments.top_k, self.arguments.score_threshold,
            self.arguments.resize_method, self.unknown,
            at_once=any(video.is_live for video in self.inputs.videos))
        start_ns = perf_counter_ns()
        with Progress(self.inputs.count, 'picture', quiet=self.arguments.json) as self.progress:
            if not self.arguments.json:
                self._write_row('SOURCE', 'RANK', 'SCORE', 'CLASS')
            for source, predictions in classifier.classify(
                    self.inputs, self._load, self._fail, _file_name, _picture):
                self._take(source, predictions)
                self.progress.step()
        if not self.classified:
            if not self.failures:
                raise DataError('; '.join(['no picture was read', *self.inputs.warnings]))
            raise DataError(
                f'none of {count_of(len(self.failures), "picture")} could be used; the first: '
                f'{self.failures[0]["error"]}')
        if self.bag is not None:
            self.bag.finish()
        if self.arguments.json:
            print_json('classify', self._document())
        else:
            self._summarise((perf_counter_ns() - start_ns) / 1e9)
        return 0

    def _load(self, source: Source) -> Frame:
        # What is drawn on stays in memory until it is written.
        return source.decode() if self.annotated is None else source.load()

    def _take(self, source: Source, predictions: Sequence[Prediction]) -> None:
        self.classified += 1
        drawn = self._draw(source, predictions)
        if self.bag is not None:
            self.bag.write(source, predictions)
        if not self.arguments.json:
            self._write_rows(source.describe(), predictions)
            return
        self.results.append({
            **_identity(source), **drawn, 'predictions': [asdict(one) for one in predictions]})

    def _draw(self, source: Source, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Return the path of the annotated picture, for JSON."""
        if self.annotated is None:
            return {}
        try:
            if source.frame is None:
                # The device decoded it for itself.
                source.load()
        except FrameError as error:
            log(f'not drawn: {source.describe()}: {error}')
            return {'annotated': None}
        return {'annotated': str(self.annotated.write(source, predictions))}

    def _fail(self, source: Source, error: FrameError) -> None:
        # A bag with a broken frame is still usable, but a picture file was named on purpose.
        if source.is_file and not self.arguments.skip_bad:
            raise type(error)(
                f'{error}; leave it out, or skip such files with --skip-bad') from error
        if self.bag is not None:
            assert source.image is not None
            self.bag.copy(source.image)
        self.failures.append({**_identity(source), 'error': str(error)})
        self.progress.step()
        if not self.arguments.json and len(self.failures) <= _MAX_PRINTED_FAILURES:
            name = '' if source.is_file else f'{source.describe()}: '
            log(f'skipped: {name}{error}')

    def _write_rows(self, name: str, predictions: Sequence[Prediction]) -> None:
        if not predictions:
            self._write_row(name, '-', '-', _NO_CLASS)
        for rank, one in enumerate(predictions, start=1):
            self._write_row(
                name if rank == 1 else '', str(rank), f'{one.score * 100:.1f} %', one.label)

    def _write_row(self, *cells: str) -> None:
        write(table_row(cells, self.widths))

    def _document(self) -> dict[str, Any]:
        return {
            'model': self.arguments.model, 'backend': backend_document(self.backend.info),
            'results': self.results, 'failures': self.failures,
            'warnings': self.inputs.warnings,
            **({} if self.bag is None else {'output': self.arguments.output})}

    def _summarise(self, took_s: float) -> None:
        log(f'{count_of(self.classified, "picture")} classified by '
            f'{describe_backend(self.backend.info)} in {took_s:.1f} s')
        several = self.inputs.describe_several()
        if several:
            log(several)
        if self.failures:
            log(f'{count_of(len(self.failures), "picture")} could not be used and '
                f'{"has" if len(self.failures) == 1 else "have"} no result')
        if self.annotated is not None:
            log(f'pictures with their classes: {self.arguments.annotate}')
        if self.bag is not None:
            log(f'bag with the classifications: {self.arguments.output}')


def _picture(source: Source, decodes: bool) -> Union[RawImage, EncodedPicture, None]:
    """Return what a device may convert of an input."""
    return source.picture(decodes)


def _file_name(source: Source) -> str:
    """Return a file's path for error messages; images of bags and videos name theirs later."""
    return source.name if source.is_file else ''


def _identity(source: Source) -> dict[str, Any]:
    if source.video is not None:
        return {'source': source.name, 'time_ns': source.time_ns}
    if source.image is None:
        return {'source': source.name}
    return {
        'source': str(source.path), 'topic': source.image.topic,
        'stamp_ns': source.image.stamp_ns, 'frame_id': source.image.frame_id}
