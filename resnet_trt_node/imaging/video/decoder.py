"""Packets of a video stream to frames, decoded by PyAV (FFmpeg's libavcodec and libswscale)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TYPE_CHECKING

import numpy as np

from resnet_trt_node.errors import check_choice, FrameError, KeyFrameMissing, UsageError
from resnet_trt_node.imaging.frame import view_bytes
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.imaging.video.h264_gaps import PictureNumbers
from resnet_trt_node.imaging.video.packets import (
    check_form, CODECS, holds_picture, starts_decoding, without_remarks)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Names of libavcodec's decoders where they differ.
_DECODERS = {'h265': 'hevc', 'av1': 'libdav1d'}
#: Those that report pictures which they could only guess at as errors, if asked to.
_STRICT = ('h264', 'h265', 'av1', 'mjpeg')
#: Packets after which a picture is no longer expected: twice the pictures that H.264 and H.265
#: may reorder, since a packet may hold a single field.
_LONGEST_DELAY = 32
#: Most bytes of parameter sets that are kept for the next picture.
_MOST_PARAMETERS = 1 << 16
#: Bytes that decoding takes for each pixel: the picture and its copy in RGB.
BYTES_PER_PIXEL = 6


def import_av() -> Any:
    """
    Return the module `av`.

    :raises UsageError: if PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UsageError(
            f'video is decoded by PyAV, which cannot be imported ({error}): pip install av'
        ) from error
    return av


class VideoDecoder:
    """
    Decodes the packets of one video stream, in the order in which they were sent.

    A packet that was taken becomes one picture: at once, or after some more packets where the
    stream has B-frames. After an error, what the stream shows depends on a packet that is
    missing, so that decoding goes on with the next key frame only; `reset` has the same effect.
    One thread uses a decoder.

    Packets that got lost are noticed in H.264 by the numbers of its pictures, as far as
    `PictureNumbers` can, and in H.265 by libavcodec, where a picture needs one of them. The other
    codecs do not tell: who knows of a gap calls `reset`. Damage within a packet is noticed where
    the codec's syntax shows it, which is almost never in VP8, VP9 and AV1.

    Colours are converted by libswscale, by the matrix and the range that the stream states; where
    it states none, BT.601 and the limited range, as FFmpeg and image_transport's plugins have it.

    :param codec: 'h264', 'h265', 'av1', 'vp8', 'vp9', 'mpeg4' or 'mjpeg'; `video_codec` returns it
        for the words in messages.
    :param max_bytes: memory that a picture may take, decoding included.
    :raises UsageError: if PyAV is not installed, or for another codec.
    """

    def __init__(self, codec: str, max_bytes: int = MAX_IMAGE_BYTES) -> None:
        check_choice('video codec', codec, CODECS)
        self._av = import_av()
        #: As it was given.
        self.codec = codec
        options = {'max_pixels': str(max(1, max_bytes // BYTES_PER_PIXEL))}
        if codec in _STRICT:
            options['err_detect'] = 'explode+bitstream+buffer'
        #: Packets without a picture yet, by their number: the caller's pts.
        self._pending: dict[int, int] = {}
        self._number = 0
        self._lost: list[int] = []
        #: Pictures of before an error or `reset`, which the next call returns.
        self._ready: list[tuple[int, NDArray[np.uint8]]] = []
        self._parameters = b''
        #: Whether only a key frame goes on.
        self._waiting = True
        self._picture_numbers = PictureNumbers()
        self._context = self._av.CodecContext.create(_DECODERS.get(codec, codec), 'r')
        self._context.options = options
        # The same on all machines. In H.264 what fails in a slice on a thread of its own is no
        # error; in H.265 only what several threads decode is checked for its length.
        self._context.thread_type = 'SLICE'
        self._context.thread_count = 2 if codec == 'h265' else 1

    def decode(self, data: Any, pts: int) -> list[tuple[int, NDArray[np.uint8]]]:
        """
        Decode a packet.

        :param data: the packet, in any object with the buffer protocol. H.264 and H.265 as byte
            streams of Annex B, whose parameter sets come with the key frames or before them.
        :param pts: any number that the picture of this packet shall be returned with, such as its
            stamp in nanoseconds.
        :returns: the pictures that are complete now, in the order in which they are shown: the pts
            of its own packet and the pixels, RGB uint8 (H, W, 3), 0 to 255, owned by the caller.
            Empty while the decoder waits for more packets.
        :raises KeyFrameMissing: for a packet that needs a key frame before it, or a lost packet;
            it is not decoded.
        :raises FrameError: if the packet is broken or no video, too large, or holds parameters
            alone, which are kept. A broken packet's followers need another key frame.

        Pictures of earlier packets that are complete when an error is raised are returned by the
        next call that raises none.
        """
        packet = bytes(view_bytes(data, 'video packet'))
        check_form(self.codec, packet)
        if not holds_picture(self.codec, packet):
            if len(self._parameters) > _MOST_PARAMETERS:
                self._parameters = b''
            self._parameters += packet
            raise FrameError(
                'the packet holds parameters and no picture: they are used with the next one')
        if self._waiting and not starts_decoding(self.codec, packet):
            raise KeyFrameMissing(
                f'no key frame of {self.codec} came before this packet, which needs one: '
                'wait for the next one, or have the encoder send them more often')
        packet = self._parameters + without_remarks(self.codec, packet)
        self._parameters = b''
        if self.codec == 'h264' and self._picture_numbers.are_broken_by(packet):
            self.reset()
            if not starts_decoding(self.codec, packet):
                raise KeyFrameMissing(
                    'packets of h264 before this one got lost, which it needs: decoding goes on '
                    'with the next key frame')
        self._number += 1
        sent = self._packet(packet)
        try:
            pictures = self._context.decode(sent)
        except (self._av.FFmpegError, MemoryError) as error:
            self.reset()
            raise self._broken(packet, str(error)) from error
        self._waiting = False
        self._pending[self._number] = pts
        self._ready, damage = self._taken(pictures)
        if damage:
            own = damage.get(self._number)
            if own is not None:
                del self._pending[self._number]
            self.reset()
            if own is not None:
                raise self._broken(packet, own)
        found, self._ready = self._ready, []
        return found

    def flush(self) -> list[tuple[int, NDArray[np.uint8]]]:
        """
        Return the pictures that the decoder still holds, at the end of a stream.

        :returns: as `decode`. Afterwards only a key frame goes on.
        """
        self.reset()
        found, self._ready = self._ready, []
        return found

    def reset(self) -> None:
        """
        Let only a key frame go on, as after packets that got lost.

        Pictures of packets from before are returned by the next call of `decode` or `flush`.
        """
        pictures = []
        with suppress(self._av.FFmpegError, MemoryError):
            pictures = self._context.decode(None)
        self._ready, _ = self._taken(pictures)
        # Unlike a new decoder, this one keeps the parameter sets, which may come just once.
        self._context.flush_buffers()
        self._waiting = True
        self._lost += self._pending.values()
        self._pending.clear()

    def take_lost(self) -> list[int]:
        """
        Return the pts of packets that were taken without an error and will have no picture.

        Such as those behind the first key frame that are shown before it and, with B-frames, one
        that libavcodec would have returned with a packet that is broken. Each is returned once,
        by the first call after `reset` or `flush`, or when 32 more packets were taken.
        """
        for number in [one for one in self._pending if one < self._number - _LONGEST_DELAY]:
            self._lost.append(self._pending.pop(number))
        found, self._lost = self._lost, []
        return found

    def _packet(self, data: bytes) -> Any:
        # Of a size: libavcodec reads a little beyond the end, and only this has room there.
        packet = self._av.Packet(len(data))
        packet.update(data)
        # Returned with the packet's picture; a caller's numbers may repeat.
        packet.pts = self._number
        return packet

    def _broken(self, packet: bytes, reason: str) -> FrameError:
        return FrameError(
            f'broken {self.codec} packet of {len(packet)} bytes ({reason}): check the transport; '
            'decoding goes on with the next key frame')

    def _taken(
            self, pictures: list[Any],
    ) -> tuple[list[tuple[int, NDArray[np.uint8]]], dict[int, str]]:
        """
        Return pictures with the pts of their packets, after those that were ready.

        :returns: and why others cannot be used, by the numbers of their packets.
        """
        found, damage = self._ready, {}
        for one in pictures:
            if one.pts not in self._pending:  # of a broken packet, which was counted
                continue
            if one.is_corrupt:
                damage[one.pts] = 'parts of its picture are missing'
                continue
            try:
                found.append((self._pending[one.pts], to_rgb(one)))
                del self._pending[one.pts]
            except FrameError as error:
                damage[one.pts] = str(error)
        return found, damage


def to_rgb(picture: Any) -> NDArray[np.uint8]:
    """
    Return a decoded picture's pixels.

    :param picture: an `av.VideoFrame`.
    :returns: RGB uint8 (H, W, 3), owned by the caller; converted as `VideoDecoder` says.
    :raises FrameError: if its colours are none that can be converted, as after damage.
    """
    try:
        return np.asarray(picture.to_ndarray(format='rgb24'), np.uint8)
    except (import_av().FFmpegError, ValueError, MemoryError) as error:
        raise FrameError(f'its colours cannot be converted ({error})') from error
