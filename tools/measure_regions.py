"""
Print what a frame with regions takes on one core, step by step, in microseconds.

The boxes lie at changing places of a VGA frame, 40 to 200 pixels a side, and each gets five
classes. Beside reading the detections and writing the result stands how long rclpy takes to make
messages of the same bytes, and bytes of its messages, and how many times as long that is; what is
done with these messages would come on top. All steps are measured in turn, frame after frame;
figures are medians of the thread's CPU time.

Usage, with ROS 2: python tools/measure_regions.py [--regions 6] [--frames 1000]
"""

from __future__ import annotations

import argparse
from statistics import median
import sys
from time import thread_time_ns
from typing import Any, Callable

import cv2
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from resnet_trt_node.contract.spec import ModelSpec, ResizeRule
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.regions.detections_cdr import DetectionsCdr
from resnet_trt_node.regions.frame_regions import FrameRegions, RegionClassifier, RegionSettings
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

HEIGHT, WIDTH = 480, 640
SIDES = (40.0, 200.0)
CLASSES, TOP_K = 1000, 5
STAMP_NS = 1_700_000_000 * 10**9


def detections(generator: np.random.Generator, number: int) -> bytes:
    """Return a detector's message with so many boxes of one class each."""
    message = Detection2DArray()
    message.header.frame_id = 'camera'
    for place in range(number):
        found = Detection2D(header=message.header, id=str(place))
        width, height = generator.uniform(*SIDES, 2).tolist()
        center = found.bbox.center.position
        center.x = generator.uniform(0.5 * width, WIDTH - 0.5 * width)
        center.y = generator.uniform(0.5 * height, HEIGHT - 0.5 * height)
        found.bbox.size_x, found.bbox.size_y = width, height
        found.results = [ObjectHypothesisWithPose()]
        found.results[0].hypothesis.class_id = 'car'
        message.detections.append(found)
    return bytes(serialize_message(message))


class Stopwatch:
    """Keeps what each step took on this thread, in microseconds."""

    def __init__(self) -> None:
        self.steps_us: dict[str, list[float]] = {}

    def __call__(self, step: str, work: Callable[[], Any]) -> Any:
        """Return the work's result."""
        start_ns = thread_time_ns()
        result = work()
        self.steps_us.setdefault(step, []).append((thread_time_ns() - start_ns) / 1e3)
        return result


class Measurement:
    """
    What frames have in common.

    :param number: regions of each.
    """

    def __init__(self, number: int) -> None:
        spec = ModelSpec(
            height=224, width=224, labels=tuple(f'class {index}' for index in range(CLASSES)),
            resize=ResizeRule(256, 224, 224), precision='fp16')
        generator = np.random.default_rng(0)
        self.watch = Stopwatch()
        self._classifier = RegionClassifier(spec, RegionSettings())
        self._frame = Frame(generator.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), 'bgr')
        self._probabilities = generator.random((number, CLASSES), np.float32)
        self._rows = np.empty((number, spec.height, spec.width, 3), np.uint8)

    def measure(self, data: bytes) -> None:
        """Answer a detector's message step by step."""
        watch = self.watch
        source = DetectionsCdr(data)
        found = watch('read', source.regions)
        work = watch('select', lambda: FrameRegions(
            self._classifier, 'camera', STAMP_NS, found, (HEIGHT, WIDTH), lambda: self._frame))
        watch('crop', lambda: [work.fill(place, row) for place, row in enumerate(self._rows)])
        for place, row in enumerate(self._probabilities):
            work.take(place, row)
        answers = watch('name', lambda: work.answers(TOP_K, 0.0, None))
        result = watch('write', lambda: source.classified(answers, 'label', False))
        watch('rclpy reads', lambda: deserialize_message(data, Detection2DArray))
        message = deserialize_message(result, Detection2DArray)
        watch('rclpy writes', lambda: serialize_message(message))


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--regions', type=int, default=6, help='of a frame')
    parser.add_argument('--frames', type=int, default=1000, help='that are measured')
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    measurement, generator = Measurement(arguments.regions), np.random.default_rng(1)
    for _ in range(arguments.frames):
        measurement.measure(detections(generator, arguments.regions))
    typical = {step: median(values) for step, values in measurement.watch.steps_us.items()}
    for step, took_us in typical.items():
        ours = {'rclpy reads': 'read', 'rclpy writes': 'write'}.get(step)
        times = f' {took_us / typical[ours]:6.1f} x' if ours else ''
        print(f'{step:<12} {took_us:8.0f} us{times}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
