"""Compressed pictures: colours, depths, sizes, and what is refused instead of half decoded."""

from __future__ import annotations

from array import array
from io import BytesIO
import struct
from types import SimpleNamespace
from typing import Any
import zlib

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.decode import decode_message, message_size

#: Turned a quarter clockwise for display; 274 is EXIF's number of the orientation.
ORIENTATION, QUARTER_TURN = 274, 6


def smooth_picture(height: int = 96, width: int = 160) -> np.ndarray:
    """Return RGB gradients of three directions, which jpeg keeps within few levels."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([
        x * 255 // (width - 1), y * 255 // (height - 1),
        (x + y) * 255 // (height + width - 2)], axis=2).astype(np.uint8)


def saved(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    """Return a picture file's bytes, written by Pillow."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def with_restarts(pixels: np.ndarray) -> bytes:
    """Return a jpeg with a restart marker after every four blocks."""
    done, data = cv2.imencode(
        '.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_RST_INTERVAL, 4])
    assert done
    return bytes(data)


@pytest.mark.parametrize(('kind', 'options', 'tolerance'), [
    ('JPEG', {'quality': 95}, 8), ('JPEG', {'quality': 95, 'progressive': True}, 8),
    ('PNG', {}, 0), ('BMP', {}, 0), ('TIFF', {}, 0), ('PPM', {}, 0),
    ('WEBP', {'lossless': True}, 0)])
def test_colours(kind: str, options: dict[str, Any], tolerance: int) -> None:
    picture = smooth_picture()
    frame = decode_compressed(saved(picture, kind, **options))
    assert frame.order == 'bgr'
    np.testing.assert_allclose(frame.pixels[..., ::-1].astype(int), picture, atol=tolerance)


def test_grey_and_alpha() -> None:
    picture = smooth_picture()
    grey = decode_compressed(saved(picture[..., 0], 'PNG'))
    assert grey.order == 'gray'
    np.testing.assert_array_equal(grey.pixels, picture[..., 0])
    alpha = decode_compressed(saved(np.dstack([picture, picture[..., 1]]), 'PNG'))
    assert alpha.order == 'bgra'
    np.testing.assert_array_equal(alpha.pixels[..., [2, 1, 0, 3]], np.dstack(
        [picture, picture[..., 1]]))


def test_16_bit_png_is_scaled_as_raw_16_bit_images_are() -> None:
    values = np.arange(0, 65536, 16, np.uint16).reshape(64, 64)
    done, data = cv2.imencode('.png', values)
    assert done
    frame = decode_compressed(bytes(data))
    np.testing.assert_array_equal(
        frame.pixels, np.floor(values * (255 / 65535) + 0.5).astype(np.uint8))
    upright = decode_compressed(bytes(data), apply_orientation=True)
    np.testing.assert_array_equal(upright.pixels, frame.pixels)


def test_numbers_that_are_no_levels_are_refused() -> None:
    done, data = cv2.imencode('.tiff', np.full((8, 8), 0.5, np.float32))
    assert done
    with pytest.raises(FrameError, match=r'tiff .*float32'):
        decode_compressed(bytes(data))


def test_orientation_is_followed_only_where_asked_for() -> None:
    picture = smooth_picture()
    exif = Image.Exif()
    exif[ORIENTATION] = QUARTER_TURN
    data = saved(picture, 'JPEG', quality=95, exif=exif)
    assert decode_compressed(data).pixels.shape == (96, 160, 3)
    assert decode_compressed(data, 40).pixels.shape == (48, 80, 3)
    upright = decode_compressed(data, apply_orientation=True).pixels[..., ::-1]
    np.testing.assert_allclose(upright.astype(int), np.rot90(picture, -1), atol=8)
    turned = decode_compressed(data, 40, apply_orientation=True)
    assert (turned.pixels.shape, turned.full_size) == ((80, 48, 3), (160, 96))
    assert decode_compressed(data, 40).full_size == (96, 160)
    # Reduced to a square, it is as wide as it was all the same.
    assert decode_compressed(saved(smooth_picture(121, 128), 'JPEG'), 16).full_size == (121, 128)
    assert decode_compressed(saved(smooth_picture(127, 128), 'JPEG'), 15).full_size == (127, 128)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_the_size_of_a_message_is_that_of_its_decoded_picture(
        kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = BytesIO()
    Image.new('RGB', (60, 40)).save(data, kind, exif=exif)
    message = SimpleNamespace(format=kind.lower(), data=data.getvalue())
    assert message_size(message) == decode_message(message).size


@pytest.mark.parametrize(('reduced_to', 'factor'), [
    (None, 1), (97, 1), (96, 1), (49, 1), (48, 2), (25, 2), (24, 4), (12, 8), (1, 8)])
def test_a_jpeg_is_reduced_as_far_as_both_sides_allow(reduced_to: Any, factor: int) -> None:
    picture = smooth_picture()
    frame = decode_compressed(saved(picture, 'JPEG', quality=95), reduced_to)
    assert frame.pixels.shape == (96 // factor, 160 // factor, 3)
    blocks = picture.reshape(96 // factor, factor, 160 // factor, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(frame.pixels[..., ::-1], blocks, atol=8)


def test_a_png_is_never_reduced() -> None:
    assert decode_compressed(saved(smooth_picture(), 'PNG'), 12).pixels.shape == (96, 160, 3)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF', 'PPM'])
@pytest.mark.parametrize('share', [0.01, 0.3, 0.6, 0.95, 1.0])
def test_a_picture_that_was_cut_off_is_refused(kind: str, share: float) -> None:
    data = saved(smooth_picture(), kind)
    with pytest.raises(FrameError):
        decode_compressed(data[:min(len(data) - 1, int(len(data) * share))])


def test_a_jpeg_with_a_preview_that_was_cut_off_is_refused() -> None:
    # The preview has an end of its own, before the picture's data.
    preview = saved(smooth_picture(24, 40), 'JPEG')
    data = saved(smooth_picture(), 'JPEG')
    segment = b'\xff\xe1' + struct.pack('>H', len(preview) + 2) + preview
    whole = data[:2] + segment + data[2:]
    assert decode_compressed(whole).pixels.shape == (96, 160, 3)
    with pytest.raises(FrameError, match='cut off'):
        decode_compressed(whole[:-200])


def test_padding_after_a_jpeg_does_no_harm() -> None:
    data = saved(smooth_picture(), 'JPEG')
    assert decode_compressed(data + b'\0' * 64).pixels.shape == (96, 160, 3)


def test_what_comes_behind_a_jpeg_does_no_harm() -> None:
    # As telephones append a film, in which markers of any kind turn up.
    data = saved(smooth_picture(), 'JPEG')
    for film in (b'\xff\xda' * 9, b'\xff\xd9\xff\xd5\xff\xda\xff\xd3\xff\xd9'):
        np.testing.assert_array_equal(
            decode_compressed(data + film).pixels, decode_compressed(data).pixels)


def test_the_first_of_several_pictures_in_a_jpeg_is_taken() -> None:
    picture = Image.fromarray(smooth_picture())
    file = BytesIO()
    picture.save(file, 'MPO', save_all=True, append_images=[picture.rotate(180)])
    data = file.getvalue()
    assert decode_compressed(data, 48).pixels.shape == (48, 80, 3)
    frame = decode_compressed(data)
    np.testing.assert_allclose(frame.pixels[..., ::-1].astype(int), smooth_picture(), atol=12)
    with pytest.raises(FrameError, match='cut off'):
        decode_compressed(data[:data.index(b'\xff\xd9')])


def test_every_scan_of_a_jpeg_numbers_its_restarts_anew() -> None:
    done, data = cv2.imencode('.jpg', smooth_picture(), [
        cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 7])
    assert done
    whole = bytes(data)
    assert decode_compressed(whole).pixels.shape == (96, 160, 3)
    place = whole.index(b'\xff\xd1')
    assert whole.index(b'\xff\xda', place) > 0
    with pytest.raises(FrameError, match='restart markers'):
        decode_compressed(whole[:place] + whole[place + 2:])


def test_a_jpeg_that_lost_a_packet_is_refused() -> None:
    data = with_restarts(smooth_picture())
    assert decode_compressed(data).pixels.shape == (96, 160, 3)
    start = data.index(b'\xff\xd2')
    end = data.index(b'\xff\xd4', start)
    with pytest.raises(FrameError, match='restart markers'):
        decode_compressed(data[:start] + data[end:])


def test_a_picture_of_absurd_size_is_refused_from_its_header() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack('>I', len(body)) + name + body + struct.pack(
            '>I', zlib.crc32(name + body))

    header = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
    png = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(
        b'IDAT', zlib.compress(b'\0' * 1000)) + chunk(b'IEND', b'')
    with pytest.raises(FrameError, match=r'60000x60000 png: .* 20600 MiB'):
        decode_compressed(png)


def test_more_columns_than_opencv_takes_are_refused() -> None:
    with pytest.raises(FrameError, match='broken 1048577x1 bmp: OpenCV'):
        decode_compressed(saved(np.zeros((1, 2**20 + 1), np.uint8), 'BMP'))


@pytest.mark.parametrize(('data', 'words'), [
    (b'', 'empty picture'),
    (b'\0' * 100, '00 00 00 00 .*not a picture'),
    (b'GIF89a' + b'\0' * 50, '47 49 46 .*not a picture'),
    (None, 'data is NoneType'),
    ([255, 216], 'data is list'),
    ('text', 'data is str'),
])
def test_what_is_no_picture_is_refused_with_its_reason(data: Any, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        decode_compressed(data)


@pytest.mark.slow
@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(['JPEG', 'PNG', 'WEBP', 'BMP', 'TIFF', 'PPM']), data=st.data())
def test_damaged_bytes_are_decoded_or_refused_and_nothing_else(kind: str, data: Any) -> None:
    damaged = bytearray(saved(smooth_picture(24, 32), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        frame = decode_compressed(bytes(damaged))
    except FrameError:
        return
    assert frame.pixels.dtype == np.uint8
    assert frame.pixels.size > 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_compressed(data)


def test_a_message_is_decoded_by_what_it_is() -> None:
    picture = smooth_picture()
    raw = SimpleNamespace(
        height=96, width=160, step=480, encoding='rgb8', is_bigendian=0,
        data=array('B', picture.tobytes()))
    np.testing.assert_array_equal(decode_message(raw).pixels, picture)
    for text in ('png', 'bgr8; png compressed bgr8', 'jpeg', ''):
        message = SimpleNamespace(format=text, data=array('B', saved(picture, 'PNG')))
        np.testing.assert_array_equal(decode_message(message).pixels[..., ::-1], picture)
    jpeg = SimpleNamespace(format='jpeg', data=saved(picture, 'JPEG'))
    assert decode_message(jpeg, reduced_to=48).pixels.shape == (48, 80, 3)
    with pytest.raises(FrameError, match='depth image'):
        decode_message(SimpleNamespace(format='16UC1; compressedDepth png', data=b''))
    with pytest.raises(FrameError, match='int is neither'):
        decode_message(3)
    with pytest.raises(FrameError, match='SimpleNamespace is neither'):
        decode_message(SimpleNamespace(format='jpeg'))


@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
@pytest.mark.parametrize(('pattern', 'place'), [
    ('rggb', (0, 0)), ('bggr', (1, 1)), ('gbrg', (1, 0)), ('grbg', (0, 1))])
def test_a_compressed_mosaic_keeps_its_colours(
        kind: str, pattern: str, place: tuple[int, int]) -> None:
    # As compressed_image_transport sends it. Red pixels only; jpeg blurs them a little.
    mosaic = np.zeros((64, 96), np.uint8)
    mosaic[place[0]::2, place[1]::2] = 200
    message = SimpleNamespace(
        format=f'bayer_{pattern}8; {kind.lower()} compressed ',
        data=saved(mosaic, kind, **({'quality': 100} if kind == 'JPEG' else {})))
    frame = decode_message(message, reduced_to=32)
    assert frame.order == 'rgb'
    assert frame.pixels.shape == (64, 96, 3)
    np.testing.assert_allclose(
        frame.pixels[2:-2, 2:-2].reshape(-1, 3).mean(axis=0), (200, 0, 0), atol=8)


def test_a_compressed_mosaic_may_be_deep_or_in_colour_already_but_not_tiny() -> None:
    deep = np.zeros((16, 16), np.uint16)
    deep[0::2, 0::2] = 51400
    frame = decode_message(SimpleNamespace(
        format='bayer_rggb16; png compressed ', data=saved(deep, 'PNG')))
    assert frame.pixels[8, 8].tolist() == [200, 0, 0]
    picture = smooth_picture()
    frame = decode_message(SimpleNamespace(
        format='bayer_rggb8; png compressed bgr8', data=saved(picture, 'PNG')))
    np.testing.assert_array_equal(frame.pixels[..., ::-1], picture)
    with pytest.raises(FrameError, match=r'mosaic .* 3 rows'):
        decode_message(SimpleNamespace(
            format='bayer_rggb8; png compressed ', data=saved(np.zeros((2, 2), np.uint8), 'PNG')))


@pytest.mark.parametrize('kind', [b'IHDR', b'IDAT', b'IEND'])
def test_a_png_chunk_that_claims_gigabytes_is_refused_before_they_are_taken(kind: bytes) -> None:
    png = saved(smooth_picture(), 'PNG')
    place = png.index(kind) - 4
    words = 'IHDR' if kind == b'IHDR' else 'chunk'
    with pytest.raises(FrameError, match=words):
        decode_compressed(png[:place] + b'\x7f' + png[place + 1:])
