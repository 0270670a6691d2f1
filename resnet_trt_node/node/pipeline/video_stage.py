"""
Video packets of one camera to pictures, before the frames that they are compete for batches.

A packet depends on those before it. So every packet is decoded, in order and by one thread, even
if its picture is not classified: where only some frames are wanted, pictures are dropped and not
packets. That is why this stage lies in front of the scheduler, whose frames may supersede each
other or be too old. Packets are skipped only where decoding cannot keep up.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition, Thread
from time import perf_counter_ns
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.errors import FrameError, KeyFrameMissing, UsageError
from resnet_trt_node.imaging.frame import DecodedMessage, Frame
from resnet_trt_node.imaging.video.decoder import VideoDecoder
from resnet_trt_node.imaging.video.packets import check_form, holds_picture, starts_decoding

#: So many packets may wait to be decoded, or `queue_depth` if that is more: a second at 30 Hz.
MOST_WAITING = 30
#: How long closing waits for the packet that is being decoded.
_CLOSE_SEC = 0.5


@dataclass(frozen=True)
class VideoHooks:
    """
    What the stage calls, on its thread or on that of whoever calls it.

    :param offer: takes a decoded picture, and for how many nanoseconds its packet has been here.
    :param drop: takes a message that becomes no picture, why as one of `counters.DROP_REASONS`,
        for how many nanoseconds it has been here, and a line for the log, '' for none.
    :param max_bytes: returns the memory that a picture may take, decoding included.
    """

    offer: Callable[[DecodedMessage, int], None]
    drop: Callable[[Any, str, int, str], None]
    max_bytes: Callable[[], int]


@dataclass(eq=False)
class _Packet:
    message: Any
    codec: str
    arrived_ns: int
    #: Whether packets ahead of it were skipped.
    after_gap: bool = False

    @property
    def waited_ns(self) -> int:
        return perf_counter_ns() - self.arrived_ns


class VideoStage:
    """
    Decodes one camera's packets; `take` and `close` may be called from any thread.

    A message that is taken comes out as a picture or is dropped for a reason; one that holds
    parameters of the stream alone is no frame. The thread begins with the first packet.

    :param hooks: what it calls.
    :param depth: packets that wait at least before some are skipped.
    """

    def __init__(self, hooks: VideoHooks, depth: int) -> None:
        self._hooks = hooks
        self._depth = max(MOST_WAITING, depth)
        self._changed = Condition()
        self._waiting: deque[_Packet] = deque()
        self._closing = self._has_gap = False
        self._thread: Optional[Thread] = None
        # What follows belongs to the thread.
        self._decoder: Optional[VideoDecoder] = None
        self._is_flowing = False
        self._number = 0
        # Packets that have no picture yet, by their number.
        self._pending: dict[int, _Packet] = {}
        #: The codec of the last packet, '' before the first.
        self.codec = ''

    def take(self, message: Any, codec: str, waited_ns: int = 0) -> None:
        """
        Take a packet and return at once.

        :param message: with a `header` and the packet in `data`; it must not change afterwards.
        :param codec: as `video_codec` returns it.
        :param waited_ns: how long ago the middleware had received it.
        """
        packet = _Packet(message, codec, perf_counter_ns() - waited_ns)
        self.codec = codec
        with self._changed:
            refused, skipped = self._closing, []
            if not refused:
                packet.after_gap, self._has_gap = self._has_gap, False
                self._waiting.append(packet)
                skipped = self._skip()
                if self._thread is None:
                    self._thread = Thread(target=self._run, name='video', daemon=True)
                    self._thread.start()
                self._changed.notify()
        if refused:
            self._drop(packet, 'refused')
        for one in skipped:
            self._drop(one, 'superseded')

    def note_gap(self) -> None:
        """Have only a key frame go on behind the packets taken so far: others got lost."""
        with self._changed:
            self._has_gap = True

    def close(self) -> None:
        """Refuse packets that wait, offer the pictures that the decoder holds, end the thread."""
        with self._changed:
            self._closing = True
            refused = [*self._waiting]
            self._waiting.clear()
            self._changed.notify()
        for packet in refused:
            self._drop(packet, 'refused')
        if self._thread is not None:
            self._thread.join(_CLOSE_SEC)

    def _skip(self) -> list[_Packet]:
        """Take packets out if too many wait: those ahead of the last key frame, or of the last."""
        if len(self._waiting) <= self._depth:
            return []
        kept = len(self._waiting) - 1
        for place in range(kept, 0, -1):
            if _starts_decoding(self._waiting[place]):
                kept = place
                break
        # Parameters alone that come right before it are its own.
        while kept and not _holds_picture(self._waiting[kept - 1]):
            kept -= 1
        skipped = [self._waiting.popleft() for _ in range(kept)]
        self._waiting[0].after_gap = True
        return skipped

    # On the thread.

    def _run(self) -> None:
        while (packet := self._next()) is not None:
            self._decode(packet)
        self._end_stream()

    def _next(self) -> Optional[_Packet]:
        """Wait for a packet, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return self._waiting.popleft() if self._waiting else None

    def _decode(self, packet: _Packet) -> None:
        try:
            pictures = self._pictures(packet)
        except KeyFrameMissing as error:
            pictures = self._after_error(packet, 'no_key_frame', str(error))
        except (FrameError, UsageError) as error:
            pictures = self._after_error(packet, 'malformed', str(error))
        except Exception as error:  # noqa: B902
            # As with any other frame: what nobody foresaw costs one packet, not the camera.
            pictures = self._after_error(packet, 'malformed', repr(error))
        self._deliver(pictures)

    def _pictures(self, packet: _Packet) -> list[tuple[int, NDArray[np.uint8]]]:
        """Return the pictures that are complete with this packet, by packet number."""
        data = bytes(packet.message.data)
        decoder = self._decoder_for(packet.codec)
        if packet.after_gap:
            decoder.reset()
        check_form(packet.codec, data)
        if not holds_picture(packet.codec, data):
            # The decoder keeps the parameters, and says that they are none.
            with suppress(FrameError):
                decoder.decode(data, 0)
            return []
        self._number += 1
        pictures = decoder.decode(data, self._number)
        self._pending[self._number] = packet
        self._is_flowing = True
        return pictures

    def _decoder_for(self, codec: str) -> VideoDecoder:
        if self._decoder is None or self._decoder.codec != codec:
            self._end_stream()
            self._decoder = VideoDecoder(codec, self._hooks.max_bytes())
        return self._decoder

    def _after_error(
            self, packet: _Packet, reason: str,
            line: str) -> list[tuple[int, NDArray[np.uint8]]]:
        """Drop a packet; return the pictures of those before it, which nothing follows."""
        self._drop(packet, reason, line)
        flows, self._is_flowing = self._is_flowing, False
        return self._decoder.flush() if flows and self._decoder is not None else []

    def _deliver(self, pictures: list[tuple[int, NDArray[np.uint8]]]) -> None:
        for number, pixels in pictures:
            packet = self._pending.pop(number, None)
            if packet is None:
                # It was dropped for an error that nobody foresaw.
                continue
            self._hooks.offer(
                DecodedMessage(packet.message.header, Frame(pixels, 'rgb')), packet.waited_ns)
        for number in self._decoder.take_lost() if self._decoder is not None else ():
            packet = self._pending.pop(number, None)
            if packet is not None:
                self._drop(
                    packet, 'no_key_frame',
                    'no picture came of a packet: one that it depends on is missing')

    def _end_stream(self) -> None:
        if self._decoder is not None:
            self._deliver(self._decoder.flush())
            self._decoder = None

    def _drop(self, packet: _Packet, reason: str, line: str = '') -> None:
        if reason in ('superseded', 'refused') and not _holds_picture(packet):
            # Parameters are no frame.
            return
        self._hooks.drop(packet.message, reason, packet.waited_ns, line)


def _holds_picture(packet: _Packet) -> bool:
    with suppress(FrameError):
        return holds_picture(packet.codec, bytes(packet.message.data))
    return True


def _starts_decoding(packet: _Packet) -> bool:
    with suppress(FrameError):
        return starts_decoding(packet.codec, bytes(packet.message.data))
    return False
