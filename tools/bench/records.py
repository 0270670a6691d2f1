"""
What cameras and listener write down for each frame: fixed-size binary records, appended.

A record is on disk before its frame is published, so that a process that is killed leaves a
complete account.
"""

from __future__ import annotations

import os
from pathlib import Path
import struct

import numpy as np
from numpy.typing import NDArray

#: A frame that was sent: index of the camera, 1 for a broken one, stamp in ns of CLOCK_REALTIME.
SENT = np.dtype([('camera', '<i4'), ('broken', '<i4'), ('stamp_ns', '<i8')])
#: An answer: index of the camera, first class as a number or -1, the source's stamp, arrival.
HEARD = np.dtype([
    ('camera', '<i4'), ('answer', '<i4'), ('stamp_ns', '<i8'), ('received_ns', '<i8')])

#: An answer to a frame with regions, after its record of kind `HEARD`: index of the camera, the
#: source's stamp, arrival, regions in the message, those with a class, and those of these with the
#: class of another region.
REGIONS = np.dtype([
    ('camera', '<i4'), ('stamp_ns', '<i8'), ('received_ns', '<i8'), ('regions', '<i4'),
    ('answered', '<i4'), ('mistaken', '<i4')])

#: The stamp of a serialised message that begins with a header: right behind the four bytes that
#: tell the byte order.
STAMP = struct.Struct('<iI')
STAMP_AT = 4


class RecordWriter:
    """
    Appends records to a file.

    :param path: the file, created if it is not there.
    :param kind: `SENT`, `HEARD` or `REGIONS`.
    """

    def __init__(self, path: Path, kind: np.dtype[np.void]) -> None:
        self._kind = kind
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)

    def write(self, *values: int) -> None:
        """Append one record, its fields in order."""
        os.write(self._file, np.array(values, self._kind).tobytes())

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(path: Path, kind: np.dtype[np.void], start: int = 0) -> NDArray[np.void]:
    """
    Return the records of a file that may still be written to.

    :param path: the file; none yet means no records.
    :param kind: `SENT`, `HEARD` or `REGIONS`.
    :param start: how many records to leave out.
    """
    if not path.exists():
        return np.empty(0, kind)
    whole = path.stat().st_size // kind.itemsize
    return np.fromfile(path, kind, max(0, whole - start), offset=start * kind.itemsize)
