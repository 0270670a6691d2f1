"""TVM on an NVIDIA GPU: finding its libraries and a compiler, and running what was compiled."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
import os
from pathlib import Path
import shutil
from typing import Any, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.tvm.gpu_loops import (
    batch_sizes, cuda_target, gpu_module, pieces, schedule_gpu)
from resnet_trt_node.backends.tvm.runtime import build, export_library, load_library
from resnet_trt_node.errors import BackendUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    import onnx

    from resnet_trt_node.backends.tvm.runtime import Run
    from resnet_trt_node.contract.spec import ModelSpec

_RUNTIME = 'libtvm_runtime_cuda.so'
#: Reads it when it compiles for CUDA: 'nvcc' or 'nvrtc'.
_COMPILER = 'TVM_CUDA_COMPILE_MODE'


def _load_runtime(tvm: Any) -> None:
    """Load TVM's part for CUDA, which it skips without a word where a library is missing."""
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


def _choose_compiler() -> str:
    """
    Say which compiler of CUDA is used, and have TVM use it.

    :returns: 'nvcc' or 'nvrtc'.
    :raises BackendUnavailable: if there is neither.
    """
    chosen = os.environ.get(_COMPILER) or ('nvcc' if shutil.which('nvcc') else 'nvrtc')
    if chosen == 'nvrtc' and not (find_spec('cuda') and find_spec('cuda.bindings')):
        raise BackendUnavailable(
            'TVM finds no compiler for CUDA: install the CUDA toolkit, which has nvcc, or pip '
            'install cuda-bindings')
    os.environ[_COMPILER] = chosen
    return chosen


class Gpu:
    """
    An NVIDIA GPU: what modules are compiled for, and what runs them.

    :param tvm: the package.
    :param device_id: index of the GPU.
    :raises BackendUnavailable: if TVM cannot use it; the text says what is missing.
    """

    def __init__(self, tvm: Any, device_id: int) -> None:
        self._tvm = tvm
        self._gpu = tvm.cuda(device_id)
        if not self._gpu.exist:
            _load_runtime(tvm)
        if not self._gpu.exist:
            raise BackendUnavailable(
                f'TVM sees no GPU {device_id}: see that nvidia-smi lists it, or use tvm_target '
                'cpu')
        #: What an engine's key and the backend's description say.
        self.settings = {'compiler': _choose_compiler()}
        self.name = str(self._gpu.device_name)
        self.architecture = f'sm_{str(self._gpu.compute_version).replace(".", "")}'
        self.device = f'{self.name} ({device_id})'
        self.details = {'target': self.architecture}

    def compile_library(self, model: onnx.ModelProto, max_batch_size: int) -> bytes:
        """
        Compile a model for batches of powers of two up to the largest.

        :param model: a deployable model.
        :returns: a shared library.
        :raises ModelError: for an operator that TVM does not know.
        """
        tvm, target = self._tvm, cuda_target(self._tvm, self.architecture)
        with target, tvm.transform.PassContext(opt_level=3):
            module = schedule_gpu(tvm, gpu_module(tvm, model, batch_sizes(max_batch_size)))
        return export_library(build(tvm, module, target))

    def load(self, library: bytes, spec: ModelSpec, max_batch_size: int) -> Run:
        """
        Load what `compile` returned; see `Cpu.load`.

        :raises BackendError: if it cannot be loaded.
        """
        return gpu_runner(self._tvm, load_library(library), self._gpu, spec, max_batch_size)


def gpu_runner(tvm: Any, module: Any, device: Any, spec: ModelSpec, max_batch_size: int) -> Run:
    """
    Return what copies frames to a device, computes there, and copies the result back.

    :param module: with the functions of `gpu_loops.gpu_module`.
    :param device: TVM's device.
    """
    machine = tvm.relax.VirtualMachine(module, device)
    functions = {size: machine[f'batch_{size}'] for size in batch_sizes(max_batch_size)}
    # A CUDA graph reads its input where it lay when it was captured.
    inputs = {size: tvm.runtime.empty((size, spec.height, spec.width, 3), 'uint8', device)
              for size in functions}

    def run(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate([
            functions[size](inputs[size].copyfrom(frames[start:start + size])).numpy()
            for start, size in pieces(len(frames))])
    return run
