"""Pictures of video files and of live streams (RTSP), read by PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
import re
from typing import Any, Optional, Union

import numpy as np

from resnet_trt_node.errors import DataError, FrameError, KeyFrameMissing
from resnet_trt_node.imaging.frame import Frame, too_large
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.imaging.video.decoder import BYTES_PER_PIXEL, import_av, to_rgb
from resnet_trt_node.regular_file import open_regular

#: What video files end in; anything else is looked at as a picture.
SUFFIXES = frozenset((
    '.3gp', '.avi', '.flv', '.h264', '.h265', '.hevc', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4',
    '.mpeg', '.mpg', '.mts', '.ogv', '.ts', '.webm', '.wmv'))
_LIVE = ('rtsp://', 'rtsps://')
_PASSWORD = re.compile('(?<=//)[^/]*@')
#: Codecs whose damage is reported if asked for; H.264's pictures are marked without.
_STRICT = ('hevc', 'av1')
#: Seconds until a live stream has to open, and to send something.
_OPEN_S, _READ_S = 10.0, 10.0
#: Where a file states no rate, as FFmpeg has it.
_USUAL_RATE = Fraction(25)


@dataclass(frozen=True, eq=False)
class VideoPicture:
    """
    A picture of a video.

    :param time_ns: when it is shown, in nanoseconds from the start of the video.
    :param decode: returns the picture, or raises FrameError if it is broken.
    """

    time_ns: int
    decode: Callable[[], Frame]


class Video:
    """
    A video file or live stream, which can be opened.

    :param word: a path, or an address that `is_live`.
    :param max_bytes: memory that a picture may take, decoding included.
    :raises UsageError: if PyAV is not installed.
    :raises DataError: if it cannot be opened, or shows no pictures.
    :raises FrameError: if its pictures are too large.
    """

    def __init__(self, word: str, max_bytes: int = MAX_FILE_IMAGE_BYTES) -> None:
        self._av = import_av()
        self._word = word
        self._max_bytes = max_bytes
        self.is_live = is_live(word)
        #: What it is called in messages, without user and password.
        self.name = _PASSWORD.sub('***@', word) if self.is_live else str(Path(word))
        #: What could not be read, as far as it has been.
        self.warnings: list[str] = []
        with self._open() as container:
            stream = self._stream(container)
            #: Number of its pictures by the file; 0 for a live stream.
            self.count = 0 if self.is_live else stream.frames or sum(
                packet.size > 0 for packet in self._packets(container, stream))
        self.warnings.clear()

    def pictures(self) -> Iterator[VideoPicture]:
        """
        Yield its pictures in the order in which they are shown.

        A packet that is broken is a picture whose `decode` raises the error; up to the next key
        frame those that follow are too, since they depend on it.

        :raises DataError: if it can no longer be opened.
        """
        with self._open() as container:
            stream = self._stream(container)
            clock = _Clock(stream)
            waiting = self.is_live
            for packet in self._packets(container, stream):
                if waiting and not packet.is_keyframe and packet.size:
                    yield _failed(clock, packet, KeyFrameMissing(
                        'the packet needs a key frame before it, and none came or it is broken'))
                    continue
                try:
                    frames = packet.decode()
                except (self._av.FFmpegError, MemoryError) as error:
                    # With B-frames, pictures from before it are still to be shown.
                    for frame in self._rest(stream.codec_context, packet):
                        yield VideoPicture(clock.time_ns(frame), partial(_upright, frame))
                    if packet.size:
                        yield _failed(clock, packet, _broken(error))
                    waiting = True
                    continue
                waiting = False
                for frame in frames:
                    if frame.is_corrupt:
                        waiting = True
                        yield _failed(clock, frame, _broken('parts of it are missing'))
                    else:
                        yield VideoPicture(clock.time_ns(frame), partial(_upright, frame))

    def _rest(self, context: Any, broken: Any) -> list[Any]:
        """Return the pictures that a decoder still holds, without that of a broken packet."""
        frames: list[Any] = []
        with suppress(self._av.FFmpegError, MemoryError):
            frames = context.decode(None)
        context.flush_buffers()
        return [one for one in frames if not one.is_corrupt and one.pts != broken.pts]

    def _open(self) -> Any:
        try:
            if self.is_live:
                # UDP loses packets, and the stream does not tell which.
                return self._av.open(
                    self._word, options={'rtsp_flags': 'prefer_tcp'}, timeout=(_OPEN_S, _READ_S))
            open_regular(self._word).close()
            # As a path whatever it looks like; what the file names is not opened.
            return self._av.open(f'file:{self._word}', options={'protocol_whitelist': 'file'})
        except (self._av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, 'strerror', None) or error
            raise DataError(
                f'cannot read the video {self.name} ({reason}): ' + (
                    'check the address, and that the camera runs' if self.is_live
                    else 'copy it again, or convert it')) from error

    def _stream(self, container: Any) -> Any:
        stream = container.streams.best('video')
        if stream is None:
            raise DataError(f'{self.name} has no pictures, it is sound alone: leave it out')
        context = stream.codec_context
        if context is None:
            raise DataError(
                f'{self.name}: FFmpeg has no decoder for its pictures: convert it to H.264')
        size_bytes = BYTES_PER_PIXEL * context.width * context.height
        if size_bytes > self._max_bytes:
            raise FrameError(
                f'{self.name}: decoding {context.width}x{context.height} pixels takes '
                f'{too_large(size_bytes, self._max_bytes)}')
        # Its pictures may be larger than the file says.
        context.options = {
            'max_pixels': str(max(1, self._max_bytes // BYTES_PER_PIXEL)),
            **({'err_detect': 'explode'} if context.name in _STRICT else {})}
        # As `VideoDecoder` has it: errors on other threads are not always reported.
        context.thread_type = 'SLICE'
        context.thread_count = 2 if context.name == 'hevc' else 1
        return stream

    def _packets(self, container: Any, stream: Any) -> Iterator[Any]:
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            # PyAV looks a packet's stream up, which a damaged file may not have.
            except (self._av.FFmpegError, IndexError) as error:
                reason = getattr(error, 'strerror', None) or error
                self.warnings.append(f'{self.name}: it ends early ({reason})')
                return
            if packet is None:
                return
            yield packet


class _Clock:
    """Times of a stream's pictures from its start; counted if the file has none."""

    def __init__(self, stream: Any) -> None:
        self._start: Optional[int] = stream.start_time
        self._period = 1 / (stream.average_rate or _USUAL_RATE)
        self._number = -1

    def time_ns(self, item: Any) -> int:
        """Return when a frame or packet is shown, in nanoseconds."""
        self._number += 1
        if item.pts is None or item.time_base is None:
            return round(self._number * self._period * 10**9)
        if self._start is None:
            self._start = item.pts
        time_ns: Fraction = (item.pts - self._start) * item.time_base * 10**9
        return round(time_ns)


def is_video(path: Union[str, Path]) -> bool:
    """Return whether a path is a video file by its suffix."""
    return Path(path).suffix.lower() in SUFFIXES


def is_live(word: str) -> bool:
    """Return whether a word is the address of a live stream: rtsp:// or rtsps://."""
    return word.lower().startswith(_LIVE)


def _broken(reason: object) -> FrameError:
    return FrameError(
        f'broken picture ({reason}); reading goes on with the next key frame: convert the video '
        'again')


def _failed(clock: _Clock, item: Any, error: FrameError) -> VideoPicture:
    def decode() -> Frame:
        raise error
    return VideoPicture(clock.time_ns(item), decode)


def _upright(frame: Any) -> Frame:
    """Return a decoded picture, turned as the file says: telephones film lying down."""
    pixels = to_rgb(frame)
    turns = round(frame.rotation / 90) % 4
    return Frame(np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels, 'rgb')
