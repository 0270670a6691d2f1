"""Pictures of clouds to calibrate with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

COUNT = 40


def clouds() -> np.ndarray:
    """Return uint8 (COUNT, 72, 80, 3) RGB pictures, larger than the model's input."""
    return sample_frames(COUNT, 72, 80, 5)


def write_pictures(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f'{number:02}.png'), frame[..., ::-1])
    return folder
