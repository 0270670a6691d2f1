"""
The encodings of sensor_msgs/Image: one table of how each lies in memory and becomes a frame.

Names and layouts are those of sensor_msgs/image_encodings.hpp; upper and lower case are equal.
'nv12', 'i420', 'yuv420p' and 'yv12' are not among them, but drivers send them. Conversions are
those of OpenCV with the codes that cv_bridge uses, so that both give equal pixels.
(`rosbags.image` was looked at and left: it ignores `step`, reads nv12 as nv21 and has no nv24.)
"""  # noqa: A005  imports here are absolute

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
import operator
from typing import Any, Callable, Optional, TYPE_CHECKING

import cv2
import numpy as np

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.frame import Frame, to_8_bit, too_large, view_bytes
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.imaging.raw.float_images import FLOAT_ENCODING, from_floats
from resnet_trt_node.imaging.raw.planar import from_nv24, from_three_planes
from resnet_trt_node.text.printable import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: More than this a side is no camera's picture.
MAX_SIDE = 65_535


@dataclass(frozen=True)
class Encoding:
    """
    How an encoding's values lie, and what they become.

    :param order: channel order of the frame.
    :param channels: values a pixel; of the first plane where there are several.
    :param sample_bytes: bytes a value: 1, 2, or 4 of a float32.
    :param convert: turns the values (lines, W), or (lines, W, channels) for several, into the
        frame's pixels; None where they are used where they lie, and of three planes.
    :param half_lines: lines of data for two rows of the picture; more than two where chroma
        follows the plane of the luma.
    :param chroma: 'uv' or 'vu' where two planes of chroma follow, of half the rows and columns,
        rounded up, and half the step; '' for all others.
    :param shared: rows and columns of pixels that share their colour; the sides are multiples.
    :param min_side: rows and columns that a picture has at least.
    """

    order: str
    channels: int
    sample_bytes: int = 1
    convert: Optional[Callable[[NDArray[Any]], Any]] = None
    half_lines: int = 2
    chroma: str = ''
    shared: tuple[int, int] = (1, 1)
    min_side: int = 1

    @property
    def pixel_bytes(self) -> int:
        """Return the bytes of a pixel, of the first plane where there are several."""
        return self.channels * self.sample_bytes

    @property
    def is_planar(self) -> bool:
        """Tell whether chroma follows the plane of the luma."""
        return self.half_lines > 2

    def count_lines(self, height: int) -> int:
        """Return how many lines of `step` bytes a picture of so many rows has."""
        return height * self.half_lines // 2

    def count_bytes(self, height: int, step: int) -> int:
        """
        Return how many bytes a picture has.

        :param height: its rows.
        :param step: bytes from one row to the next, of the luma plane where there are several.
        """
        if self.chroma:
            return height * step + 2 * (-(-height // 2) * -(-step // 2))
        return self.count_lines(height) * step

    @property
    def is_view(self) -> bool:
        """Tell whether the frame's pixels are the message's data."""
        return self.convert is None and not self.chroma


def _to_colour(code: int) -> Callable[[NDArray[Any]], Any]:
    return partial(cv2.cvtColor, code=code)


def _deep_mosaic(code: int) -> Callable[[NDArray[Any]], Any]:
    return lambda pixels: to_8_bit(np.asarray(cv2.cvtColor(pixels, code)))


#: OpenCV names a mosaic by the second and third pixel of its second row, ROS by its upper left
#: four pixels.
_MOSAICS = {
    'rggb': cv2.COLOR_BayerBG2RGB, 'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB, 'grbg': cv2.COLOR_BayerGB2RGB}
_UYVY = Encoding('rgb', 2, 1, _to_colour(cv2.COLOR_YUV2RGB_UYVY), shared=(1, 2))
_YUYV = Encoding('rgb', 2, 1, _to_colour(cv2.COLOR_YUV2RGB_YUY2), shared=(1, 2))
_THREE_PLANES = Encoding('rgb', 1, half_lines=3, chroma='uv')

#: Every encoding that can be decoded. OpenCV's own type names, such as 8UC3, carry no colour
#: order; blue comes first by its convention. 'yuv422' and 'yuv422_yuy2' are older names.
ENCODINGS = {
    'rgb8': Encoding('rgb', 3), 'bgr8': Encoding('bgr', 3),
    'rgba8': Encoding('rgba', 4), 'bgra8': Encoding('bgra', 4),
    'mono8': Encoding('gray', 1), '8UC1': Encoding('gray', 1),
    '8UC3': Encoding('bgr', 3), '8UC4': Encoding('bgra', 4),
    'mono16': Encoding('gray', 1, 2, to_8_bit), '16UC1': Encoding('gray', 1, 2, to_8_bit),
    'rgb16': Encoding('rgb', 3, 2, to_8_bit), 'bgr16': Encoding('bgr', 3, 2, to_8_bit),
    'rgba16': Encoding('rgba', 4, 2, to_8_bit), 'bgra16': Encoding('bgra', 4, 2, to_8_bit),
    # OpenCV interpolates from the neighbours on both sides and leaves smaller pictures black.
    **{f'bayer_{pattern}8': Encoding('rgb', 1, 1, _to_colour(code), min_side=3)
       for pattern, code in _MOSAICS.items()},
    **{f'bayer_{pattern}16': Encoding('rgb', 1, 2, _deep_mosaic(code), min_side=3)
       for pattern, code in _MOSAICS.items()},
    'uyvy': _UYVY, 'yuv422': _UYVY, 'yuyv': _YUYV, 'yuv422_yuy2': _YUYV,
    'nv12': Encoding('rgb', 1, 1, _to_colour(cv2.COLOR_YUV2RGB_NV12), 3, shared=(2, 2)),
    'nv21': Encoding('rgb', 1, 1, _to_colour(cv2.COLOR_YUV2RGB_NV21), 3, shared=(2, 2)),
    'nv24': Encoding('rgb', 1, 1, from_nv24, 6),
    'i420': _THREE_PLANES, 'yuv420p': _THREE_PLANES,
    'yv12': replace(_THREE_PLANES, chroma='vu'),
    FLOAT_ENCODING: Encoding('bgr', 3, 4, from_floats),
}
_NAMES = {name.lower(): name for name in ENCODINGS}
# By the bytes of a value.
_KINDS = {1: 'u1', 2: 'u2', 4: 'f4'}


@dataclass(frozen=True)
class RawImage:
    """
    A message whose fields fit together.

    :param height: picture rows, at least 1.
    :param width: pixels a row, at least 1.
    :param step: bytes from one row to the next; of the luma plane where there are several.
    :param name: the encoding's, one of `ENCODINGS`, whatever the case in the message.
    :param encoding: that of this name.
    :param big_endian: whether values of several bytes have their high byte first.
    :param data: uint8 (bytes,), a read-only view of the message's data.
    """

    height: int
    width: int
    step: int
    name: str
    encoding: Encoding
    big_endian: bool
    data: NDArray[np.uint8]

    def __str__(self) -> str:
        """Return the picture in words, for messages."""
        return f'{self.width}x{self.height} {self.name} image'


def check_image(message: Any, max_bytes: int = MAX_IMAGE_BYTES) -> RawImage:
    """
    Check a message before anything is allocated for it.

    :param message: an object like sensor_msgs/Image; `data` is any object with the buffer
        protocol, such as array.array('B'), bytes, memoryview or a NumPy array. Of several planes,
        `height` counts picture rows; a step that does not fit is taken for the width, because
        some drivers give that of all planes.
    :param max_bytes: refuse a message of more.
    :returns: the fields; the data is not copied and valid as long as nobody changes the message.
    :raises FrameError: if a field is missing or wrong; the message says which and why.
    """
    raw = _read_fields(message, max_bytes)
    encoding = raw.encoding
    if raw.height % encoding.shared[0]:
        raise _odd_side(raw, 'height')
    row_bytes = raw.width * encoding.pixel_bytes
    if encoding.is_planar and (
            raw.step < row_bytes
            or raw.data.size != encoding.count_bytes(raw.height, raw.step)):
        raw = replace(raw, step=raw.width)
    if raw.step < row_bytes:
        raise FrameError(
            f'{raw}: step is {raw.step}, but a row takes {row_bytes} bytes: '
            'the publisher must set step to the bytes from one row to the next')
    expected = encoding.count_bytes(raw.height, raw.step)
    if raw.data.size != expected:
        parts = ('three planes' if encoding.chroma
                 else f'{encoding.count_lines(raw.height)} lines of {raw.step}')
        raise FrameError(
            f'{raw}: {raw.data.size} bytes of data, expected {expected} ({parts}): the message '
            'is truncated or its fields are wrong; check the publisher')
    if raw.width % encoding.shared[1]:
        raise _odd_side(raw, 'width')
    if min(raw.height, raw.width) < encoding.min_side:
        raise FrameError(
            f'{raw}: a mosaic has at least {encoding.min_side} rows and {encoding.min_side} '
            'columns; check the publisher')
    return raw


def convert_image(raw: RawImage) -> Frame:
    """
    Convert a checked message to a frame.

    16-bit values become 8-bit ones by v * 255 / 65535, rounded, as cv_bridge does it; this holds
    for 16UC1 too. YUV is read as BT.601 with video range, as OpenCV and cv_bridge do; 32FC3 as
    `from_floats` says.

    :param raw: what `check_image` returned.
    :returns: for an encoding without a conversion a read-only view of the message's data,
        whatever the row padding, valid as long as nobody changes that; for all others pixels of
        their own.
    :raises FrameError: for 32FC3 with other values.
    """
    if raw.encoding.chroma:
        return Frame(from_three_planes(
            raw.data, (raw.height, raw.width), raw.step, raw.encoding.chroma), 'rgb')
    encoding, channels, sample = raw.encoding, raw.encoding.channels, raw.encoding.sample_bytes
    lines = encoding.count_lines(raw.height)
    shape = (lines, raw.width) if channels == 1 else (lines, raw.width, channels)
    strides = (raw.step, sample) if channels == 1 else (raw.step, channels * sample, sample)
    kind = _KINDS[sample]
    pixels: Any = np.ndarray(
        shape, ('>' if raw.big_endian else '<') + kind, raw.data, strides=strides)
    if sample > 1:
        # Copies only for the other byte order, an odd step or an odd address.
        pixels = np.require(pixels, kind, 'A')
    return Frame(
        pixels if encoding.convert is None else encoding.convert(pixels), encoding.order)


def _odd_side(raw: RawImage, side: str) -> FrameError:
    return FrameError(
        f'{raw}: pairs of its pixels share their colour, so the {side} must be even; check the '
        'publisher')


def _read_fields(message: Any, max_bytes: int) -> RawImage:
    """Return the fields; raise FrameError where no picture at all can have such."""
    try:
        height, width, step = (
            operator.index(getattr(message, name)) for name in ('height', 'width', 'step'))
        name, big_endian = message.encoding, bool(message.is_bigendian)
        data = message.data
    except (AttributeError, TypeError, ValueError) as error:
        raise FrameError(
            f'{type(message).__name__} is not like sensor_msgs/Image ({error}): '
            'subscribe to a topic of that type') from error
    known = _NAMES.get(name.lower()) if isinstance(name, str) else None
    if known is None:
        raise FrameError(
            f'unknown encoding {printable(repr(name), 80)}: the publisher must use one of '
            f'{", ".join(ENCODINGS)}')
    name = known
    where = f'{width}x{height} {name} image'
    if height <= 0 or width <= 0:
        raise FrameError(f'{where}: it has no pixels; check the publisher')
    if max(height, width) > MAX_SIDE:
        raise FrameError(
            f'{where}: more than {MAX_SIDE} pixels a side is no camera picture; check the '
            'publisher')
    # Sides and step cost nothing, whatever they claim: the data must be just as long.
    view = view_bytes(data, where)
    if view.size > max_bytes:
        raise FrameError(f'{where}: it has {too_large(view.size, max_bytes)}')
    return RawImage(height, width, step, name, ENCODINGS[name], big_endian, view)
