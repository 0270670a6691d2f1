"""Rows of a batch buffer that the GPU resizes from pixels in page-locked memory."""

from __future__ import annotations

from threading import Lock
from typing import Callable, Optional, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.cuda.kernel import Kernel
from resnet_trt_node.backends.cuda.stream import CudaStream
from resnet_trt_node.errors import BackendError, FrameError
from resnet_trt_node.imaging.on_device.job import JOB, write_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from resnet_trt_node.backends.cuda.jpeg import DecodedOnDevice, JpegDecoder
    from resnet_trt_node.backends.cuda.page_locked import PageLockedMemory
    from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
    from resnet_trt_node.imaging.on_device.grid import Grid
    from resnet_trt_node.imaging.on_device.source import Source

_Write = Callable[['NDArray[np.uint8]'], None]
#: The kernel's source, its name and its arguments: jobs, output, height, width.
KERNEL = 'resize.cu', 'resize', 'PPii'
#: Threads of a block, each of a pixel.
_BLOCK = (16, 16, 1)
#: Page-locked memory for each picture at first: what the crop of 1080p of three bytes reads. There
#: is room for so many of them, or one in each row: many rows are regions of few pictures.
_FIRST_PICTURE_BYTES = 3 << 20
_PICTURES = 8
#: The most that all pictures of a batch may take; those for which there is no room are resized by
#: the CPU.
MAX_BYTES = 1 << 29
#: Where a plane and each of its rows begin.
_ALIGNMENT = 16


class ResizedRows:
    """
    See `DeviceRows`.

    What the pictures of a batch need is laid out behind the jobs, copied at once and resized by
    one launch. Pictures that lie in page-locked memory already are copied from there, by the
    device. A GPU that computes in the host's memory reads everything where it lies.

    :param device: owned by the calling thread.
    :param kernel: compiled from `KERNEL`.
    :param images: uint8 (batch, H, W, 3), page-locked: the rows that a caller writes.
    :param target: address of device memory of that size.
    :param shared: page-locked memory in which messages may lie.
    :param log: takes a line where there is no memory for larger pictures, and one about the first
        jpeg that only the CPU decodes.
    :param decoder: decodes jpegs on the device, None for none; stays the caller's.
    :raises BackendError: if there is not enough memory.
    """

    def __init__(
            self, device: CudaDevice, kernel: Kernel, images: NDArray[np.uint8],
            target: int, shared: PageLockedMemory, log: Callable[[str], None],
            decoder: Optional[JpegDecoder] = None) -> None:
        self._device = device
        self._kernel = kernel
        self._images = images
        self._target = target
        self._lock = Lock()
        self._jobs_bytes = _aligned(len(images) * JOB.itemsize)
        self._frame_bytes = images[0].nbytes
        self._tiles = tuple(-(-side // threads) for side, threads in zip(
            images.shape[2:0:-1], _BLOCK))
        self._shared = shared
        self._log = log
        self._decoder = decoder
        self._said_fall_back = False
        # Pictures that the device reads; their memory may be used again when they are gone.
        self._decoded: list[DecodedOnDevice] = []
        self._wanted = 0
        self._most_bytes = MAX_BYTES
        self._pictures = min(_PICTURES, len(images))
        self._allocate(_aligned(self._jobs_bytes + self._pictures * _FIRST_PICTURE_BYTES))
        self.clear()

    def clear(self) -> None:
        """Forget what was put."""
        #: Rows that the CPU decoded instead, once they were submitted: '', or why it could not.
        self.fall_backs: dict[int, str] = {}
        # Row to the number of its job, in the table at the begin of the memory.
        self._numbers: dict[int, int] = {}
        self._count = 0
        # Numbers of jobs that became of no use.
        self._unused: list[int] = []
        self._encoded: dict[int, tuple[EncodedPicture, _Write]] = {}
        # By the identity of a source, which is kept so that no other one gets it.
        self._placed: dict[int, tuple[Source, Optional[_Placed]]] = {}
        # Of the memory: up to where it is filled by us, and from where on by the device alone.
        self._used = self._jobs_bytes
        self._top = len(self._memory)
        # What the device copies from messages, or reads there, until it has finished.
        self._direct: list[tuple[Source, _Placed]] = []

    def put(self, place: int, source: Source, grid: Grid, rows: slice, columns: slice) -> bool:
        """Have the device write a row; see `DeviceRows`."""
        with self._lock:
            if id(source) not in self._placed:
                placed = self._reserve(source, rows, columns)
                self._placed[id(source)] = source, placed
                if placed is not None and placed.direct:
                    self._direct.append((source, placed))
            placed = self._placed[id(source)][1]
            if placed is None:
                return False
            job = self._new_job(place)
        # Other threads that put a part of the same picture do not wait for its bytes: the batch
        # goes when all of them have ended.
        placed.copy_once()
        source.write(job, rows, columns, placed.addresses, placed.pitches)
        grid.write(job)
        return True

    @property
    def decodes(self) -> bool:
        """Tell whether the device decodes jpegs."""
        return self._decoder is not None

    def put_encoded(
            self, place: int, picture: EncodedPicture, grid: Grid, fall_back: _Write) -> None:
        """Have the device decode a picture and write a row; see `DeviceRows`."""
        with self._lock:
            job = self._new_job(place)
        grid.write(job)
        self._encoded[place] = picture, fall_back

    def move(self, target: int, source: int) -> None:
        """Make a row what another one is."""
        self.forget(target)
        if source in self._encoded:
            self._encoded[target] = self._encoded.pop(source)
        if source in self._numbers:
            self._numbers[target] = self._numbers.pop(source)
        else:
            self._images[target] = self._images[source]

    def forget(self, place: int) -> None:
        """Make a row pixels that the caller writes."""
        with self._lock:
            self._encoded.pop(place, None)
            if place in self._numbers:
                self._unused.append(self._numbers.pop(place))

    def enqueue(self, stream: CudaStream, batch_size: int) -> None:
        """
        Enqueue what brings the first rows to the device.

        :raises InferenceError: if the driver refuses.
        """
        # The pictures are copied; those who sent them may want their memory back.
        self._placed.clear()
        if self._encoded:
            self._decode(stream, batch_size)
        numbers, frame_bytes = self._numbers, self._frame_bytes
        places = sorted(place for place in numbers if place < batch_size)
        if len(places) < batch_size:
            for first, end in _gaps(places, batch_size):
                stream.copy_in(self._target + first * frame_bytes, self._images[first:end])
        if not places:
            return
        rows = self._table['row']
        rows[:self._count] = -1
        for place in places:
            rows[numbers[place]] = place
        if not self._device.integrated:
            stream.copy_in(self._address, self._memory[:self._used])
            for _, placed in self._direct:
                for address, pitch, plane in zip(
                        placed.addresses, placed.pitches, placed.planes):
                    stream.copy_rows(address, pitch, plane)
        self._launch(stream, self._count)

    def _new_job(self, place: int) -> np.void:
        """Return the job of a row, to be overwritten."""
        self._encoded.pop(place, None)
        number = self._numbers.get(place)
        if number is None:
            if self._unused:
                number = self._unused.pop()
            else:
                number, self._count = self._count, self._count + 1
            self._numbers[place] = number
        return self._table[number]  # type: ignore[no-any-return]

    def _decode(self, stream: CudaStream, batch_size: int) -> None:
        """Decode what is encoded, and complete the jobs; what cannot be is the CPU's."""
        assert self._decoder is not None
        encoded = {place: both for place, both in self._encoded.items() if place < batch_size}
        pictures = [*{id(picture): picture for picture, _ in encoded.values()}.values()]
        # The device is done with those of the batch before.
        self._decoded.clear()
        results = dict(zip(map(id, pictures), self._decoder.decode_selected(
            [picture.data for picture in pictures], [picture.header for picture in pictures],
            stream.handle)))
        for place, (picture, fall_back) in encoded.items():
            result = results[id(picture)]
            if isinstance(result, str):
                self._fall_back(place, result, fall_back)
            else:
                self._decoded.append(result)
                write_rgb(self._table[self._numbers[place]], result.address, result.pitch,
                          result.height, result.width)

    def _fall_back(self, place: int, reason: str, write: _Write) -> None:
        if not self._said_fall_back:
            self._said_fall_back = True
            self._log(f'the CPU decodes a jpeg that the GPU does not: {reason}')
        self.forget(place)
        self.fall_backs[place] = ''
        try:
            write(self._images[place])
        except Exception as error:  # noqa: B902
            # As on a preprocess thread: whatever OpenCV or Pillow raises, it is one bad frame.
            self.fall_backs[place] = str(error) if isinstance(error, FrameError) else repr(error)
            self._images[place] = 0

    def warm_up(self, stream: CudaStream) -> None:
        """
        Launch the kernel once, for no row: the driver loads it then, not for the first frame.

        :raises InferenceError: if the driver refuses.
        """
        self._table['row'][0] = -1
        if not self._device.integrated:
            stream.copy_in(self._address, self._memory[:self._jobs_bytes])
        self._launch(stream, 1)
        stream.drain()

    def _launch(self, stream: CudaStream, count: int) -> None:
        self._kernel.launch(
            (*self._tiles, count), _BLOCK, stream, self._address, self._target,
            *self._images.shape[1:3])

    def finish(self) -> None:
        """
        Let go of messages, and make room for what found none.

        Nothing that was enqueued may still run, or is enqueued again before `clear`.

        Where there is no memory for it, these pictures stay with the CPU.
        """
        self._direct.clear()
        self._encoded.clear()
        wanted, self._wanted = self._wanted, 0
        if wanted <= len(self._memory):
            return
        before = self._address
        try:
            self._allocate(_aligned(min(MAX_BYTES, max(wanted, 2 * len(self._memory)))))
        except BackendError as error:
            self._most_bytes = len(self._memory)
            self._log(f'larger pictures are resized on the CPU: {error}')
            return
        if not self._device.integrated:
            self._device.free(before)
        fall_backs = self.fall_backs
        self.clear()
        self.fall_backs = fall_backs

    def _allocate(self, size: int) -> None:
        memory: NDArray[np.uint8] = self._device.host_array((size,), np.uint8)
        # Page-locked memory has the same address on both sides (unified addressing).
        self._address = (
            memory.ctypes.data if self._device.integrated else self._device.memory(size))
        self._memory = memory
        self._table = memory[:len(self._images) * JOB.itemsize].view(JOB)

    def _reserve(self, source: Source, rows: slice, columns: slice) -> Optional[_Placed]:
        """Return where a picture's planes go, None where there is no room."""
        planes = source.planes(rows, columns)
        direct = all(self._shared.holds(plane) for plane in planes)
        if direct and self._device.integrated:
            return _Placed(planes, (), [plane.ctypes.data for plane in planes],
                           [plane.strides[0] for plane in planes])
        pitches = [_aligned(plane.shape[1]) for plane in planes]
        sizes = [len(plane) * pitch for plane, pitch in zip(planes, pitches)]
        total = sum(sizes)
        if self._used + total > self._top:
            # For as many as this one.
            wanted = max(len(self._memory) - self._top + self._used + total,
                         self._jobs_bytes + self._pictures * total)
            self._wanted = max(self._wanted, min(self._most_bytes, wanted))
            return None
        if direct:
            self._top -= total
            start = self._top
        else:
            start, self._used = self._used, self._used + total
        starts = [start + sum(sizes[:number]) for number in range(len(sizes))]
        return _Placed(
            planes, () if direct else [
                self._memory[start:start + size].reshape(-1, pitch)
                for start, size, pitch in zip(starts, sizes, pitches)],
            [self._address + start for start in starts], pitches)


class _Placed:
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


def _gaps(places: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return the runs of the numbers below `count` that are not among the places, rising."""
    edges = [-1, *places, count]
    return [(before + 1, after) for before, after in zip(edges, edges[1:]) if after > before + 1]
