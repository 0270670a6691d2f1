"""The regions of bags for `resnet_trt fleet --regions`, as `classify --regions` answers them."""

from __future__ import annotations

from argparse import Namespace
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast, Optional, Sequence, TYPE_CHECKING, Union

from resnet_trt_node.bag import stretches
from resnet_trt_node.bag.stretches import NumberedImage
from resnet_trt_node.bag.video_images import check_video
from resnet_trt_node.cli.support.regions.frame_batches import FrameBatches, picture_for
from resnet_trt_node.cli.support.regions.matches import (
    MatchedImage, matches, pair_topics, UnmatchedMessage)
from resnet_trt_node.cli.support.regions.options import REGION_OPTIONS, region_parameters
from resnet_trt_node.errors import FrameError
from resnet_trt_node.fleet.table import ANSWERED, reason_of
from resnet_trt_node.fleet.units import Answering, entropy_of, Images, Sampling, Unit
from resnet_trt_node.imaging.decode import decode_message, message_size
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.regions.detections import regions_of
from resnet_trt_node.regions.frame_regions import FrameRegions, RegionClassifier
from resnet_trt_node.regions.region import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from resnet_trt_node.backends.base import Backend
    from resnet_trt_node.bag.messages import BagDetections
    from resnet_trt_node.bag.reader import BagReader
    from resnet_trt_node.fleet.table import UnitTable


def region_work(arguments: Namespace, sampling: Sampling, answering: Answering) -> RegionWork:
    """
    Return what `resnet_trt fleet` does with regions.

    :param arguments: its options.
    :raises UsageError: for a value that cannot be used.
    """
    return RegionWork(
        None if arguments.topic is None else tuple(arguments.topic), tuple(arguments.regions),
        region_parameters(arguments, REGION_OPTIONS), sampling, answering)


@dataclass(frozen=True)
class RegionWork:
    """
    Classifies the regions of images.

    Each bag is one unit, since an image may be matched with detections that come later, and
    tracks remember answers.

    :param topics: image topics, None to find them by those of the detections.
    :param detections: topics of the detections.
    :param parameters: of the node that would do the same.
    :param sampling: which images.
    :param answering: how they are answered.
    """

    topics: Optional[tuple[str, ...]]
    detections: tuple[str, ...]
    parameters: NodeParameters
    sampling: Sampling
    answering: Answering

    def plan(self, bag: BagReader, drive: str, name: str) -> list[Unit]:
        """Return the bag as one unit."""
        pairs = pair_topics(bag, self.topics, self.detections)
        check_video(bag, list(pairs))
        stretch, = stretches.divide(bag, list(pairs), 0)
        return [Unit(drive, name, 0, tuple(pairs), tuple(pairs.values()), stretch)]

    def run(self, bag: BagReader, unit: Unit, backend: Backend, table: UnitTable) -> None:
        """Answer the regions of a unit."""
        _Regions(self, unit, backend, table).go(bag)


class _EntropyRegions(FrameRegions):
    """The regions of a frame, with the entropies of those that were inferred, by region."""

    def __init__(self, spec: Any, *arguments: Any) -> None:
        self._spec = spec
        self.entropies: dict[int, Optional[float]] = {}
        super().__init__(*arguments)

    def take(self, index: int, probabilities: NDArray[np.float32]) -> None:
        """Keep what was inferred, before the answers of a track are smoothed."""
        self.entropies[self.inferred[index]] = entropy_of(probabilities, self._spec)
        super().take(index, probabilities)


@dataclass
class _Frame:
    image: NumberedImage
    regions: Sequence[Region]


@dataclass
class _Regions:
    """One unit; it stands for the bag that `matches` reads."""

    work: RegionWork
    unit: Unit
    backend: Backend
    table: UnitTable
    images: Optional[Images] = None
    # Images that wait for their detections, by topic and stamp.
    waiting: dict[tuple[str, int], deque[NumberedImage]] = field(
        default_factory=lambda: defaultdict(deque))

    def go(self, bag: BagReader) -> None:
        answering, parameters = self.work.answering, self.work.parameters
        self.images = Images(
            bag, self.unit, self.work.sampling, self.table, answering.max_bytes)
        classifier = RegionClassifier(self.backend.spec, parameters.region_settings())
        batches: FrameBatches[_Frame] = FrameBatches(self.backend)
        pairs = dict(zip(self.unit.topics, self.unit.detections))
        for found in matches(cast('BagReader', self), pairs, parameters,
                             max_bytes=answering.max_bytes):
            if isinstance(found, UnmatchedMessage):
                if found.kind == 'image':
                    image = self.waiting[found.topic, found.stamp_ns].popleft()
                    if not self.images.passes(image):
                        self._skip(image, f'no_detections_{found.reason.replace(" ", "_")}', '')
                continue
            # A track's answer has to be there before the track is looked up again.
            if parameters.track_cache and any(
                    frame.image.topic == found.image.topic for frame in batches.waiting):
                batches.finish()
                self._take(batches)
            self._begin(found, classifier, batches)
            self._take(batches)
        batches.finish()
        self._take(batches)

    def images_and_detections(
            self, images: Sequence[str], detections: Sequence[str],
    ) -> Iterator[Union[NumberedImage, BagDetections]]:
        """Yield the unit's messages."""
        assert self.images is not None
        for message in self.images.packets():
            if isinstance(message, NumberedImage):
                self.waiting[message.topic, message.stamp_ns].append(message)
            yield message

    def _begin(
            self, found: MatchedImage, classifier: RegionClassifier,
            batches: FrameBatches[_Frame]) -> None:
        image = cast(NumberedImage, found.image)
        waiting = self.waiting[image.topic, image.stamp_ns]
        # One of video has been decoded, and is another object now.
        waiting.remove(next(one for one in waiting if one.number == image.number))
        if not waiting:
            del self.waiting[image.topic, image.stamp_ns]
        assert self.images is not None
        if self.images.passes(image):
            return
        regions = regions_of(found.detections.message)
        max_bytes = self.work.answering.max_bytes
        try:
            batches.add(_Frame(image, regions), _EntropyRegions(
                self.backend.spec, classifier, image.topic, image.stamp_ns, regions,
                message_size(image.message),
                lambda: decode_message(image.message, max_bytes=max_bytes),
                picture_for(self.backend, image.message, max_bytes)))
        except FrameError as error:
            self._skip(image, reason_of(error), str(error))

    def _take(self, batches: FrameBatches[_Frame]) -> None:
        answering = self.work.answering
        for frame, regions in batches.done():
            if isinstance(regions, FrameError):
                self._skip(frame.image, reason_of(regions), str(regions))
                continue
            assert isinstance(regions, _EntropyRegions)
            answers = regions.answers(
                answering.top_k, answering.score_threshold, answering.unknown)
            self.table.count_frame(ANSWERED)
            for number, (region, answer) in enumerate(zip(frame.regions, answers)):
                self.table.region(
                    frame.image, frame.image.number, region.track_id or f'#{number}',
                    answer.outcome, answer.predictions, regions.entropies.get(number))

    def _skip(self, image: NumberedImage, outcome: str, error: str) -> None:
        self.table.skipped(
            image.topic, image.stamp_ns, image.log_time_ns, image.number, outcome, error)
