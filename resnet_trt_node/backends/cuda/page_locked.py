"""Page-locked host memory that any thread may have and fill, such as one that receives."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TYPE_CHECKING
import weakref

import numpy as np

from resnet_trt_node.backends.cuda.device import primary_context
from resnet_trt_node.errors import BackendError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# By device: a backend that is opened again knows the memory that was given before.
_of_device: dict[int, PageLockedMemory] = {}


def page_locked_memory(index: int) -> PageLockedMemory:
    """
    Return the memory of a device, the same for the whole process.

    :param index: of an open device.
    """
    return _of_device.setdefault(index, PageLockedMemory(index))


class PageLockedMemory:
    """
    Memory from which a device copies by itself, at the speed of the bus.

    :param index: of the device, which was opened once; its context lasts as long as the process.
    """

    def __init__(self, index: int) -> None:
        self._index = index
        # First address to end of what is in use.
        self._ends: dict[int, int] = {}

    def allocate(self, size: int) -> NDArray[np.uint8]:
        """
        Return memory, on any thread.

        :param size: in bytes.
        :returns: uint8 (size,), which is freed with its last view.
        :raises MemoryError: if there is none.
        """
        try:
            with primary_context(self._index) as driver:
                memory: NDArray[np.uint8] = driver.pagelocked_zeros((size,), np.uint8)
        except BackendError as error:
            raise MemoryError(str(error)) from error
        start = _address(memory)
        self._ends[start] = start + size
        # Left to itself, pycuda does not free it on another thread than that of its context.
        weakref.finalize(memory, self._free, start, memory.base).atexit = False
        return memory

    def holds(self, view: NDArray[Any]) -> bool:
        """Tell whether an array begins in such memory; it then lies in it as a whole."""
        address = _address(view)
        # A copy, made in one go: other threads allocate and free meanwhile.
        return any(start <= address < end for start, end in self._ends.copy().items())

    def _free(self, start: int, allocation: Any) -> None:
        """Free memory, on whatever thread its last view went."""
        self._ends.pop(start, None)
        # Of a context that is lost nothing can be freed, and nobody can do anything about it.
        with suppress(BackendError), primary_context(self._index):
            allocation.free()


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__['data'][0])
