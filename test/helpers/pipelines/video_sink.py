"""What comes out of a stage of video, written down."""

from __future__ import annotations

from threading import Event
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any

import numpy as np
from pictures.shade_video import number_of
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.node.pipeline.video_stage import VideoHooks, VideoStage


class Sink:
    """Writes down what comes out of a stage."""

    def __init__(self) -> None:
        self.pictures: list[tuple[int, int]] = []
        self.dropped: list[tuple[int, str]] = []
        self.lines: list[str] = []
        self.shapes: list[tuple[int, ...]] = []
        self.max_bytes = MAX_IMAGE_BYTES
        #: Whether the stage may go on behind a picture, and whether it has come to one.
        self.gate, self.reached = Event(), Event()
        self.gate.set()
        self.stage = VideoStage(VideoHooks(self._offer, self._drop, lambda: self.max_bytes), 1)

    def _offer(self, message: Any, waited_ns: int) -> None:
        assert waited_ns > 0
        assert message.frame.order == 'rgb'
        shade = float(np.mean(message.frame.pixels))
        self.shapes.append(message.frame.pixels.shape)
        self.pictures.append((message.header, number_of(shade)))
        self.reached.set()
        assert self.gate.wait(120)

    def _drop(self, message: Any, reason: str, waited_ns: int, line: str) -> None:
        assert waited_ns > 0
        self.dropped.append((message.header, reason))
        self.lines.append(line)

    def take(self, number: int, data: bytes, codec: str = 'h264') -> None:
        self.stage.take(SimpleNamespace(header=number, data=data), codec)

    def wait_for(self, count: int) -> None:
        """Wait until so many packets have come to their end."""
        deadline = monotonic() + 120
        while len(self.pictures) + len(self.dropped) < count:
            assert monotonic() < deadline, (self.pictures, self.dropped)
            sleep(0.001)

    def finish(self) -> None:
        """Close the stage once it has begun every packet, and wait for the thread's end."""
        deadline = monotonic() + 120
        while self.stage._waiting:
            assert monotonic() < deadline
            sleep(0.001)
        self.close()

    def close(self) -> None:
        """Close the stage, and wait for the thread's end as long as it takes."""
        self.gate.set()
        self.stage.close()
        if self.stage._thread is not None:
            self.stage._thread.join(120)
            assert not self.stage._thread.is_alive()

    def numbers(self, reason: str) -> list[int]:
        return [number for number, why in self.dropped if why == reason]
