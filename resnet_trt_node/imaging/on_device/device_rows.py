"""What writes the rows of a batch buffer on the device, from pixels as a camera sent them."""

from __future__ import annotations

from typing import Callable, ContextManager, Protocol, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
    from resnet_trt_node.imaging.on_device.grid import Grid
    from resnet_trt_node.imaging.on_device.source import Source


class DeviceRows(Protocol):
    """
    The rows of one batch buffer.

    One is either pixels that a caller writes into `Backend.buffer`, or what is put here; the
    device resizes all that was put when the buffer is submitted. Preprocess threads put rows,
    several at a time, or forget them; the rest is called by one thread, while the buffer is not
    submitted.
    """

    #: Entered while the CPU writes rows by their `fall_back`, for whoever watches the device: it
    #: is no time of the device.
    on_cpu: Callable[[], ContextManager[None]]

    @property
    def decodes(self) -> bool:
        """Tell whether the device decodes jpegs."""

    @property
    def is_full(self) -> bool:
        """
        Tell whether another picture may find no room on the device, so that the CPU decodes it.

        A batch that can go goes then.
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

    def put_encoded(
            self, place: int, picture: EncodedPicture, grid: Grid,
            fall_back: Callable[[NDArray[np.uint8]], None]) -> None:
        """
        Have the device decode a picture, once for all that is put of it, and write a row.

        Only where `decodes` is set.

        :param place: which row of the buffer, from 0.
        :param picture: is kept until the buffer is filled anew.
        :param grid: how it becomes the model's input.
        :param fall_back: writes the row's pixels, uint8 (H, W, 3), should the device be unable to
            decode it; called before `Backend.submit` returns, on threads of its own, several at
            a time. Its errors go to `Backend.fall_backs`.
        """

    def forget(self, place: int) -> None:
        """Make a row pixels that the caller writes, whatever was put there before."""

    def move(self, target: int, source: int) -> None:
        """Make a row what another one is."""
