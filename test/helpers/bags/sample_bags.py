"""Bags for tests."""

from __future__ import annotations

from pathlib import Path

from bags.image_bags import BagWriter
import numpy as np


START_NS = 1_700_000_000_123_456_789
PERIOD_NS = 50_000_000
JPEG = b'\xff\xd8\xff\xe0 not decoded here \xff\xd9'


def pixels_of(index: int) -> np.ndarray:
    """Return a 48x64 bgr picture that differs with the index."""
    return np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)


def write_bag(path: Path, frames: int = 3, storage: str = 'mcap') -> Path:
    """Write raw images of a front and compressed ones of a left camera, 10 ms apart."""
    with BagWriter(path, storage) as bag:
        for index in range(frames):
            stamp_ns = START_NS + index * PERIOD_NS
            bag.write_image('/front/image', pixels_of(index), stamp_ns, 'front')
            bag.write_compressed(
                '/left/image/compressed', JPEG + bytes([index]), 'jpeg', stamp_ns + 10_000_000,
                'left')
    return path
