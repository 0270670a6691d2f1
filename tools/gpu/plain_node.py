"""
The plain node of `bench` with an engine of TensorRT: what the node is measured against on a GPU.

Usage: PYTHONPATH=tools:. python -m tools.gpu.plain_node NAMESPACE CAMERA ENGINE

The engine takes uint8 pixels and normalises them, so that the callback converts, resizes, infers
one frame and publishes; it is the same engine as the node's, at batch 1.
"""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Any

from bench.plain_node import PlainNode, serve
import numpy as np
from numpy.typing import NDArray
import pycuda.driver as cuda
from tools.gpu.bare_engine import BareEngine


class PlainEngineNode(PlainNode):
    """
    Classifies the images of one camera on the GPU.

    :param namespace: its namespace.
    :param camera: CAMERA/image is subscribed, CAMERA/classification published.
    :param plan: the engine file; its first profile is used.
    """

    def __init__(self, namespace: str, camera: str, plan: Path) -> None:
        super().__init__(namespace, camera, '', 0.0)
        cuda.init()
        # rclpy.spin calls back in the thread that made it.
        self._cuda = cuda.Device(0).make_context()
        self._engine = BareEngine(plan, 1, 0, np.zeros((1, 224, 224, 3), np.uint8))

    def _normalise(self, resized: Any) -> Any:
        return resized

    def _infer(self, tensor: NDArray[np.uint8]) -> tuple[list[str], list[float]]:
        self._engine.images[0] = tensor
        self._engine.enqueue()
        probabilities = self._engine.result[0]
        best = np.argsort(probabilities)[::-1][:5]
        return [str(index) for index in best], [float(probabilities[index]) for index in best]


if __name__ == '__main__':
    sys.exit(serve(lambda: PlainEngineNode(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
