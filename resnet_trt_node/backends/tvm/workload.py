"""
The layers that take a classifier's time, and how each is cut into tiles.

A layer is known by a text such as 'conv 56x56x64 to 64, kernel 1x1, stride 1x1, padding 0,0,0,0',
which does not hold the batch size or the weights: a tile found for one network serves every other
with a layer of that shape. Nothing here needs TVM.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
import re
from typing import Any, Iterator, Mapping, Tuple

#: Loop orders around the tiles: 'filters' keeps a block of weights in the cache and walks over the
#: picture, 'rows' keeps some rows of the picture and walks over the weights, 'batch' is 'filters'
#: with the pictures of a batch inside.
ORDERS = ('filters', 'rows', 'batch')
#: Results of a tile that are more than this spill out of any processor's registers.
_LARGEST_TILE_ROW = 32

_TEXT = re.compile(
    r'(conv|depthwise|dense) (\d+)x(\d+)x(\d+) to (\d+), kernel (\d+)x(\d+), stride (\d+)x(\d+), '
    r'padding (\d+),(\d+),(\d+),(\d+)')


@dataclass(frozen=True)
class Workload:
    """
    One shape of convolution or of matrix multiplication.

    :param kind: 'conv', 'depthwise' (one filter for each channel) or 'dense' (a matrix product,
        with height and width 1).
    :param height: rows of the input.
    :param width: columns of the input.
    :param channels: channels of the input.
    :param filters: channels of the output.
    :param kernel: rows and columns of a filter.
    :param strides: steps between results, down and to the right.
    :param padding: zeros around the input: top, left, bottom, right.
    """

    kind: str
    height: int
    width: int
    channels: int
    filters: int
    kernel: Tuple[int, int] = (1, 1)
    strides: Tuple[int, int] = (1, 1)
    padding: Tuple[int, int, int, int] = (0, 0, 0, 0)

    def __str__(self) -> str:
        """Return the text that names the workload; `parse` reads it back."""
        return (
            f'{self.kind} {self.height}x{self.width}x{self.channels} to {self.filters}, '
            f'kernel {self.kernel[0]}x{self.kernel[1]}, '
            f'stride {self.strides[0]}x{self.strides[1]}, '
            f'padding {",".join(map(str, self.padding))}')

    @classmethod
    def parse(cls, text: str) -> Workload:
        """
        Read a workload's text.

        :raises ValueError: if it is none.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f'{text!r} names no workload')
        numbers = [int(number) for number in match.groups()[1:]]
        return cls(
            match.group(1), numbers[0], numbers[1], numbers[2], numbers[3],
            (numbers[4], numbers[5]), (numbers[6], numbers[7]),
            (numbers[8], numbers[9], numbers[10], numbers[11]))

    @property
    def padded(self) -> Tuple[int, int]:
        """Return rows and columns of the input with its zeros."""
        top, left, bottom, right = self.padding
        return self.height + top + bottom, self.width + left + right

    @property
    def output(self) -> Tuple[int, int]:
        """Return rows and columns of the output."""
        rows, columns = ((side - kernel) // stride + 1 for side, kernel, stride in zip(
            self.padded, self.kernel, self.strides))
        return rows, columns

    @property
    def multiplications(self) -> int:
        """Return the multiplications for one picture."""
        rows, columns = self.output
        summed = self.kernel[0] * self.kernel[1] * (
            1 if self.kind == 'depthwise' else self.channels)
        return rows * columns * self.filters * summed


@dataclass(frozen=True)
class Tile:
    """
    How a workload is cut.

    The accumulators of `rows` x `columns` results of `filters` channels each stay in registers
    while the products are summed.

    :param filters: channels in a tile; weights are packed in blocks of it.
    :param rows: rows of the output in a tile.
    :param columns: columns of the output in a tile.
    :param order: one of `ORDERS`.
    :param depth: input channels that are summed before the filter moves; 0 is all of them.
    """

    filters: int
    rows: int
    columns: int
    order: str = 'filters'
    depth: int = 0

    @classmethod
    def from_json(cls, values: Mapping[str, Any], workload: Workload) -> Tile:
        """
        Read a tile back.

        :raises ValueError, KeyError, TypeError: if it is malformed or does not fit the workload.
        """
        tile = cls(
            int(values['filters']), int(values['rows']), int(values['columns']),
            str(values['order']), int(values['depth']))
        tile.check(workload)
        return tile

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a JSON file."""
        return asdict(self)

    def check(self, workload: Workload) -> None:
        """Raise ValueError unless the tile divides the workload evenly."""
        rows, columns = workload.output
        sides = (
            (workload.filters, self.filters), (rows, self.rows), (columns, self.columns),
            (workload.channels, self.depth or workload.channels))
        if self.order not in ORDERS or any(part < 1 or whole % part for whole, part in sides):
            raise ValueError(f'{self} does not fit {workload}')


@dataclass(frozen=True)
class Registers:
    """
    The processor's vector registers.

    :param lanes: float32 numbers in one.
    :param count: how many there are.
    """

    lanes: int
    count: int

    def vector(self, filters: int) -> int:
        """Return the widest vector that divides a number of channels."""
        lanes = self.lanes
        while filters % lanes:
            lanes //= 2
        return lanes


def default_tile(workload: Workload, registers: Registers) -> Tile:
    """Return the tile that needs the fewest loads for each multiplication."""
    def merit(tile: Tile) -> Tuple[float, int]:
        vectors = tile.filters / registers.vector(tile.filters)
        pixels = tile.rows * tile.columns
        # A vector that is not full wastes its share of every multiplication.
        full = registers.vector(tile.filters) / registers.lanes
        return full * pixels * vectors / (pixels + vectors), -tile.rows

    order = 'rows' if workload.kind == 'depthwise' else 'filters'
    return max(_tiles(workload, registers, order), key=merit)


def candidate_tiles(workload: Workload, registers: Registers) -> Iterator[Tile]:
    """Give the tiles worth measuring, those likely to be fast first."""
    first = default_tile(workload, registers)
    yield first
    cuts = sorted(
        _tiles(workload, registers, first.order),
        key=lambda tile: -_intensity(tile, registers))
    yield from (tile for tile in cuts if tile != first)


def variations(tile: Tile, workload: Workload) -> Iterator[Tile]:
    """Give the same tile in other loop orders and summed in other pieces."""
    depths = [0] + ([depth for depth in (32, 64, 128, 256)
                     if depth < workload.channels and workload.channels % depth == 0]
                    if workload.kind != 'depthwise' else [])
    for order in ORDERS:
        for depth in depths:
            other = Tile(tile.filters, tile.rows, tile.columns, order, depth)
            if other != tile:
                yield other


def _intensity(tile: Tile, registers: Registers) -> float:
    vectors = tile.filters / registers.vector(tile.filters)
    pixels = tile.rows * tile.columns
    return pixels * vectors / (pixels + vectors)


def _tiles(workload: Workload, registers: Registers, order: str) -> Iterator[Tile]:
    """Give every tile whose accumulators and weights fit the registers."""
    rows, columns = workload.output
    for filters in _divisors(workload.filters, 8 * registers.lanes):
        lanes = registers.vector(filters)
        vectors = filters // lanes
        # Narrower vectors only where the number of channels leaves no choice.
        if lanes < registers.vector(workload.filters) or vectors > 8:
            continue
        for tile_columns in _divisors(columns, _LARGEST_TILE_ROW):
            # A row that is cut is long enough as it is.
            for tile_rows in _divisors(rows, 4) if tile_columns == columns else (1,):
                if tile_rows * tile_columns * vectors + vectors <= registers.count or (
                        tile_rows * tile_columns == 1 and vectors == 1):
                    yield Tile(filters, tile_rows, tile_columns, order)


def _divisors(number: int, largest: int) -> list[int]:
    return [part for part in range(1, min(number, largest) + 1) if number % part == 0]
