"""Which jpegs the device decodes: on real ones, and on what no encoder at hand writes."""

from __future__ import annotations

import io

import numpy as np
from pictures.jpegs import jpeg, patched, scene, segment, turned, with_segment, without
import pytest

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.imaging.on_device.jpeg_selection import MIN_SIDE, select_for_device

ADOBE = b'Adobe\0\x64\0\0\0\0'
SOF0, SOS, DHT, EXIF, APP14, JFIF = 0xc0, 0xda, 0xc4, 0xe1, 0xee, 0xe0


def select(data, max_bytes=MAX_IMAGE_BYTES, apply_orientation=False):
    """Return what is said, or the size of a picture that the device decodes."""
    found = select_for_device(data, max_bytes, apply_orientation)
    return found if isinstance(found, str) else (found.height, found.width)


@pytest.mark.parametrize('data', [
    *(jpeg(subsampling=sampling) for sampling in ('4:4:4', '4:2:2', '4:2:0')),
    jpeg(mode='L'), jpeg(progressive=True), jpeg(mode='L', progressive=True),
    jpeg(optimize=True), jpeg(restart_marker_blocks=2), turned(6),
    without(jpeg(), JFIF), with_segment(jpeg(), APP14, ADOBE + b'\1'),
    jpeg() + b'\0' * 100, bytearray(jpeg()), memoryview(jpeg()),
    np.frombuffer(jpeg(), np.uint8)],
    ids=['444', '422', '420', 'grey', 'progressive', 'progressive-grey', 'optimised', 'restarts',
         'turned-message', 'bare', 'adobe-ycc', 'padded', 'bytearray', 'memoryview', 'array'])
def test_what_cameras_send_is_decoded_on_the_device(data):
    assert select(data) == (64, 96)


@pytest.mark.parametrize('size', [(16, 16), (17, 33), (1921, 1079), (16, 4000)])
def test_odd_sizes_are_decoded_on_the_device(size):
    assert select(jpeg(*size)) == size[::-1]


def png():
    out = io.BytesIO()
    scene().save(out, 'PNG')
    return out.getvalue()


@pytest.mark.parametrize(('data', 'why'), [
    (jpeg(mode='CMYK'), '4 components'), (png(), 'this is png'), (b'', 'no picture'),
    (b'hello there', 'no picture'), (jpeg(keep_rgb=True), 'may be no YCbCr'),
    (with_segment(jpeg(), APP14, ADOBE + b'\0'), 'may be no YCbCr'),
    (patched(jpeg(), SOF0, 6, 82), 'may be no YCbCr'),
    (patched(jpeg(), SOF0, 0, 12), '12 bits'), (patched(jpeg(), SOF0, 7, 0x41), '4:4:4'),
    (patched(jpeg(), SOF0, 7, 0x12), '4:4:4'), (patched(jpeg(), SOF0, 10, 0x21), '4:4:4'),
    (patched(jpeg(mode='L'), SOF0, 7, 0x22), 'sampled 2x2'),
    (without(jpeg(), DHT), 'no Huffman tables'),
    (patched(jpeg(), SOS, 0, 1), 'several scans'), (jpeg(MIN_SIDE - 1, 90), 'small'),
    (jpeg(90, 1), 'small'), ([1, 2], 'no plain bytes')],
    ids=['cmyk', 'png', 'empty', 'text', 'rgb', 'adobe-rgb', 'named-r', '12-bit', '411', '440',
         'chroma-2x1', 'grey-2x2', 'no-tables', 'scans', 'narrow', 'one-row', 'list'])
def test_others_stay_on_the_cpu(data, why):
    assert why in select(data)


@pytest.mark.parametrize('kind', [0xc1, 0xc3, 0xc9])
def test_extended_lossless_and_arithmetic_ones_stay_on_the_cpu(kind):
    data = jpeg()
    at = segment(data, SOF0) - 3
    assert 'neither baseline nor progressive' in select(data[:at] + bytes([kind]) + data[at + 1:])


def test_two_frame_headers_stay_on_the_cpu():
    data = jpeg()
    at = segment(data, SOF0)
    twice = with_segment(data, SOF0, data[at:at + 15])
    assert 'neither baseline nor progressive' in select(twice)


@pytest.mark.parametrize('data', [
    jpeg()[:-2], jpeg()[:len(jpeg()) // 2], jpeg()[:30], jpeg(restart_marker_blocks=1).replace(
        b'\xff\xd1', b'\xff\xd2', 1), b'\xff\xd8\xff\xd9'],
    ids=['no-end', 'half', 'head', 'lost-restart', 'nothing'])
def test_broken_ones_get_the_words_of_the_cpu(data):
    with pytest.raises(FrameError) as refused:
        decode_compressed(data)
    assert str(refused.value).startswith(select(data))


def test_what_takes_too_much_memory_gets_the_words_of_the_cpu():
    data = jpeg(1000, 1000)
    with pytest.raises(FrameError) as refused:
        decode_compressed(data, max_bytes=5_999_999)
    assert select(data, 5_999_999) == str(refused.value)
    assert select(data, 6_000_000) == (1000, 1000)


@pytest.mark.parametrize(('content', 'why'), [
    (b'\x08\0\x40\0\x60', 'too short'), (b'\x08\0\x40\0\x60\3\1', 'too short'),
    (b'\x08\0\x40\0\x60\0', 'neither baseline')])
def test_a_frame_header_that_is_too_short_is_no_exception(content, why):
    assert why in select(with_segment(jpeg(), SOF0, content))


def test_a_frame_header_behind_the_scan_is_no_exception():
    data = jpeg()
    at = segment(data, SOF0)
    late = without(data, SOF0)[:-2] + data[at - 4:at + 15] + b'\xff\xd9'
    assert 'neither baseline' in select(late)


@pytest.mark.parametrize(('data', 'found'), [
    (jpeg(), (64, 96)), (turned(1), (64, 96)), (turned(6), 'turned by its EXIF data'),
    (turned(2), 'turned by its EXIF data'),
    (with_segment(jpeg(), EXIF, b'Exif\0\0II*\0\xff\xff\xff\0'), 'unreadable'),
    (with_segment(jpeg(), EXIF, b'Exif\0\0II'), 'unreadable'),
    (with_segment(jpeg(), EXIF, b'Exif\0\0'), 'unreadable'),
    (with_segment(jpeg(), EXIF, b'http://ns.adobe.com/xap/1.0/\0'), (64, 96))])
def test_turned_files_stay_on_the_cpu(data, found):
    answer = select(data, apply_orientation=True)
    assert answer == found if isinstance(found, tuple) else found in answer
    assert select(data) == (64, 96)
