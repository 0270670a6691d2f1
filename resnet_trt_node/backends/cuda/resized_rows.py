"""Rows of a batch buffer that the GPU resizes from pixels in page-locked memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Lock
from typing import Callable, ContextManager, Optional, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.cuda.kernel import Kernel
from resnet_trt_node.backends.cuda.picture_memory import PictureMemory, Room
from resnet_trt_node.backends.cuda.stream import CudaStream
from resnet_trt_node.errors import without_traceback
from resnet_trt_node.imaging.on_device.encoded import exceeds
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
#: Jpegs that the CPU decodes at once: each may take as much memory as a frame may.
_MOST_ON_CPU = 4


class ResizedRows:
    """
    See `DeviceRows`.

    All pictures of a batch are resized by one launch; the jobs lie in front of them, see
    `PictureMemory`.

    :param device: owned by the calling thread.
    :param kernel: compiled from `KERNEL`.
    :param images: uint8 (batch, H, W, 3), page-locked: the rows that a caller writes.
    :param target: address of device memory of that size.
    :param shared: page-locked memory in which messages may lie.
    :param log: takes a line where there is no memory for larger pictures, and one about the first
        jpeg that only the CPU decodes.
    :param decoder: decodes jpegs on the device, None for none; stays the caller's.
    :param room: shared by the buffers of a backend, None for one alone.
    :raises BackendError: if there is not enough memory.
    """

    def __init__(
            self, device: CudaDevice, kernel: Kernel, images: NDArray[np.uint8],
            target: int, shared: PageLockedMemory, log: Callable[[str], None],
            decoder: Optional[JpegDecoder] = None, room: Optional[Room] = None) -> None:
        self._kernel = kernel
        self._images = images
        self._target = target
        self._lock = Lock()
        self._memory = PictureMemory(
            device, len(images) * JOB.itemsize, len(images), shared, log, room or Room())
        self._frame_bytes = images[0].nbytes
        self._tiles = tuple(-(-side // threads) for side, threads in zip(
            images.shape[2:0:-1], _BLOCK))
        self._log = log
        self._decoder = decoder
        self._said_fall_back = False
        #: See `DeviceRows`.
        self.on_cpu: Callable[[], ContextManager[None]] = nullcontext
        # Pictures that the device reads; their memory may be used again when they are gone.
        self._decoded: list[DecodedOnDevice] = []
        # Handle of the stream that they are decoded on, until it was waited for.
        self._decoding: Optional[int] = None
        self.clear()

    def clear(self) -> None:
        """Forget what was put."""
        #: Rows that the CPU decoded instead, once they were submitted: None, or why it could not.
        self.fall_backs: dict[int, Optional[Exception]] = {}
        # Row to the number of its job, in the table at the begin of the memory.
        self._numbers: dict[int, int] = {}
        self._count = 0
        # Numbers of jobs that became of no use.
        self._unused: list[int] = []
        self._encoded: dict[int, tuple[EncodedPicture, _Write]] = {}
        self._memory.clear()
        self._table = self._memory.host[:len(self._images) * JOB.itemsize].view(JOB)

    def put(self, place: int, source: Source, grid: Grid, rows: slice, columns: slice) -> bool:
        """Have the device write a row; see `DeviceRows`."""
        with self._lock:
            placed = self._memory.place(source, rows, columns)
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

    @property
    def is_full(self) -> bool:
        """Tell whether another picture may find no room; see `DeviceRows`."""
        return self._decoder is not None and exceeds(
            [picture for picture, _ in self._encoded.values()], self._decoder.buffer_bytes)

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
        self._memory.let_go()
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
        self._memory.copy(stream)
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
        # Of an attempt that failed: what replaces them is written behind it on this stream.
        self._decoded.clear()
        self._decoding = stream.handle
        results = dict(zip(map(id, pictures), self._decoder.decode_selected(
            [picture.data for picture in pictures], [picture.header for picture in pictures],
            stream.handle)))
        refused: dict[int, _Write] = {}
        for place, (picture, fall_back) in encoded.items():
            result = results[id(picture)]
            if isinstance(result, str):
                self._say_fall_back(result)
                refused[place] = fall_back
            else:
                self._decoded.append(result)
                write_rgb(self._table[self._numbers[place]], result.address, result.pitch,
                          result.height, result.width)
        if refused:
            self._decode_on_cpu(refused)

    def _say_fall_back(self, reason: str) -> None:
        if not self._said_fall_back:
            self._said_fall_back = True
            self._log(f'the CPU decodes a jpeg that the GPU does not: {reason}')

    def _decode_on_cpu(self, refused: dict[int, _Write]) -> None:
        """Have rows written by the CPU, several at once: decoding and resizing hold no GIL."""
        for place in refused:
            self.forget(place)
        # Threads take far less to start than a picture takes, and pictures are seldom refused.
        with self.on_cpu(), ThreadPoolExecutor(
                min(_MOST_ON_CPU, len(refused)), 'fall_back') as threads:
            self.fall_backs.update(zip(
                refused, threads.map(self._write_on_cpu, refused, refused.values())))

    def _write_on_cpu(self, place: int, write: _Write) -> Optional[Exception]:
        """Write a row; return why that cannot be done, None if it was."""
        try:
            write(self._images[place])
        except Exception as error:  # noqa: B902
            self._images[place] = 0
            return without_traceback(error)
        return None

    def warm_up(self, stream: CudaStream) -> None:
        """
        Launch the kernel once, for no row: the driver loads it then, not for the first frame.

        :raises InferenceError: if the driver refuses.
        """
        self._table['row'][0] = -1
        self._memory.copy_head(stream)
        self._launch(stream, 1)
        stream.drain()

    def _launch(self, stream: CudaStream, count: int) -> None:
        self._kernel.launch(
            (*self._tiles, count), _BLOCK, stream, self._memory.address, self._target,
            *self._images.shape[1:3])

    def finish(self) -> None:
        """
        Let go of messages and decoded pictures, and make room for what found none.

        See `PictureMemory.finish`: the stream was waited for, and nothing is enqueued again before
        `clear`.
        """
        # Their jobs are complete.
        self._encoded.clear()
        self._decoded.clear()
        if self._decoding is not None and self._decoder is not None:
            self._decoder.waited_for(self._decoding)
            self._decoding = None
        if self._memory.finish():
            fall_backs = self.fall_backs
            self.clear()
            self.fall_backs = fall_backs


def _gaps(places: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return the runs of the numbers below `count` that are not among the places, rising."""
    edges = [-1, *places, count]
    return [(before + 1, after) for before, after in zip(edges, edges[1:]) if after > before + 1]
