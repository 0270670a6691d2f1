"""
From a message to a frame: every encoding of sensor_msgs/Image, and compressed pictures.

Messages are duck typed, so that those of rclpy, of a bag reader and of a test all work and
nothing here imports ROS. Packed 8-bit pixels are not copied, whatever the row stride. The others
are converted by OpenCV's `cvtColor`, with the codes that cv_bridge uses, so that both give equal
pixels. (`rosbags.image` was looked at and left: it ignores `step`, reads nv12 as nv21 and has no
nv24.)
"""

from __future__ import annotations

from typing import Any, Optional, TYPE_CHECKING

import cv2
import numpy as np

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.compressed import decode_compressed
from resnet_trt_node.imaging.frame import Frame, to_8_bit
from resnet_trt_node.imaging.image_encodings import (
    BAYER, check_image, check_mosaic, DEEP, ENCODINGS, MAX_IMAGE_BYTES, PIXEL_BYTES, PLANAR,
    RawImage, ZERO_COPY)
from resnet_trt_node.printable import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    'convert_image', 'decode_compressed', 'decode_image', 'decode_message', 'ENCODINGS',
    'ZERO_COPY']

#: OpenCV names a mosaic by the second and third pixel of its second row, ROS by its upper left
#: four pixels.
_FROM_BAYER = {
    'bayer_rggb': cv2.COLOR_BayerBG2RGB, 'bayer_bggr': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg': cv2.COLOR_BayerGR2RGB, 'bayer_grbg': cv2.COLOR_BayerGB2RGB,
}
_FROM_YUV = {
    'uyvy': cv2.COLOR_YUV2RGB_UYVY, 'yuv422': cv2.COLOR_YUV2RGB_UYVY,
    'yuyv': cv2.COLOR_YUV2RGB_YUY2, 'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2,
    'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21,
}


def decode_message(
        message: Any, reduced_to: Optional[int] = None,
        max_bytes: int = MAX_IMAGE_BYTES) -> Frame:
    """
    Decode an Image or a CompressedImage, told apart by their fields.

    :param message: an object like sensor_msgs/Image or sensor_msgs/CompressedImage.
    :param reduced_to: see `decode_compressed`; ignored for an Image.
    :param max_bytes: memory that the frame may take, decoding included.
    :returns: see `decode_image` and `decode_compressed`.
    :raises FrameError: if it is neither, or cannot be decoded.

    compressed_image_transport sends a Bayer mosaic as a grey picture and says so in `format`,
    such as 'bayer_rggb8; jpeg compressed '; it becomes 'rgb' then.
    """
    if hasattr(message, 'encoding'):
        return convert_image(check_image(message, max_bytes))
    if not hasattr(message, 'format') or not hasattr(message, 'data'):
        raise FrameError(
            f'{type(message).__name__} is neither an Image nor a CompressedImage: '
            'subscribe to a topic of one of these types')
    if 'compresseddepth' in str(message.format).lower():
        raise FrameError(
            f'format {printable(repr(message.format), 80)} is a depth image of '
            'compressed_depth_image_transport, which shows no colours to classify: use the '
            'topic of the colour camera')
    encoding = str(message.format).partition(';')[0].strip().lower()
    if encoding not in BAYER:
        return decode_compressed(message.data, reduced_to, max_bytes=max_bytes)
    # At reduced size the mosaic's colours are mixed up.
    frame = decode_compressed(message.data, max_bytes=max_bytes)
    return frame if frame.order != 'gray' else _from_grey_mosaic(frame, encoding)


def _from_grey_mosaic(frame: Frame, encoding: str) -> Frame:
    height, width = frame.pixels.shape[:2]
    check_mosaic(height, width, f'{width}x{height} {encoding}')
    return Frame(_convert(frame.pixels, _bayer_code(encoding)), 'rgb')


def decode_image(message: Any) -> Frame:
    """
    Decode an uncompressed picture.

    16-bit values become 8-bit ones by v * 255 / 65535, rounded, as cv_bridge does it; this holds
    for 16UC1 too. YUV is read as BT.601 with video range, as OpenCV and cv_bridge do.

    :param message: an object like sensor_msgs/Image, see `check_image`.
    :returns: for the encodings of `ZERO_COPY` a read-only view of the message's data, valid as
        long as nobody changes that; for all others pixels of their own, in 'rgb', 'gray' or the
        message's order.
    :raises FrameError: if the message is malformed or its encoding is none of `ENCODINGS`.
    """
    return convert_image(check_image(message))


def convert_image(raw: RawImage) -> Frame:
    """
    Decode a message that is checked already.

    :param raw: what `check_image` returned.
    :returns: see `decode_image`.
    """
    encoding = raw.encoding
    if encoding in ZERO_COPY:
        order, channels = ZERO_COPY[encoding]
        return Frame(_pixels(raw, channels), order)
    if encoding in DEEP:
        order, channels = DEEP[encoding]
        return Frame(to_8_bit(_read_16_bit(raw, channels)), order)
    if encoding == 'nv24':
        return Frame(_decode_nv24(raw), 'rgb')
    if encoding in PLANAR:
        luma, chroma = _split_planes(raw)
        pixels: Any = cv2.cvtColorTwoPlane(luma, chroma, _FROM_YUV[encoding])
        return Frame(pixels, 'rgb')
    if encoding in BAYER:
        pattern = _bayer_code(encoding)
        if BAYER[encoding] == 2:
            return Frame(to_8_bit(_convert(_read_16_bit(raw, 1), pattern)), 'rgb')
        return Frame(_convert(_pixels(raw, 1), pattern), 'rgb')
    return Frame(_convert(_pixels(raw, 2), _FROM_YUV[encoding]), 'rgb')


def _bayer_code(encoding: str) -> int:
    return _FROM_BAYER[encoding.rstrip('0123456789')]


def _convert(pixels: NDArray[Any], code: int) -> Any:
    """Return OpenCV's conversion, whose type hints leave the depth open."""
    return cv2.cvtColor(pixels, code)


def _pixels(raw: RawImage, channels: int) -> NDArray[np.uint8]:
    """Return uint8 (H, W), or (H, W, channels) for several, without row padding; a view."""
    rows = raw.data.reshape(raw.height, raw.step)[:, :raw.width * channels]
    return rows if channels == 1 else rows.reshape(raw.height, raw.width, channels)


def _read_16_bit(raw: RawImage, channels: int) -> NDArray[np.uint16]:
    """Return uint16 (H, W), or (H, W, channels) for several, native; a view where it can be."""
    shape: tuple[int, ...] = (raw.height, raw.width)
    strides: tuple[int, ...] = (raw.step, PIXEL_BYTES[raw.encoding])
    if channels > 1:
        shape, strides = (*shape, channels), (*strides, 2)
    wire = np.dtype('>u2' if raw.big_endian else '<u2')
    # Copies only for the other byte order, an odd step or an odd address.
    return np.require(np.ndarray(shape, wire, raw.data, strides=strides), np.uint16, 'A')


def _split_planes(raw: RawImage) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return luma (H, W) and chroma (H, W, 2) or, of 4:2:0, (H / 2, W / 2, 2); views."""
    split = raw.height * raw.step
    luma = raw.data[:split].reshape(raw.height, raw.step)[:, :raw.width]
    # A chroma row of 4:2:0 is as long as a luma row, that of 4:4:4 twice as long.
    share = 1 if raw.encoding == 'nv24' else 2
    height, width = raw.height // share, raw.width // share
    chroma = raw.data[split:].reshape(height, -1)[:, :2 * width]
    return luma, chroma.reshape(height, width, 2)


def _decode_nv24(raw: RawImage) -> NDArray[np.uint8]:
    luma, chroma = _split_planes(raw)
    # OpenCV has no 4:4:4 of video range. Each pixel twice is 4:2:2, U Y V Y, of double width.
    packed: Any = cv2.merge([
        cv2.extractChannel(chroma, 0), luma, cv2.extractChannel(chroma, 1), luma])
    doubled = _convert(
        packed.reshape(raw.height, 2 * raw.width, 2), cv2.COLOR_YUV2RGB_UYVY)
    # Nearest neighbour takes every second column.
    pixels: Any = cv2.resize(
        doubled, (raw.width, raw.height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(pixels, np.uint8)
