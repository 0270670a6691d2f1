"""Where the pixels of a message lie, so that the GPU reads them in the message's own encoding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Optional, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.imaging.on_device.job import INTERLEAVED, SOURCE
from resnet_trt_node.imaging.raw.encodings import Encoding, ENCODINGS, RawImage
from resnet_trt_node.imaging.raw.float_images import FLOAT_ENCODING

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Numbers in the kernel.
_BAYER, _YUV = 2, 4
_ADDRESSES = 2**64


class _Plane(NamedTuple):
    """
    Bytes that lie together: units of so many bytes, one for all pixels of a cell.

    The cells are 2**x_shift columns by 2**y_shift rows.
    """

    start: int
    pitch: int
    unit: int
    x_shift: int = 0
    y_shift: int = 0

    def window(self, rows: slice, columns: slice) -> tuple[int, int, int, int]:
        """Return first row, end row, first unit and end unit of pixels, in the plane."""
        return (rows.start >> self.y_shift, (rows.stop - 1 >> self.y_shift) + 1,
                columns.start >> self.x_shift, (columns.stop - 1 >> self.x_shift) + 1)


class _Value(NamedTuple):
    """One of a pixel's three values: the plane, where in its unit, and how far the next one is."""

    plane: int
    offset: int
    step: int
    x_shift: int = 0
    y_shift: int = 0


@dataclass(frozen=True, eq=False)
class _Layout:
    """How an encoding's bytes lie in a message of one size."""

    planes: tuple[_Plane, ...]
    values: tuple[_Value, _Value, _Value]
    neighbours: int
    record: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Source:
    """
    The pixels of one message.

    :param raw: the message's fields; its data must not change.
    :param layout: how they lie.
    """

    raw: RawImage
    layout: _Layout

    def planes(self, rows: slice, columns: slice) -> tuple[NDArray[np.uint8], ...]:
        """
        Return what of the message must be in device memory.

        :param rows: the rows of pixels that the kernel reads, in the picture.
        :param columns: the columns.
        :returns: uint8 (rows, bytes) each, views of the message's data whose rows are contiguous;
            more than the pixels themselves where neighbours share or make up their colour.
        """
        rows, columns = self._widen(rows, columns)
        views = []
        for plane in self.layout.planes:
            top, bottom, left, right = plane.window(rows, columns)
            views.append(np.ndarray(
                (bottom - top, (right - left) * plane.unit), np.uint8, self.raw.data,
                plane.start + top * plane.pitch + left * plane.unit, (plane.pitch, 1)))
        return tuple(views)

    def write(
            self, job: Any, rows: slice, columns: slice, addresses: Sequence[int],
            pitches: Sequence[int]) -> None:
        """
        Set the job's fields about the pixels.

        :param job: an element of an array of dtype `JOB`.
        :param rows: those given to `planes`.
        :param columns: those given to `planes`.
        :param addresses: where the planes lie that it returned, in the device's memory.
        :param pitches: bytes from one of their rows to the next there.
        """
        rows, columns = self._widen(rows, columns)
        job['source'] = self.layout.record
        origins = []
        for plane, address, pitch in zip(self.layout.planes, addresses, pitches):
            top, _, left, _ = plane.window(rows, columns)
            origins.append(address - top * pitch - left * plane.unit)
        targets = job['source']['planes']
        targets['address'] = [
            (origins[value.plane] + value.offset) % _ADDRESSES for value in self.layout.values]
        targets['pitch'] = [pitches[value.plane] for value in self.layout.values]

    def _widen(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return the pixels that a mosaic's colours are made of."""
        if not self.layout.neighbours:
            return rows, columns
        # The outermost pixels are copies of their neighbours.
        down, across = (
            slice(min(max(pixels.start - 1, 0), length - 3), max(min(pixels.stop + 1, length), 3))
            for pixels, length in ((rows, self.raw.height), (columns, self.raw.width)))
        return down, across


def plan_source(raw: RawImage) -> Optional[Source]:
    """
    Plan how the GPU reads a message.

    :param raw: what `check_image` returned.
    :returns: None for 32FC3, which the CPU converts.
    """
    if raw.name == FLOAT_ENCODING:
        return None
    return Source(raw, _lay_out(raw.name, raw.height, raw.width, raw.step, raw.big_endian))


@lru_cache(maxsize=256)
def _lay_out(name: str, height: int, width: int, step: int, big_endian: bool) -> _Layout:
    encoding = ENCODINGS[name]
    sample = encoding.sample_bytes
    planes: tuple[_Plane, ...] = (_Plane(0, step, encoding.pixel_bytes),)
    neighbours, red, kind = 0, 0, _YUV
    if name.startswith('bayer_'):
        neighbours, red, kind = 1, name[6:10].index('r'), _BAYER
        values = (_Value(0, 0, sample),) * 3
    elif encoding.shared == (1, 2):
        # A unit of two pixels: two values of luma, one of each chroma.
        luma = 1 if encoding is ENCODINGS['uyvy'] else 0
        planes = (_Plane(0, step, 4, 1),)
        values = (_Value(0, luma, 2), _Value(0, 1 - luma, 4, 1), _Value(0, 3 - luma, 4, 1))
    elif encoding.is_planar or encoding.chroma:
        planes, values = _lay_out_planes(name, encoding, height, step)
    else:
        kind = INTERLEAVED
        order = 'rrr' if encoding.order == 'gray' else encoding.order
        places = [0, 0, 0] if encoding.order == 'gray' else [order.index(c) for c in 'rgb']
        first, second, third = (
            _Value(0, place * sample, encoding.pixel_bytes) for place in places)
        values = (first, second, third)
    record = np.zeros((), SOURCE)
    record['kind'] = kind + (sample == 2)
    record['height'], record['width'] = height, width
    record['high_byte'] = 0 if big_endian else 1
    record['red_row'], record['red_column'] = divmod(red, 2)
    for target, value in zip(record['planes'], values):
        target['step'], target['x_shift'], target['y_shift'] = value[2:]
    return _Layout(planes, values, neighbours, record)


def _lay_out_planes(
        name: str, encoding: Encoding, height: int,
        step: int) -> tuple[tuple[_Plane, ...], tuple[_Value, _Value, _Value]]:
    """Return planes and values where chroma follows the plane of the luma."""
    luma, end = _Plane(0, step, 1), height * step
    if encoding.chroma:
        half_step, half_rows = -(-step // 2), -(-height // 2)
        u, v = (1, 2) if encoding.chroma == 'uv' else (2, 1)
        planes = (luma, _Plane(end, half_step, 1, 1, 1),
                  _Plane(end + half_rows * half_step, half_step, 1, 1, 1))
        return planes, (_Value(0, 0, 1), _Value(u, 0, 1, 1, 1), _Value(v, 0, 1, 1, 1))
    u = 1 if name == 'nv21' else 0
    if name == 'nv24':
        return (luma, _Plane(end, 2 * step, 2)), (
            _Value(0, 0, 1), _Value(1, 0, 2), _Value(1, 1, 2))
    return (luma, _Plane(end, step, 2, 1, 1)), (
        _Value(0, 0, 1), _Value(1, u, 2, 1, 1), _Value(1, 1 - u, 2, 1, 1))
