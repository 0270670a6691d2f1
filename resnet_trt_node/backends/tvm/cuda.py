"""TVM on an NVIDIA GPU: finding its libraries and a compiler, and running what was compiled."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
import os
from pathlib import Path
import shutil
from typing import Any, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.tvm.gpu import batch_sizes, cuda_target, pieces
from resnet_trt_node.errors import BackendUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from resnet_trt_node.contract.spec import ModelSpec

_RUNTIME = 'libtvm_runtime_cuda.so'
#: Reads it when it compiles for CUDA: 'nvcc' or 'nvrtc'.
_COMPILER = 'TVM_CUDA_COMPILE_MODE'


def open_gpu(tvm: Any, device_id: int) -> Any:
    """
    Return a GPU as TVM's device.

    :raises BackendUnavailable: if TVM cannot use it; the text says what is missing.
    """
    device = tvm.cuda(device_id)
    if not device.exist:
        _load_runtime(tvm)
        if not device.exist:
            raise BackendUnavailable(
                f'TVM sees no GPU {device_id}: see that nvidia-smi lists it, or use tvm_target '
                'cpu')
    return device


def _load_runtime(tvm: Any) -> None:
    """Load TVM's part for CUDA, which it skips in silence where a library is missing."""
    path = Path(tvm.__file__).parent / 'lib' / _RUNTIME
    if not path.exists():
        raise BackendUnavailable(
            f'this build of TVM has no {_RUNTIME}: install one for CUDA, or use tvm_target cpu')
    for preload in (False, True):
        if preload:
            _load_cudart()
        try:
            ctypes.CDLL(str(path))
            return
        except OSError as error:
            reason = error
    raise BackendUnavailable(
        f'TVM cannot use CUDA ({reason}): install the NVIDIA driver, and the runtime of CUDA with '
        'pip install nvidia-cuda-runtime; or use tvm_target cpu')


def _load_cudart() -> None:
    """Load CUDA's runtime from the packages that PyTorch brings, if it is there."""
    spec = find_spec('nvidia')
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        for path in sorted(Path(folder).glob('**/libcudart.so.*')):
            try:
                ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
            except OSError:
                # One for another version of the driver, perhaps; TVM's own error tells.
                continue


def choose_compiler() -> str:
    """
    Say which compiler of CUDA is used, and have TVM use it.

    :returns: 'nvcc' or 'nvrtc'.
    :raises BackendUnavailable: if there is neither.
    """
    chosen = os.environ.get(_COMPILER)
    if chosen is None:
        if shutil.which('nvcc'):
            chosen = 'nvcc'
        elif find_spec('cuda') is not None and find_spec('cuda.bindings') is not None:
            chosen = 'nvrtc'
        else:
            raise BackendUnavailable(
                'TVM finds no compiler for CUDA: install the CUDA toolkit, which has nvcc, or pip '
                'install cuda-bindings')
        os.environ[_COMPILER] = chosen
    return chosen


def target_of(tvm: Any, device: Any) -> Any:
    """Return the target of a GPU."""
    return cuda_target(tvm, architecture_of(device))


def architecture_of(device: Any) -> str:
    """Return a GPU's architecture, such as 'sm_90'."""
    return f'sm_{str(device.compute_version).replace(".", "")}'


class GpuModule:
    """
    A compiled module on a GPU: copies the frames there, computes, copies the result back.

    :param tvm: the package.
    :param module: with the functions of `tvm_gpu.gpu_module` for `tvm_gpu.batch_sizes`.
    :param device: from `open_gpu`.
    :param spec: the contract of the model.
    :param max_batch_size: the largest batch.
    """

    def __init__(
            self, tvm: Any, module: Any, device: Any, spec: ModelSpec,
            max_batch_size: int) -> None:
        machine = tvm.relax.VirtualMachine(module, device)
        self._functions = {size: machine[f'batch_{size}'] for size in batch_sizes(max_batch_size)}
        # A CUDA graph reads its input where it lay when it was captured.
        self._inputs = {
            size: tvm.runtime.empty((size, spec.height, spec.width, 3), 'uint8', device)
            for size in self._functions}

    def run(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """
        Infer a batch of any size up to the largest.

        :param frames: uint8 (N, H, W, 3) RGB, contiguous.
        :returns: float32 (N, C), the caller's own.
        """
        return np.concatenate([
            self._functions[size](
                self._inputs[size].copyfrom(frames[start:start + size])).numpy()
            for start, size in pieces(len(frames))])
