"""What writes the rows of a batch buffer on the device, from pixels as a camera sent them."""

from __future__ import annotations

from typing import Protocol, TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_trt_node.imaging.on_device.grid import Grid
    from resnet_trt_node.imaging.on_device.source import Source


class DeviceRows(Protocol):
    """
    The rows of one batch buffer.

    A row is either pixels that a caller writes into `Backend.buffer`, or what is put here; the
    device resizes all that was put when the buffer is submitted. Preprocess threads call `put`,
    several at a time; the rest is called by one thread, while the buffer is not submitted.
    """

    def clear(self) -> None:
        """Forget what was put: the buffer is filled anew, its rows are pixels."""

    def put(self, place: int, source: Source, grid: Grid, rows: slice, columns: slice) -> bool:
        """
        Have the device write a row.

        :param place: which row of the buffer, from 0.
        :param source: the picture; its bytes are copied, once for all that is put of it.
        :param grid: how it becomes the model's input.
        :param rows: of the picture, the same at each call for one source: all that any of its
            grids reads.
        :param columns: likewise.
        :returns: whether it will; if not, there is no room for the picture and the caller writes
            the row's pixels.
        """

    def move(self, target: int, source: int) -> None:
        """Make a row what another one is."""
