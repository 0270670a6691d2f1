"""Batch buffers of the backends that compute on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.options import BackendOptions
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import BackendError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bytes; compiled code reads its arguments in vectors from addresses that it takes for aligned.
_ALIGNMENT = 64


def host_buffers(spec: ModelSpec, options: BackendOptions) -> list[NDArray[np.uint8]]:
    """
    Allocate batch buffers in ordinary memory.

    :returns: `num_buffers` arrays, uint8 (max_batch_size, H, W, 3), zeroed; the caller's own.
        Each begins at a multiple of the alignment.
    :raises BackendError: if there is not so much memory.
    """
    shape = (options.max_batch_size, spec.height, spec.width, 3)
    size = options.max_batch_size * spec.frame_bytes
    buffers = []
    try:
        for _ in range(options.num_buffers):
            memory = np.zeros(size + _ALIGNMENT, np.uint8)
            start = -memory.ctypes.data % _ALIGNMENT
            buffers.append(memory[start:start + size].reshape(shape))
    except MemoryError as error:
        raise BackendError(
            f'no memory for {options.num_buffers * size / 2**20:.0f} MiB of batch buffers: lower '
            'max_batch_size') from error
    return buffers
