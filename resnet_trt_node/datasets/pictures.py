"""Reading and decoding a picture file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Optional, Union

import numpy as np

from resnet_trt_node.errors import DamagedPictureError, FrameError
from resnet_trt_node.imaging.compressed.decode import decode_known
from resnet_trt_node.imaging.compressed.picture_formats import decode_by_pillow
from resnet_trt_node.imaging.compressed.picture_header import read_header
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.regular_file import read_regular


def read_picture(
        path: Union[str, Path], reduced_to: Optional[int] = None,
        max_bytes: int = MAX_FILE_IMAGE_BYTES) -> Frame:
    """
    Read a picture file, turned upright as its EXIF data says.

    :param path: a file of any format that Pillow reads; its content counts, not its ending.
    :param reduced_to: see `decode_compressed`.
    :param max_bytes: memory that the picture may take, decoding included.
    :returns: see `decode_picture`.
    :raises FrameError: if it cannot be read or is not a picture.
    """
    return decode_picture(read_picture_file(path, max_bytes), str(path), reduced_to, max_bytes)


def read_picture_file(path: Union[str, Path], max_bytes: int = MAX_FILE_IMAGE_BYTES) -> bytes:
    """
    Return the bytes of a picture file.

    :param path: the file.
    :param max_bytes: as for `read_picture`; a larger file is refused.
    :raises FrameError: if it cannot be read.
    """
    try:
        return read_regular(path, max_bytes)
    except OSError as error:
        raise FrameError(f'cannot read picture {path}: {error.strerror or error}') from error


def decode_picture(
        data: bytes, name: str, reduced_to: Optional[int] = None,
        max_bytes: int = MAX_FILE_IMAGE_BYTES) -> Frame:
    """
    Decode a picture file's bytes, turned upright as its EXIF data says.

    :param data: the file.
    :param name: what it is called in messages.
    :param reduced_to: see `decode_compressed`.
    :param max_bytes: memory that the picture may take, decoding included.
    :returns: pixels of its own, in any order of a frame. 16-bit values are scaled to 8.
    :raises FrameError: if it is not a picture, broken or too large.
    """
    if not data:
        raise FrameError(f'{name}: the file is empty: copy it again or remove it')
    suffix = PurePosixPath(name).suffix
    try:
        header = read_header(memoryview(data))
        if header is None or header.inks:
            return decode_by_pillow(data, suffix, max_bytes)
        try:
            return decode_known(
                np.frombuffer(data, np.uint8), header, reduced_to, True, max_bytes)
        except DamagedPictureError:
            # Such as a TIFF of 4 bits, which OpenCV does not know.
            return decode_by_pillow(data, suffix, max_bytes)
    except DamagedPictureError as error:
        raise FrameError(f'{name}: {error}: copy the file again or remove it') from error
    except FrameError as error:
        raise FrameError(f'{name}: {error}') from error
