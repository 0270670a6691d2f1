"""What the device may convert of a message, or of a file."""

from __future__ import annotations

from typing import Any, Optional, Union

from resnet_trt_node.imaging.depth_images import DEPTH_ENCODING
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES, MAX_IMAGE_BYTES
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.jpeg_selection import select_for_device
from resnet_trt_node.imaging.raw.encodings import check_image, RawImage


def picture_of_message(
        message: Any, decodes: bool,
        max_bytes: int = MAX_IMAGE_BYTES) -> Union[RawImage, EncodedPicture, None]:
    """
    Return what the device may convert of a message, instead of `decode_message`.

    :param message: as for that.
    :param decodes: whether the device decodes jpegs.
    :param max_bytes: memory that the frame may take, decoding included.
    :returns: None for what the device does not convert, and for what may be depth.
    :raises FrameError: if a raw image is malformed; of compressed ones `decode_message` tells.
    """
    if hasattr(message, 'encoding'):
        raw = check_image(message, max_bytes)
        return None if raw.name == DEPTH_ENCODING else raw
    if not decodes or not hasattr(message, 'format') or not hasattr(message, 'data'):
        return None
    kind = str(message.format).lower()
    # A mosaic in a jpeg, and depth, are no colours yet.
    if 'bayer_' in kind or 'depth' in kind or kind.startswith(DEPTH_ENCODING.lower()):
        return None
    header = select_for_device(message.data, max_bytes)
    return None if isinstance(header, str) else EncodedPicture(message.data, header)


def picture_of_file(
        data: bytes, max_bytes: int = MAX_FILE_IMAGE_BYTES) -> Optional[EncodedPicture]:
    """
    Return what the device may decode of a picture file, instead of `decode_picture`.

    :param data: the file.
    :param max_bytes: memory that the picture may take, decoding included.
    :returns: None for what the CPU decodes, such as a picture that its EXIF data turns.
    """
    header = select_for_device(data, max_bytes, apply_orientation=True)
    return None if isinstance(header, str) else EncodedPicture(data, header)
