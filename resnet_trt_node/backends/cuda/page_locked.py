"""Page-locked host memory that any thread may have and fill, such as one that receives."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING
import weakref

import numpy as np

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.errors import BackendError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PageLockedMemory:
    """
    Memory from which the device copies by itself, at the speed of the bus.

    :param device: open; from when it is closed on there is no more memory, and what was given
        stays valid.
    """

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        # First address to end of what is in use.
        self._ends: dict[int, int] = {}

    def allocate(self, size: int) -> NDArray[np.uint8]:
        """
        Return memory, on any thread.

        :param size: in bytes.
        :returns: uint8 (size,), which is freed with its last view.
        :raises MemoryError: if there is none, or the device is closed.
        """
        try:
            memory = self._device.shared_host_array(size)
        except BackendError as error:
            raise MemoryError(str(error)) from error
        start = _address(memory)
        self._ends[start] = start + size
        weakref.finalize(memory, self._ends.pop, start, None).atexit = False
        return memory

    def holds(self, view: NDArray[Any]) -> bool:
        """Tell whether an array begins in such memory; it then lies in it as a whole."""
        address = _address(view)
        # A copy: other threads allocate and free meanwhile.
        return any(start <= address < end for start, end in tuple(self._ends.items()))


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__['data'][0])
