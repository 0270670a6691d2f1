"""
Work on a CUDA device: streams through pycuda, graphs through NVIDIA's cuda-bindings.

Both driver modules are handed in, so nothing is imported here before a device is opened.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
import re
from typing import Any, Callable, ContextManager, Iterator, Tuple, TYPE_CHECKING

import numpy as np

from resnet_trt_node.errors import BackendError, InferenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What the driver says of an error, to its name: pycuda hands out the sentence alone.
_NAMES = {
    'invalid argument': 'CUDA_ERROR_INVALID_VALUE',
    'out of memory': 'CUDA_ERROR_OUT_OF_MEMORY',
    'initialization error': 'CUDA_ERROR_NOT_INITIALIZED',
    'driver shutting down': 'CUDA_ERROR_DEINITIALIZED',
    'no CUDA-capable device is detected': 'CUDA_ERROR_NO_DEVICE',
    'invalid device ordinal': 'CUDA_ERROR_INVALID_DEVICE',
    'invalid device context': 'CUDA_ERROR_INVALID_CONTEXT',
    'invalid resource handle': 'CUDA_ERROR_INVALID_HANDLE',
    'context is destroyed': 'CUDA_ERROR_CONTEXT_IS_DESTROYED',
    'uncorrectable ECC error encountered': 'CUDA_ERROR_ECC_UNCORRECTABLE',
    'an illegal memory access was encountered': 'CUDA_ERROR_ILLEGAL_ADDRESS',
    'an illegal instruction was encountered': 'CUDA_ERROR_ILLEGAL_INSTRUCTION',
    'misaligned address': 'CUDA_ERROR_MISALIGNED_ADDRESS',
    'device-side assert triggered': 'CUDA_ERROR_ASSERT',
    'unspecified launch failure': 'CUDA_ERROR_LAUNCH_FAILED',
    'the launch timed out and was terminated': 'CUDA_ERROR_LAUNCH_TIMEOUT',
    'too many resources requested for launch': 'CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES',
    'unknown error': 'CUDA_ERROR_UNKNOWN',
}


def cuda_error_text(error: Exception) -> str:
    """Return a pycuda error's call and sentence, with the CUDA name of the error in front."""
    text = str(error)
    sentence = re.sub(r'^\w+ failed: ', '', text).split(' - ')[0]
    name = _NAMES.get(sentence)
    return f'{name} ({text})' if name else text


@contextmanager
def translated(driver: Any, kind: type[BackendError], doing: str) -> Iterator[None]:
    """
    Turn pycuda's errors within a `with` block into this package's.

    :param driver: pycuda's driver module.
    :param kind: what is raised instead.
    :param doing: what its text begins with.
    """
    try:
        yield
    except driver.Error as error:
        # From Python 3.12 on its traceback leads to a frame of contextlib that holds the error: a
        # cycle, in which the caller's objects on the device would wait for the garbage collector.
        raise kind(f'{doing}: {cuda_error_text(error)}') from error.with_traceback(None)


class CudaStream:
    """
    A queue of work on the device, with an event to wait for its end.

    :param driver: pycuda's driver module.
    :param blocking: sleep rather than spin while waiting.
    """

    def __init__(self, driver: Any, blocking: bool = False) -> None:
        self._driver = driver
        self._stream = driver.Stream()
        self._event: Any = None
        flags = driver.event_flags
        try:
            self._event = driver.Event(
                flags.DISABLE_TIMING | (flags.BLOCKING_SYNC if blocking else 0))
        except driver.Error:
            self.free()
            raise
        self.handle = int(self._stream.handle)

    def copy_in(self, address: int, source: NDArray[Any]) -> None:
        """Enqueue a copy of page-locked host memory to the device."""
        with self._errors('copying to the device'):
            self._driver.memcpy_htod_async(address, source, self._stream)

    def copy_rows(self, address: int, pitch: int, source: NDArray[Any]) -> None:
        """
        Enqueue a copy of rows of page-locked host memory to the device.

        :param address: of the first row there.
        :param pitch: bytes from one row to the next there.
        :param source: uint8 (rows, bytes), each row contiguous.
        """
        rows, width = source.shape
        # Flat, since the driver's module takes contiguous memory alone.
        flat = np.lib.stride_tricks.as_strided(
            source, ((rows - 1) * source.strides[0] + width,), (1,), writeable=False)
        with self._errors('copying to the device'):
            copy = self._driver.Memcpy2D()
            copy.set_src_host(flat)
            copy.src_pitch = source.strides[0]
            copy.set_dst_device(address)
            copy.dst_pitch = pitch
            copy.width_in_bytes, copy.height = width, rows
            copy(self._stream)

    def copy_out(self, target: NDArray[Any], address: int) -> None:
        """Enqueue a copy of device memory to page-locked host memory."""
        with self._errors('copying from the device'):
            self._driver.memcpy_dtoh_async(target, address, self._stream)

    def launch(
            self, function: Any, grid: Tuple[int, int, int], block: Tuple[int, int, int],
            *arguments: int) -> None:
        """Enqueue a kernel of `CudaDevice.function`."""
        with self._errors('launching a kernel'):
            function.prepared_async_call(grid, block, self._stream, *arguments)

    def mark(self) -> None:
        """Note the end of what is enqueued so far, for `wait`."""
        with self._errors('marking the stream'):
            self._event.record(self._stream)

    def wait(self) -> None:
        """
        Wait for the last `mark`; other Python threads run meanwhile.

        :raises InferenceError: if anything that was enqueued failed.
        """
        with self._errors('on the device'):
            self._event.synchronize()

    def drain(self) -> None:
        """
        Wait for everything that is enqueued.

        :raises InferenceError: if any of it failed.
        """
        with self._errors('on the device'):
            self._stream.synchronize()

    def free(self) -> None:
        """Destroy the stream and its event; pycuda does so when their last name goes."""
        self._event = self._stream = None

    def _errors(self, doing: str) -> ContextManager[None]:
        return translated(self._driver, InferenceError, doing)


class CudaGraph:
    """
    Work that was recorded once from a stream and is launched as a whole.

    :param driver: NVIDIA's cuda-bindings, see `cuda.load_graph_driver`.
    :param stream: where to record and to launch.
    :param enqueue: enqueues the work; it must have run once before, so that it allocates nothing.
    :raises InferenceError: if the work cannot be recorded; the stream is usable again then.
    """

    def __init__(self, driver: Any, stream: CudaStream, enqueue: Callable[[], None]) -> None:
        self._driver = driver
        self._stream = driver.CUstream(stream.handle)
        self._executable: Any = None
        # Thread-local: what other threads do with CUDA meanwhile is no business of this one.
        self._call('cuStreamBeginCapture', self._stream,
                   driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        try:
            enqueue()
        except BaseException:
            # Ends the recording; its own error would hide the first one.
            with suppress(InferenceError):
                self._call('cuGraphDestroy', self._call('cuStreamEndCapture', self._stream))
            raise
        graph = self._call('cuStreamEndCapture', self._stream)
        try:
            # In cuda-bindings 11 the short name is a call with other arguments.
            self._executable = self._call(
                'cuGraphInstantiateWithFlags' if hasattr(driver, 'cuGraphInstantiateWithFlags')
                else 'cuGraphInstantiate', graph, 0)
        finally:
            self._call('cuGraphDestroy', graph)

    def launch(self) -> None:
        """
        Enqueue the recorded work on its stream.

        :raises InferenceError: if the driver refuses.
        """
        self._call('cuGraphLaunch', self._executable, self._stream)

    def free(self) -> None:
        """Destroy the recording; calling it again does nothing."""
        executable, self._executable = self._executable, None
        if executable is not None:
            self._driver.cuGraphExecDestroy(executable)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            error, *results = getattr(self._driver, name)(*arguments)
        except RuntimeError as missing:
            # How cuda-bindings says that the driver has no such function, or is not there.
            raise InferenceError(f'{name}: {missing}') from missing
        if error:
            raise InferenceError(f'{name}: {error.name}')
        return results[0] if results else None
