"""
The layers that take a classifier's time, and the tile that each is cut into.

Nothing here needs TVM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Tuple

#: Columns of a tile; more results than these spill out of any processor's registers.
_MAX_TILE_COLUMNS = 32


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
    def scales_channels(self) -> bool:
        """Tell whether it only multiplies each channel by a factor."""
        return self.kind == 'depthwise' and self.kernel == self.strides == (1, 1) \
            and not any(self.padding)


@dataclass(frozen=True)
class Tile:
    """
    How a workload is cut.

    The accumulators of `rows` x `columns` results of `filters` channels each stay in registers
    while the products are summed.

    :param filters: channels in a tile; weights are packed in blocks of it.
    :param rows: rows of the output in a tile.
    :param columns: columns of the output in a tile.
    """

    filters: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Registers:
    """
    The processor's vector registers.

    :param lanes: float32 numbers in one.
    :param count: how many results and weights can have.
    """

    lanes: int
    count: int

    def vector(self, filters: int) -> int:
        """Return the widest vector that divides a number of channels."""
        lanes = self.lanes
        while filters % lanes:
            lanes //= 2
        return lanes


def choose_tile(workload: Workload, registers: Registers) -> Tile:
    """Return the tile that needs the fewest loads for each multiplication."""
    def merit(tile: Tile) -> Tuple[float, int]:
        lanes = registers.vector(tile.filters)
        vectors = tile.filters / lanes
        pixels = tile.rows * tile.columns
        # A vector that is not full wastes its share of every multiplication.
        full = lanes / registers.lanes
        return full * pixels * vectors / (pixels + vectors), -tile.rows

    return max(tiles(workload, registers), key=merit)


def tiles(workload: Workload, registers: Registers) -> Iterator[Tile]:
    """Give every tile whose accumulators and weights fit the registers."""
    rows, columns = workload.output
    for filters in _divisors(workload.filters, 8 * registers.lanes):
        lanes = registers.vector(filters)
        vectors = filters // lanes
        # Narrower vectors only where the number of channels leaves no choice.
        if lanes < registers.vector(workload.filters) or vectors > 8:
            continue
        for tile_columns in _divisors(columns, _MAX_TILE_COLUMNS):
            # A row that is cut is long enough as it is.
            for tile_rows in _divisors(rows, 4) if tile_columns == columns else (1,):
                if tile_rows * tile_columns * vectors + vectors <= registers.count or (
                        tile_rows * tile_columns == 1 and vectors == 1):
                    yield Tile(filters, tile_rows, tile_columns)


def _divisors(number: int, largest: int) -> list[int]:
    return [part for part in range(1, min(number, largest) + 1) if number % part == 0]
