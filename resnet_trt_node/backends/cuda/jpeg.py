"""
Jpegs decoded on the device, by NVIDIA's nvImageCodec on nvJPEG.

Importing this touches no device and needs no nvImageCodec. Every call belongs to the thread that
has the device's primary context current, see `CudaDevice`.
"""

from __future__ import annotations

from dataclasses import dataclass
import os
from typing import Any, Callable, Optional, Sequence, Union
import weakref

import cv2
import numpy as np

from resnet_trt_node.backends.cuda.device import load_driver
from resnet_trt_node.backends.cuda.stream import cuda_error_text
from resnet_trt_node.backends.options import discard
from resnet_trt_node.closing import Closing
from resnet_trt_node.errors import BackendUnavailable, UsageError
from resnet_trt_node.imaging.compressed.picture_header import PictureHeader
from resnet_trt_node.imaging.frame import view_bytes
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.imaging.on_device.jpeg_selection import select_for_device

#: Device memory for decoded pictures: 40 of 4K.
MAX_DEVICE_BYTES = 2**30
#: Who may decode, best first: the GPU's own jpeg engines where it has some, its cores, and its
#: cores with Huffman decoding on the CPU, which nvJPEG does for small and progressive pictures.
#: nvImageCodec's decoders on the CPU are left out, ours gives the errors that users know.
ENGINES = ('HW_GPU_ONLY', 'GPU_ONLY', 'HYBRID_CPU_GPU')
#: Threads of nvImageCodec at most: a batch seldom holds more jpegs, and each has its own buffers.
_MAX_THREADS = 4
_INSTALL = ('pip install "nvidia-nvimgcodec-cu12[nvjpeg]"; with CUDA 13 it is -cu13, on a Jetson '
            '-tegra-cu12')
#: What nvImageCodec raises.
_ERRORS = (RuntimeError, ValueError, MemoryError)


@dataclass(frozen=True, eq=False)
class DecodedOnDevice:
    """
    A picture in device memory, used again when this object is gone, freed with the decoder.

    Its pixels are there for work that is enqueued on the stream of its decoding while it lives;
    what was enqueued may run later: the next picture is written behind it on the same stream, or
    when that was waited for.

    :param address: of the first pixel, on the device.
    :param pitch: bytes from row to row, at least 3 a pixel.
    :param height: rows.
    :param width: pixels a row: uint8, RGB interleaved, 0 to 255.
    """

    address: int
    pitch: int
    height: int
    width: int


@dataclass(eq=False)
class _Memory:
    """
    Memory on the device for one picture at a time.

    :param allocation: pycuda's, which frees it.
    :param address: of its first byte.
    :param size: of it in bytes.
    :param stream: handle of the stream that its use is ordered on; None where that was waited for.
    :param user: who has it; gone when it may be used again.
    """

    allocation: Any
    address: int
    size: int
    stream: Optional[int]
    user: Optional[weakref.ReferenceType[DecodedOnDevice]] = None

    @property
    def idle(self) -> bool:
        """Return whether it may be used again."""
        return self.user is None or self.user() is None


@dataclass(frozen=True)
class _Pixels:
    """A picture in such memory, as nvImageCodec wants it described."""

    address: int
    height: int
    width: int

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {'shape': (self.height, self.width, 3), 'strides': None, 'typestr': '|u1',
                'data': (self.address, False), 'version': 3}


class JpegDecoder(Closing):
    """
    Decodes jpegs in the order of a stream, into memory of its own, which it uses again.

    :param device: which device, from 0; its primary context is current in this thread.
    :param stream: handle of the CUDA stream that decoding is ordered on, unless a call names
        another.
    :param max_bytes: memory that decoding one picture may take, as for `decode_compressed`.
    :param max_device_bytes: that all decoded pictures together may take on the device. Buffers of
        nvJPEG come on top: for each thread about as much as its largest picture.
    :param buffers: batches whose pictures are on the device at once.
    :param apply_orientation: leave pictures to the CPU that EXIF says are turned, as in files.
    :param engines: who may decode, in this order, of `ENGINES`.
    :param threads: of nvImageCodec, 0 for as many as there are cores, four at most; 1 decodes in
        the calling thread.
    :param options: further options of nvImageCodec, such as
        'nvjpeg_cuda_decoder:hybrid_huffman_threshold=0'.
    :param log: takes an error while closing.
    :raises BackendUnavailable: if nvImageCodec or nvJPEG is missing, or too old, or if it cannot
        decode a small picture on this device.
    """

    def __init__(
            self, device: int, stream: int, *, max_bytes: int = MAX_IMAGE_BYTES,
            max_device_bytes: int = MAX_DEVICE_BYTES, buffers: int = 1,
            apply_orientation: bool = False, engines: Sequence[str] = ENGINES, threads: int = 0,
            options: str = '', log: Callable[[str], None] = discard) -> None:
        codec = load_nvimgcodec()
        threads = threads or min(_MAX_THREADS, max(1, (os.cpu_count() or 2) - 1))
        self._codec = codec
        self._stream = stream
        self._max_bytes = max_bytes
        self._max_device_bytes = max_device_bytes
        #: What the pictures of one batch may take, for all of them to find room.
        self.buffer_bytes = max_device_bytes // buffers
        self._apply_orientation = apply_orientation
        self._log = log
        self._memory: list[_Memory] = []
        self._driver = load_driver()
        self._decoder: Any = None
        try:
            self._params = codec.DecodeParams(
                apply_exif_orientation=False, color_spec=codec.ColorSpec.SRGB)
            self._decoder = codec.Decoder(
                device_id=device,
                max_num_cpu_threads=threads,
                backends=[
                    codec.Backend(getattr(codec.BackendKind, engine)) for engine in engines],
                # Chroma is enlarged as libjpeg does it; the versions differ in their default.
                options=f':fancy_upsampling=1 {options}'.strip())
        except _ERRORS as error:
            raise BackendUnavailable(
                f'nvimgcodec cannot decode on GPU {device}: {error}') from error
        # Without nvJPEG's library it opens and decodes nothing.
        small = _small_jpeg()
        tried, = self.decode_selected([small], [select_for_device(small, MAX_IMAGE_BYTES)])
        if isinstance(tried, str):
            self.close()
            raise BackendUnavailable(
                f'nvimgcodec {codec.__version__} decodes no jpeg on GPU {device} ({tried}); is '
                f'nvJPEG missing? {_INSTALL}')

    @property
    def device_bytes(self) -> int:
        """Return the memory for decoded pictures, in use and for later."""
        return sum(memory.size for memory in self._memory)

    def select(self, picture: Any) -> Union[PictureHeader, str]:
        """Return a picture's header, or why the CPU decodes it; any thread may call this."""
        return select_for_device(picture, self._max_bytes, self._apply_orientation)

    def decode(
            self, pictures: Sequence[Any],
            stream: Optional[int] = None) -> list[Union[DecodedOnDevice, str]]:
        """Decode pictures, each after `select`; everything else as for `decode_selected`."""
        return self.decode_selected(
            pictures, [self.select(picture) for picture in pictures], stream)

    def decode_selected(
            self, pictures: Sequence[Any], selected: Sequence[Union[PictureHeader, str]],
            stream: Optional[int] = None) -> list[Union[DecodedOnDevice, str]]:
        """
        Decode pictures; the device may still be at it when this returns.

        Work that is enqueued on the stream afterwards sees the pixels. Pageable memory may be
        written again as soon as this returns, page-locked memory when the stream got past it.

        :param pictures: the bytes of one picture each, in objects with the buffer protocol.
        :param selected: what `select` returned for each of them.
        :param stream: handle of the stream, None for the decoder's.
        :returns: for each picture, in order, where it is, or in words why the CPU is to decode or
            refuse it. A broken picture leaves the others alone.
        :raises UsageError: if the decoder is closed.
        """
        if self._decoder is None:
            raise UsageError('the jpeg decoder is closed')
        stream = self._stream if stream is None else stream
        results: list[Union[DecodedOnDevice, str]] = ['' for _ in pictures]
        taken: list[tuple[int, _Memory, Any, Any]] = []
        idle = sorted((memory for memory in self._memory if memory.idle),
                      key=lambda memory: memory.size)
        for place, (picture, header) in enumerate(zip(pictures, selected)):
            if isinstance(header, str):
                results[place] = header
                continue
            memory = self._find_memory(idle, 3 * header.width * header.height, stream)
            if isinstance(memory, str):
                results[place] = memory
                continue
            try:
                source = self._codec.CodeStream(view_bytes(picture, 'jpeg'))
                image = self._codec.as_image(
                    _Pixels(memory.address, header.height, header.width), stream)
            except _ERRORS as error:
                results[place] = f'nvimgcodec cannot take it: {error}'
                continue
            taken.append((place, memory, source, image))
        for (place, memory, *_), image in zip(taken, self._run(taken, stream)):
            results[place] = self._check(selected[place], memory, image)
        return results

    def waited_for(self, stream: int) -> None:
        """
        Let the memory of a stream's pictures serve other streams once they are gone.

        :param stream: its handle; all work with its pictures has ended, and none will follow.
        """
        for memory in self._memory:
            if memory.stream == stream:
                memory.stream = None

    def _find_memory(
            self, idle: list[_Memory], size: int, stream: int) -> Union[_Memory, str]:
        """
        Return memory for a picture, or why there is none.

        :param idle: what may be used, the smallest first; what is returned or freed is taken out.
        :param size: of the picture in bytes.
        :param stream: handle of the stream that it is decoded on.
        """
        # That of another stream may have work before it which this one does not wait for.
        mine = [memory for memory in idle if memory.stream in (stream, None)]
        fits = next((memory for memory in mine if memory.size >= size), None)
        if fits is not None:
            idle.remove(fits)
            fits.stream = stream
            return fits
        if mine:
            # Of two sizes in turn the larger one is kept; a third would only pile up.
            self._free(mine[-1])
            idle.remove(mine[-1])
        while idle and self.device_bytes + size > self._max_device_bytes:
            self._free(idle.pop())
        if self.device_bytes + size > self._max_device_bytes:
            return (f'decoded pictures may take {self._max_device_bytes / 2**20:.0f} MiB on the '
                    'GPU, which is used up')
        try:
            allocation = self._driver.mem_alloc(size)
        except self._driver.Error as error:
            return f'the GPU has no memory for it: {cuda_error_text(error)}'
        memory = _Memory(allocation, int(allocation), size, stream)
        self._memory.append(memory)
        return memory

    def _run(self, taken: list[tuple[int, _Memory, Any, Any]], stream: int) -> list[Any]:
        """Return of each source the image, or in words why there is none."""
        if not taken:
            return []
        _, _, sources, images = (list(column) for column in zip(*taken))
        try:
            decoded = self._decoder.decode(
                sources, images=images, params=self._params, cuda_stream=stream)
        except _ERRORS as error:
            return [f'nvimgcodec failed: {error}'] * len(sources)
        return ['nvJPEG cannot decode it' if image is None else image for image in decoded]

    @staticmethod
    def _check(header: Any, memory: _Memory, image: Any) -> Union[DecodedOnDevice, str]:
        """Return what was decoded into some memory, and note that it is in use."""
        if isinstance(image, str):
            return image
        if tuple(image.shape) != (header.height, header.width, 3):
            return f'nvimgcodec takes it for {tuple(image.shape)}, its header says {header}'
        decoded = DecodedOnDevice(
            memory.address, int(image.strides[0]), header.height, header.width)
        memory.user = weakref.ref(decoded)
        return decoded

    def _free(self, memory: _Memory) -> None:
        """Free memory, which waits for the device."""
        self._memory.remove(memory)
        try:
            memory.allocation.free()
        except self._driver.Error as error:
            self._log(f'could not free the memory of a picture: {cuda_error_text(error)}')

    def close(self) -> None:
        """Wait for the device and free everything; pictures that are in use are gone with it."""
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            try:
                decoder.__exit__(None, None, None)
            except _ERRORS as error:
                self._log(f'could not close the jpeg decoder: {error}')
        while self._memory:
            self._free(self._memory[-1])


def load_nvimgcodec() -> Any:
    """
    Import nvImageCodec, which loads libraries of CUDA and writes of missing ones to stderr.

    :raises BackendUnavailable: if it is missing or older than 0.7, which takes no memory of ours.
    """
    # It would write two lines for each broken frame; we say what it leaves to the CPU.
    os.environ.setdefault('PYNVIMGCODEC_VERBOSITY', '0')
    try:
        from nvidia import nvimgcodec
    except ImportError as error:
        raise BackendUnavailable(
            f'nvimgcodec cannot be imported ({error}): {_INSTALL}') from error
    if not hasattr(nvimgcodec.Image, 'capacity'):
        raise BackendUnavailable(
            f'nvimgcodec {nvimgcodec.__version__} is too old, 0.7 is needed: {_INSTALL}')
    return nvimgcodec


def _small_jpeg() -> bytes:
    _, encoded = cv2.imencode('.jpg', np.full((64, 64, 3), 128, np.uint8))
    return encoded.tobytes()
