"""The packets of video topics in a bag, as images with decoded pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Generic, Optional, TypeVar

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.bag.foxglove import VIDEO_TYPES
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, FFMPEG_PACKET
from resnet_trt_node.bag.messages import StampedMessage
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.errors import FrameError, KeyFrameMissing
from resnet_trt_node.imaging.frame import DecodedMessage, Frame
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.imaging.video.decoder import import_av, VideoDecoder
from resnet_trt_node.imaging.video.packets import CODECS, holds_picture, video_codec
from resnet_trt_node.text.printable import printable

T = TypeVar('T', bound=StampedMessage)


def with_pictures(
        messages: Iterable[T], max_bytes: int = MAX_FILE_IMAGE_BYTES) -> Iterator[T]:
    """
    Yield messages, those that are packets of a video with their pictures.

    A packet's message becomes a `DecodedMessage`, whose frame raises the error if there is no
    picture; all others pass through. Each message is yielded once. Pictures come in the order in
    which they are shown: with B-frames, packets of their topic wait for later ones.

    :param messages: images, and others among them, in the order of their log times.
    :param max_bytes: memory that a picture may take, decoding included.
    :raises UsageError: if there is video, and PyAV is not installed.
    """
    topics: dict[str, _Topic[T]] = {}
    for message in messages:
        if not is_packet(message):
            yield message
            continue
        if message.topic not in topics:
            topics[message.topic] = _Topic(max_bytes)
        yield from topics[message.topic].take(message)
    for topic in topics.values():
        yield from topic.end()


def check_video(bag: BagReader, topics: Sequence[str]) -> None:
    """
    Refuse video if it cannot be decoded here, before any work.

    :param bag: an open bag.
    :param topics: image topics of it.
    :raises UsageError: if one has packets of video, and PyAV is not installed.
    """
    if any(one.msgtype in (FFMPEG_PACKET, *VIDEO_TYPES)
           for topic in topics for one in bag.connections(topic)):
        import_av()


def is_packet(message: StampedMessage) -> bool:
    """
    Tell whether a message is a packet of a video stream.

    :param message: of any type; a CompressedImage is one if its format names a video codec other
        than mjpeg, whose packets are pictures.
    """
    if message.msgtype == FFMPEG_PACKET:
        return True
    return message.msgtype == COMPRESSED_IMAGE and video_codec(message.message.format) not in (
        '', 'mjpeg')


class _NoPicture(DecodedMessage):
    """
    A packet without a picture.

    :param header: the message's.
    :param error: raised whenever the picture is asked for.
    """

    def __init__(self, header: Any, error: FrameError) -> None:
        object.__setattr__(self, 'header', header)
        object.__setattr__(self, '_error', error)

    @property
    def frame(self) -> Frame:
        """Raise the error."""
        raise object.__getattribute__(self, '_error')


class _Topic(Generic[T]):
    """
    The stream of one topic.

    :param max_bytes: memory that a picture may take, decoding included.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._decoder: Optional[VideoDecoder] = None
        self._number = 0
        # Packets without a picture yet, by their number.
        self._pending: dict[int, T] = {}

    def take(self, message: T) -> Iterator[T]:
        """Decode a packet; yield the messages whose picture or error is known now."""
        content = message.message
        text = content.encoding if message.msgtype == FFMPEG_PACKET else content.format
        codec = video_codec(text)
        if self._decoder is None or self._decoder.codec != codec:
            yield from self.end()
            if not codec:
                yield _failed(message, FrameError(
                    f'{printable(repr(text), 80)} is no video codec that can be decoded: send '
                    f'{", ".join(CODECS)}'))
                return
            self._decoder = VideoDecoder(codec, self._max_bytes)
        if not holds_picture(codec, bytes(content.data)):
            with suppress(FrameError):  # the decoder keeps the parameters
                self._decoder.decode(content.data, 0)
            yield _failed(message, FrameError('the packet holds parameters and no picture'))
            return
        self._number += 1
        try:
            pictures = self._decoder.decode(content.data, self._number)
        except FrameError as error:
            # What came before is complete: the next picture is one of a key frame.
            yield from self._shown(self._decoder.flush() if self._pending else [])
            yield _failed(message, error)
            return
        self._pending[self._number] = message
        yield from self._shown(pictures)

    def end(self) -> Iterator[T]:
        """Yield the messages that still wait, at the end of the stream."""
        if self._decoder is not None:
            yield from self._shown(self._decoder.flush())
        self._decoder = None

    def _shown(self, pictures: list[tuple[int, NDArray[np.uint8]]]) -> Iterator[T]:
        assert self._decoder is not None
        for number, pixels in pictures:
            message = self._pending.pop(number)
            yield replace(message, message=DecodedMessage(
                message.header, Frame(pixels, 'rgb')))
        for number in self._decoder.take_lost():
            yield _failed(self._pending.pop(number), KeyFrameMissing(
                'the decoder made no picture of this packet: one that it needs or that followed '
                'it is missing or broken'))


def _failed(message: T, error: FrameError) -> T:
    return replace(message, message=_NoPicture(message.header, error))
