"""
The kernel's jobs: one becomes one row of a batch.

`JOB` is `struct Job` of backends/cuda/resize.cu, field for field; a test compares them. Its fields
are written by `Grid.write` and `Source.write`, but for `row`: which row of the uint8
(batch, height, width, 3) output, RGB, the job writes; -1 for none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_PLACE = np.dtype([
    # Source pixels an output pixel.
    ('scale', 'f8'),
    # The first pixel of the picture that is resized, in the frame, and how many it has.
    ('source', 'i4'), ('length', 'i4'),
    # Which output pixel of the resized picture comes first, where in the row, and how many follow.
    ('first', 'i4'), ('start', 'i4'), ('count', 'i4'), ('', 'i4')])
#: How a picture becomes a row: the vertical and the horizontal axis, the number of the filter, and
#: the RGB of what the picture leaves free.
GRID = np.dtype([('axes', _PLACE, 2), ('filter', 'i4'), ('pad', 'u1', 4)])

_PLANE = np.dtype([
    # Where the value of the frame's first pixel is, or would be, modulo 2**64.
    ('address', 'u8'),
    # Bytes from one row to the next, and from one value to the next in it.
    ('pitch', 'i8'), ('step', 'i4'),
    # Of the chroma: the power of two of columns and rows that share a value.
    ('x_shift', 'i4'), ('y_shift', 'i4'), ('', 'i4')])
#: Where a frame's pixels are: planes of red, green and blue, of luma, U and V, or of a mosaic (the
#: first), which may be interleaved; what they are, the frame's size, which byte of 16 bits is the
#: high one, and where the upper left red pixel of a mosaic is.
SOURCE = np.dtype([
    ('planes', _PLANE, 3), ('kind', 'i4'), ('height', 'i4'), ('width', 'i4'), ('high_byte', 'i4'),
    ('red_row', 'i4'), ('red_column', 'i4')])

JOB = np.dtype([('grid', GRID), ('source', SOURCE), ('row', 'i4'), ('', 'i4')])
#: Number in the kernel of what has its values of 8 bits side by side.
INTERLEAVED = 0


def write_rgb(job: Any, address: int, pitch: int, height: int, width: int) -> None:
    """
    Set a job's fields about pixels that are RGB in the device's memory already.

    :param job: an element of an array of dtype `JOB`.
    :param address: of the first pixel, uint8 and interleaved.
    :param pitch: bytes from one row to the next.
    :param height: rows.
    :param width: pixels a row.
    """
    source = job['source']
    source['kind'], source['height'], source['width'] = INTERLEAVED, height, width
    source['planes']['address'] = [address, address + 1, address + 2]
    source['planes']['pitch'], source['planes']['step'] = pitch, 3
