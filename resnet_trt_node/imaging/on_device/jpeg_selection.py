"""
Which jpegs the device decodes, decided from the header before anything is allocated.

The rest stays on the CPU, whose decoder then also tells what is wrong with a picture. So both
paths refuse the same pictures with the same words and differ in rounding alone.
"""

from __future__ import annotations

from dataclasses import dataclass
import struct
from typing import Any, Optional, Union

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.compressed.decode import check_size
from resnet_trt_node.imaging.compressed.jpeg_markers import jpeg_markers
from resnet_trt_node.imaging.compressed.picture_header import PictureHeader, read_header
from resnet_trt_node.imaging.compressed.tiff_tags import read_tiff_tags
from resnet_trt_node.imaging.frame import view_bytes

#: Pixels of the shorter side at least. At the edges of smaller ones libjpeg smooths chroma
#: differently, and the CPU has them decoded before the device has been asked.
MIN_SIDE = 16
_BASELINE, _PROGRESSIVE = 0xc0, 0xc2
#: Frame headers: c0 to cf, but c4, c8 and cc are tables.
_FRAMES = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}
_HUFFMAN_TABLES, _SCAN, _EXIF, _ADOBE = 0xc4, 0xda, 0xe1, 0xee
#: How often luma is sampled, across and down, while chroma is sampled once: 4:4:4, 4:2:2, 4:2:0.
#: These are what libjpeg smooths while it enlarges chroma, as nvJPEG does.
_LUMA = ((1, 1), (2, 1), (2, 2))


@dataclass
class _Layout:
    """What stands before the first scan of a jpeg."""

    frame: int = 0
    frames: int = 0
    bits: int = 0
    #: Of each component its name, and how often it is sampled across and down.
    components: tuple[tuple[int, int, int], ...] = ()
    huffman_tables: bool = False
    #: What Adobe's marker says: 0 is no transform, 1 is YCbCr; None without the marker.
    transform: Optional[int] = None
    #: By EXIF, 1 is upright; 0 where it cannot be read.
    orientation: int = 1
    scanned: int = 0


def select_for_device(
        data: Any, max_bytes: int, apply_orientation: bool = False) -> Union[PictureHeader, str]:
    """
    Decide whether a picture is decoded on the device.

    Those are jpegs of 8 bits, baseline in one scan or progressive, grey or YCbCr with 4:4:4,
    4:2:2 or 4:2:0, upright if that matters, undamaged as far as their markers tell.

    :param data: the bytes of a picture, in any object with the buffer protocol.
    :param max_bytes: memory that decoding may take, as for `decode_compressed`.
    :param apply_orientation: whether the picture shall be turned as its EXIF data says.
    :returns: its header, or in words why the CPU is to decode or refuse it.
    """
    try:
        buffer = view_bytes(data, 'compressed picture')
        header = read_header(buffer.data) if buffer.size else None
        if header is None:
            return 'it is no picture'
        if header.kind != 'jpeg':
            return f'the GPU decodes jpeg, this is {header.kind}'
        check_size(header, max_bytes)
        layout = _read_layout(buffer.data)
    except FrameError as error:
        return str(error)
    except (struct.error, IndexError):
        return 'a segment of its header is too short'
    return _reason(header, layout, apply_orientation) or header


def _read_layout(data: memoryview) -> _Layout:
    """
    Read the segments before the first scan.

    :raises FrameError: as `jpeg_markers` does.
    :raises struct.error: if one is shorter than its content, or IndexError.
    """
    layout = _Layout()
    for kind, at in jpeg_markers(data):
        content = data[at + 4:at + 2 + int.from_bytes(data[at + 2:at + 4], 'big')]
        if kind in _FRAMES:
            layout.frame, layout.frames = kind, layout.frames + 1
            layout.bits = content[0]
            layout.components = tuple(
                (content[place], content[place + 1] >> 4, content[place + 1] & 15)
                for place in range(6, 6 + 3 * content[5], 3))
        elif kind == _HUFFMAN_TABLES:
            layout.huffman_tables = True
        elif kind == _ADOBE and bytes(content[:5]) == b'Adobe':
            layout.transform = content[11]
        elif kind == _EXIF and bytes(content[:6]) == b'Exif\0\0':
            layout.orientation = _read_orientation(content[6:])
        elif kind == _SCAN:
            layout.scanned = content[0]
            break
    return layout


def _read_orientation(tags: memoryview) -> int:
    try:
        found = read_tiff_tags(tags) if bytes(tags[:2]) in (b'II', b'MM') else None
    except (struct.error, IndexError):
        found = None
    return 0 if found is None else found.get('orientation', 1)


def _reason(header: PictureHeader, layout: _Layout, apply_orientation: bool) -> str:
    """Return why the CPU decodes it, nothing if the device does."""
    if layout.frame not in (_BASELINE, _PROGRESSIVE) or layout.frames > 1:
        return f'it is neither baseline nor progressive (frame header {layout.frame:02x})'
    count = len(layout.components)
    names = tuple(name for name, *_ in layout.components)
    sampling = [(across, down) for _, across, down in layout.components]
    if layout.bits != 8:
        return f'it has {layout.bits} bits'
    if count not in (1, 3):
        return f'it has {count} components'
    if not layout.huffman_tables:
        return 'it has no Huffman tables'
    if layout.frame == _BASELINE and (layout.scanned != count or header.passes != count):
        return 'its components come in several scans'
    if count == 1 and sampling != [(1, 1)]:
        return f'its grey is sampled {sampling[0][0]}x{sampling[0][1]}'
    if count == 3 and (sampling[0] not in _LUMA or sampling[1:] != [(1, 1), (1, 1)]):
        return 'its chroma is sampled otherwise than 4:4:4, 4:2:2 or 4:2:0'
    if count == 3 and (names != (1, 2, 3) or layout.transform not in (None, 1)):
        return 'its colours may be no YCbCr'
    if min(header.width, header.height) < MIN_SIDE:
        return f'{header} is small'
    if apply_orientation and layout.orientation != 1:
        return 'it is turned by its EXIF data' if layout.orientation else 'its EXIF is unreadable'
    return ''
