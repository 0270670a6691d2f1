"""
From a message to a frame: every encoding of sensor_msgs/Image, and compressed pictures.

Messages are duck typed, so that those of rclpy, of a bag reader and of a test all work and
nothing here imports ROS.
"""

from __future__ import annotations

from contextlib import suppress
import sys
from types import SimpleNamespace
from typing import Any, Optional

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.compressed.picture_header import read_header
from resnet_trt_node.imaging.frame import DecodedMessage, Frame, view_bytes
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.imaging.raw.encodings import check_image, convert_image, ENCODINGS
from resnet_trt_node.text.printable import printable


def decode_message(
        message: Any, reduced_to: Optional[int] = None,
        max_bytes: int = MAX_IMAGE_BYTES) -> Frame:
    """
    Decode an Image or a CompressedImage, distinguished by their fields.

    :param message: an object like sensor_msgs/Image or sensor_msgs/CompressedImage, or a
        `DecodedMessage`.
    :param reduced_to: see `decode_compressed`; ignored for an Image.
    :param max_bytes: memory that the frame may take, decoding included.
    :returns: see `convert_image` and `decode_compressed`.
    :raises FrameError: if it is neither, or cannot be decoded.

    compressed_image_transport sends a Bayer mosaic as a grey picture and says so in `format`,
    such as 'bayer_rggb8; jpeg compressed '; it becomes 'rgb' then.
    """
    if isinstance(message, DecodedMessage):
        return message.frame
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
    if not encoding.startswith('bayer_') or encoding not in ENCODINGS:
        return decode_compressed(message.data, reduced_to, max_bytes=max_bytes)
    # At reduced size the mosaic's colours are mixed up.
    frame = decode_compressed(message.data, max_bytes=max_bytes)
    if frame.order != 'gray':
        return frame
    height, width = frame.pixels.shape
    # Values of 16 bits have been scaled to 8.
    return convert_image(check_image(SimpleNamespace(
        height=height, width=width, step=width, is_bigendian=0, data=frame.pixels.reshape(-1),
        encoding=encoding.replace('16', '8'))))


def message_size(message: Any) -> tuple[int, int]:
    """
    Return the height and width of a message's picture, which is decoded only if need be.

    :param message: as for `decode_message`.
    :raises FrameError: if its fields or its header say that it cannot be decoded; how much memory
        it takes is checked when it is.
    """
    if isinstance(message, DecodedMessage):
        return message.frame.size
    if hasattr(message, 'encoding'):
        raw = check_image(message, sys.maxsize)
        return raw.height, raw.width
    header = None
    if hasattr(message, 'data'):
        # Whatever is wrong with it, decoding explains.
        with suppress(FrameError):
            header = read_header(view_bytes(message.data, 'compressed picture').data)
    return decode_message(message).size if header is None else (header.height, header.width)
