"""
The plain node of `bench` with an engine of TensorRT: what the node is measured against on a GPU.

Usage: PYTHONPATH=tools:. python -m tools.gpu.node.plain_node NAMESPACE CAMERA ENGINE [regions]

The engine takes uint8 pixels and normalises them, so that the callback converts, resizes, infers
one frame and publishes; it is the same engine as the node's, at batch 1. With `regions` it is
`bench.plain_regions_node`, which infers one region after the other.
"""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Any

from bench.plain_node import PlainNode, serve
from bench.plain_regions_node import PlainRegionsNode
import numpy as np
from numpy.typing import NDArray
import pycuda.driver as cuda
from tools.gpu.bare_engine import BareEngine


class EngineClassifier:
    """
    An engine that takes uint8 pixels, at batch 1; made by the thread that infers.

    :param plan: the engine file; its first profile is used.
    """

    def __init__(self, plan: Path) -> None:
        cuda.init()
        # rclpy.spin calls back in the thread that made it.
        self._cuda = cuda.Device(0).make_context()
        self._engine = BareEngine(plan, 1, 0, np.zeros((1, 224, 224, 3), np.uint8))

    def normalise(self, resized: Any) -> Any:
        """Return the pixels: the engine normalises them."""
        return resized

    def infer(self, tensor: NDArray[np.uint8]) -> tuple[list[str], list[float]]:
        """Return the five best classes with their scores."""
        self._engine.images[0] = tensor
        self._engine.enqueue()
        probabilities = self._engine.result[0]
        best = np.argsort(probabilities)[::-1][:5]
        return [str(index) for index in best], [float(probabilities[index]) for index in best]


def main() -> int:
    """Classify until the input ends."""
    namespace, camera, plan, *kind = sys.argv[1:]
    if kind == ['regions']:
        return serve(lambda: PlainRegionsNode(namespace, [camera], EngineClassifier(Path(plan))))
    return serve(lambda: PlainNode(namespace, camera, EngineClassifier(Path(plan))))


if __name__ == '__main__':
    sys.exit(main())
