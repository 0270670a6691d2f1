"""
One CUDA device for one thread: its context and memory, through pycuda.

Importing this touches no device. Opening a `CudaDevice` makes the device's primary context
current in the calling thread, which from then on is the only one that may use it; closing frees
what was allocated through it, in reverse order, and takes the context away again.
"""

from __future__ import annotations

import atexit
from contextlib import contextmanager
import threading
from typing import Any, Callable, ContextManager, Iterator, Tuple, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.cuda.stream import cuda_error_text, CudaStream, translated
from resnet_trt_node.backends.options import discard
from resnet_trt_node.closing import Closing
from resnet_trt_node.errors import (
    BackendError, BackendUnavailable, DeviceLost, InferenceError, UsageError)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# TensorRT's own CUDA runtime keeps the primary context until the process ends, and pycuda cannot
# release one without leaving it on the thread's stack; so each device's is retained once.
_primary_contexts: dict[int, Any] = {}
_primary_lock = threading.Lock()
# The indices of the devices that each thread has open: one, as often as it is open.
_of_thread = threading.local()


def load_driver() -> Any:
    """
    Import pycuda's driver module, which loads the CUDA driver library.

    :raises BackendUnavailable: if pycuda or the driver is missing.
    """
    try:
        from pycuda import driver
    except ImportError as error:
        if 'libcuda' in str(error):
            raise BackendUnavailable(
                f'there is no NVIDIA driver ({error}): install one, or start the container with '
                'the GPU') from error
        raise BackendUnavailable(
            f'pycuda cannot be imported ({error}): pip install pycuda') from error
    return driver


def load_graph_driver() -> Any:
    """Return NVIDIA's cuda-bindings, which pycuda's lack of CUDA graphs needs, None if missing."""
    try:
        from cuda.bindings import driver
    except ImportError:
        return None
    return driver


@contextmanager
def primary_context(index: int) -> Iterator[Any]:
    """
    Have a device's context current on the calling thread, whichever that is.

    :param index: of a device that was opened once in this process.
    :returns: pycuda's driver module.
    :raises BackendError: for errors of the driver within the block.
    """
    driver, context = load_driver(), _primary_contexts[index]
    with translated(driver, BackendError, 'page-locked host memory'):
        context.push()
        try:
            yield driver
        finally:
            context.pop()


class CudaDevice(Closing):
    """
    The device as one thread sees it.

    :param index: which device, from 0.
    :param log: takes errors while closing.
    :raises BackendUnavailable: if there is no driver or no such device.
    :raises DeviceLost: if the device's context is lost to an earlier error.
    :raises BackendError: if the driver gives no context.
    """

    def __init__(self, index: int, log: Callable[[str], None] = discard) -> None:
        self._driver = load_driver()
        self._log = log
        #: What `close` frees, last first; empty means that the device is closed.
        self._frees: list[Tuple[str, Callable[[], object]]] = []
        #: Which it is, from 0.
        self.index = index
        self._thread = threading.get_ident()
        # Address to size, and what frees it.
        self._allocations: dict[int, Tuple[int, Callable[[], object]]] = {}
        #: Device memory that was allocated through this object.
        self.allocated_bytes = 0
        device = self._find(index)
        opened: list[int] = _of_thread.__dict__.setdefault('opened', [])
        if opened and opened[0] != index:
            raise UsageError(
                f'this thread already uses GPU {opened[0]}: '
                f'use GPU {index} in a thread of its own')
        self.name: str = device.name()
        major, minor = device.compute_capability()
        self.compute_capability = f'{major}.{minor}'
        #: Streaming multiprocessors: boards of one name differ in them, as Jetsons do.
        self.multiprocessors: int = device.get_attribute(
            self._driver.device_attribute.MULTIPROCESSOR_COUNT)
        #: Whether it computes in the host's memory, as a Jetson does: nothing needs to be copied.
        self.integrated = bool(device.get_attribute(self._driver.device_attribute.INTEGRATED))
        with self._errors(BackendError, f'cannot use {self.name}'):
            with _primary_lock:
                if index not in _primary_contexts:
                    if not _primary_contexts:
                        # Before the interpreter takes pycuda apart.
                        atexit.register(_primary_contexts.clear)
                    _primary_contexts[index] = device.retain_primary_context()
            context = _primary_contexts[index]
            context.push()
        opened.append(index)
        self._frees += [('the thread', opened.pop), ('the CUDA context', context.pop)]
        try:
            # An illegal access by anyone in this process poisons the context for good.
            context.synchronize()
        except self._driver.Error as error:
            self.close()
            raise DeviceLost(
                f'the CUDA context of {self.name} is lost: {cuda_error_text(error)}; '
                'restart the process, only a new one gets another context') from error

    def _find(self, index: int) -> Any:
        with self._errors(BackendUnavailable, 'the CUDA driver cannot be used'):
            self._driver.init()
            count = self._driver.Device.count()
        if count == 0:
            raise BackendUnavailable('the CUDA driver finds no GPU: look at nvidia-smi')
        if index >= count:
            raise UsageError(f'device is {index}: there are {count} GPUs, 0 to {count - 1}')
        return self._driver.Device(index)

    def _errors(self, kind: type[BackendError], doing: str) -> ContextManager[None]:
        return translated(self._driver, kind, doing)

    @property
    def driver_cuda(self) -> str:
        """Return the CUDA version that the driver is of, such as '12.4'."""
        version: int = self._driver.get_driver_version()
        return f'{version // 1000}.{version % 1000 // 10}'

    def memory_bytes(self) -> Tuple[int, int]:
        """Return free and total bytes of the device's memory, counting every process."""
        with self._errors(InferenceError, 'cannot ask for the memory in use'):
            free, total = self._driver.mem_get_info()
        return int(free), int(total)

    def host_array(self, shape: Tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """
        Allocate page-locked host memory, which the device copies from and to by itself.

        :returns: zeros; the memory lives as long as views of it, and is freed on `close` if
            there are none.
        :raises BackendError: if there is no memory.
        """
        with self._errors(BackendError, f'cannot page-lock host memory for {shape}'):
            array: NDArray[Any] = self._driver.pagelocked_zeros(shape, dtype)
        return array

    def memory(self, size: int) -> int:
        """
        Allocate device memory, freed on `close`.

        :param size: in bytes.
        :returns: its address, aligned to 256 bytes.
        :raises BackendError: if there is not enough.
        """
        with self._errors(BackendError, f'cannot allocate {size / 2**20:.1f} MiB on {self.name}'):
            allocation = self._driver.mem_alloc(max(size, 1))
        address = int(allocation)
        self._allocations[address] = size, allocation.free
        self._frees.append(('device memory', lambda: self._free(address)))
        self.allocated_bytes += size
        return address

    def free(self, address: int) -> None:
        """
        Free device memory before `close` does.

        :param address: what `memory` returned; nothing that uses it is enqueued any more.
        """
        with self._errors(InferenceError, 'cannot free device memory'):
            self._free(address)

    def _free(self, address: int) -> None:
        if address in self._allocations:
            size, free = self._allocations.pop(address)
            self.allocated_bytes -= size
            free()

    def function(self, binary: bytes, name: str, arguments: str) -> Any:
        """
        Load a compiled kernel; it lives as long as the context.

        :param binary: a cubin for this device.
        :param name: the kernel's.
        :param arguments: their types as `struct` names them, 'P' for an address.
        :raises BackendError: if the driver refuses.
        """
        with self._errors(BackendError, f'cannot load the kernel {name}'):
            function = self._driver.module_from_buffer(binary).get_function(name)
            function.prepare(arguments)
        return function

    def stream(self, blocking: bool = False) -> CudaStream:
        """Return a new stream, see `CudaStream`; it is destroyed on `close`."""
        with self._errors(BackendError, 'cannot make a stream'):
            stream = CudaStream(self._driver, blocking)
        self._frees.append(('stream', stream.free))
        return stream

    def close(self) -> None:
        """Free everything and take the context from this thread; errors are only logged."""
        if self._frees and threading.get_ident() != self._thread:
            # Its context is not current here, so every free would fail or hit another one.
            self._log('a CUDA device was closed by another thread than opened it; '
                      'what it held is freed when the process ends')
            return
        while self._frees:
            what, free = self._frees.pop()
            try:
                free()
            except self._driver.Error as error:
                # After an illegal access every free fails alike, and the caller is on its way
                # out with the first error already.
                self._log(f'could not free {what}: {cuda_error_text(error)}')
        self.allocated_bytes = 0
