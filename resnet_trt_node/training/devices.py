"""Devices that PyTorch trains on, and what is particular to them."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import Any, ContextManager, Iterator, Optional

from resnet_trt_node.errors import BackendError, UsageError
import torch

#: What allocators other than PyTorch's own say.
_NO_MEMORY = ('alloc_failed', "can't allocate memory", 'out of memory', 'not enough memory')


def pick_device(name: str) -> torch.device:
    """
    Return a device by its option.

    :param name: 'auto' takes the GPU if there is one; 'cuda', 'cuda:1', 'cpu'.
    :raises UsageError: if it is not there.
    """
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device: Optional[torch.device] = torch.device(name)
    except RuntimeError:
        device = None
    # PyTorch knows many more, such as one that only counts shapes.
    if device is None or device.type not in ('cuda', 'cpu'):
        raise UsageError(f'--device {name}: choose auto, cuda, cuda:1 or cpu')
    if device.type == 'cuda' and (
            not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(
            f'--device {name}: PyTorch {torch.__version__} sees no such GPU here; install its '
            'CUDA build and the driver, or pass --device cpu')
    return device


def amp_dtype(device: torch.device) -> Optional[torch.dtype]:
    """Return what mixed precision multiplies in, None where there is none."""
    if device.type != 'cuda':
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def autocast(device: torch.device, dtype: Optional[torch.dtype]) -> ContextManager[Any]:
    """Compute in mixed precision; None for float32."""
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def convolutions(device: torch.device, exact: bool = False) -> ContextManager[Any]:
    """
    Let cuDNN try its algorithms once for each shape.

    :param exact: keep it from computing float32 in tf32, which has 10 bits of mantissa.
    """
    if device.type != 'cuda':
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=not exact)


@contextmanager
def memory_errors(batch_size: int) -> Iterator[None]:
    """
    Say what to do where memory runs out.

    :param batch_size: pictures a step.
    :raises BackendError: in place of what allocators raise.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # torch.OutOfMemoryError is a RuntimeError; cuDNN's and the CPU's have no type.
        text = str(error).lower()
        if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or any(
                words in text for words in _NO_MEMORY):
            raise BackendError(
                f'memory ran out with {batch_size} pictures a step: try --batch-size '
                f'{max(2, batch_size // 2)}, or a smaller --image-size') from error
        raise
