"""CPU time of converting and resizing one camera's picture, measured in this process."""

from __future__ import annotations

from array import array
import time
from types import SimpleNamespace
from typing import Callable

from bench.camera import Camera
import numpy as np
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.resize import Resizer

_REPEATS = 30


def measure_stages(camera: Camera) -> dict[str, float]:
    """Return the median CPU milliseconds of `convert` and `resize`."""
    pixels = camera.picture()
    message = SimpleNamespace(
        height=camera.height, width=camera.width, encoding=camera.encoding, is_bigendian=0,
        step=pixels.strides[0], data=array('B', pixels.tobytes()))
    resizer = Resizer(ResizeRule(256, 224, 224), 'fast')
    slot = np.empty((224, 224, 3), np.uint8)
    frame = decode_message(message)
    return {'convert': _median_ms(lambda: decode_message(message)),
            'resize': _median_ms(lambda: resizer.resize(frame, slot))}


def _median_ms(work: Callable[[], object]) -> float:
    taken_ns = []
    for _ in range(_REPEATS):
        # Of the whole process: OpenCV may use threads of its own.
        start_ns = time.process_time_ns()
        work()
        taken_ns.append(time.process_time_ns() - start_ns)
    return sorted(taken_ns)[_REPEATS // 2] / 1e6
