"""
From a message to a frame: every encoding of sensor_msgs/Image, and compressed pictures.

Messages are duck typed (`height`, `width`, `encoding`, `is_bigendian`, `step`, `data`), so that
those of rclpy, of a bag reader and of a test all work and nothing here imports ROS. Packed 8-bit
pixels are not copied, whatever the row stride. The others are converted by OpenCV's `cvtColor`,
with the same codes that cv_bridge uses, so that both give equal pixels. (`rosbags.image` was
looked at and left: it ignores `step`, and its planar YUV formats are incomplete.)
"""

from __future__ import annotations

from dataclasses import dataclass
import operator
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from resnet_trt_node.errors import FrameError
from resnet_trt_node.inference.compressed import decode_compressed
from resnet_trt_node.inference.frame import Frame, to_8_bit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ['decode_compressed', 'decode_image', 'decode_message', 'ENCODINGS', 'ZERO_COPY']

#: More than this a side is no camera's picture; OpenCV's own limits begin there too.
MAX_SIDE = 65_535
#: And no message holds more bytes than this.
MAX_BYTES = 2**31

#: Encodings whose pixels are used where they lie: name to order and bytes a pixel. OpenCV's own
#: type names carry no colour order; blue comes first by its convention, as cv_bridge has it.
ZERO_COPY = {
    'rgb8': ('rgb', 3), 'bgr8': ('bgr', 3), 'rgba8': ('rgba', 4), 'bgra8': ('bgra', 4),
    'mono8': ('gray', 1), '8UC1': ('gray', 1), '8UC3': ('bgr', 3), '8UC4': ('bgra', 4),
}
#: 16-bit encodings without a mosaic: order and channels.
_DEEP = {
    'mono16': ('gray', 1), '16UC1': ('gray', 1), 'rgb16': ('rgb', 3), 'bgr16': ('bgr', 3),
    'rgba16': ('rgba', 4), 'bgra16': ('bgra', 4),
}
#: OpenCV names a mosaic by its second row's second and third pixel, ROS by its first two rows.
_BAYER = {
    'bayer_rggb': cv2.COLOR_BayerBG2RGB, 'bayer_bggr': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg': cv2.COLOR_BayerGR2RGB, 'bayer_grbg': cv2.COLOR_BayerGB2RGB,
}
_YUV422 = {
    'uyvy': cv2.COLOR_YUV2RGB_UYVY, 'yuv422': cv2.COLOR_YUV2RGB_UYVY,
    'yuyv': cv2.COLOR_YUV2RGB_YUY2, 'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2,
}
#: Luma plane, then interleaved chroma of half size. nv12 is no encoding of the ROS message, but
#: drivers send it.
_YUV420 = {'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21}

#: Every encoding that `decode_image` reads.
ENCODINGS = (
    *ZERO_COPY, *_DEEP, *(name + bits for name in _BAYER for bits in ('8', '16')),
    *_YUV422, *_YUV420, 'nv24')


@dataclass(frozen=True)
class _Raw:
    """A message's fields, checked for type and size but not yet against each other."""

    height: int
    width: int
    step: int
    encoding: str
    big_endian: bool
    data: NDArray[np.uint8]

    @property
    def name(self) -> str:
        """Return the picture in words, for messages."""
        return f'{self.width}x{self.height} {self.encoding} image'

    def rows(self, pixel_bytes: int) -> NDArray[np.uint8]:
        """
        Return the rows without their padding.

        :param pixel_bytes: bytes a pixel.
        :returns: uint8 (height, width * pixel_bytes), a view.
        :raises FrameError: if step and length do not fit height and width.
        """
        row_bytes = self.width * pixel_bytes
        if self.step < row_bytes:
            raise FrameError(
                f'{self.name}: step is {self.step}, but a row takes {row_bytes} bytes: '
                'the publisher must set step to the bytes from one row to the next')
        _check_length(self, self.height * self.step, f'{self.height} rows x step {self.step}')
        return self.data.reshape(self.height, self.step)[:, :row_bytes]


def decode_message(message: Any) -> Frame:
    """
    Decode an Image or a CompressedImage, told apart by their fields.

    :param message: an object like sensor_msgs/Image or sensor_msgs/CompressedImage.
    :returns: see `decode_image` and `decode_compressed`.
    :raises FrameError: if it is neither, or cannot be decoded.
    """
    if hasattr(message, 'encoding'):
        return decode_image(message)
    if not hasattr(message, 'format') or not hasattr(message, 'data'):
        raise FrameError(
            f'{type(message).__name__} is neither an Image nor a CompressedImage: '
            'subscribe to a topic of one of these types')
    if 'compresseddepth' in str(message.format).lower():
        raise FrameError(
            f'format {message.format!r} is a depth image of compressed_depth_image_transport, '
            'which shows no colours to classify: use the topic of the colour camera')
    return decode_compressed(message.data)


def decode_image(message: Any) -> Frame:
    """
    Decode an uncompressed picture.

    16-bit values become 8-bit ones by v * 255 / 65535, rounded, as cv_bridge does it; this holds
    for 16UC1 too. YUV is read as BT.601 with video range, OpenCV's and cv_bridge's reading.

    :param message: an object like sensor_msgs/Image; `data` holds bytes in any object with the
        buffer protocol, such as array.array('B'), bytes, memoryview or a NumPy array. Fields of
        nv12, nv21 and nv24: height counts picture rows, step is the stride of the luma plane.
    :returns: for the encodings of `ZERO_COPY` a read-only view of `message.data`, valid as long
        as nobody changes that; for all others pixels of their own, in 'rgb', 'gray' or the
        message's order.
    :raises FrameError: if the message is malformed or its encoding is none of `ENCODINGS`.
    """
    raw = _read_fields(message)
    encoding = raw.encoding
    if encoding in ZERO_COPY:
        order, channels = ZERO_COPY[encoding]
        rows = raw.rows(channels)
        return Frame(rows if channels == 1 else rows.reshape(
            raw.height, raw.width, channels), order)
    if encoding in _DEEP:
        order, channels = _DEEP[encoding]
        return Frame(to_8_bit(_read_16_bit(raw, channels)), order)
    if encoding in _YUV422:
        _check_even(raw, rows=False)
        pixels = raw.rows(2).reshape(raw.height, raw.width, 2)
        return Frame(_convert(pixels, _YUV422[encoding]), 'rgb')
    if encoding in _YUV420:
        return _decode_yuv420(raw)
    if encoding == 'nv24':
        return _decode_nv24(raw)
    return _decode_bayer(raw)


def _read_fields(message: Any) -> _Raw:
    """Return the message's fields; raise FrameError where no picture can have such."""
    try:
        height, width, step = (
            operator.index(getattr(message, name)) for name in ('height', 'width', 'step'))
        encoding, big_endian, data = message.encoding, message.is_bigendian, message.data
    except (AttributeError, TypeError) as error:
        raise FrameError(
            f'{type(message).__name__} is not like sensor_msgs/Image ({error}): '
            'subscribe to a topic of that type') from error
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        raise FrameError(
            f'unknown encoding {encoding!r}: have the publisher send one of '
            f'{", ".join(ENCODINGS)}')
    where = f'{width}x{height} {encoding} image'
    if height <= 0 or width <= 0:
        raise FrameError(f'{where}: it has no pixels; check the publisher')
    if max(height, width) > MAX_SIDE or height * max(step, width) > MAX_BYTES:
        raise FrameError(
            f'{where} with step {step}: more than {MAX_SIDE} pixels a side or {MAX_BYTES} bytes '
            'is no camera picture; the message is corrupt')
    try:
        buffer = np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise FrameError(
            f'{where}: data is {type(data).__name__}, which holds no plain bytes ({error}): '
            "use array.array('B'), bytes or a NumPy array of uint8") from error
    # A frame is shared by several readers: none may draw into it.
    buffer.flags.writeable = False
    return _Raw(height, width, step, encoding, bool(big_endian), buffer)


def _convert(pixels: NDArray[Any], code: int) -> Any:
    """Return OpenCV's conversion; its type hints leave the depth open."""
    return cv2.cvtColor(pixels, code)


def _check_length(raw: _Raw, expected: int, formula: str) -> None:
    if raw.data.size != expected:
        raise FrameError(
            f'{raw.name}: {raw.data.size} bytes of data, expected {expected} ({formula}): '
            'the message was cut or its fields are wrong; check the publisher')


def _check_even(raw: _Raw, rows: bool) -> None:
    """Raise FrameError where pixels that share a colour sample are not complete."""
    if raw.width % 2 or (rows and raw.height % 2):
        sides = 'width and height' if rows else 'width'
        raise FrameError(
            f'{raw.name}: pixels of {raw.encoding} share their colour in pairs, so {sides} '
            'must be even; check the publisher')


def _read_16_bit(raw: _Raw, channels: int) -> NDArray[np.uint16]:
    """Return uint16 (H, W) or (H, W, channels), native and aligned; a view where it can be."""
    raw.rows(2 * channels)  # checks step and length
    shape = (raw.height, raw.width) if channels == 1 else (raw.height, raw.width, channels)
    strides = (raw.step, 2) if channels == 1 else (raw.step, 2 * channels, 2)
    wire = np.dtype('>u2' if raw.big_endian else '<u2')
    pixels = np.ndarray(shape, wire, raw.data, strides=strides)
    # Copies only for the other byte order or an odd step.
    return np.require(pixels, np.uint16, 'A')


def _decode_bayer(raw: _Raw) -> Frame:
    pattern = _BAYER[raw.encoding.rstrip('0123456789')]
    # OpenCV interpolates from the neighbours on both sides and leaves smaller pictures black.
    if min(raw.height, raw.width) < 3:
        raise FrameError(
            f'{raw.name}: a mosaic has at least 3 rows and 3 columns; check the publisher')
    if raw.encoding.endswith('16'):
        return Frame(to_8_bit(_convert(_read_16_bit(raw, 1), pattern)), 'rgb')
    return Frame(_convert(raw.rows(1), pattern), 'rgb')


def _split_planes(raw: _Raw, chroma_rows: int, factor: int) -> tuple[Any, Any]:
    """
    Return the luma and the interleaved chroma plane without padding.

    :param chroma_rows: lines of the luma's stride that the chroma plane fills, times two over
        the height: 1 for 4:2:0, 4 for 4:4:4.
    :param factor: bytes of a chroma row over those of a luma row.
    """
    lines = raw.height + raw.height * chroma_rows // 2
    stride = raw.step
    if stride < raw.width or raw.data.size != lines * stride:
        # Some drivers give a step for all planes together, though the rows are not padded.
        stride = raw.width
    _check_length(raw, lines * stride, f'{lines} rows x {stride}')
    split = raw.height * stride
    luma = raw.data[:split].reshape(raw.height, stride)[:, :raw.width]
    chroma = raw.data[split:].reshape(-1, stride * factor)[:, :raw.width * factor]
    return luma, chroma


def _decode_yuv420(raw: _Raw) -> Frame:
    _check_even(raw, rows=True)
    luma, chroma = _split_planes(raw, 1, 1)
    pixels: Any = cv2.cvtColorTwoPlane(
        luma, chroma.reshape(raw.height // 2, raw.width // 2, 2), _YUV420[raw.encoding])
    return Frame(pixels, 'rgb')


def _decode_nv24(raw: _Raw) -> Frame:
    luma, chroma = _split_planes(raw, 4, 2)
    # OpenCV has no video-range 4:4:4. Each pixel twice is 4:2:2, U Y V Y, of double width.
    packed = np.empty((raw.height, raw.width, 4), np.uint8)
    packed[..., 0::2] = chroma.reshape(raw.height, raw.width, 2)
    packed[..., 1] = luma
    packed[..., 3] = luma
    doubled = _convert(packed.reshape(raw.height, 2 * raw.width, 2), cv2.COLOR_YUV2RGB_UYVY)
    return Frame(np.ascontiguousarray(doubled[:, ::2]), 'rgb')
