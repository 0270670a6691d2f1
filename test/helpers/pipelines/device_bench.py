"""A pipeline on a machine of stand-ins, whose frames are resized on its device."""

from __future__ import annotations

from collections import Counter
from typing import Any, Optional

from models.tiny_model import COLOURS
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks
from resnet_trt_node.node.ros.conversion import Converter
from resnet_trt_node.regions.region import Region
from stand_ins.tensorrt_machine import World

CAMERAS = ('front', 'left', 'rear', 'right')
NAMES = list(COLOURS)


class Bench:
    """A pipeline on a machine; what it publishes and logs is kept."""

    def __init__(self, machine: World, frames: Any, threads: int = 1, **options: Any) -> None:
        self.answers: list[tuple[Any, Any]] = []
        self.paths: Counter[str] = Counter()
        self.bad: list[str] = []
        self.converter = Converter()
        self.decode = self.converter.to_frame
        options = {'max_batch_size': 3, 'num_buffers': 3, 'preprocess': 'gpu', **options}
        self.pipeline = Pipeline(CAMERAS, 1000, frames, LiveSettings(top_k=1), PipelineHooks(
            lambda: machine.start(**options), lambda *given: self.decode(*given), self._publish,
            lambda camera, reason: self.bad.append(reason), print, self.converter.device_picture),
            threads)
        self.pipeline.start()
        self.pipeline.resume()

    def _publish(self, frame: Any, answer: Any) -> Optional[float]:
        self.answers.append((frame.message, answer))
        self.paths['gpu' if frame.path else 'cpu'] += 1
        return None

    def finish(self) -> None:
        self.pipeline.drain(60.0)
        assert self.pipeline.close(60.0)
        total = self.pipeline.counters.total()
        assert total.mismatch is None
        assert total.in_progress == 0


class Pair:
    """An image and its detections."""

    def __init__(self, image: Any, detections: list[Region]) -> None:
        self.image, self.detections = image, detections
