"""
The encodings of sensor_msgs/Image, and the check that a message is what its encoding says.

Names and layouts are those of sensor_msgs/image_encodings.hpp. 'nv12' is not among them, but
drivers send it.
"""

from __future__ import annotations

from dataclasses import dataclass
import operator
from typing import Any, TYPE_CHECKING

import numpy as np

from resnet_trt_node.errors import FrameError
from resnet_trt_node.printable import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: More than this a side is no camera's picture.
MAX_SIDE = 65_535
#: Memory that a frame may take, decoding included, unless the user allows more: what decoding 89
#: million pixels in colour takes, or a raw image of 179 million.
MAX_IMAGE_BYTES = 512 * 2**20

#: Encodings whose pixels are used where they lie: name to channel order and bytes a pixel.
#: OpenCV's own type names carry no colour order; blue comes first by its convention.
ZERO_COPY = {
    'rgb8': ('rgb', 3), 'bgr8': ('bgr', 3), 'rgba8': ('rgba', 4), 'bgra8': ('bgra', 4),
    'mono8': ('gray', 1), '8UC1': ('gray', 1), '8UC3': ('bgr', 3), '8UC4': ('bgra', 4),
}
#: 16-bit encodings without a mosaic: name to channel order and channels.
DEEP = {
    'mono16': ('gray', 1), '16UC1': ('gray', 1), 'rgb16': ('rgb', 3), 'bgr16': ('bgr', 3),
    'rgba16': ('rgba', 4), 'bgra16': ('bgra', 4),
}
#: One colour a pixel, in the pattern of the name: name to bytes a pixel.
BAYER = {
    f'bayer_{pattern}{8 * size}': size
    for size in (1, 2) for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')}
#: OpenCV interpolates from the neighbours on both sides and leaves smaller pictures black.
_MIN_MOSAIC_SIDE = 3
#: Two pixels share their colour; 'yuv422' and 'yuv422_yuy2' are the older names.
YUV422 = ('uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2')
#: A plane of luma, then one of interleaved chroma: name to bytes of both over those of the luma,
#: times two. In 4:2:0 four pixels share their colour, in nv24 each has its own.
PLANAR = {'nv12': 3, 'nv21': 3, 'nv24': 6}

#: Bytes a pixel of the encodings that have one plane.
PIXEL_BYTES = {
    **{name: size for name, (_, size) in ZERO_COPY.items()},
    **{name: 2 * channels for name, (_, channels) in DEEP.items()},
    **BAYER, **dict.fromkeys(YUV422, 2),
}
#: Every encoding that can be decoded.
ENCODINGS = (*PIXEL_BYTES, *PLANAR)


@dataclass(frozen=True)
class RawImage:
    """
    A message whose fields fit together.

    :param height: picture rows, at least 1.
    :param width: pixels a row, at least 1.
    :param step: bytes from one row to the next; of the luma plane where there are two.
    :param encoding: one of `ENCODINGS`.
    :param big_endian: whether 16-bit values have their high byte first.
    :param data: uint8 (bytes,), a read-only view of the message's data.
    """

    height: int
    width: int
    step: int
    encoding: str
    big_endian: bool
    data: NDArray[np.uint8]

    def __str__(self) -> str:
        """Return the picture in words, for messages."""
        return f'{self.width}x{self.height} {self.encoding} image'


def too_large(size_bytes: int, max_bytes: int) -> str:
    """Return how much a frame takes, that it is too much and what to do, for messages."""
    return (
        f'{-(-size_bytes // 2**20)} MiB and {max_bytes // 2**20} are allowed: make it '
        'smaller, or raise max_image_mib (--max-image-mib of the commands)')


def check_image(message: Any, max_bytes: int = MAX_IMAGE_BYTES) -> RawImage:
    """
    Check a message before anything is allocated for it.

    :param message: an object like sensor_msgs/Image; `data` is any object with the buffer
        protocol, such as array.array('B'), bytes, memoryview or a NumPy array. Of nv12, nv21 and
        nv24, `height` counts picture rows; a step that does not fit is taken for the width,
        because some drivers give that of both planes.
    :param max_bytes: refuse a message of more.
    :returns: the fields; the data is not copied and valid as long as nobody changes the message.
    :raises FrameError: if a field is missing or wrong; the message says which and why.
    """
    raw = _read_fields(message, max_bytes)
    if raw.encoding in PLANAR:
        raw = _check_planes(raw)
    else:
        row_bytes = raw.width * PIXEL_BYTES[raw.encoding]
        if raw.step < row_bytes:
            raise FrameError(
                f'{raw}: step is {raw.step}, but a row takes {row_bytes} bytes: '
                'the publisher must set step to the bytes from one row to the next')
        _check_length(raw, raw.height)
    if (raw.encoding in YUV422 or PLANAR.get(raw.encoding) == 3) and raw.width % 2:
        raise FrameError(
            f'{raw}: pairs of its pixels share their colour, so the width must be even; '
            'check the publisher')
    if raw.encoding in BAYER:
        check_mosaic(raw.height, raw.width, str(raw))
    return raw


def check_mosaic(height: int, width: int, what: str) -> None:
    """
    Refuse a Bayer mosaic that is too small to have colours.

    :param what: it is, for the message.
    :raises FrameError: if it has too few rows or columns.
    """
    if min(height, width) < _MIN_MOSAIC_SIDE:
        raise FrameError(
            f'{what}: a mosaic has at least {_MIN_MOSAIC_SIDE} rows and {_MIN_MOSAIC_SIDE} '
            'columns; check the publisher')


def _read_fields(message: Any, max_bytes: int) -> RawImage:
    """Return the fields; raise FrameError where no picture at all can have such."""
    try:
        height, width, step = (
            operator.index(getattr(message, name)) for name in ('height', 'width', 'step'))
        encoding, big_endian = message.encoding, bool(message.is_bigendian)
        data = message.data
    except (AttributeError, TypeError, ValueError) as error:
        raise FrameError(
            f'{type(message).__name__} is not like sensor_msgs/Image ({error}): '
            'subscribe to a topic of that type') from error
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        raise FrameError(
            f'unknown encoding {printable(repr(encoding), 80)}: have the publisher send one of '
            f'{", ".join(ENCODINGS)}')
    where = f'{width}x{height} {encoding} image'
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
    return RawImage(height, width, step, encoding, big_endian, view)


def view_bytes(data: Any, where: str) -> NDArray[np.uint8]:
    """
    Return a message's data as an array.

    :param data: any object with the buffer protocol.
    :param where: what it is the data of, for the message.
    :returns: uint8 (bytes,), a read-only view: several readers share it, none may draw into it.
    :raises FrameError: for any other object, a list of numbers included.
    """
    try:
        view = np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise FrameError(
            f'{where}: data is {type(data).__name__}, which holds no plain bytes ({error}): '
            "use array.array('B'), bytes or a NumPy array of uint8") from error
    view.flags.writeable = False
    return view


def _check_planes(raw: RawImage) -> RawImage:
    """Return the fields with the step of the luma plane; raise FrameError if none fits."""
    if PLANAR[raw.encoding] == 3 and raw.height % 2:
        raise FrameError(
            f'{raw}: pairs of its rows share their colour, so the height must be even; '
            'check the publisher')
    lines = raw.height * PLANAR[raw.encoding] // 2
    if raw.step < raw.width or raw.data.size != lines * raw.step:
        raw = RawImage(
            raw.height, raw.width, raw.width, raw.encoding, raw.big_endian, raw.data)
    _check_length(raw, lines)
    return raw


def _check_length(raw: RawImage, lines: int) -> None:
    expected = lines * raw.step
    if raw.data.size != expected:
        raise FrameError(
            f'{raw}: {raw.data.size} bytes of data, expected {expected} '
            f'({lines} lines of {raw.step}): the message was cut or its fields are wrong; '
            'check the publisher')
