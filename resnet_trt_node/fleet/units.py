"""The unit of work: a stretch of a bag, and what is done with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Optional, Protocol, TYPE_CHECKING, Union

import numpy as np

from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.bag import stretches
from resnet_trt_node.bag.stretches import NumberedImage, Stretch, UnreadableImage
from resnet_trt_node.bag.video_images import check_video, is_packet, with_pictures
from resnet_trt_node.contract.prediction import sureness, top_predictions, UnknownRule
from resnet_trt_node.errors import FrameError
from resnet_trt_node.fleet.table import NOT_SAMPLED, reason_of
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.on_device.pictures import picture_of_message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from resnet_trt_node.backends.base import Backend
    from resnet_trt_node.bag.messages import BagDetections
    from resnet_trt_node.bag.reader import BagReader
    from resnet_trt_node.contract.spec import ModelSpec
    from resnet_trt_node.fleet.table import UnitTable
    from resnet_trt_node.imaging.frame import Frame
    from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
    from resnet_trt_node.imaging.raw.encodings import RawImage
    from resnet_trt_node.imaging.resize import ResizeMethod


@dataclass(frozen=True)
class Unit:
    """
    A stretch of a bag.

    :param drive: name of the bag's folder in the output.
    :param bag: the absolute path or the address of the bag.
    :param number: of the unit in the bag, from 0.
    :param topics: image topics.
    :param detections: topics of the detections in them, in the same order; none for whole frames.
    :param stretch: which images.
    """

    drive: str
    bag: str
    number: int
    topics: tuple[str, ...]
    detections: tuple[str, ...]
    stretch: Stretch

    @property
    def images(self) -> int:
        """Return the number of its images by the bag's index."""
        return sum(self.stretch.count.values())

    def document(self) -> dict[str, Any]:
        """Return what tells it from others, for JSON; a run that is resumed compares it."""
        return {'bag': self.bag, 'unit': self.number, 'topics': list(self.topics),
                'detections': list(self.detections),
                'stretch': {**asdict(self.stretch), 'end_ns': min(
                    self.stretch.end_ns, 2**63 - 1)}}


class Work(Protocol):
    """What is done with each bag; it is sent to the workers, and so must be picklable."""

    def plan(self, bag: BagReader, drive: str, name: str) -> list[Unit]:
        """
        Divide a bag into units.

        :raises ResnetTrtError: if it lacks a topic, or cannot be read.
        """

    def run(self, bag: BagReader, unit: Unit, backend: Backend, table: UnitTable) -> None:
        """
        Answer a unit's frames.

        :param bag: the unit's.
        :param backend: an open backend.
        :param table: takes what becomes of each frame.
        :raises ResnetTrtError: if the bag is damaged, or the backend fails.
        """


@dataclass(frozen=True)
class Sampling:
    """
    Which frames of a topic are classified.

    :param every_ns: the first of each interval of so many nanoseconds of log time; 0 for all.
    """

    every_ns: int = 0

    def takes(self, log_time_ns: int, previous_ns: Optional[int]) -> bool:
        """
        Tell whether a frame is classified; that does not depend on how the bag is divided.

        :param log_time_ns: of the frame.
        :param previous_ns: of the frame before it in its topic, None for the first.
        """
        return not self.every_ns or previous_ns is None or (
            log_time_ns // self.every_ns != previous_ns // self.every_ns)


@dataclass(frozen=True)
class Answering:
    """
    How frames become classes, as for `resnet_trt classify`.

    :param top_k: most classes of a frame.
    :param score_threshold: classes below it are left out.
    :param unknown: when a frame shows none of the classes.
    :param resize_method: how frames are resized.
    :param max_bytes: memory that a frame may take, decoding included.
    """

    top_k: int
    score_threshold: float
    unknown: UnknownRule
    resize_method: ResizeMethod
    max_bytes: int


@dataclass(frozen=True)
class FrameWork:
    """
    Classifies whole frames.

    :param topics: image topics, None for all of a bag.
    :param images: least number of images of a unit; 0 makes each bag one unit.
    :param sampling: which frames.
    :param answering: how.
    """

    topics: Optional[tuple[str, ...]]
    images: int
    sampling: Sampling
    answering: Answering

    def plan(self, bag: BagReader, drive: str, name: str) -> list[Unit]:
        """Divide a bag into units."""
        topics = bag.choose_images(self.topics)
        check_video(bag, topics)
        return [Unit(drive, name, number, tuple(topics), (), stretch)
                for number, stretch in enumerate(stretches.divide(bag, topics, self.images))]

    def run(self, bag: BagReader, unit: Unit, backend: Backend, table: UnitTable) -> None:
        """Answer a unit's frames."""
        answering = self.answering
        classifier = Classifier(backend, method=answering.resize_method)

        def load(image: NumberedImage) -> Frame:
            return decode_message(image.message, max_bytes=answering.max_bytes)

        def picture(
                image: NumberedImage,
                decodes: bool) -> Union[RawImage, EncodedPicture, None]:
            return picture_of_message(image.message, decodes, answering.max_bytes)

        def skip(image: NumberedImage, error: FrameError) -> None:
            table.skipped(image.topic, image.stamp_ns, image.log_time_ns, image.number,
                          reason_of(error), str(error))
        images = Images(bag, unit, self.sampling, table, answering.max_bytes)
        for image, row in classifier.probabilities(
                images, load, skip, _no_name, picture):
            table.frame(
                image, image.number, top_predictions(
                    row, backend.spec.labels, answering.top_k, answering.score_threshold,
                    answering.unknown, backend.spec.multi_label),
                entropy_of(row, backend.spec))


class Images:
    """
    The sampled images of a unit, those of a video with their pictures; for one iteration.

    Images that are not sampled or are unreadable go to the table.

    :param bag: the unit's.
    :param unit: which images.
    :param sampling: which of them.
    :param table: counts them, and takes those that have no answer.
    :param max_bytes: memory that a picture may take, decoding included.
    """

    def __init__(
            self, bag: BagReader, unit: Unit, sampling: Sampling, table: UnitTable,
            max_bytes: int) -> None:
        self._bag = bag
        self._unit = unit
        self._sampling = sampling
        self._table = table
        self._max_bytes = max_bytes
        self._previous_ns = dict(unit.stretch.previous_ns)
        # Packets of video that are decoded for the sake of others.
        self._passed: set[tuple[str, int]] = set()

    def __iter__(self) -> Iterator[NumberedImage]:
        """Yield the images; of a video in the order in which they are shown."""
        for message in with_pictures(self.packets(), self._max_bytes):
            if isinstance(message, NumberedImage) and not self.passes(message):
                yield message

    def passes(self, image: NumberedImage) -> bool:
        """Tell, once for each image, whether it is only there for the sake of others; count it."""
        place = (image.topic, image.number)
        if place not in self._passed:
            return False
        self._passed.remove(place)
        self._table.count_frame(NOT_SAMPLED)
        return True

    def packets(self) -> Iterator[Union[NumberedImage, BagDetections]]:
        """Yield what is to be decoded, see `passes`, and the detections of the unit's topics."""
        for message in stretches.read(
                self._bag, self._unit.stretch, self._unit.topics, self._unit.detections):
            if not isinstance(message, (NumberedImage, UnreadableImage)):
                yield message
                continue
            self._table.counts.frames_in += 1
            taken = self._sampling.takes(
                message.log_time_ns, self._previous_ns.get(message.topic))
            self._previous_ns[message.topic] = message.log_time_ns
            if isinstance(message, UnreadableImage):
                self._table.skipped(message.topic, None, message.log_time_ns, message.number,
                                    'unreadable', message.reason)
            elif taken:
                yield message
            elif is_packet(message):
                self._passed.add((message.topic, message.number))
                yield message
            else:
                self._table.count_frame(NOT_SAMPLED)


def _no_name(image: NumberedImage) -> str:
    """Return nothing: an error is listed with the image's topic and number."""
    return ''


def entropy_of(probabilities: NDArray[np.float32], spec: ModelSpec) -> Optional[float]:
    """
    Return the entropy of a frame's probabilities in nats, None for a multi-label model.

    :param probabilities: float32 (C,).
    :param spec: of the model; the classes of a multi-label one are no distribution.
    """
    return None if spec.multi_label else max(0.0, -float(np.log(sureness(probabilities))))
