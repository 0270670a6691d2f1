"""Memory and time that a picture takes are known before it is decoded, in every format."""

from __future__ import annotations

from io import BytesIO
import struct
from typing import Any
import zlib

import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.datasets.pictures import decode_picture, read_picture
from resnet_trt_node.errors import DamagedPictureError, FrameError
from resnet_trt_node.imaging.compressed import decode as compressed
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.compressed.jpeg_markers import MAX_SEGMENTS
from resnet_trt_node.imaging.compressed.picture_header import MAX_CHUNKS, read_header
from resnet_trt_node.imaging.compressed.tiff_tags import MAX_TAGS

WIDTH, HEIGHT = 96, 64


def saved(mode: str, kind: str, **options: Any) -> bytes:
    """Return a picture file of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).convert(mode).save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a piece of a png."""
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))


def png(depth: int, colour: int, between: bytes = b'', interlaced: bool = False) -> bytes:
    """Return a black png of 8x8 with chunks before its data."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    # Of the passes of Adam7, of a picture of 8x8.
    sides = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)] if interlaced else [(8, 8)]
    rows = b''.join(
        bytes(1 + (width * channels * depth + 7) // 8) * height for width, height in sides)
    return (b'\x89PNG\r\n\x1a\n'
            + chunk(b'IHDR', struct.pack('>IIBBBBB', 8, 8, depth, colour, 0, 0, interlaced))
            + (chunk(b'PLTE', bytes(6)) if colour == 3 else b'') + between
            + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


def tiff(tags: list[tuple[int, int, int, int]], data: bytes = bytes(64)) -> bytes:
    """Return a TIFF of 8x8 grey pixels with further tags: number, type, count, value."""
    usual = [
        (256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 64)]
    merged = sorted({tag[0]: tag for tag in [*usual, *tags]}.values())
    return (b'II*\0' + struct.pack('<I', 8 + len(data)) + data + struct.pack('<H', len(merged))
            + b''.join(struct.pack('<HHII', *tag) for tag in merged) + bytes(4))


@pytest.mark.parametrize(('data', 'pixel_bytes'), [
    (saved('RGB', 'JPEG'), 6), (saved('L', 'JPEG'), 2), (saved('CMYK', 'JPEG'), 6),
    # Until the last scan there are 16 bits a coefficient instead of the second copy.
    (saved('RGB', 'JPEG', progressive=True), 9), (saved('L', 'JPEG', progressive=True), 3),
    (saved('RGB', 'PNG'), 6), (saved('RGBA', 'PNG'), 8), (saved('L', 'PNG'), 2),
    (saved('P', 'PNG'), 8), (saved('LA', 'PNG'), 8), (saved('I;16', 'PNG'), 4),
    (saved('RGB', 'BMP'), 6), (saved('RGBA', 'BMP'), 8), (saved('RGB', 'WEBP'), 8),
    (saved('RGBA', 'WEBP', lossless=True), 8), (saved('L', 'PPM'), 2), (saved('RGB', 'PPM'), 6)])
def test_what_decoding_takes_is_known_from_the_header(data: bytes, pixel_bytes: int) -> None:
    size = WIDTH * HEIGHT * pixel_bytes
    frame = decode_compressed(data, max_bytes=size)
    assert frame.pixels.shape[:2] == (HEIGHT, WIDTH)
    assert 2 * frame.pixels.nbytes <= size
    with pytest.raises(FrameError, match=r'96x64 \w+: decoding takes 1 MiB'):
        decode_compressed(data, max_bytes=size - 1)


@pytest.mark.parametrize('interlaced', [False, True])
@pytest.mark.parametrize(('depth', 'colour', 'pixel_bytes'), [
    (1, 0, 2), (2, 0, 2), (4, 3, 6), (8, 0, 2), (16, 0, 4), (8, 2, 6), (16, 2, 12), (8, 4, 8),
    (16, 4, 16), (8, 6, 8), (16, 6, 16)])
def test_every_kind_of_png_is_bounded(
        depth: int, colour: int, pixel_bytes: int, interlaced: bool) -> None:
    data = png(depth, colour, interlaced=interlaced)
    assert decode_compressed(data, max_bytes=64 * pixel_bytes).pixels.shape[:2] == (8, 8)
    with pytest.raises(FrameError, match='8x8 png: decoding'):
        decode_compressed(data, max_bytes=64 * pixel_bytes - 1)


def test_a_png_that_is_transparent_in_one_colour_has_alpha() -> None:
    data = png(8, 3, chunk(b'tRNS', b'\0'))
    assert decode_compressed(data).order == 'bgra'
    with pytest.raises(FrameError, match='8x8 png: decoding'):
        decode_compressed(data, max_bytes=64 * 8 - 1)


def test_a_blank_scan_of_few_bytes_is_read() -> None:
    file = BytesIO()
    Image.new('1', (9000, 9000), 1).save(file, 'PNG')
    assert len(file.getvalue()) < 9000 * 9000 / 1000
    for frame in (decode_compressed(file.getvalue()), decode_picture(file.getvalue(), 'scan.png')):
        assert frame.pixels.shape == (9000, 9000)
        assert frame.pixels.min() == 255


@pytest.mark.filterwarnings('error')
def test_more_pixels_than_pillow_allows_are_the_users_to_allow() -> None:
    # Pillow would speak of an attack. The file holds no pixels: how far it comes shows in words.
    large = saved('RGB', 'BMP')
    large = large[:18] + struct.pack('<ii', 14_000, 10_000) + large[26:]
    with pytest.raises(FrameError, match=r'^a\.bmp: 14000x10000 .* 802 MiB'):
        decode_picture(large, 'a.bmp', max_bytes=800 * 2**20)
    with pytest.raises(FrameError, match=r'^a\.bmp: broken .*: copy'):
        decode_picture(large, 'a.bmp')


@pytest.mark.parametrize('kind', [b'zTXt', b'iTXt', b'tEXt', b'iCCP'])
def test_text_in_a_png_is_not_unpacked(monkeypatch: pytest.MonkeyPatch, kind: bytes) -> None:
    # OpenCV inflates each to 8 MB, which takes it as long as a photograph.
    start = b'k\0\1\0\0\0' if kind == b'iTXt' else b'k\0\0'
    texts = chunk(kind, start + zlib.compress(bytes(7_900_000), 9)) * 3
    given: list[int] = []
    imdecode = compressed.cv2.imdecode

    def spy(buffer: Any, flags: int) -> Any:
        given.append(len(buffer))
        return imdecode(buffer, flags)
    monkeypatch.setattr(compressed.cv2, 'imdecode', spy)
    frame = decode_compressed(png(8, 2, texts))
    assert given == [len(png(8, 2))]
    np.testing.assert_array_equal(frame.pixels, np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize('pieces', [1, 7])
def test_a_png_whose_data_inflates_to_more_than_its_pixels_is_refused(
        monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
    # libpng inflates all of it, 1032 bytes for each that the message has.
    def idats(rows: bytes) -> bytes:
        data = zlib.compress(rows, 9)
        size = -(-len(data) // pieces)
        return b''.join(
            chunk(b'IDAT', data[at:at + size]) for at in range(0, len(data), size))
    whole = png(8, 2)
    start, end = whole.index(b'IDAT') - 4, whole.index(b'IEND') - 4
    fitting = whole[:start] + idats(bytes(8 * 25)) + whole[end:]
    endless = whole[:start] + idats(bytes(4 * 2**20)) + whole[end:]
    np.testing.assert_array_equal(decode_compressed(fitting, max_bytes=1024).pixels, 0)
    monkeypatch.setattr(compressed.cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    with pytest.raises(FrameError, match='8x8 png: its data inflates to more'):
        decode_compressed(endless, max_bytes=1024)


@pytest.mark.parametrize('kind', [b'abCd', b'IDAT'])
def test_a_png_of_countless_chunks_is_refused(kind: bytes) -> None:
    with pytest.raises(FrameError, match=f'{MAX_CHUNKS} chunks'):
        decode_compressed(png(8, 2, chunk(kind, b'') * MAX_CHUNKS))


def test_a_jpeg_of_countless_segments_is_refused() -> None:
    whole = saved('RGB', 'JPEG')
    empty = b'\xff\xe0\0\2'
    few = whole[:2] + empty * (MAX_SEGMENTS // 2) + whole[2:]
    np.testing.assert_array_equal(
        decode_compressed(few).pixels, decode_compressed(whole).pixels)
    with pytest.raises(FrameError, match=f'{MAX_SEGMENTS} segments'):
        decode_compressed(whole[:2] + empty * 250_000 + whole[2:])


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    whole = saved('RGB', 'JPEG', progressive=True, subsampling=0)
    size = 9 * WIDTH * HEIGHT
    # libjpeg writes ten; the last one goes over the grey of the whole picture again.
    header = read_header(memoryview(whole))
    assert header is not None
    assert header.passes == 14
    end = whole.rindex(b'\xff\xd9')
    last = whole[whole.rindex(b'\xff\xda'):end]
    allowed = whole[:end] + last * 13 + whole[end:]
    np.testing.assert_array_equal(
        decode_compressed(allowed, max_bytes=size).pixels.shape, (HEIGHT, WIDTH, 3))
    with pytest.raises(FrameError, match=r'96x64 jpeg: .*scans'):
        decode_compressed(whole[:end] + last * 14 + whole[end:], max_bytes=size)


def test_a_tiff_whose_tags_share_their_bytes_is_refused() -> None:
    # libtiff and Pillow copy what each refers to: these 25 MB of tags are 60 kB of file.
    shared = [(1000 + number, 1, 50_000, 8) for number in range(500)]
    with pytest.raises(FrameError, match=r'broken tiff .*tags'):
        decode_compressed(tiff(shared, bytes(50_000)))
    many = [(1000 + number, 1, 1, 0) for number in range(MAX_TAGS)]
    with pytest.raises(FrameError, match='list of tags'):
        decode_compressed(tiff(many))
    assert decode_compressed(tiff(shared[:1], bytes(50_000))).pixels.shape == (8, 8)


def test_a_tiff_of_huge_tiles_is_refused() -> None:
    tiles = [(322, 4, 1, 32_768), (323, 4, 1, 32_768), (324, 4, 1, 8), (325, 4, 1, 64)]
    with pytest.raises(FrameError, match=r'8x8 tiff: .* 1025 MiB'):
        decode_compressed(tiff(tiles))


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('big', [False, True])
def test_a_tiff_is_bounded_in_every_notation(order: str, big: bool) -> None:
    word, place = ('Q', 16) if big else ('I', 8)
    tags = [(256, 4, 60_000), (257, 4, 60_000), (258, 3, 8), (277, 3, 1)]
    body = b''.join(
        struct.pack(f'{order}HH{word}', tag, kind, 1)
        + struct.pack(f'{order}{"I" if kind == 4 else "H"}', value).ljust(place // 2, b'\0')
        for tag, kind, value in tags)
    head = b'II' if order == '<' else b'MM'
    head += struct.pack(f'{order}HHH', 43, 8, 0) if big else struct.pack(f'{order}H', 42)
    head += struct.pack(f'{order}{word}', place)
    count = struct.pack(f'{order}{"Q" if big else "H"}', len(tags))
    with pytest.raises(FrameError, match=r'60000x60000 tiff: .* 6867 MiB'):
        decode_compressed(head + count + body + bytes(8))


@pytest.mark.parametrize('data', [
    b'\xff\xd8\xff', b'\xff\xd8\xff\xda', b'\x89PNG\r\n\x1a\n', b'BM', b'RIFF\0\0\0\0WEBPVP8X',
    b'RIFF\0\0\0\0WEBPVP8L', b'RIFF\0\0\0\0WEBPVP8 ', b'II*\0', b'MM\0*\0\0\0\x08\0\x01',
    b'MM\0+\0\x08\0\0', b'P6 ', b'P5 3 3', b'P2 3 3 0 1', b'P6 3 3 65536 1'])
def test_a_header_that_ends_early_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedPictureError):
        read_header(memoryview(data))
    with pytest.raises(FrameError, match='check the publisher'):
        decode_compressed(data)
    # Of files the words are others.
    with pytest.raises(FrameError, match=r'^there\.x: .*: copy the file'):
        decode_picture(data, 'there.x')


def test_a_file_longer_than_allowed_is_refused(tmp_path: Any) -> None:
    path = tmp_path / 'sparse.png'
    with path.open('wb') as file:
        file.truncate(2**40)
    with pytest.raises(FrameError, match=r'sparse\.png: .*more than \d+ bytes'):
        read_picture(path)
    with pytest.raises(FrameError, match=r'empty\.png: .*empty'):
        decode_picture(b'', 'empty.png')
