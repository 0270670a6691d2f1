"""Compressed pictures to frames: the formats that cameras send, decoded by OpenCV."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional, TYPE_CHECKING
import zlib

import cv2
import numpy as np

from resnet_trt_node.errors import DamagedPictureError, FrameError
from resnet_trt_node.imaging.compressed.picture_header import KINDS, PictureHeader, read_header
from resnet_trt_node.imaging.frame import Frame, to_8_bit, too_large, view_bytes
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How many bytes' worth of samples a decoder may go over, for each byte that it may take. A jpeg
#: in three colours of the largest size may so have twice the ten scans that libjpeg writes.
_PASSES = 3
#: What a byte can inflate to, and how many bytes are inflated at a time.
_INFLATED, _PIECE_BYTES = 1032, 1 << 20
#: OpenCV's flags by how many times smaller libjpeg decodes, the strongest first.
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_ORDERS = {1: 'gray', 3: 'bgr', 4: 'bgra'}


def decode_compressed(
        data: Any, reduced_to: Optional[int] = None, apply_orientation: bool = False,
        max_bytes: int = MAX_IMAGE_BYTES) -> Frame:
    """
    Decode a compressed picture out of a message.

    :param data: the bytes of one jpeg, png, bmp, webp, tiff or ppm, in any object with the buffer
        protocol.
    :param reduced_to: decode a jpeg at 1/2, 1/4 or 1/8 of its size where both sides then still
        have this many pixels; None for full size. Other formats are not reduced.
    :param apply_orientation: turn the picture as its EXIF data says. Off for messages, as
        image_transport and cv_bridge have it: cameras do not turn while they stream.
    :param max_bytes: memory that decoding may take; what would take more is refused before.
    :returns: pixels of its own, in order 'bgr', 'bgra' or 'gray'. 16-bit values are scaled to 8.
        The frame tells whether and from what it was reduced.
    :raises FrameError: if the data is not a picture, broken, cut off, or too large.
    """
    buffer = view_bytes(data, 'compressed picture')
    if not buffer.size:
        raise FrameError('empty picture: the message holds no data; check the publisher')
    try:
        header = read_header(buffer.data)
        if header is None:
            start = bytes(buffer[:8]).hex(' ')
            raise FrameError(
                f'{buffer.size} bytes starting {start} are not a picture: '
                f'send {", ".join(KINDS)}')
        if header.inks:
            raise FrameError(f'{header} holds inks instead of colours: send it as RGB')
        return decode_known(buffer, header, reduced_to, apply_orientation, max_bytes)
    except DamagedPictureError as error:
        raise FrameError(f'{error}: check the publisher and the transport') from error


def decode_known(
        buffer: NDArray[np.uint8], header: PictureHeader, reduced_to: Optional[int],
        apply_orientation: bool, max_bytes: int) -> Frame:
    """
    Decode a picture whose header is known.

    :param buffer: uint8 (bytes,), the file.
    :param header: what `read_header` returned for it.
    :param reduced_to: as for `decode_compressed`, which also says what is returned.
    :param apply_orientation: likewise.
    :param max_bytes: likewise.
    :raises DamagedPictureError: if it is broken.
    :raises FrameError: if it is too large or has no levels.
    """
    check_size(header, max_bytes)
    if _INFLATED * sum(end - start for start, end in header.deflated) > max_bytes:
        _check_inflated(buffer, header)
    flags, reduction = cv2.IMREAD_UNCHANGED, 1
    if apply_orientation:
        # Unlike IMREAD_UNCHANGED these follow EXIF, but drop alpha.
        flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    if reduced_to is not None and header.kind == 'jpeg':
        # The strongest that leaves so many pixels.
        side = min(header.width, header.height)
        reduction = next((one for one in _REDUCED if side // one >= reduced_to), 1)
    if reduction > 1:
        flags = _REDUCED[reduction] | (0 if apply_orientation else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        pixels = cv2.imdecode(_for_opencv(buffer, header), flags)
    except cv2.error as error:
        raise DamagedPictureError(
            f'broken {header}: OpenCV cannot decode it ({error.err})') from error
    except MemoryError as error:
        raise FrameError(f'{header}: no memory is left to decode it') from error
    if pixels is None:
        raise DamagedPictureError(f'broken {header}: OpenCV cannot decode it')
    frame = _to_frame(pixels, header)
    if reduction == 1:
        return frame
    # A turned picture has its sides the other way round.
    height, width = header.height, header.width
    straight = pixels.shape[:2] == (-(-height // reduction), -(-width // reduction))
    return replace(
        frame, reduction=reduction, full_size=(height, width) if straight else (width, height))


def check_size(header: PictureHeader, max_bytes: int) -> None:
    """
    Refuse a picture before anything is allocated for it.

    :param header: what the file says of the picture.
    :param max_bytes: memory that decoding may take.
    :raises FrameError: if decoding would take more memory, or time in proportion, than allowed.
    """
    if header.memory_bytes > max_bytes:
        raise FrameError(
            f'{header}: decoding takes {too_large(header.memory_bytes, max_bytes)}')
    if header.width * header.height * header.passes > _PASSES * max_bytes:
        raise FrameError(
            f'{header}: its many scans take as long to decode as a picture of '
            f'{too_large(header.width * header.height * header.passes // _PASSES, max_bytes)}')


def _check_inflated(buffer: NDArray[np.uint8], header: PictureHeader) -> None:
    """
    Refuse a png whose data goes on behind its last row: libpng inflates all of it.

    :raises DamagedPictureError: if it inflates to more than the rows of the picture.
    """
    # Interlaced rows, each with a byte for its filter, are twice as many.
    left = header.picture_bytes + 4 * header.height + _PIECE_BYTES
    inflater = zlib.decompressobj()
    try:
        for start, end in header.deflated:
            data: Any = buffer[start:end].data
            while len(data) and not inflater.eof:
                left -= len(inflater.decompress(data, _PIECE_BYTES))
                data = inflater.unconsumed_tail
                if left < 0:
                    raise DamagedPictureError(
                        f'broken {header}: its data inflates to more than its pixels')
    except zlib.error as error:
        raise DamagedPictureError(f'broken {header}: {error}') from error


def _for_opencv(buffer: NDArray[np.uint8], header: PictureHeader) -> Any:
    """Return the file as OpenCV shall read it; a copy where pieces are left out."""
    if header.texts:
        ends = [0, *(place for piece in header.texts for place in piece), buffer.size]
        return np.concatenate([
            buffer[start:end] for start, end in zip(ends[::2], ends[1::2])])
    if header.white is not None and header.white < 255:
        # OpenCV scales such values in some of the formats and rounds down; said to be of 0 to
        # 255, it leaves them as they are.
        start, end = header.white_place
        return np.concatenate([
            buffer[:start], np.frombuffer(b'255', np.uint8), buffer[end:]])
    return buffer


def _to_frame(pixels: Any, header: PictureHeader) -> Frame:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype not in (np.uint8, np.uint16) or channels not in _ORDERS:
        raise FrameError(
            f'{header.kind} of {channels} channels of {pixels.dtype}: only grey and colour '
            'pictures of 8 or 16 bits can be used; convert it first')
    white = header.white or int(np.iinfo(pixels.dtype).max)
    if white != 255:
        pixels = to_8_bit(pixels, white)
    return Frame(
        ~pixels if header.inverted else pixels, _ORDERS[channels], of_several=header.several)
