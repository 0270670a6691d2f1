"""
What a compressed picture will take, from its header and the lengths of its pieces alone.

Pillow's and OpenCV's readers trust what a file says of itself: a TIFF of 1 MB can have the same
megabyte read for each of thousands of tags, a png of 1.5 MB inflates to gigabytes of text. So the
few formats that cameras send are looked at here first, in time and memory that depend on nothing
but the number of bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
import re
import struct
from typing import Optional

from resnet_trt_node.errors import DamagedPictureError, FrameError
from resnet_trt_node.imaging.compressed.jpeg_markers import jpeg_markers
from resnet_trt_node.imaging.compressed.tiff_tags import read_tiff_tags

#: Chunks of a png at most; each takes a microsecond to look at, and those of libpng have 8 KiB.
MAX_CHUNKS = 65_536
#: Bytes within which the header of a netpbm file, comments included, must end.
_NETPBM_HEADER_BYTES = 65_536
_NETPBM = re.compile(
    rb'P([1-6])(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})'
    rb'(?:(?:\s|#[^\r\n]*[\r\n])+(\d{1,9}))?\s')
_JPEG_SCAN = 0xda
#: Frame headers of a jpeg: c0 to cf, but c4, c8 and cc are tables.
_JPEG_FRAMES = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}
_JPEG_PROGRESSIVE = (0xc2, 0xc6, 0xca, 0xce)
#: Values of a TIFF's PhotometricInterpretation.
_TIFF_WHITE_IS_0, _TIFF_INKS = 0, 5
_TIFF_COLOURED = (2, 3, 5, 6, 8, 9, 10)
#: Values of its Orientation whose rows are the picture's columns.
_TIFF_LYING = range(5, 9)
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
#: Colour type of a png to the channels that come of it.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}
#: Chunks that show nothing. libpng inflates each to up to 8 MB, and up to a thousand of them.
_PNG_TEXTS = (b'zTXt', b'iTXt', b'tEXt', b'iCCP')


@dataclass(frozen=True)
class PictureHeader:
    """
    What is known before anything is decoded.

    :param kind: one of `KINDS`.
    :param width: pixels a row, at least 1.
    :param height: rows, at least 1.
    :param channels: that decoding gives, at most.
    :param sample_bytes: of a channel of a pixel, 1 or 2.
    :param decoder_bytes: what the decoder needs besides one copy of the picture.
    :param passes: how often the decoder goes over a channel of the whole picture.
    :param white: the value of white where it is not the largest one; of netpbm.
    :param white_place: where in the file that number stands.
    :param inverted: whether 0 is white in what OpenCV makes of it.
    :param inks: whether it has inks, which OpenCV would take for colours.
    :param several: whether it is the first of several frames or pages.
    :param texts: start and end of pieces that show nothing and inflate.
    :param deflated: start and end of the content of pieces that inflate to the rows of a png.
    """

    kind: str
    width: int
    height: int
    channels: int
    sample_bytes: int = 1
    decoder_bytes: int = 0
    passes: int = 1
    white: Optional[int] = None
    white_place: tuple[int, int] = (0, 0)
    inverted: bool = False
    inks: bool = False
    several: bool = False
    texts: tuple[tuple[int, int], ...] = ()
    deflated: tuple[tuple[int, int], ...] = ()

    @property
    def picture_bytes(self) -> int:
        """Return what the decoded picture takes before it is made 8-bit."""
        return self.width * self.height * self.channels * self.sample_bytes

    @property
    def memory_bytes(self) -> int:
        """Return what decoding takes at most: OpenCV holds the picture twice at the end."""
        return self.picture_bytes + max(self.picture_bytes, self.decoder_bytes)

    def __str__(self) -> str:
        """Return the picture in words, for messages."""
        return f'{self.width}x{self.height} {self.kind}'


def read_header(data: memoryview) -> Optional[PictureHeader]:
    """
    Read what a picture says of itself, and check its pieces as far as their lengths tell.

    :param data: the bytes of the file, contiguous.
    :returns: None for other formats than `KINDS`.
    :raises DamagedPictureError: if it was cut off, lacks a piece or contradicts itself.
    :raises FrameError: if it has absurdly many pieces.
    """
    start = bytes(data[:12])
    for kind, (magic, read) in _READERS.items():
        if magic.match(start):
            try:
                header = read(data)
            except (struct.error, IndexError) as error:
                # Both are how a read behind the end shows itself.
                raise DamagedPictureError(
                    f'{kind} of {len(data)} bytes was cut off within its header') from error
            if header.width < 1 or header.height < 1:
                raise DamagedPictureError(f'broken {header}: it has no pixels')
            return header
    return None


def _read_jpeg(data: memoryview) -> PictureHeader:
    width = height = components = scans = passes = 0
    progressive = False
    for kind, at in jpeg_markers(data):
        if kind in _JPEG_FRAMES and not components:
            progressive = kind in _JPEG_PROGRESSIVE
            height, width, components = struct.unpack_from('>HHB', data, at + 5)
        elif kind == _JPEG_SCAN:
            scans += 1
            passes += data[at + 4]
    if not components:
        raise DamagedPictureError(f'broken jpeg of {len(data)} bytes: it has no frame header')
    # Coefficients of 16 bits of the whole picture are kept until its last scan.
    kept = 2 * components * width * height if progressive or scans > 1 else 0
    return PictureHeader(
        'jpeg', width, height, 1 if components == 1 else 3, decoder_bytes=kept, passes=passes)


def _read_png(data: memoryview) -> PictureHeader:
    """Refuse a png that was cut off or whose chunks are longer than it is."""
    length, kind, width, height, depth, colour = struct.unpack_from('>I4sIIBB', data, 8)
    if kind != b'IHDR' or length != 13 or colour not in _PNG_CHANNELS:
        raise DamagedPictureError(f'broken png of {len(data)} bytes: it does not start with IHDR')
    # OpenCV 5 allocates what a chunk claims as its length, up to 4 GiB, before it reads it.
    at, alpha, several = len(_PNG_SIGNATURE), False, False
    texts: list[tuple[int, int]] = []
    deflated: list[tuple[int, int]] = []
    for _ in range(MAX_CHUNKS):
        # Each chunk is its length, its kind, its data and a check sum.
        kind, start = bytes(data[at + 4:at + 8]), at
        at += 12 + int.from_bytes(data[at:at + 4], 'big')
        if at > len(data):
            raise DamagedPictureError(
                f'png of {len(data)} bytes was cut off or damaged, a chunk ends behind it')
        if kind == b'IEND':
            channels = 4 if alpha else _PNG_CHANNELS[colour]
            return PictureHeader(
                'png', width, height, channels, 2 if depth == 16 else 1, several=several,
                texts=tuple(texts), deflated=tuple(deflated))
        if kind in _PNG_TEXTS:
            texts.append((start, at))
        elif kind == b'IDAT':
            deflated.append((start + 8, at - 4))
        # A colour that is transparent; acTL says that it moves, which OpenCV composes with alpha.
        alpha = alpha or kind in (b'tRNS', b'acTL')
        several = several or (
            kind == b'acTL' and bytes(data[start + 8:start + 12]) > b'\0\0\0\1')
    raise FrameError(
        f'{width}x{height} png: it has more than {MAX_CHUNKS} chunks, write it again with fewer')


def _read_bmp(data: memoryview) -> PictureHeader:
    size, = struct.unpack_from('<I', data, 14)
    if size == 12:
        width, height, _, bits = struct.unpack_from('<4H', data, 18)
    else:
        width, height, _, bits = struct.unpack_from('<iiHH', data, 18)
    # Negative heights say that the rows come from top to bottom.
    return PictureHeader('bmp', width, abs(height), 4 if bits == 32 else 3)


def _read_webp(data: memoryview) -> PictureHeader:
    kind = bytes(data[12:16])
    if kind == b'VP8X':
        flags, wide, high = struct.unpack('<B3x3s3s', data[20:30])
        width = 1 + int.from_bytes(wide, 'little')
        height = 1 + int.from_bytes(high, 'little')
        # An animation is composed on canvases of its own, each with alpha.
        extra = 8 * width * height if flags & 2 else 0
        return PictureHeader(
            'webp', width, height, 4, decoder_bytes=4 * width * height + extra,
            several=bool(flags & 2))
    if kind == b'VP8L':
        bits, = struct.unpack_from('<I', data, 21)
        width, height = 1 + (bits & 0x3fff), 1 + (bits >> 14 & 0x3fff)
    else:
        width, height = (side & 0x3fff for side in struct.unpack_from('<HH', data, 26))
    return PictureHeader('webp', width, height, 4, decoder_bytes=4 * width * height)


def _read_tiff(data: memoryview) -> PictureHeader:
    tags = read_tiff_tags(data)
    if tags is None:
        raise DamagedPictureError(
            f'broken tiff of {len(data)} bytes: its list of tags does not fit into it')
    width, height = tags.get('width', 0), tags.get('height', 0)
    bits, samples = tags.get('bits', 1), tags.get('samples', 1)
    colour = tags.get('colour', 1)
    channels = 1 if samples < 3 and colour not in _TIFF_COLOURED else 3 + (samples > 3)
    sample_bytes = max(1, -(-bits // 8))
    # A tile is held as a whole, however much of it lies outside of the picture.
    tile = tags.get('tile_width', width) * tags.get('tile_height', 1)
    if tags.get('orientation', 1) in _TIFF_LYING:
        # OpenCV turns it whatever its flags say.
        width, height = height, width
    return PictureHeader(
        'tiff', width, height, channels, sample_bytes,
        decoder_bytes=width * height * channels * sample_bytes + tile * channels * sample_bytes,
        inverted=colour == _TIFF_WHITE_IS_0 and bits > 8, inks=colour == _TIFF_INKS,
        several=bool(tags.get('next')))


def _read_ppm(data: memoryview) -> PictureHeader:
    found = _NETPBM.match(data[:_NETPBM_HEADER_BYTES])
    if found is None:
        raise DamagedPictureError(f'broken ppm of {len(data)} bytes: its header is incomplete')
    number, width, height = (int(found.group(place)) for place in (1, 2, 3))
    channels = 3 if number in (3, 6) else 1
    if number in (1, 4):
        return PictureHeader('ppm', width, height, channels)
    white = int(found.group(4) or 0)
    if not 0 < white < 65_536:
        raise DamagedPictureError(
            f'broken ppm of {len(data)} bytes: its white is {white}, it must be 1 to 65535')
    return PictureHeader(
        'ppm', width, height, channels, 1 if white < 256 else 2, white=white,
        white_place=found.span(4))


_READERS = {kind: (re.compile(magic, re.DOTALL), read) for kind, magic, read in (
    ('jpeg', rb'\xff\xd8\xff', _read_jpeg), ('png', rb'\x89PNG\r\n\x1a\n', _read_png),
    ('bmp', rb'BM', _read_bmp), ('webp', rb'RIFF....WEBP', _read_webp),
    ('tiff', rb'II[*+]\0|MM\0[*+]', _read_tiff), ('ppm', rb'P[1-6][\s#]', _read_ppm))}
#: What cameras send; files may be of any format that Pillow reads.
KINDS = tuple(_READERS)
