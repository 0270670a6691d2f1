"""Stretches of a bag, so that several processes read one bag, and their numbered images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.bag.counting import UnreadableMessage
from resnet_trt_node.bag.foxglove import VIDEO_TYPES
from resnet_trt_node.bag.message_types import FFMPEG_PACKET
from resnet_trt_node.bag.messages import BagDetections, BagImage
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.recording import IMAGES
from resnet_trt_node.bag.storage.merging import EVERYTHING, Span
from resnet_trt_node.bag.video_images import is_packet
from resnet_trt_node.errors import BagError


@dataclass(frozen=True)
class Stretch:
    """
    All images of some topics whose log times are in a span.

    :param start_ns: the first log time.
    :param end_ns: the one behind the last.
    :param first: number of the first image by topic; the images of a topic are numbered from 0 in
        the order of their log times.
    :param count: number of images by topic.
    :param previous_ns: log time of the image before the first by topic, where there is one.
    """

    start_ns: int
    end_ns: int
    first: Mapping[str, int]
    count: Mapping[str, int]
    previous_ns: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Return whether it is the whole bag."""
        return (self.start_ns, self.end_ns) == EVERYTHING


@dataclass(frozen=True)
class NumberedImage(BagImage):
    """
    A recorded image that knows its place.

    :param number: of the image in its topic, from 0.
    """

    number: int


@dataclass(frozen=True)
class UnreadableImage:
    """
    An image whose message does not follow its definition.

    :param topic: of the image.
    :param number: of the image in its topic, from 0.
    :param log_time_ns: when the recorder received it, in nanoseconds since the epoch.
    :param reason: what is wrong with it.
    """

    topic: str
    number: int
    log_time_ns: int
    reason: str


def divide(bag: BagReader, topics: Sequence[str], images: int) -> list[Stretch]:
    """
    Divide a bag into stretches.

    A bag with a topic of video, whose images need those before them, one without an index of its
    messages and one that is packed as a whole are one stretch.

    :param bag: an open bag.
    :param topics: full names of image topics.
    :param images: least number of images of a stretch, those of equal log times together; 0 for
        one stretch.
    :returns: in the order of their log times; each image is in one of them.
    :raises BagError: if the index of a file is damaged.
    """
    times = None if not images or _has_video_type(bag, topics) else bag.log_times(topics)
    if times is None or any(_begins_with_video(bag, topic, found)
                            for topic, found in times.items() if len(found)):
        return [Stretch(*EVERYTHING, dict.fromkeys(topics, 0),
                        {topic: bag.image_count([topic]) for topic in topics})]
    ordered = np.sort(np.concatenate(list(times.values())))
    edges = [EVERYTHING.start_ns, *_edges(ordered, images), EVERYTHING.end_ns]
    return [_stretch(times, *edge) for edge in zip(edges, edges[1:])]


def read(
        bag: BagReader, stretch: Stretch, topics: Sequence[str], detections: Sequence[str] = (),
) -> Iterator[Union[NumberedImage, BagDetections, UnreadableImage]]:
    """
    Yield the images of a stretch with their numbers, in the order of their log times.

    :param bag: the bag that it is of.
    :param stretch: by `divide`.
    :param topics: those that it was divided by.
    :param detections: full names of topics of vision_msgs/Detection2DArray whose readable
        messages are yielded too.
    :raises BagError: while iterating, if the bag is damaged, or the stretch has other images than
        the bag's index says, or begins amid a video. Of a whole bag other numbers are a warning.
    """
    read_count: Counter[str] = Counter()
    for kind, stored in bag.stored(topics, detections, Span(stretch.start_ns, stretch.end_ns)):
        topic = stored.connection.topic
        number = stretch.first.get(topic, 0) + read_count[topic]
        if kind is IMAGES:
            read_count[topic] += 1
        try:
            message = bag.stamped(stored, kind)
        except UnreadableMessage as error:
            if kind is IMAGES:
                yield UnreadableImage(topic, number, stored.time_ns, error.reason)
            else:
                bag.warn_once(str(error))
            continue
        if kind is not IMAGES:
            assert isinstance(message, BagDetections)
            yield message
            continue
        if not stretch.is_whole and is_packet(message):
            raise BagError(
                f'{bag.path}: {topic} has pictures first and video later, which can only be read '
                'from the start of the bag: read the bag as a whole')
        yield NumberedImage(**vars(message), number=number)
    for topic in topics:
        if read_count[topic] == stretch.count[topic]:
            continue
        line = (f'{bag.path}: {read_count[topic]} images of {topic} were read where its index '
                f'has {stretch.count[topic]}: check that the bag was recorded and copied whole')
        if not stretch.is_whole:
            # What is missing may be anywhere, so that the numbers of others would be wrong too.
            raise BagError(line)
        bag.warn_once(line)


def _has_video_type(bag: BagReader, topics: Sequence[str]) -> bool:
    return any(one.msgtype in (FFMPEG_PACKET, *VIDEO_TYPES)
               for topic in topics for one in bag.connections(topic))


def _begins_with_video(bag: BagReader, topic: str, times: NDArray[np.int64]) -> bool:
    """Return whether the first image is a packet: a CompressedImage itself says what it is."""
    span = Span(int(times[0]), int(times[0]) + 1)
    for kind, stored in bag.stored([topic], [], span):
        try:
            return is_packet(bag.stamped(stored, kind))
        except UnreadableMessage:
            continue
    return False


def _edges(times: NDArray[np.int64], images: int) -> Iterator[int]:
    """Yield the first log times of all stretches but the first; `times` are those of all."""
    place = images
    while place < len(times):
        # Images of equal log times have no order that several files would agree on.
        if times[place] > times[place - 1]:
            yield int(times[place])
            place += images
        else:
            place += 1


def _stretch(times: Mapping[str, NDArray[np.int64]], start_ns: int, end_ns: int) -> Stretch:
    last = 2**63 - 1
    first = {topic: int(np.searchsorted(found, start_ns)) for topic, found in times.items()}
    behind = {topic: len(found) if end_ns > last else int(np.searchsorted(found, end_ns))
              for topic, found in times.items()}
    return Stretch(
        start_ns, end_ns, first, {topic: behind[topic] - first[topic] for topic in times},
        {topic: int(found[first[topic] - 1]) for topic, found in times.items() if first[topic]})
