"""Compressed pictures to frames: jpeg, png and whatever else OpenCV and Pillow both read."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any, Optional, TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from resnet_trt_node.errors import FrameError
from resnet_trt_node.inference.frame import Frame, to_8_bit
from resnet_trt_node.inference.image_encodings import view_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Formats that are tried; Pillow knows more, some of which start other programs.
FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF', 'PPM')
#: Pixels of the largest picture that is decoded: 178 million, Pillow's own limit against
#: pictures of a few bytes that unpack to gigabytes.
MAX_PIXELS = 2 * 89_478_485
#: A picture of more pixels than this, four times 4K, needs a byte for every thousand: a black one
#: has more as jpeg or png. A corrupt header of a short message could else ask for gigabytes.
UNPROVEN_PIXELS = 4 * 3840 * 2160
MAX_PIXELS_A_BYTE = 1000

#: OpenCV's flags by how many times smaller libjpeg decodes, the strongest first.
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_PNG_SIGNATURE_BYTES = 8
_JPEG_START_BYTES, _JPEG_END = 2, 0xd9
_ORDERS = {1: 'gray', 3: 'bgr', 4: 'bgra'}


def decode_compressed(
        data: Any, reduced_to: Optional[int] = None, apply_orientation: bool = False) -> Frame:
    """
    Decode a compressed picture.

    :param data: the bytes of one jpeg, png, bmp, webp, tiff or ppm, in any object with the buffer
        protocol.
    :param reduced_to: decode a jpeg at 1/2, 1/4 or 1/8 of its size where both sides then still
        have this many pixels; None for full size. Other formats are not reduced.
    :param apply_orientation: turn the picture as its EXIF data says. Off for messages, as
        image_transport and cv_bridge have it: cameras do not turn while they stream.
    :returns: pixels of its own, in order 'bgr', 'bgra' or 'gray'. 16-bit values are scaled to 8.
        The frame tells whether and from what it was reduced.
    :raises FrameError: if the data is not a picture, broken, cut off, or absurdly large.
    """
    buffer = view_bytes(data, 'compressed picture')
    name, width, height = _read_header(buffer)
    if width * height > MAX_PIXELS:
        raise FrameError(
            f'{width}x{height} {name}: more than {MAX_PIXELS} pixels is no camera picture; '
            'the message is corrupt')
    if width * height > max(UNPROVEN_PIXELS, MAX_PIXELS_A_BYTE * buffer.size):
        raise FrameError(
            f'{width}x{height} {name}: {buffer.size} bytes do not hold so many pixels; '
            'the message is corrupt')
    if name == 'mpo':
        # A jpeg with further pictures behind it, as many telephones write them.
        name = 'jpeg'
    if name == 'jpeg':
        _check_jpeg_data(buffer)
    elif name == 'png':
        _check_png_chunks(buffer)
    flags, reduction = cv2.IMREAD_UNCHANGED, 1
    if apply_orientation:
        # Unlike IMREAD_UNCHANGED these follow EXIF, but drop alpha.
        flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    if reduced_to is not None and name == 'jpeg':
        reduction = _choose_reduction(min(width, height), reduced_to)
    if reduction > 1:
        flags = _REDUCED[reduction] | (0 if apply_orientation else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        pixels = cv2.imdecode(buffer, flags)
    except cv2.error as error:
        raise FrameError(f'broken {name}: OpenCV cannot decode it ({error.err})') from error
    if pixels is None:
        raise FrameError(f'broken {width}x{height} {name}: OpenCV cannot decode it')
    frame = _to_frame(pixels, name)
    if reduction == 1:
        return frame
    # A turned picture has its sides the other way round.
    straight = pixels.shape[:2] == (-(-height // reduction), -(-width // reduction))
    return replace(
        frame, reduction=reduction, full_size=(height, width) if straight else (width, height))


def _read_header(buffer: NDArray[np.uint8]) -> tuple[str, int, int]:
    """Return format, width and height without decoding any pixel."""
    if not buffer.size:
        raise FrameError('empty picture: the message holds no data; check the publisher')
    try:
        with Image.open(BytesIO(buffer.data), formats=FORMATS) as image:
            return str(image.format).lower(), image.width, image.height
    except UnidentifiedImageError as error:
        start = bytes(buffer[:8]).hex(' ')
        raise FrameError(
            f'{buffer.size} bytes starting {start} are not a picture: '
            f'send {", ".join(FORMATS).lower()}') from error
    except (Image.DecompressionBombError, Warning) as error:
        # A warning arrives here only where the user has made warnings errors.
        raise FrameError(f'{error} The message is corrupt.') from error
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError) as error:
        # What Pillow's readers raise on broken headers.
        raise FrameError(f'broken picture of {buffer.size} bytes: {error}') from error


def _check_jpeg_data(buffer: NDArray[np.uint8]) -> None:
    """
    Refuse a jpeg that was cut off or lacks a piece, as far as its markers tell.

    libjpeg paints what is missing grey and only prints a warning. So the markers are followed to
    the end of the image: segments, which may hold a preview, are as long as they say, and within
    compressed data there are restart markers only. Cameras that write those number them 0 to 7 in
    a circle, which breaks where the transport lost a packet. What comes behind the end is none of
    the picture: padding, a second picture, a film.
    """
    places = np.flatnonzero(buffer[:-1] == 0xff)
    kinds = buffer[places + 1]
    restart = (kinds >= 0xd0) & (kinds <= 0xd7)
    # 0 is a data byte of 255, 255 fills up.
    marker = (kinds > 0x01) & (kinds != 0xff) & ~restart
    markers, marked = places[marker], kinds[marker]
    restarts, numbers = places[restart], kinds[restart] & 7
    at = scan = _JPEG_START_BYTES
    while True:
        found = int(np.searchsorted(markers, at))
        if found == len(markers):
            raise FrameError(
                f'jpeg of {buffer.size} bytes was cut off, its end is missing: check the '
                'publisher and the transport')
        at, kind = int(markers[found]), int(marked[found])
        first, last = np.searchsorted(restarts, (scan, at))
        if not np.array_equal(numbers[first:last], np.arange(last - first) & 7):
            raise FrameError(
                f'jpeg of {buffer.size} bytes lacks a piece, its restart markers are out of '
                'order: check the cable, the publisher and the transport')
        if kind == _JPEG_END:
            return
        at = scan = at + 2 + int.from_bytes(buffer[at + 2:at + 4].tobytes(), 'big')


def _check_png_chunks(buffer: NDArray[np.uint8]) -> None:
    """
    Refuse a png that was cut off or whose chunks are longer than it is.

    OpenCV 5 allocates what a chunk claims as its length, up to 4 GiB, before it reads it.
    """
    data, at, kind = buffer.data, _PNG_SIGNATURE_BYTES, b''
    while kind != b'IEND':
        # Each chunk is its length, its kind, its data and a check sum.
        kind = bytes(data[at + 4:at + 8])
        at += 12 + int.from_bytes(data[at:at + 4], 'big')
        if at > buffer.size:
            raise FrameError(
                f'png of {buffer.size} bytes was cut off or damaged, a chunk ends behind it: '
                'check the publisher and the transport')


def _choose_reduction(side: int, reduced_to: int) -> int:
    """Return the strongest reduction that leaves at least `reduced_to` pixels."""
    return next((factor for factor in _REDUCED if side // factor >= reduced_to), 1)


def _to_frame(pixels: Any, name: str) -> Frame:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype == np.uint16:
        pixels = to_8_bit(pixels)
    if pixels.dtype != np.uint8 or channels not in _ORDERS:
        raise FrameError(
            f'{name} of {channels} channels of {pixels.dtype}: only grey and colour pictures '
            'of 8 or 16 bits can be used; convert it first')
    return Frame(pixels, _ORDERS[channels])
