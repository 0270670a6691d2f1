"""
Work on a CUDA device: streams through pycuda, graphs through NVIDIA's cuda-bindings.

Both driver modules are handed in, so nothing is imported here before a device is opened.
"""

from __future__ import annotations

from contextlib import suppress
import re
from typing import Any, Callable, TYPE_CHECKING

from resnet_trt_node.errors import InferenceError

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


class CudaStream:
    """
    A queue of work on the device, with an event to wait for its end.

    :param driver: pycuda's driver module.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._stream = driver.Stream()
        self._spin: Any = None
        self._sleep: Any = None
        try:
            flags = driver.event_flags
            self._spin = driver.Event(flags.DISABLE_TIMING)
            self._sleep = driver.Event(flags.DISABLE_TIMING | flags.BLOCKING_SYNC)
        except driver.Error:
            self.free()
            raise
        self.handle = int(self._stream.handle)

    def copy_in(self, address: int, source: NDArray[Any]) -> None:
        """Enqueue a copy of page-locked host memory to the device."""
        try:
            self._driver.memcpy_htod_async(address, source, self._stream)
        except self._driver.Error as error:
            raise InferenceError(f'copying to the device: {cuda_error_text(error)}') from error

    def copy_out(self, target: NDArray[Any], address: int) -> None:
        """Enqueue a copy of device memory to page-locked host memory."""
        try:
            self._driver.memcpy_dtoh_async(target, address, self._stream)
        except self._driver.Error as error:
            raise InferenceError(f'copying from the device: {cuda_error_text(error)}') from error

    def mark(self, blocking: bool) -> None:
        """Note the end of what is enqueued so far, for `wait`."""
        try:
            (self._sleep if blocking else self._spin).record(self._stream)
        except self._driver.Error as error:
            raise InferenceError(f'marking the stream: {cuda_error_text(error)}') from error

    def wait(self, blocking: bool) -> None:
        """
        Wait for the last `mark` of the same kind; other Python threads run meanwhile.

        :param blocking: sleep rather than spin.
        :raises InferenceError: if anything that was enqueued failed.
        """
        try:
            (self._sleep if blocking else self._spin).synchronize()
        except self._driver.Error as error:
            raise InferenceError(f'on the device: {cuda_error_text(error)}') from error

    def drain(self) -> None:
        """
        Wait for everything that is enqueued.

        :raises InferenceError: if any of it failed.
        """
        try:
            self._stream.synchronize()
        except self._driver.Error as error:
            raise InferenceError(f'on the device: {cuda_error_text(error)}') from error

    def free(self) -> None:
        """Destroy the stream and its events; pycuda does so when their last name goes."""
        self._spin = self._sleep = self._stream = None


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
