"""32FC3 is read as blue, green and red from 0 to 1; other ranges are refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.decode import decode_message

SIZE = (5, 7, 3)
#: Levels of 8 bits that are to come out.
LEVELS = np.random.default_rng(8).integers(0, 256, SIZE).astype(np.uint8)


def message(values: Any, padding: int = 0, big_endian: int = 0, **fields: Any) -> SimpleNamespace:
    """Return a 32FC3 image; `values` has the shape (H, W, 3)."""
    rows = np.ascontiguousarray(values, '>f4' if big_endian else '<f4').view(np.uint8)
    padded = np.pad(
        rows.reshape(len(values), -1), ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(**{
        'height': values.shape[0], 'width': values.shape[1], 'step': padded.shape[1],
        'encoding': '32FC3', 'is_bigendian': big_endian, 'data': padded.tobytes(), **fields})


@pytest.mark.parametrize('encoding', ['32FC3', '32fc3'])
@pytest.mark.parametrize('big_endian', [0, 1])
@pytest.mark.parametrize('padding', [0, 1, 3, 4, 20])
def test_0_to_1_becomes_0_to_255(encoding: str, big_endian: int, padding: int) -> None:
    frame = decode_message(message(LEVELS / 255, padding, big_endian, encoding=encoding))
    assert frame.order == 'bgr'
    assert frame.pixels.dtype == np.uint8
    np.testing.assert_array_equal(frame.pixels, LEVELS)


def test_values_are_rounded_and_clipped() -> None:
    values = np.full((20, 20, 3), 0.5, np.float32)
    values[0, 0] = 0.4 / 255, 0.6 / 255, 254.6 / 255
    values[0, 1] = -0.0, -3.0, -np.inf
    values[0, 2] = np.nan, 1.0, 1.01
    values[0, 3] = np.inf, 1e30, 1e-30
    pixels = decode_message(message(values)).pixels
    assert pixels[0, :4].tolist() == [[0, 1, 255], [0, 0, 0], [0, 255, 255], [255, 255, 0]]
    assert (pixels[1:] == 128).all()


def test_values_up_to_255_are_refused() -> None:
    with pytest.raises(FrameError, match=r'32FC3 image: 99% .*above 1, up to 255.* 8UC3'):
        decode_message(message(np.linspace(0, 255, 300).reshape(10, 10, 3)))


def test_a_row_takes_12_bytes_a_pixel() -> None:
    with pytest.raises(FrameError, match='step is 83, but a row takes 84 bytes'):
        decode_message(message(LEVELS, step=83))


def test_the_data_may_begin_at_an_odd_address() -> None:
    image = message(LEVELS / 255)
    image.data = memoryview(b'\0' + image.data)[1:]
    np.testing.assert_array_equal(decode_message(image).pixels, LEVELS)
