"""Every encoding of sensor_msgs/Image against pictures encoded by hand."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any, Callable

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import CHANNELS, Frame
from resnet_trt_node.imaging.raw.encodings import ENCODINGS

VIEWS = (
    'rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', '8UC1', '8UC3', '8UC4')
DEEP = {
    'mono16': ('gray', 1), '16UC1': ('gray', 1), 'rgb16': ('rgb', 3), 'bgr16': ('bgr', 3),
    'rgba16': ('rgba', 4), 'bgra16': ('bgra', 4)}
MOSAICS = [
    f'bayer_{pattern}{bits}'
    for bits in (8, 16) for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')]
PAIRS = ('uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2')
#: Bytes of both planes over those of the luma, times two.
PLANES = {'nv12': 3, 'nv21': 3, 'nv24': 6}
#: Tested in test_planar.py and test_float_images.py.
OTHERS = {'i420': 3, 'yuv420p': 3, 'yv12': 3, '32FC3': 2}

#: Eight colours, none of which has two equal channels, in bars four pixels wide.
BARS = np.repeat(np.array([
    (200, 30, 90), (20, 180, 60), (40, 70, 210), (230, 160, 10), (12, 140, 250), (120, 60, 180),
    (90, 110, 50), (160, 200, 240)], np.uint8)[None], 6, axis=0).repeat(4, axis=1)
HEIGHT, WIDTH = BARS.shape[:2]


def message(encoding: str, rows: np.ndarray, padding: int = 0, **fields: Any) -> SimpleNamespace:
    """
    Return an Image.

    :param rows: uint8 (lines, bytes a line).
    :param padding: bytes after each row, filled with a value that shows if it is read.
    """
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    image = SimpleNamespace(
        height=HEIGHT, width=WIDTH, step=padded.shape[1], encoding=encoding, is_bigendian=0,
        data=array('B', padded.tobytes()))
    image.__dict__.update(fields)
    return image


def rgb_of(frame: Frame) -> np.ndarray:
    """Return a frame's colours as RGB, without OpenCV."""
    if frame.order == 'gray':
        return np.stack([frame.pixels] * 3, axis=2)
    return np.stack([frame.pixels[..., frame.order.index(channel)] for channel in 'rgb'], axis=2)


def ordered(order: str) -> np.ndarray:
    """Return the bars with their channels in an order; alpha differs from every colour."""
    planes = {'r': BARS[..., 0], 'g': BARS[..., 1], 'b': BARS[..., 2],
              'a': np.full((HEIGHT, WIDTH), 3, np.uint8)}
    return np.stack([planes[channel] for channel in order], axis=2)


def yuv_of_bars() -> np.ndarray:
    """Return the bars as Y, U, V by the definition of BT.601 with video range."""
    r, g, b = (BARS[..., channel] / 255.0 for channel in range(3))
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    return np.rint(np.stack([
        16 + 219 * luma, 128 + 224 * (b - luma) / 1.772, 128 + 224 * (r - luma) / 1.402],
        axis=2)).astype(np.uint8)


@pytest.mark.parametrize('padding', [0, 1, 64])
@pytest.mark.parametrize('encoding', [name for name in VIEWS if name not in ('mono8', '8UC1')])
def test_colours_are_in_their_places_and_not_copied(encoding: str, padding: int) -> None:
    order = ENCODINGS[encoding].order
    image = message(encoding, ordered(order).reshape(HEIGHT, -1), padding)
    frame = decode_message(image)
    assert frame.order == order
    np.testing.assert_array_equal(rgb_of(frame), BARS)
    assert np.shares_memory(frame.pixels, np.frombuffer(image.data, np.uint8))
    assert not frame.pixels.flags.writeable


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_grey_is_a_view_with_two_axes(encoding: str) -> None:
    image = message(encoding, BARS[..., 1], padding=5)
    frame = decode_message(image)
    assert frame.order == 'gray'
    np.testing.assert_array_equal(frame.pixels, BARS[..., 1])
    assert np.shares_memory(frame.pixels, np.frombuffer(image.data, np.uint8))


@pytest.mark.parametrize('big_endian', [0, 1])
@pytest.mark.parametrize('padding', [0, 3, 16])
@pytest.mark.parametrize('encoding', sorted(DEEP))
def test_16_bits_are_scaled_and_rounded(encoding: str, padding: int, big_endian: int) -> None:
    order, channels = DEEP[encoding]
    values = np.random.default_rng(1).integers(
        0, 65536, (HEIGHT, WIDTH, channels)).astype('>u2' if big_endian else '<u2')
    values[0, :4, 0] = 0, 128, 129, 65535
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(HEIGHT, -1)
    frame = decode_message(message(encoding, rows, padding, is_bigendian=big_endian))
    expected = np.floor(values.astype(np.float64) * 255 / 65535 + 0.5).astype(np.uint8)
    assert frame.order == order
    np.testing.assert_array_equal(frame.pixels, expected[..., 0] if channels == 1 else expected)


@pytest.mark.parametrize('encoding', MOSAICS)
def test_a_mosaic_of_one_colour_gives_that_colour(encoding: str) -> None:
    pattern = encoding[len('bayer_'):].rstrip('816')
    colour = {'r': 200, 'g': 120, 'b': 30}
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for place, channel in enumerate(pattern):
        mosaic[place // 2::2, place % 2::2] = colour[channel]
    if encoding.endswith('16'):
        mosaic = (mosaic.astype('<u2') * 257).view(np.uint8).reshape(HEIGHT, -1)
    frame = decode_message(message(encoding, mosaic, padding=2))
    np.testing.assert_array_equal(
        rgb_of(frame), np.broadcast_to((200, 120, 30), (HEIGHT, WIDTH, 3)))


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('encoding', PAIRS)
def test_yuv_422(encoding: str, padding: int) -> None:
    y, u, v = np.moveaxis(yuv_of_bars(), 2, 0)
    chroma = np.where(np.arange(WIDTH) % 2 == 0, u, v)
    pair = (chroma, y) if encoding in ('uyvy', 'yuv422') else (y, chroma)
    rows = np.stack(pair, axis=2).reshape(HEIGHT, -1)
    frame = decode_message(message(encoding, rows, padding))
    np.testing.assert_allclose(rgb_of(frame).astype(int), BARS, atol=3)


@pytest.mark.parametrize('padding', [0, 8])
@pytest.mark.parametrize('encoding', sorted(PLANES))
def test_planar_yuv(encoding: str, padding: int) -> None:
    frame = decode_message(planar_message(encoding, padding))
    np.testing.assert_allclose(rgb_of(frame).astype(int), BARS, atol=3)


@pytest.mark.parametrize('encoding', sorted(PLANES))
def test_planar_yuv_whose_step_counts_both_planes(encoding: str) -> None:
    image = planar_message(encoding, 0)
    image.step = image.step * PLANES[encoding] // 2
    np.testing.assert_allclose(rgb_of(decode_message(image)).astype(int), BARS, atol=3)


def planar_message(encoding: str, padding: int) -> SimpleNamespace:
    """Return the bars as a luma plane and an interleaved chroma plane."""
    y, u, v = np.moveaxis(yuv_of_bars(), 2, 0)
    first, second = (v, u) if encoding == 'nv21' else (u, v)
    chroma = np.stack((first, second), axis=2)
    if encoding != 'nv24':
        chroma = chroma[::2, ::2]
    planes = [
        np.pad(plane.reshape(len(plane), -1), ((0, 0), (0, padding * factor)),
               constant_values=77).ravel()
        for plane, factor in ((y, 1), (chroma, 2 if encoding == 'nv24' else 1))]
    return message(
        encoding, np.concatenate(planes)[None], step=WIDTH + padding, height=HEIGHT)


@pytest.mark.parametrize('kind', [bytes, bytearray, memoryview, np.array, array])
def test_any_buffer_holds_the_data(kind: Any) -> None:
    image = message('rgb8', BARS.reshape(HEIGHT, -1))
    plain = image.data.tobytes()
    image.data = {
        np.array: lambda: np.frombuffer(plain, np.uint8), array: lambda: array('B', plain)
    }.get(kind, lambda: kind(plain))()
    np.testing.assert_array_equal(decode_message(image).pixels, BARS)


@pytest.mark.parametrize(('change', 'words'), [
    ({'data': b'\0' * (HEIGHT * WIDTH * 3 - 1)}, '575 bytes .*576'),
    ({'data': b'\0' * (HEIGHT * WIDTH * 3 + 1)}, '577 bytes .*576'),
    ({'data': b''}, '0 bytes of data'),
    ({'data': [0] * 576}, 'data is list'),
    ({'data': None}, 'data is NoneType'),
    ({'data': np.zeros(1152, np.uint8)[::2]}, 'data is ndarray'),
    ({'data': memoryview(bytes(1152))[::2]}, 'data is memoryview'),
    ({'is_bigendian': np.zeros(2)}, 'sensor_msgs/Image'),
    ({'height': 0}, 'no pixels'),
    ({'width': 0}, 'no pixels'),
    ({'width': -1}, 'no pixels'),
    ({'width': 2**31, 'step': 3 * 2**31}, '65535 pixels a side'),
    ({'height': 60_000, 'step': 60_000 * 3}, '576 bytes .*10800000000'),
    ({'step': 2**32 - 1}, '576 bytes .*25769803770'),
    ({'height': 2.5}, 'sensor_msgs/Image'),
    ({'step': WIDTH * 3 - 1}, 'step is 95, .* 96 bytes'),
    ({'step': 0}, 'step is 0'),
    ({'encoding': 'rgb9'}, r"unknown encoding 'rgb9'.*rgb8.*nv24"),
    ({'encoding': 'rgb8 '}, "unknown encoding 'rgb8 '"),
    ({'encoding': ''}, 'unknown encoding'),
    ({'encoding': None}, 'unknown encoding None'),
    ({'encoding': '32FC1'}, "unknown encoding '32FC1'"),
    ({'encoding': 'uyvy', 'width': 31, 'step': 96}, 'width must be even'),
    ({'encoding': 'nv12', 'width': 31}, 'expected'),
    ({'encoding': 'nv21', 'height': 5}, 'height must be even'),
    ({'encoding': 'nv12', 'width': 63, 'step': 64}, 'width must be even'),
    ({'encoding': 'nv12', 'width': 66, 'step': 64}, r'expected 594 \(9 lines of 66\)'),
    ({'encoding': 'nv24', 'width': 31}, r'expected \d+ \(18 lines of 31\)'),
    ({'encoding': 'bayer_rggb8', 'width': 2, 'step': 96}, '3 rows and 3 columns'),
])
def test_a_malformed_message_is_refused_with_its_reason(
        change: dict[str, Any], words: str) -> None:
    image = message('rgb8', BARS.reshape(HEIGHT, -1))
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(FrameError, match=words):
        decode_message(image)


def test_more_bytes_than_allowed_are_refused() -> None:
    image = message('rgb8', BARS.reshape(HEIGHT, -1))
    size = image.height * image.step
    np.testing.assert_array_equal(decode_message(image, max_bytes=size).pixels, BARS)
    with pytest.raises(FrameError, match='rgb8 image: it has 1 MiB'):
        decode_message(image, max_bytes=size - 1)
    image.height, image.step = 65_536, 65_536 * 3
    with pytest.raises(FrameError, match='65535 pixels a side'):
        decode_message(image)


def test_the_longest_side_is_decoded() -> None:
    image = message('mono8', np.full((1, 65_535), 7, np.uint8), height=1, width=65_535)
    assert decode_message(image).pixels.shape == (1, 65_535)


def test_something_else_is_not_an_image() -> None:
    with pytest.raises(FrameError, match='sensor_msgs/Image'):
        decode_message(SimpleNamespace(encoding='rgb8'))


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    encoding=st.sampled_from([*VIEWS, *DEEP, *MOSAICS, *PAIRS]), height=st.integers(3, 9),
    width=st.integers(2, 6), padding=st.integers(0, 9), big_endian=st.booleans(), data=st.data())
def test_every_stride_decodes_to_the_same_pixels(
        encoding: str, height: int, width: int, padding: int, big_endian: bool,
        data: Any) -> None:
    width *= 2
    row = width * ENCODINGS[encoding].pixel_bytes
    rows = np.random.default_rng(data.draw(st.integers(0, 99))).integers(
        0, 256, (height, row), np.uint8)
    fields = {'height': height, 'width': width, 'is_bigendian': big_endian}
    tight = decode_message(message(encoding, rows, **fields))
    padded = decode_message(message(encoding, rows, padding, **fields))
    assert padded.pixels.shape[:2] == (height, width)
    assert padded.pixels.dtype == np.uint8
    assert padded.order == tight.order
    np.testing.assert_array_equal(padded.pixels, tight.pixels)


def test_no_other_encodings_are_decoded() -> None:
    assert set(ENCODINGS) == {*VIEWS, *DEEP, *MOSAICS, *PAIRS, *PLANES, *OTHERS}
    assert {name for name in ENCODINGS if ENCODINGS[name].is_view} == set(VIEWS)


@pytest.mark.parametrize('change', [str.upper, str.lower, str.swapcase, str.title])
@pytest.mark.parametrize('encoding', [*VIEWS, *DEEP, *MOSAICS, *PAIRS])
def test_names_in_any_case(encoding: str, change: Callable[[str], str]) -> None:
    rows = np.random.default_rng(4).integers(
        0, 256, (HEIGHT, WIDTH * ENCODINGS[encoding].pixel_bytes), np.uint8)
    expected = decode_message(message(encoding, rows))
    frame = decode_message(message(change(encoding), rows))
    assert frame.order == expected.order
    np.testing.assert_array_equal(frame.pixels, expected.pixels)


NUMBERS = st.one_of(
    st.integers(-3, 70), st.sampled_from([2**16, 2**31, 2**32 - 1, 2**70]), st.none(),
    st.floats(), st.text(max_size=3))


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    height=NUMBERS, width=NUMBERS, step=NUMBERS,
    encoding=st.one_of(st.sampled_from(list(ENCODINGS)), st.text(max_size=8), st.none()),
    is_bigendian=st.one_of(st.booleans(), st.none()),
    data=st.one_of(st.binary(max_size=600), st.none(), st.lists(st.integers(), max_size=4)))
def test_garbage_is_refused_or_decoded_and_nothing_else(**fields: Any) -> None:
    image = SimpleNamespace(**fields)
    try:
        frame = decode_message(image)
    except FrameError:
        return
    channels = CHANNELS[frame.order]
    assert frame.pixels.shape == (
        (fields['height'], fields['width']) if channels == 1
        else (fields['height'], fields['width'], channels))
    assert frame.pixels.dtype == np.uint8


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    encoding=st.sampled_from(sorted({*ENCODINGS} - {*OTHERS})), height=st.integers(1, 8),
    width=st.integers(1, 8), extra=st.integers(-2, 2))
def test_data_of_nearly_the_right_length_is_refused_or_decoded(
        encoding: str, height: int, width: int, extra: int) -> None:
    if encoding in PLANES:
        step, size = width, height * PLANES[encoding] // 2 * width
    else:
        step = width * ENCODINGS[encoding].pixel_bytes
        size = height * step
    image = message(
        encoding, np.zeros((1, max(0, size + extra)), np.uint8), height=height, width=width,
        step=step)
    odd = (encoding in PAIRS and width % 2) or (
        PLANES.get(encoding) == 3 and (width % 2 or height % 2))
    tiny = encoding in MOSAICS and min(height, width) < 3
    if extra or odd or tiny:
        with pytest.raises(FrameError):
            decode_message(image)
    else:
        assert decode_message(image).pixels.shape[:2] == (height, width)
