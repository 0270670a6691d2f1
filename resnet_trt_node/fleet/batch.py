"""A batch on its way from a reader to the process that has the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ContextManager, Optional, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.cuda.jpeg import MAX_DEVICE_BYTES
from resnet_trt_node.errors import FrameError, without_traceback
from resnet_trt_node.imaging.frame import view_bytes
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture, exceeds

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from resnet_trt_node.imaging.on_device.grid import Grid
    from resnet_trt_node.imaging.on_device.source import Source


#: Bytes of jpegs after which a batch is sent. A reader has two batches under way, in Ray's store.
MOST_BYTES = 2**25


@dataclass(frozen=True)
class RemoteBatch:
    """
    What is sent.

    :param size: number of rows.
    :param places: of the rows whose pixels are there.
    :param pixels: uint8 (len(places), H, W, 3).
    :param pictures: that the device decodes.
    :param jobs: of each other row its place, its picture and how that becomes the row.
    """

    size: int
    places: Sequence[int]
    pixels: NDArray[np.uint8]
    pictures: Sequence[EncodedPicture]
    jobs: Sequence[tuple[int, int, Grid]]

    def infer(self, backend: Backend) -> RemoteAnswer:
        """
        Bring the rows to a backend's first buffer, and have them inferred.

        :raises InferenceError: if the runtime fails.
        """
        backend.buffer()[list(self.places)] = self.pixels
        rows = backend.device_rows()
        decodes = False
        if rows is not None:
            rows.clear()
            decodes = rows.decodes
            for place, number, grid in self.jobs if decodes else ():
                rows.put_encoded(place, self.pictures[number], grid, _leave_to_reader)
        backend.submit(self.size)
        probabilities = backend.collect().copy()
        return RemoteAnswer(probabilities, decodes, sorted(
            backend.fall_backs() if decodes else (place for place, *_ in self.jobs)))


def batch_of(pixels: NDArray[np.uint8]) -> RemoteBatch:
    """Return a batch whose rows are all pixels, uint8 (N, H, W, 3)."""
    return RemoteBatch(len(pixels), range(len(pixels)), pixels, (), ())


def _leave_to_reader(row: NDArray[np.uint8]) -> None:
    """Refuse a picture that the device did not decode."""
    raise FrameError('its reader decodes it')


@dataclass(frozen=True)
class RemoteAnswer:
    """
    What comes back.

    :param probabilities: float32 (size, C).
    :param decodes: whether there is a device that decodes jpegs.
    :param refused: rows that mean nothing, since the device could not decode their picture.
    """

    probabilities: NDArray[np.float32]
    decodes: bool
    refused: Sequence[int]


class RemoteRows:
    """
    Rows whose jpegs the device decodes where the model is, see `DeviceRows`; one thread's.

    Raw images are resized by their reader: as a row they have a fortieth of the bytes to send.

    :param buffer: uint8 (batch, H, W, 3), the rows that are sent as pixels.
    """

    on_cpu: Callable[[], ContextManager[None]] = nullcontext

    def __init__(self, buffer: NDArray[np.uint8]) -> None:
        #: Whether the device decodes jpegs, as far as is known.
        self.decodes = True
        self._buffer = buffer
        self._encoded: dict[int, tuple[EncodedPicture, Grid, Any]] = {}

    @property
    def is_full(self) -> bool:
        """Tell whether it is enough to send, or for the device to hold."""
        pictures = {picture for picture, *_ in self._encoded.values()}
        return sum(len(picture.data) for picture in pictures) >= MOST_BYTES or exceeds(
            pictures, MAX_DEVICE_BYTES)

    def clear(self) -> None:
        """Forget what was put."""
        self._encoded.clear()

    def put(self, place: int, source: Source, grid: Grid, rows: slice, columns: slice) -> bool:
        """Return False: the caller writes the row's pixels."""
        return False

    def put_encoded(
            self, place: int, picture: EncodedPicture, grid: Grid,
            fall_back: Callable[[NDArray[np.uint8]], None]) -> None:
        """Have a picture sent as it is."""
        self._encoded[place] = picture, grid, fall_back

    def forget(self, place: int) -> None:
        """Make a row pixels that the caller writes."""
        self._encoded.pop(place, None)

    def move(self, target: int, source: int) -> None:
        """Make a row what another one is."""
        self.forget(target)
        if source in self._encoded:
            self._encoded[target] = self._encoded.pop(source)
        else:
            self._buffer[target] = self._buffer[source]

    def batch(self, size: int) -> RemoteBatch:
        """
        Return what is sent for the first rows.

        :param size: how many; what was put is kept for `decode`.
        """
        jobs, numbers, pictures = [], dict[int, int](), list[EncodedPicture]()
        for place, (picture, grid, _) in self._encoded.items():
            if place < size:
                if id(picture) not in numbers:
                    numbers[id(picture)] = len(pictures)
                    # A view of bytes, which Ray sends without another copy of them.
                    pictures.append(EncodedPicture(
                        view_bytes(picture.data, 'jpeg'), picture.header))
                jobs.append((place, numbers[id(picture)], grid))
        places = [place for place in range(size) if place not in self._encoded]
        return RemoteBatch(
            size, places, self._buffer[places] if jobs else self._buffer[:size], pictures, jobs)

    def decode(self, place: int) -> Optional[FrameError]:
        """
        Have the CPU write a row whose picture the device refused.

        :returns: why that cannot be done, None if it was.
        """
        _, _, write = self._encoded[place]
        try:
            write(self._buffer[place])
        except FrameError as error:
            without_traceback(error)
            return error
        return None
