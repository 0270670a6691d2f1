"""Converted pixels, of any size and row padding, are those of OpenCV for a packed picture."""

from __future__ import annotations

from array import array
import sys
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from resnet_trt_node.imaging.decode import decode_message

RNG = np.random.default_rng(3)
MOSAICS = {
    'rggb': cv2.COLOR_BayerBG2RGB, 'bggr': cv2.COLOR_BayerRG2RGB, 'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB}
PAIRS = {
    'uyvy': cv2.COLOR_YUV2RGB_UYVY, 'yuv422': cv2.COLOR_YUV2RGB_UYVY,
    'yuyv': cv2.COLOR_YUV2RGB_YUY2, 'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2}
PLANES = {'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21}


def message(
        encoding: str, size: tuple[int, int], rows: Any, padding: int = 0,
        **fields: Any) -> SimpleNamespace:
    """Return an Image of rows, uint8 (lines, bytes a line), with bytes after each."""
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(**{
        'height': size[0], 'width': size[1], 'step': padded.shape[1], 'encoding': encoding,
        'is_bigendian': 0, 'data': array('B', padded.tobytes()), **fields})


def to_8_bit(values: Any) -> Any:
    """Return v * 255 / 65535, rounded."""
    return np.floor(values.astype(np.float64) * (255 / 65535) + 0.5).astype(np.uint8)


class DeviceBuffer:
    """What rclpy of Lyrical hands out for data that a publisher keeps on a device."""

    def __init__(self, data: array[int]) -> None:
        self._data = data

    @property
    def __class__(self) -> Any:
        return array

    def __len__(self) -> int:
        return len(self._data)

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self._data)


@pytest.mark.skipif(sys.version_info < (3, 12), reason='a class has no __buffer__ before 3.12')
@pytest.mark.parametrize('compressed', [False, True])
def test_data_may_be_a_buffer_of_a_device(compressed: bool) -> None:
    pixels = RNG.integers(0, 255, (16, 24, 3), np.uint8)
    image = message('rgb8', (16, 24), pixels.reshape(16, -1))
    if compressed:
        image = SimpleNamespace(format='png', data=array(
            'B', cv2.imencode('.png', pixels[..., ::-1])[1].tobytes()))
    image.data = DeviceBuffer(image.data)
    frame = decode_message(image)
    decoded = frame.pixels if frame.order == 'rgb' else frame.pixels[..., ::-1]
    assert decoded.tolist() == pixels.tolist()


@pytest.mark.parametrize('size', [(3, 3), (7, 9), (16, 24), (11, 8)])
@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('pattern', MOSAICS)
def test_a_mosaic_of_8_bits(pattern: str, padding: int, size: tuple[int, int]) -> None:
    mosaic = RNG.integers(0, 256, size, np.uint8)
    frame = decode_message(message(f'bayer_{pattern}8', size, mosaic, padding))
    assert frame.order == 'rgb'
    np.testing.assert_array_equal(frame.pixels, cv2.cvtColor(mosaic, MOSAICS[pattern]))


@pytest.mark.parametrize('big_endian', [0, 1])
@pytest.mark.parametrize('size', [(3, 3), (7, 9), (16, 24)])
@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('pattern', MOSAICS)
def test_a_mosaic_of_16_bits(
        pattern: str, padding: int, size: tuple[int, int], big_endian: int) -> None:
    mosaic = RNG.integers(0, 65536, size, np.uint16)
    rows = mosaic.astype('>u2' if big_endian else '<u2').view(np.uint8)
    frame = decode_message(
        message(f'bayer_{pattern}16', size, rows, padding, is_bigendian=big_endian))
    assert frame.order == 'rgb'
    np.testing.assert_array_equal(
        frame.pixels, to_8_bit(cv2.cvtColor(mosaic, MOSAICS[pattern])))


@pytest.mark.parametrize('size', [(1, 2), (3, 6), (8, 16)])
@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('encoding', PAIRS)
def test_pairs_of_pixels(encoding: str, padding: int, size: tuple[int, int]) -> None:
    packed = RNG.integers(0, 256, (*size, 2), np.uint8)
    frame = decode_message(message(encoding, size, packed.reshape(size[0], -1), padding))
    assert frame.order == 'rgb'
    np.testing.assert_array_equal(frame.pixels, cv2.cvtColor(packed, PAIRS[encoding]))


@pytest.mark.parametrize('size', [(2, 2), (4, 10), (10, 4)])
@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('encoding', PLANES)
def test_two_planes(encoding: str, padding: int, size: tuple[int, int]) -> None:
    lines = RNG.integers(0, 256, (size[0] * 3 // 2, size[1]), np.uint8)
    frame = decode_message(message(encoding, size, lines, padding))
    luma, chroma = lines[:size[0]], lines[size[0]:].reshape(size[0] // 2, size[1] // 2, 2)
    assert frame.order == 'rgb'
    np.testing.assert_array_equal(
        frame.pixels, cv2.cvtColorTwoPlane(luma, chroma, PLANES[encoding]))


@pytest.mark.parametrize('size', [(1, 1), (3, 5), (4, 10), (5, 4)])
@pytest.mark.parametrize('padding', [0, 1, 6])
def test_two_planes_of_equal_size(padding: int, size: tuple[int, int]) -> None:
    luma = RNG.integers(16, 236, size).astype(np.uint8)
    chroma = RNG.integers(16, 241, (*size, 2)).astype(np.uint8)
    data = b''.join(
        np.pad(plane.reshape(size[0], -1), ((0, 0), (0, more)), constant_values=77).tobytes()
        for plane, more in ((luma, padding), (chroma, 2 * padding)))
    frame = decode_message(message(
        'nv24', size, np.zeros((1, 0), np.uint8), step=size[1] + padding, data=data))
    y = 1.164 * (luma.astype(float) - 16)
    u, v = np.moveaxis(chroma.astype(float) - 128, 2, 0)
    expected = np.stack([y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u], axis=2)
    assert frame.order == 'rgb'
    np.testing.assert_allclose(frame.pixels, expected.clip(0, 255), atol=2)


@pytest.mark.parametrize('encoding', ['mono16', 'rgb16', 'bayer_rggb16'])
def test_16_bits_may_begin_at_an_odd_address(encoding: str) -> None:
    size = (5, 6)
    rows = RNG.integers(0, 256, (5, 6 * 2 * (3 if encoding == 'rgb16' else 1)), np.uint8)
    image = message(encoding, size, rows)
    odd = message(encoding, size, rows, data=memoryview(b'\0' + rows.tobytes())[1:])
    np.testing.assert_array_equal(decode_message(odd).pixels, decode_message(image).pixels)


@pytest.mark.parametrize('encoding', ['mono16', 'bayer_rggb8', 'uyvy', 'nv12', 'nv24'])
def test_converted_pixels_are_the_callers(encoding: str) -> None:
    lines = {'nv12': 6, 'nv24': 12}.get(encoding, 4)
    width = 16 if encoding in ('mono16', 'uyvy') else 8
    image = message(encoding, (4, 8), np.zeros((lines, width), np.uint8), step=width)
    pixels = decode_message(image).pixels
    assert pixels.flags.writeable
    assert not np.shares_memory(pixels, np.frombuffer(image.data, np.uint8))
