"""What is white in pictures that say so themselves: as Pillow has it, to the last level."""

from __future__ import annotations

from io import BytesIO
import struct

import cv2
import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.datasets.pictures import decode_picture
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.frame import Frame

WHITES = (1, 2, 3, 15, 100, 128, 254, 255, 256, 1000, 1023, 4095, 65534, 65535)


def netpbm(kind: int, white: int, values: np.ndarray, comment: bytes = b'') -> bytes:
    """Return a file of that kind: P2, P3 are text, P5, P6 binary; P3, P6 have colours."""
    height, width = values.shape[:2]
    head = b'P%d\n%s%d %d\n%d\n' % (kind, comment, width, height, white)
    if kind in (2, 3):
        return head + b' '.join(b'%d' % value for value in values.reshape(-1)) + b'\n'
    return head + values.astype('>u2' if white > 255 else np.uint8).tobytes()


def grey_or_rgb(frame: Frame) -> np.ndarray:
    """Return pixels in Pillow's order."""
    return frame.pixels[..., 2::-1] if frame.order == 'bgr' else frame.pixels


@pytest.mark.parametrize('kind', [2, 3, 5, 6])
@pytest.mark.parametrize('white', WHITES)
def test_netpbm_defines_what_is_white(kind: int, white: int) -> None:
    shape = (16, 12, 3) if kind in (3, 6) else (16, 12)
    values = np.random.default_rng(white).integers(0, white + 1, shape)
    values[0, 0], values[0, 1] = 0, white
    data = netpbm(kind, white, values, b'# 7 7\n 9\n'[:6])
    for frame in (decode_compressed(data), decode_picture(data, 'a.ppm')):
        pixels = grey_or_rgb(frame)
        assert pixels.shape == shape
        # Halves fall one way or the other.
        assert np.abs(pixels - values * (255 / white)).max() <= 0.501
        assert (pixels[0, 0].max(), pixels[0, 1].min()) == (0, 255)
    pillow = Image.open(BytesIO(data))
    if pillow.mode in ('L', 'RGB'):
        np.testing.assert_allclose(pixels.astype(int), np.asarray(pillow).astype(int), atol=(
            0 if white % 2 else 1))


@pytest.mark.parametrize('kind', [2, 5])
def test_brighter_than_white_is_white(kind: int) -> None:
    data = netpbm(kind, 1000, np.array([[1000, 5000, 65535], [0, 500, 1001]]))
    np.testing.assert_array_equal(decode_compressed(data).pixels[[0, 0, 0, 1], [0, 1, 2, 2]], 255)


def test_bitmaps_are_black_where_they_are_set() -> None:
    bits = np.array([[1, 0, 1, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1, 1, 0]])
    text = b'P1\n8 2\n' + b' '.join(b'%d' % bit for bit in bits.reshape(-1)) + b'\n'
    for data in (text, b'P4\n8 2\n' + np.packbits(bits.astype(np.uint8)).tobytes()):
        np.testing.assert_array_equal(decode_compressed(data).pixels, 255 - 255 * bits)


def test_a_comment_may_not_be_endless() -> None:
    with pytest.raises(FrameError, match='header is incomplete'):
        decode_compressed(b'P5 #' + b'x' * 100_000 + b'\n4 4 255\n' + bytes(16))


def tiff(bits: int, colour: int, data: bytes, samples: int = 1) -> bytes:
    """Return an uncompressed TIFF of 16x16."""
    tags = [
        (256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, colour),
        (273, 4, 1, 8), (277, 3, 1, samples), (278, 4, 1, 16), (279, 4, 1, len(data))]
    return (b'II*\0' + struct.pack('<I', 8 + len(data)) + data + struct.pack('<H', len(tags))
            + b''.join(struct.pack('<HHII', *tag) for tag in tags) + bytes(4))


@pytest.mark.parametrize('white_is_0', [False, True])
@pytest.mark.parametrize('bits', [8, 16])
def test_a_grey_tiff_defines_which_end_is_white(bits: int, white_is_0: bool) -> None:
    levels = np.arange(256).reshape(16, 16)
    data = levels.astype(np.uint8) if bits == 8 else (levels * 257).astype('<u2')
    frame = decode_compressed(tiff(bits, 0 if white_is_0 else 1, data.tobytes()))
    np.testing.assert_array_equal(frame.pixels, 255 - levels if white_is_0 else levels)


def test_a_tiff_of_4_bits_is_read_from_a_file() -> None:
    packed = bytes(range(128))
    frame = decode_picture(tiff(4, 1, packed), 'a.tif')
    np.testing.assert_array_equal(
        frame.pixels.reshape(-1, 2), [[17 * (value >> 4), 17 * (value & 15)] for value in packed])


def test_a_tiff_of_inks_is_no_tiff_of_colours() -> None:
    picture = Image.new('CMYK', (16, 16), (255, 0, 0, 0))
    file = BytesIO()
    picture.save(file, 'TIFF')
    assert decode_picture(file.getvalue(), 'a.tif').pixels[0, 0].tolist() == [0, 255, 255]
    with pytest.raises(FrameError, match='16x16 tiff holds inks'):
        decode_compressed(file.getvalue())


@pytest.mark.parametrize('ending', ['.png', '.tiff'])
def test_16_bit_files_have_their_white_at_65535(ending: str) -> None:
    values = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    done, data = cv2.imencode(ending, values)
    assert done
    np.testing.assert_array_equal(
        decode_picture(bytes(data), f'a{ending}').pixels, np.arange(256).reshape(16, 16))
