"""The images of a bag with the detections in them, matched as the node matches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, cast, Iterator, Mapping, Optional, Sequence, TYPE_CHECKING, Union

from resnet_trt_node.bag.video_images import with_pictures
from resnet_trt_node.errors import UsageError
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.topics.stamp_matcher import (
    DETECTIONS, IMAGE, StampMatcher, Unmatched)

if TYPE_CHECKING:
    from resnet_trt_node.bag.messages import BagDetections, BagImage, StampedMessage
    from resnet_trt_node.bag.reader import BagReader

#: What `StampMatcher` calls otherwise, since the node ends where the bag does.
_REASONS = {'cleared': 'end of the bag'}


@dataclass(frozen=True, eq=False)
class MatchedImage:
    """
    An image and the detections in it.

    :param image: the image.
    :param detections: of one detector.
    """

    image: BagImage
    detections: BagDetections


@dataclass(frozen=True)
class UnmatchedMessage:
    """
    An image without detections, or detections without their image.

    :param kind: 'image' or 'detections'.
    :param topic: the message's.
    :param stamp_ns: of its header.
    :param reason: why it waited in vain: 'no_stamp', 'expired', 'overflow' as in the node, or
        'end of the bag'.
    """

    kind: str
    topic: str
    stamp_ns: int
    reason: str


def pair_topics(
        bag: BagReader, images: Optional[Sequence[str]],
        detections: Sequence[str]) -> dict[str, str]:
    """
    Return the image topics of a bag, each with the topic of the detections in it.

    :param images: as many topics as there are of detections, in the same order; None finds them
        by their names.
    :param detections: topics of vision_msgs/Detection2DArray.
    :raises BagError: if the bag lacks a topic, or it is of another type.
    :raises UsageError: if they are no pairs.
    """
    if images is not None and len(images) != len(detections):
        raise UsageError(
            f'--topic is given {len(images)} and --regions {len(detections)} times: give one '
            '--topic for each --regions, in the same order')
    found = bag.choose_detections(detections)
    chosen = [_image_topic(bag, topic, len(found)) for topic in found] if images is None \
        else bag.choose_images(images)
    if len(set(found)) < len(detections) or len(set(chosen)) < len(detections):
        raise UsageError(
            f'--regions {", ".join(detections)} in {", ".join(dict.fromkeys(chosen))}: classify '
            'the regions of one detector in each camera at a time')
    return dict(zip(chosen, found))


def matches(
        bag: BagReader, pairs: Mapping[str, str], parameters: NodeParameters,
        see: Optional[Callable[[StampedMessage], object]] = None,
        max_bytes: int = MAX_FILE_IMAGE_BYTES,
) -> Iterator[Union[MatchedImage, UnmatchedMessage]]:
    """
    Yield the images of a bag with the detections in them, and what has no partner.

    Log times stand for the time at which the node would receive a message.

    :param pairs: see `pair_topics`.
    :param parameters: how the node would match them.
    :param see: called with each message as it is read.
    :param max_bytes: memory that a picture of a video may take, decoding included.
    :raises BagError: if the bag is damaged.
    """
    matchers = {image: StampMatcher(
        parameters.regions_queue, round(parameters.regions_wait_ms * 1e6),
        round(parameters.regions_slop_ms * 1e6)) for image in pairs}
    camera_of = {**{image: image for image in pairs}, **{
        detections: image for image, detections in pairs.items()}}
    for message in with_pictures(
            bag.images_and_detections(list(pairs), list(pairs.values())), max_bytes):
        if see is not None:
            see(message)
        kind = IMAGE if message.topic in pairs else DETECTIONS
        outcome = matchers[camera_of[message.topic]].offer(kind, message, message.log_time_ns)
        yield from map(_unmatched, outcome.unmatched)
        if outcome.match is not None:
            pair = outcome.match.message
            yield MatchedImage(
                cast('BagImage', pair.image), cast('BagDetections', pair.detections))
    for matcher in matchers.values():
        yield from map(_unmatched, matcher.clear())


def _image_topic(bag: BagReader, detections: str, number: int) -> str:
    """Return the image topic of the camera whose detections a topic has."""
    camera = detections.rpartition('/')[0]
    topics = bag.image_topics()
    # Those of the node's name come first, then any in the same namespace, then the only one.
    named = [name for name in topics if name in (f'{camera}/image', f'{camera}/image/compressed')]
    beside = [name for name in topics
              if name.removesuffix('/compressed').removesuffix('/ffmpeg').rpartition('/')[0]
              == camera]
    found = named or beside or (topics if number == 1 else [])
    if len(found) == 1:
        return found[0]
    raise UsageError(
        f'--regions {detections}: {" and ".join(found) or "no topic"} has the images of its '
        f'camera by the names, {camera}/image or another in {camera or "/"}: give one --topic for '
        f'each --regions, of {", ".join(topics) or "a bag with images"}')


def _unmatched(one: Unmatched) -> UnmatchedMessage:
    message = one.message
    return UnmatchedMessage(
        one.kind, message.topic, message.stamp_ns, _REASONS.get(one.reason, one.reason))
