"""Luma and two planes of chroma: the pixels are those of OpenCV for even sides, or computed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.raw.encodings import ENCODINGS

NAMES = ('i420', 'yuv420p', 'yv12', 'I420', 'YUV420P', 'Yv12')
EVEN = [(2, 2), (2, 8), (6, 4), (10, 6), (24, 32)]
ODD = [(1, 1), (3, 5), (4, 7), (7, 4), (1, 6)]


def planes_of(size: tuple[int, int], seed: int = 0) -> tuple[Any, Any, Any]:
    """Return random luma, U and V, uint8, chroma with half the sides, rounded up."""
    random = np.random.default_rng(seed)
    half = -(-size[0] // 2), -(-size[1] // 2)
    return (random.integers(16, 236, size).astype(np.uint8),
            *(random.integers(16, 241, half).astype(np.uint8) for _ in range(2)))


def message(
        encoding: str, planes: tuple[Any, Any, Any], padding: int = 0,
        **fields: Any) -> SimpleNamespace:
    """Return an Image whose rows of luma have bytes after them, and those of chroma half of it."""
    luma, u, v = planes
    height, width = luma.shape
    step = width + padding
    rows = []
    for plane in (luma, v, u) if encoding.lower() == 'yv12' else (luma, u, v):
        stride = step if plane is luma else -(-step // 2)
        rows.append(np.pad(
            plane, ((0, 0), (0, stride - plane.shape[1])), constant_values=77).tobytes())
    return SimpleNamespace(**{
        'height': height, 'width': width, 'step': step, 'encoding': encoding, 'is_bigendian': 0,
        'data': b''.join(rows), **fields})


def computed(planes: tuple[Any, Any, Any]) -> Any:
    """Return RGB by BT.601 with video range, each chroma value for two by two pixels."""
    luma = planes[0]
    y = 1.164 * (luma.astype(float) - 16)
    u, v = (plane.astype(float).repeat(2, axis=0).repeat(2, axis=1)[
        :luma.shape[0], :luma.shape[1]] - 128 for plane in planes[1:])
    return np.stack(
        [y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u], axis=2).clip(0, 255)


@pytest.mark.parametrize('padding', [0, 2, 6, 64])
@pytest.mark.parametrize('size', EVEN)
@pytest.mark.parametrize('encoding', NAMES)
def test_even_sides(encoding: str, size: tuple[int, int], padding: int) -> None:
    planes = planes_of(size)
    packed = np.concatenate([plane.ravel() for plane in planes]).reshape(-1, size[1])
    frame = decode_message(message(encoding, planes, padding))
    assert frame.order == 'rgb'
    np.testing.assert_array_equal(frame.pixels, cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420))
    np.testing.assert_allclose(frame.pixels, computed(planes), atol=2)


@pytest.mark.parametrize('padding', [0, 1, 3, 8])
@pytest.mark.parametrize('size', [*ODD, (2, 6)])
@pytest.mark.parametrize('encoding', NAMES[:3])
def test_odd_sides_have_chroma_for_the_last_row_and_column(
        encoding: str, size: tuple[int, int], padding: int) -> None:
    planes = planes_of(size)
    frame = decode_message(message(encoding, planes, padding))
    assert frame.pixels.shape == (*size, 3)
    np.testing.assert_allclose(frame.pixels, computed(planes), atol=2)


@pytest.mark.parametrize('size', [(6, 4), (7, 4), (3, 5)])
@pytest.mark.parametrize('encoding', NAMES[:3])
@pytest.mark.parametrize('step', [0, 1, 1.5, 3])
def test_a_step_that_does_not_fit_is_taken_for_the_width(
        encoding: str, size: tuple[int, int], step: float) -> None:
    planes = planes_of(size)
    image = message(encoding, planes)
    expected = decode_message(image).pixels
    image.step = int(size[1] * step)
    np.testing.assert_array_equal(decode_message(image).pixels, expected)


@pytest.mark.parametrize('extra', [-1, 1, 100])
@pytest.mark.parametrize('size', [(6, 4), (3, 5)])
def test_too_few_or_too_many_bytes_are_refused(size: tuple[int, int], extra: int) -> None:
    image = message('i420', planes_of(size))
    size_bytes = len(image.data)
    image.data = (image.data + bytes(100))[:size_bytes + extra]
    with pytest.raises(
            FrameError, match=f'{size_bytes + extra} bytes of data, expected {size_bytes} '):
        decode_message(image)


@pytest.mark.parametrize('size', [(6, 4), (3, 5)])
def test_the_pixels_are_the_callers(size: tuple[int, int]) -> None:
    image = message('i420', planes_of(size))
    image.data = np.frombuffer(image.data, np.uint8)
    pixels = decode_message(image).pixels
    assert pixels.flags.writeable
    assert not np.shares_memory(pixels, image.data)
    assert not ENCODINGS['i420'].is_view
