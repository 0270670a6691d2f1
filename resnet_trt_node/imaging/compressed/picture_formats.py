"""Picture files of every format that Pillow reads: which they are, and decoding one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from io import BytesIO
import struct
from typing import Any, Callable

import numpy as np
from PIL import Image, ImageOps

from resnet_trt_node.errors import DamagedPictureError, FrameError
from resnet_trt_node.imaging.frame import Frame, to_8_bit, too_large
from resnet_trt_node.text.printable import printable

#: Formats that Pillow opens and that are left alone: EPS starts Ghostscript; of the others it
#: reads but the header, or not without further programs.
_LEFT_OUT = frozenset((
    'BUFR', 'EPS', 'FPX', 'GRIB', 'HDF5', 'MIC', 'MPEG', 'PDF', 'WMF'))
#: Endings of pictures that Pillow does not know by these names; the content decides.
_TRIED = ('.heic', '.heif', '.hif', '.heics', '.heifs', '.avif', '.avifs')
#: Brands in the first box of a HEIF file that pillow-heif reads, and those of AVIF; the last two
#: of the former name the container and are in AVIF files as well.
_HEIF_BRANDS = frozenset((
    b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'hevm', b'hevs', b'mif1', b'msf1'))
_AVIF_BRANDS = frozenset((b'avif', b'avis'))
#: First bytes of a file that tell most formats, as many as Pillow's `Image.open` looks at.
START_BYTES = 16
#: Mode of Pillow to the mode that it is converted to and the order of a frame.
_MODES = {
    '1': ('L', 'gray'), 'L': ('L', 'gray'), 'LA': ('RGBA', 'rgba'), 'La': ('RGBA', 'rgba'),
    'PA': ('RGBA', 'rgba'), 'RGBA': ('RGBA', 'rgba'), 'RGBa': ('RGBA', 'rgba'),
}
#: Modes whose values are no levels of grey, since nothing says which of them is white.
_NUMBERS = ('F', 'I')


@cache
def readable_formats() -> tuple[str, ...]:
    """
    Return the formats that this Pillow reads, in the order in which it tries them.

    HEIF is one of them once a file of it was met and pillow-heif is installed.
    """
    Image.init()
    return tuple(name for name in Image.ID if name in Image.OPEN and name not in _LEFT_OUT)


@cache
def picture_suffixes() -> frozenset[str]:
    """Return the endings of picture files, lower case; some are of pictures only at times."""
    # MPO, several jpegs in one file, is opened as the first of them.
    formats = {*readable_formats(), 'MPO'}
    return frozenset(_TRIED).union(
        suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def is_readable(suffix: str, read_start: Callable[[], bytes]) -> bool:
    """
    Tell whether a file is to be taken for a picture.

    :param suffix: its ending.
    :param read_start: returns its first bytes; called only where the ending does not decide.
    """
    suffix = suffix.lower()
    return suffix in picture_suffixes() and (
        suffix not in _TRIED or is_picture(read_start(), ''))


def is_picture(start: bytes, suffix: str) -> bool:
    """
    Tell whether a file starts like a picture.

    :param start: its first bytes, `START_BYTES` of them if it has so many.
    :param suffix: its ending, which decides about formats that no first bytes tell.
    """
    suffix = suffix.lower()
    if _brand(start) in _HEIF_BRANDS:
        _register_heif()
    return any(_may_be(name, start, suffix) for name in readable_formats())


def what_is_missing(start: bytes) -> str:
    """
    Return what reads a picture that cannot be read here, and how to get it; '' for other files.

    :param start: its first bytes, `START_BYTES` of them if it has so many.
    """
    brand = _brand(start)
    if brand in _HEIF_BRANDS and not _register_heif():
        return 'HEIC needs pillow-heif: pip install pillow-heif'
    if brand in _AVIF_BRANDS and not is_picture(start, ''):
        return "AVIF needs a newer Pillow: pip install 'pillow>=11.3'"
    return ''


def _brand(start: bytes) -> bytes:
    return start[8:12] if start[4:8] == b'ftyp' else b''


@cache
def _register_heif() -> bool:
    """Have Pillow read HEIF, if pillow-heif is installed; it is an extra of this package."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    readable_formats.cache_clear()
    return True


def decode_by_pillow(data: bytes, suffix: str, max_bytes: int) -> Frame:
    """
    Decode a picture file of any format, turned upright as its EXIF data says.

    :param data: the file; the first of several pictures is taken.
    :param suffix: see `open_picture`.
    :param max_bytes: memory that decoding may take.
    :returns: pixels of its own, in order 'rgb', 'rgba' or 'gray'.
    :raises DamagedPictureError: if it is broken.
    :raises FrameError: if it is no picture, too large, or its values are no levels.
    """
    try:
        image = open_picture(data, suffix)
        width, height = image.size
        what = f'{width}x{height} {str(image.format).lower()}'
        taken = _memory_bytes(image)
        if taken > max_bytes:
            raise FrameError(f'{what}: decoding takes {too_large(taken, max_bytes)}')
        image.load()
        frame = _to_frame(ImageOps.exif_transpose(image), what)
        return replace(frame, of_several=_has_several(image))
    except FrameError:
        raise
    except Image.DecompressionBombError as error:
        # A frame within it that is larger than it; Pillow's words are about attacks.
        raise DamagedPictureError(
            f'broken picture of {len(data)} bytes: a frame in it is absurdly large') from error
    except Exception as error:  # noqa: B902  Pillow's readers raise whatever they trip over
        raise DamagedPictureError(
            f'broken picture of {len(data)} bytes: '
            f'{printable(error) or type(error).__name__}') from error


def open_picture(data: bytes, suffix: str) -> Any:
    """
    Return Pillow's picture, not decoded yet.

    Unlike `Image.open` this neither refuses nor warns of large pictures, as attacks: how large
    they may be is the user's to say.

    :param data: the file, or its header at least.
    :param suffix: the file's ending, which decides about formats that no first bytes tell.
    :raises FrameError: if it is none of `readable_formats`.
    :raises Exception: whatever Pillow raises for a broken header.
    """
    broken = None
    start = data[:START_BYTES]
    missing = what_is_missing(start)
    for name in readable_formats():
        if not _may_be(name, start, suffix.lower()):
            continue
        try:
            return Image.OPEN[name][0](BytesIO(data), '')
        except Exception as error:  # noqa: B902  Pillow's readers raise what they trip over
            broken = broken or error  # another format may fit
    if missing:
        raise FrameError(f'it cannot be read: {missing}')
    if broken is not None:
        raise broken
    raise FrameError(
        f'{len(data)} bytes starting {data[:8].hex(" ")} are not a picture in a format that can '
        'be read')


def _may_be(name: str, start: bytes, suffix: str) -> bool:
    """Tell whether a file may be of a format, by its first bytes or else its ending."""
    accept = Image.OPEN[name][1]
    if accept is None:
        return Image.EXTENSION.get(suffix) == name
    try:
        found = accept(start)
    except (IndexError, TypeError, struct.error):
        # Fewer bytes than it looks at.
        return False
    # A text is the reason why this Pillow cannot read it.
    return bool(found) and not isinstance(found, str)


def _memory_bytes(image: Any) -> int:
    """Return what decoding takes: Pillow's pixels, those of an 8-bit copy, and an array."""
    width, height = image.size
    pixel = {'1': 1, 'L': 1, 'P': 1, 'I;16': 2, 'I;16B': 2, 'LA': 4, 'PA': 4}.get(image.mode, 4)
    return int(width * height * (pixel + 4 + 4))


def _has_several(image: Any) -> bool:
    """Tell whether a picture is the first of several; the layers of a PSD are one picture."""
    try:
        return image.format != 'PSD' and bool(getattr(image, 'is_animated', False))
    except Exception:  # noqa: B902  one behind the first is broken, whatever Pillow raises
        return True


def _to_frame(image: Any, what: str) -> Frame:
    mode = image.mode
    if mode.startswith('I;16'):
        return Frame(to_8_bit(np.asarray(image, np.uint16)), 'gray')
    if mode in _NUMBERS:
        raise FrameError(
            f'{what}: its values are plain numbers; only grey and colour pictures of 8 or 16 bits '
            'can be used, convert it first')
    target, order = _MODES.get(mode, ('RGB', 'rgb'))
    if 'transparency' in image.info and mode in ('P', 'L', 'RGB', '1'):
        target, order = 'RGBA', 'rgba'
    # A copy, since an array made of Pillow's picture is read only.
    return Frame(np.array(image if mode == target else image.convert(target), np.uint8), order)
