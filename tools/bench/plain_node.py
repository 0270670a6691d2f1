"""
A classifier node as one usually writes it first: everything in the callback.

Usage: python -m bench.plain_node NAMESPACE CAMERA MODEL SIMULATED_MS

It is what the node of this repository is measured against, so it is written with care and without
tricks: the message's bytes are viewed as cv_bridge does it, converted to RGB, resized by OpenCV's
default, normalised in float32 and inferred; MODEL is a float NCHW classifier for ONNX Runtime, or
'' for a backend that sleeps SIMULATED_MS. It notes the CPU time of its stages and prints them as
JSON when its input ends.
"""

from __future__ import annotations

from collections.abc import Callable
import json
import signal
import sys
from threading import Thread
import time
from typing import Any, Optional, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification, ObjectHypothesis

_TO_RGB = {'bgr8': cv2.COLOR_BGR2RGB, 'rgb8': None}
#: Of the network's input.
SIDE = 224
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
STAGES = ('convert', 'resize', 'normalise', 'infer', 'publish')


class Classifier(Protocol):
    """What a plain node infers with."""

    def normalise(self, resized: Any) -> Any:
        """Return what the network takes of uint8 RGB pixels (H, W, 3)."""

    def infer(self, tensor: Any) -> tuple[list[str], list[float]]:
        """Return the five best classes with their scores."""


class PlainClassifier:
    """
    A float NCHW classifier in ONNX Runtime with one thread.

    :param model: the ONNX file, '' for none.
    :param simulated_ms: how long to sleep instead.
    """

    def __init__(self, model: str, simulated_ms: float) -> None:
        self._sleep_s = simulated_ms / 1e3
        self._session: Optional[Any] = None
        if model:
            import onnxruntime
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(
                model, options, providers=['CPUExecutionProvider'])
            self._input = self._session.get_inputs()[0].name

    def normalise(self, resized: Any) -> Any:
        """Return float32 (1, 3, H, W)."""
        scaled = (resized.astype(np.float32) / 255.0 - _MEAN) / _DEVIATION
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])

    def infer(self, tensor: NDArray[Any]) -> tuple[list[str], list[float]]:
        """Return the five best classes with their scores."""
        if self._session is None:
            time.sleep(self._sleep_s)
            red = float(tensor[0, 0].mean() * _DEVIATION[0] + _MEAN[0]) * 255
            return [f'red_{round(red) + place:03d}' for place in range(5)], [0.5] + [0.001] * 4
        logits = self._session.run(None, {self._input: tensor})[0][0]
        exponents = np.exp(logits - logits.max())
        best = np.argsort(logits)[::-1][:5]
        scores = exponents[best] / exponents.sum()
        return [str(index) for index in best], [float(score) for score in scores]


def to_rgb(message: Image) -> Any:
    """Return the pixels of a colour image as cv_bridge does, uint8 RGB (H, W, 3)."""
    pixels: Any = np.ndarray(
        (message.height, message.width, 3), np.uint8, message.data,
        strides=(message.step, 3, 1))
    if (code := _TO_RGB[message.encoding]) is not None:
        pixels = cv2.cvtColor(pixels, code)
    return pixels


class PlainNode(Node):
    """
    Classifies the images of one camera.

    :param namespace: its namespace.
    :param camera: CAMERA/image is subscribed, CAMERA/classification published.
    :param classifier: infers one image.
    """

    def __init__(self, namespace: str, camera: str, classifier: Classifier) -> None:
        super().__init__('plain', namespace=namespace)
        self._classifier = classifier
        #: CPU time of this thread in each of `STAGES`, in ns, and the frames.
        self.spent_ns = dict.fromkeys(STAGES, 0)
        self.frames = 0
        self.publisher = self.create_publisher(Classification, f'{camera}/classification', 10)
        self.create_subscription(
            Image, f'{camera}/image', self._on_image, qos_profile_sensor_data)

    def _on_image(self, message: Image) -> None:
        marks = [time.thread_time_ns()]
        pixels = to_rgb(message)
        marks.append(time.thread_time_ns())
        resized = cv2.resize(pixels, (SIDE, SIDE))
        marks.append(time.thread_time_ns())
        tensor = self._classifier.normalise(resized)
        marks.append(time.thread_time_ns())
        names, scores = self._classifier.infer(tensor)
        marks.append(time.thread_time_ns())
        self.publisher.publish(Classification(header=message.header, results=[
            ObjectHypothesis(class_id=name, score=score)
            for name, score in zip(names, scores)]))
        marks.append(time.thread_time_ns())
        for stage, start, end in zip(STAGES, marks, marks[1:]):
            self.spent_ns[stage] += end - start
        self.frames += 1

    def tell(self) -> dict[str, Any]:
        """Return frames, CPU time by stage and how many listen."""
        return {'frames': self.frames, 'spent_ns': self.spent_ns,
                'listeners': self.publisher.get_subscription_count()}


class Telling(Protocol):
    """A node that `serve` can spin."""

    def tell(self) -> dict[str, Any]:
        """Return what is told on request, with `listeners`."""

    def destroy_node(self) -> None:
        """Free the node."""


def main() -> int:
    """Classify until the input ends."""
    namespace, camera, model, simulated_ms = sys.argv[1:]
    return serve(lambda: PlainNode(
        namespace, camera, PlainClassifier(model, float(simulated_ms))))


def serve(make: Callable[[], Telling]) -> int:
    """Spin the node that `make` returns until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = make()
    Thread(target=_talk, args=(node,), daemon=True).start()
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        pass  # the input ended
    node.destroy_node()
    return 0


def _talk(node: Telling) -> None:
    """Tell what there is whenever asked, by a line, and end with the input."""
    for _ in sys.stdin:
        print(json.dumps(node.tell()), flush=True)
    rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
