"""Jpegs of every kind that Pillow and OpenCV write, and some that they do not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def scene(width: int = 96, height: int = 64, mode: str = 'RGB', seed: int = 0) -> Image.Image:
    """Return a smooth picture of many colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(width: int = 96, height: int = 64, mode: str = 'RGB', seed: int = 0,
         **options: Any) -> bytes:
    """Return a jpeg, baseline and 4:2:0 unless Pillow's `options` say otherwise."""
    out = io.BytesIO()
    scene(width, height, mode, seed).save(out, 'JPEG', **{'quality': 90, **options})
    return out.getvalue()


def turned(orientation: int) -> bytes:
    """Return a jpeg with an orientation in its EXIF data."""
    exif = Image.Exif()
    exif[0x112] = orientation
    return jpeg(exif=exif)


def segment(data: bytes, kind: int) -> int:
    """Return where the content of the first segment of a kind starts, behind its length."""
    at = 2
    while data[at + 1] != kind:
        at += 2 + int.from_bytes(data[at + 2:at + 4], 'big')
    return at + 4


def patched(data: bytes, kind: int, place: int, value: int) -> bytes:
    """Return a jpeg with one byte of its first segment of a kind replaced."""
    at = segment(data, kind) + place
    return data[:at] + bytes([value]) + data[at + 1:]


def without(data: bytes, kind: int) -> bytes:
    """Return a jpeg without the segments of a kind that stand before its scan."""
    at, kept = 2, data[:2]
    while data[at + 1] != 0xda:
        end = at + 2 + int.from_bytes(data[at + 2:at + 4], 'big')
        kept += b'' if data[at + 1] == kind else data[at:end]
        at = end
    return kept + data[at:]


def with_segment(data: bytes, kind: int, content: bytes) -> bytes:
    """Return a jpeg with a segment of its own at the front."""
    return (data[:2] + bytes([0xff, kind]) + (len(content) + 2).to_bytes(2, 'big') + content
            + data[2:])
