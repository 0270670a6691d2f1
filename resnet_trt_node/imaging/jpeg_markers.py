"""The markers of a jpeg, followed from its start to its end without decoding anything."""

from __future__ import annotations

from dataclasses import dataclass
import re

from resnet_trt_node.errors import DamagedPictureError, FrameError

#: Segments at most. Colour profiles and previews take a few hundred, each scan two.
MAX_SEGMENTS = 4096
#: 0 is a data byte of 255, 1 has no meaning, 255 fills up; d0 to d7 restart.
_MARKER_OR_RESTART = re.compile(rb'\xff[\x02-\xfe]')
_MARKER = re.compile(rb'\xff[\x02-\xcf\xd8-\xfe]')
_RESTART = re.compile(rb'\xff([\xd0-\xd7])')
_RESTARTS = bytes(range(0xd0, 0xd8))
_END, _SCAN = 0xd9, 0xda
#: Frame headers: c0 to cf, but c4, c8 and cc are tables.
_FRAMES = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}
_PROGRESSIVE = (0xc2, 0xc6, 0xca, 0xce)


@dataclass(frozen=True)
class JpegMarkers:
    """
    What a jpeg's markers tell.

    :param width: pixels a row, 0 without a frame header.
    :param height: rows.
    :param components: 1 for grey, 3 for colours, 4 for inks.
    :param several_scans: whether all coefficients must be kept until the last one.
    :param scanned_components: of all scans together.
    """

    width: int
    height: int
    components: int
    several_scans: bool
    scanned_components: int


def read_jpeg_markers(data: memoryview) -> JpegMarkers:
    """
    Follow the markers to the end of the picture.

    libjpeg paints what is missing grey and only prints a warning. So a jpeg is refused that was
    cut off or lacks a piece, as far as its markers tell: segments, which may hold a preview, are
    as long as they say, and within compressed data there are restart markers only. Cameras that
    write those number them 0 to 7 in a circle, which breaks where the transport lost a packet.
    What comes behind the end is none of the picture: padding, a second picture, a film.

    :param data: the file, of which the first two bytes are known to be the start marker.
    :raises DamagedPictureError: if it was cut off or lacks a piece.
    :raises FrameError: if it has more than `MAX_SEGMENTS` segments.
    """
    width = height = components = scanned = scans = 0
    progressive = False
    at = 2
    for _ in range(MAX_SEGMENTS):
        found = first = _MARKER_OR_RESTART.search(data, at)
        if first is not None and _RESTART.match(data, first.start()):
            found = _MARKER.search(data, first.end())
        if found is None:
            raise DamagedPictureError(
                f'jpeg of {len(data)} bytes was cut off, its end is missing')
        marker = found.start()
        # Most cameras write none, and going through the data twice takes twice as long.
        restarts = b'' if found is first else b''.join(_RESTART.findall(data, at, marker))
        if restarts != (_RESTARTS * (len(restarts) // 8 + 1))[:len(restarts)]:
            raise DamagedPictureError(
                f'jpeg of {len(data)} bytes lacks a piece, its restart markers are out of order')
        kind = data[marker + 1]
        if kind == _END:
            return JpegMarkers(
                width, height, components, progressive or scans > 1, scanned)
        if kind in _FRAMES and not components:
            progressive = kind in _PROGRESSIVE
            height = int.from_bytes(data[marker + 5:marker + 7], 'big')
            width = int.from_bytes(data[marker + 7:marker + 9], 'big')
            components = data[marker + 9]
        elif kind == _SCAN:
            scans += 1
            scanned += data[marker + 4]
        at = marker + 2 + int.from_bytes(data[marker + 2:marker + 4], 'big')
    raise FrameError(
        f'{width}x{height} jpeg: it has more than {MAX_SEGMENTS} segments, which is no camera '
        'picture; write it anew')
