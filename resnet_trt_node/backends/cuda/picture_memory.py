"""Where the pictures of a batch lie for the device, and what is copied to it."""

from __future__ import annotations

from typing import Callable, Optional, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.cuda.stream import CudaStream
from resnet_trt_node.errors import BackendError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from resnet_trt_node.backends.cuda.page_locked import PageLockedMemory
    from resnet_trt_node.imaging.on_device.source import Source

#: Page-locked memory for each picture at first: what the crop of 1080p of three bytes reads. There
#: is room for so many of them, or one in each row: many rows are regions of few pictures.
_FIRST_PICTURE_BYTES = 3 << 20
_PICTURES = 8
#: The most that all pictures of a batch may take; those for which there is no room are resized by
#: the CPU.
MAX_BYTES = 1 << 29
#: Where a plane and each of its rows begin.
_ALIGNMENT = 16


class Room:
    """What the memories of a backend's batch buffers are to have; used while none is enqueued."""

    def __init__(self) -> None:
        #: Bytes that each of them grows to.
        self.wanted = 0
        #: More is not to be had.
        self.most = MAX_BYTES


class PictureMemory:
    """
    Page-locked memory and as much on the device, whose begin is the caller's.

    Pictures are laid out behind that and copied with it at once. Those that lie in page-locked
    memory already are copied from there, by the device. A GPU that computes in the host's memory
    reads everything where it lies.

    :param device: owned by the calling thread.
    :param head_bytes: the size of the begin.
    :param rows: of the batch.
    :param shared: page-locked memory in which messages may lie.
    :param log: takes a line where there is no memory for larger pictures.
    :param room: shared by the buffers of a backend, on the device's thread.
    :raises BackendError: if there is not enough memory.
    """

    def __init__(
            self, device: CudaDevice, head_bytes: int, rows: int, shared: PageLockedMemory,
            log: Callable[[str], None], room: Room) -> None:
        self._device = device
        self._head_bytes = _aligned(head_bytes)
        self._pictures = min(_PICTURES, rows)
        self._shared = shared
        self._log = log
        self._room = room
        # For the pictures of a batch that was not finished.
        self._wanted = 0
        self._allocate(_aligned(self._head_bytes + self._pictures * _FIRST_PICTURE_BYTES))
        self.clear()

    def clear(self) -> None:
        """Forget all pictures."""
        # By the identity of a source, which is kept so that no other one gets it.
        self._placed: dict[int, tuple[Source, Optional[Placed]]] = {}
        # Up to where the memory is filled by us, and from where on by the device alone.
        self._used = self._head_bytes
        self._top = len(self.host)
        # What the device copies from messages, or reads there, until it has finished.
        self._direct: list[tuple[Source, Placed]] = []
        # What those take for which there was no room.
        self._missing = 0

    def place(self, source: Source, rows: slice, columns: slice) -> Optional[Placed]:
        """
        Return where a picture's planes go, the same at each call; None where there is no room.

        :param source: the picture.
        :param rows: of it, all that is read.
        :param columns: likewise.
        """
        if id(source) not in self._placed:
            placed = self._reserve(source, rows, columns)
            self._placed[id(source)] = source, placed
            if placed is not None and placed.direct:
                self._direct.append((source, placed))
        return self._placed[id(source)][1]

    def copy_head(self, stream: CudaStream) -> None:
        """Enqueue a copy of the begin alone."""
        if not self._device.integrated:
            stream.copy_in(self.address, self.host[:self._head_bytes])

    def copy(self, stream: CudaStream) -> None:
        """Enqueue the copies of the begin and of all pictures."""
        if self._device.integrated:
            return
        stream.copy_in(self.address, self.host[:self._used])
        for _, placed in self._direct:
            for address, pitch, plane in zip(placed.addresses, placed.pitches, placed.planes):
                stream.copy_rows(address, pitch, plane)

    def let_go(self) -> None:
        """Let go of the messages that are copied; what the device copies by itself is kept."""
        self._placed.clear()

    def finish(self) -> bool:
        """
        Let go of all messages, and make room for what found none, here or in another buffer.

        Nothing that was enqueued may still run, or is enqueued again before `clear`. Where there
        is no memory for it, these pictures stay with the CPU.

        :returns: whether the memory is another one now, in which nothing is.
        """
        self._direct.clear()
        room = self._room
        room.wanted = min(room.most, max(room.wanted, self._wanted))
        self._wanted = 0
        if room.wanted <= len(self.host):
            return False
        before = self.address
        room.wanted = _aligned(min(room.most, max(room.wanted, 2 * len(self.host))))
        try:
            self._allocate(room.wanted)
        except BackendError as error:
            room.most = room.wanted = len(self.host)
            self._log(f'larger pictures are resized on the CPU: {error}')
            return False
        if not self._device.integrated:
            self._device.free(before)
        self.clear()
        return True

    def _allocate(self, size: int) -> None:
        memory: NDArray[np.uint8] = self._device.host_array((size,), np.uint8)
        # Page-locked memory has the same address on both sides (unified addressing).
        address = memory.ctypes.data if self._device.integrated else self._device.memory(size)
        #: uint8, page-locked, and its address as the device sees it or its copy.
        self.host, self.address = memory, address

    def _reserve(self, source: Source, rows: slice, columns: slice) -> Optional[Placed]:
        """Return where a picture's planes go, None where there is no room."""
        planes = source.planes(rows, columns)
        direct = all(self._shared.holds(plane) for plane in planes)
        if direct and self._device.integrated:
            return Placed(planes, (), [plane.ctypes.data for plane in planes],
                          [plane.strides[0] for plane in planes])
        pitches = [_aligned(plane.shape[1]) for plane in planes]
        sizes = [len(plane) * pitch for plane, pitch in zip(planes, pitches)]
        total = sum(sizes)
        if self._used + total > self._top:
            self._missing += total
            # For all of the batch, and for as many as this one.
            self._wanted = max(
                self._wanted, len(self.host) - self._top + self._used + self._missing,
                self._head_bytes + self._pictures * total)
            return None
        if direct:
            self._top -= total
            start = self._top
        else:
            start, self._used = self._used, self._used + total
        starts = [start + sum(sizes[:number]) for number in range(len(sizes))]
        return Placed(
            planes, () if direct else [
                self.host[start:start + size].reshape(-1, pitch)
                for start, size, pitch in zip(starts, sizes, pitches)],
            [self.address + start for start in starts], pitches)


class Placed:
    """
    The planes of a picture and where they go.

    :param planes: uint8 (rows, bytes), of the message.
    :param targets: uint8 (rows, pitch), page-locked; none where the device copies or reads the
        planes themselves.
    :param addresses: of the planes, as the device sees them.
    :param pitches: bytes from one row of a plane to the next there.
    """

    def __init__(
            self, planes: Sequence[NDArray[np.uint8]], targets: Sequence[NDArray[np.uint8]],
            addresses: Sequence[int], pitches: Sequence[int]) -> None:
        self.planes = planes
        self.direct = not targets
        self.addresses = addresses
        self.pitches = pitches
        self._copies = [*zip(targets, planes)]

    def copy_once(self) -> None:
        """Copy the planes, unless another thread does."""
        while self._copies:
            try:
                target, plane = self._copies.pop()
            except IndexError:
                return
            np.copyto(target[:, :plane.shape[1]], plane)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
