"""`resnet_trt classify --regions`: the regions of the images of bags, as the node answers them."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
import math
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Optional, TYPE_CHECKING

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.bag.video_images import check_video
from resnet_trt_node.cli.support.annotated import AnnotatedPictures
from resnet_trt_node.cli.support.classified_bag import RegionsBag
from resnet_trt_node.cli.support.console import (
    count_of, fit_columns, log, print_json, Progress, table_row, text_width, write)
from resnet_trt_node.cli.support.options import (
    backend_document, describe_backend, max_image_bytes, open_model)
from resnet_trt_node.cli.support.regions.frame_batches import FrameBatches, picture_for
from resnet_trt_node.cli.support.regions.matches import (
    MatchedImage, matches, pair_topics, UnmatchedMessage)
from resnet_trt_node.cli.support.regions.options import REGION_OPTIONS, region_parameters
from resnet_trt_node.cli.support.sources import (
    Inputs, recorded_source, Source, stamp_text)
from resnet_trt_node.contract.prediction import UnknownRule
from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.imaging.decode import message_size
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.regions.detections import regions_of
from resnet_trt_node.regions.frame_regions import FrameRegions, RegionClassifier
from resnet_trt_node.regions.region import OUTCOMES, Region, RegionAnswer

if TYPE_CHECKING:
    from resnet_trt_node.bag.messages import BagDetections
    from resnet_trt_node.bag.reader import BagReader

#: Largest number of failures that are printed; the others are counted, and --json has all.
_MAX_PRINTED_FAILURES = 10
_NO_CLASS = 'no class above the threshold'
#: Of table columns.
_ID_WIDTH, _OUTCOME_WIDTH = 10, 12


def classify_regions(arguments: Namespace, unknown: UnknownRule) -> int:
    """
    Classify the regions of all inputs and print the results.

    :param arguments: the options of `resnet_trt classify`.
    :param unknown: when a region shows none of the classes.
    :raises ResnetTrtError: for options or bags that cannot be used.
    """
    parameters = region_parameters(arguments, REGION_OPTIONS)
    with ExitStack() as stack:
        inputs = stack.enter_context(Inputs(arguments.inputs, None, False))
        if inputs.has_pictures or not inputs.bags:
            raise UsageError(
                '--regions classifies what a detector found in the images of a bag: give bags '
                'only, or measure labelled crops of pictures with `resnet_trt evaluate --crops`')
        pairs = [pair_topics(bag, arguments.topic, arguments.regions) for bag in inputs.bags]
        for bag, paired in zip(inputs.bags, pairs):
            check_video(bag, list(paired))
        annotated = None if arguments.annotate is None else AnnotatedPictures(
            arguments.annotate, ())
        output = None if arguments.output is None else stack.enter_context(RegionsBag(
            arguments.output, inputs, pairs[0], arguments.class_id_format,
            arguments.keep_source_results))
        backend = stack.enter_context(open_model(arguments))
        return _Run(
            arguments, parameters, unknown, inputs, pairs, backend, annotated, output).go()


@dataclass(frozen=True, eq=False)
class _Frame:
    """
    A frame that waits for answers, without its pixels unless they are drawn on.

    :param identity: which it is, for JSON.
    :param topic: the image's.
    :param stamp_ns: the image's.
    :param log_time_ns: when image and detections were there.
    :param detections: the message.
    :param regions: those of the message.
    :param source: the image, None if it is not drawn on.
    """

    identity: dict[str, Any]
    topic: str
    stamp_ns: int
    log_time_ns: int
    detections: BagDetections
    regions: Sequence[Region]
    source: Optional[Source]


@dataclass
class _Run:
    """One run: every image has its regions answered, or is in `failures` or `unmatched`."""

    arguments: Namespace
    parameters: NodeParameters
    unknown: UnknownRule
    inputs: Inputs
    pairs: Sequence[Mapping[str, str]]
    backend: Backend
    annotated: Optional[AnnotatedPictures]
    output: Optional[RegionsBag]
    widths: tuple[int, ...] = field(init=False)
    progress: Progress = field(init=False)
    classified: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    results: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    #: With the bag of each.
    unmatched: list[tuple[Path, UnmatchedMessage]] = field(default_factory=list)

    def __post_init__(self) -> None:
        name, label = fit_columns([
            max(text_width(f'{topic} {stamp_text(10**18)}')
                for pairs in self.pairs for topic in pairs),
            max(map(text_width, (_NO_CLASS, self.unknown.label, *self.backend.spec.labels)))],
            6 + _ID_WIDTH + _OUTCOME_WIDTH + 4 + 7 + 6 * len('  '))
        self.widths = (name, -6, _ID_WIDTH, _OUTCOME_WIDTH, -4, -7, label)

    def go(self) -> int:
        start_ns = perf_counter_ns()
        total = sum(bag.image_count(list(pairs)) for bag, pairs in zip(
            self.inputs.bags, self.pairs))
        with Progress(total, 'image', quiet=self.arguments.json) as self.progress:
            if not self.arguments.json:
                self._write_row('SOURCE', 'REGION', 'ID', 'OUTCOME', 'RANK', 'SCORE', 'CLASS')
            for bag, pairs in zip(self.inputs.bags, self.pairs):
                self._classify(bag, pairs)
        if not self.classified:
            raise DataError('; '.join([*self._why_none(), *self.inputs.warnings]))
        if self.output is not None:
            self.output.finish()
        if self.arguments.json:
            print_json('classify', self._document())
        else:
            self._summarise((perf_counter_ns() - start_ns) / 1e9)
        return 0

    def _classify(self, bag: BagReader, pairs: Mapping[str, str]) -> None:
        # Tracks of another bag are others.
        classifier = RegionClassifier(self.backend.spec, self.parameters.region_settings())
        batches: FrameBatches[_Frame] = FrameBatches(self.backend)
        copy = None if self.output is None else self.output.copy
        for found in matches(
                bag, pairs, self.parameters, copy, max_image_bytes(self.arguments)):
            if isinstance(found, UnmatchedMessage):
                self.unmatched.append((bag.path, found))
                if found.kind == 'image':
                    self.progress.step()
                continue
            # A track's answer has to be there before the track is looked up again.
            if self.parameters.track_cache and any(
                    frame.topic == found.image.topic for frame in batches.waiting):
                batches.finish()
                self._take(batches)
            self._begin(bag, found, classifier, batches)
            self._take(batches)
        batches.finish()
        self._take(batches)

    def _begin(
            self, bag: BagReader, found: MatchedImage, classifier: RegionClassifier,
            batches: FrameBatches[_Frame]) -> None:
        image, detections = found.image, found.detections
        source = recorded_source(bag, image, max_image_bytes(self.arguments))
        frame = _Frame(
            {'source': str(bag.path), 'topic': image.topic, 'stamp_ns': image.stamp_ns,
             'frame_id': image.frame_id}, image.topic, image.stamp_ns,
            max(image.log_time_ns, detections.log_time_ns), detections,
            regions_of(detections.message), None if self.annotated is None else source)
        try:
            batches.add(frame, FrameRegions(
                classifier, frame.topic, frame.stamp_ns, frame.regions,
                message_size(image.message), source.decode,
                picture_for(self.backend, image.message, max_image_bytes(self.arguments))))
        except FrameError as error:
            self._fail(frame, error)

    def _fail(self, frame: _Frame, error: FrameError) -> None:
        self.failures.append({**frame.identity, 'error': str(error)})
        self.progress.step()
        if not self.arguments.json and len(self.failures) <= _MAX_PRINTED_FAILURES:
            log(f'skipped: {frame.topic} {stamp_text(frame.stamp_ns)}: {error}')

    def _take(self, batches: FrameBatches[_Frame]) -> None:
        for frame, regions in batches.done():
            if isinstance(regions, FrameError):
                self._fail(frame, regions)
                continue
            answers = regions.answers(
                self.arguments.top_k, self.arguments.score_threshold, self.unknown)
            self.classified += 1
            self.outcomes.update(regions.outcomes)
            if self.output is not None:
                self.output.write(frame.topic, frame.detections, answers, frame.log_time_ns)
            self._report(frame, answers, self._draw(frame, answers))
            self.progress.step()

    def _draw(self, frame: _Frame, answers: Sequence[RegionAnswer]) -> dict[str, Any]:
        """Return the path of the picture, for JSON."""
        if self.annotated is None:
            return {}
        assert frame.source is not None
        try:
            frame.source.load()
        except FrameError as error:
            # None of its regions was inferred, so that nobody has seen it.
            log(f'not drawn: {frame.source.describe()}: {error}')
            return {'annotated': None}
        return {'annotated': str(self.annotated.write_regions(
            frame.source, frame.regions, answers))}

    def _report(
            self, frame: _Frame, answers: Sequence[RegionAnswer], drawn: dict[str, Any]) -> None:
        if self.arguments.json:
            self.results.append({
                **frame.identity, **drawn, 'detections_topic': frame.detections.topic,
                'detections_stamp_ns': frame.detections.stamp_ns,
                'regions': [
                    _region_document(number, region, answer, frame.stamp_ns)
                    for number, (region, answer) in enumerate(zip(frame.regions, answers))]})
            return
        name = f'{frame.topic} {stamp_text(frame.stamp_ns)}'
        if not answers:
            self._write_row(name, '-', '-', '-', '-', '-', 'no regions')
        for number, (region, answer) in enumerate(zip(frame.regions, answers)):
            self._write_region('' if number else name, number, region, answer)

    def _write_region(
            self, name: str, number: int, region: Region, answer: RegionAnswer) -> None:
        cells = (name, str(number), region.track_id or '-', answer.outcome)
        if not answer.predictions:
            nothing = '-' if answer.inferred_stamp_ns is None else _NO_CLASS
            self._write_row(*cells, '-', '-', nothing)
        for rank, one in enumerate(answer.predictions, start=1):
            self._write_row(
                *(cells if rank == 1 else ('',) * len(cells)), str(rank),
                f'{one.score * 100:.1f} %', one.label)

    def _write_row(self, *cells: str) -> None:
        write(table_row(cells, self.widths))

    def _document(self) -> dict[str, Any]:
        return {
            'model': self.arguments.model, 'backend': backend_document(self.backend.info),
            'results': self.results, 'failures': self.failures,
            'unmatched': [{'source': str(path), **asdict(one)} for path, one in self.unmatched],
            'outcomes': {name: self.outcomes[name] for name in OUTCOMES},
            'warnings': self.inputs.warnings,
            **({} if self.output is None else {'output': self.arguments.output})}

    def _summarise(self, took_s: float) -> None:
        total = sum(self.outcomes.values())
        log(f'{count_of(total, "region")} of {count_of(self.classified, "image")} by '
            f'{describe_backend(self.backend.info)} in {took_s:.1f} s'
            + ''.join(f', {self.outcomes[name]} {name}' for name in OUTCOMES
                      if self.outcomes[name]))
        if self.failures:
            log(f'{count_of(len(self.failures), "image")} could not be used and '
                f'{"has" if len(self.failures) == 1 else "have"} no result')
        for line in self._unmatched_lines():
            log(line)
        if self.annotated is not None:
            log(f'pictures with their regions: {self.arguments.annotate}')
        if self.output is not None:
            log(f'bag with the classified detections: {self.arguments.output}')

    def _unmatched_lines(self) -> list[str]:
        """Return how many messages of each topic had no partner, and why."""
        reasons: dict[tuple[Path, str, str], Counter[str]] = {}
        for path, one in self.unmatched:
            reasons.setdefault((path, one.topic, one.kind), Counter())[one.reason] += 1
        return [
            f'{topic}: {count_of(sum(counts.values()), "message")} without '
            f'{"detections" if kind == "image" else "an image"} of '
            f'{"its" if sum(counts.values()) == 1 else "their"} stamp '
            f'({", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()))})'
            for (_, topic, kind), counts in reasons.items()]

    def _why_none(self) -> list[str]:
        if self.failures:
            return [f'none of {count_of(len(self.failures), "image")} with detections could be '
                    f'used; the first: {self.failures[0]["error"]}']
        return ['no image has detections of its stamp', *self._unmatched_lines(),
                'choose other topics, or raise --regions-slop-ms, --regions-wait-ms or '
                '--regions-queue']


def _region_document(
        number: int, region: Region, answer: RegionAnswer, stamp_ns: int) -> dict[str, Any]:
    inferred_ns = answer.inferred_stamp_ns
    return {
        'region': number, 'id': region.track_id, 'source_class': region.class_id,
        # NaN is not valid JSON.
        'box': {name: value if math.isfinite(value) else None
                for name, value in asdict(region.box).items()},
        'outcome': answer.outcome, 'inferred_stamp_ns': inferred_ns,
        'age_ms': None if inferred_ns is None else (stamp_ns - inferred_ns) / 1e6,
        'predictions': [asdict(one) for one in answer.predictions]}
