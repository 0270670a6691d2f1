"""The few tags of a TIFF that say what decoding it takes, read without trusting its lengths."""

from __future__ import annotations

import struct
from typing import Optional

#: Tags of a picture at most; those of cameras and scanners have a few dozen.
MAX_TAGS = 4096
_NUMBERS = {
    256: 'width', 257: 'height', 258: 'bits', 262: 'colour', 274: 'orientation', 277: 'samples',
    322: 'tile_width', 323: 'tile_height'}
#: Type of a value to its bytes.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
          16: 8, 17: 8, 18: 8}
#: Types of whole numbers to their codes for `struct`.
_CODES = {1: 'B', 3: 'H', 4: 'I', 13: 'I', 16: 'Q'}


def read_tiff_tags(data: memoryview) -> Optional[dict[str, int]]:
    """
    Read the tags of the first picture.

    :param data: the file, which starts like a TIFF or BigTIFF.
    :returns: the tags, and as 'next' what is not 0 where another picture follows. None where the
        values of all tags together are longer than the file, which makes libtiff and Pillow read
        the same bytes again for each, or where there are more than `MAX_TAGS`.
    :raises struct.error: if the list lies behind the end.
    """
    order = '<' if data[0] == ord('I') else '>'
    big = data[2] + data[3] == 43
    place, = struct.unpack_from(f'{order}Q' if big else f'{order}I', data, 8 if big else 4)
    if place > len(data):
        return None
    head, entry = (f'{order}Q', f'{order}HHQ8s') if big else (f'{order}H', f'{order}HHI4s')
    count, = struct.unpack_from(head, data, place)
    if count > MAX_TAGS:
        return None
    values: dict[str, int] = {}
    total = 0
    for number in range(count):
        tag, kind, length, inline = struct.unpack_from(
            entry, data, place + struct.calcsize(head) + number * struct.calcsize(entry))
        size = length * _SIZES.get(kind, 1)
        if size > len(inline):
            total += size
        if tag not in _NUMBERS or kind not in _CODES or not length:
            continue
        if size > len(inline):
            start, = struct.unpack(f'{order}Q' if big else f'{order}I', inline)
            inline = bytes(data[start:start + min(size, 64)])
        fits = min(length, len(inline) // _SIZES[kind])
        if not fits:
            return None
        values[_NUMBERS[tag]] = max(struct.unpack_from(f'{order}{fits}{_CODES[kind]}', inline))
    end = place + struct.calcsize(head) + count * struct.calcsize(entry)
    if end + (8 if big else 4) <= len(data):
        values['next'], = struct.unpack_from(f'{order}Q' if big else f'{order}I', data, end)
    return values if total <= len(data) else None
