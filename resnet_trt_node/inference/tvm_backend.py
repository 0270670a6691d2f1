"""The backend that compiles a model for this CPU: Apache TVM."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, TYPE_CHECKING, Union

import numpy as np

from resnet_trt_node.errors import BackendError, InferenceError
from resnet_trt_node.inference.backend import Backend, BackendInfo, BackendOptions
from resnet_trt_node.inference.engine_cache import CachedEngine
from resnet_trt_node.inference.tvm_engine import load_library, ModuleSource
from resnet_trt_node.inference.tvm_runtime import load_tvm, use_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from resnet_trt_node.inference.spec import ModelSpec

#: Bytes; compiled code reads its arguments in vectors from addresses that it takes for aligned.
_ALIGNMENT = 64


class TvmBackend(Backend):
    """
    A deployable model as a module that TVM compiled, kept like an engine.

    One module serves every batch size up to the largest: the number of frames is a variable in
    its loops. Inference happens in `submit`, on the calling thread and TVM's own.

    :param path: the deployable ONNX file; it is compiled at the first opening.
    :param options: `max_batch_size`, `num_buffers`, `cpu_threads`, `engine_dir`, `precision` and
        `log` are used.
    :raises BackendUnavailable: if TVM or, for compiling, a linker is missing.
    :raises ModelError: if the model is not deployable, of another precision than asked for, or
        has operators that TVM does not know.
    :raises BackendError: if it cannot be compiled or loaded.
    """

    asynchronous = False

    def __init__(self, path: Union[str, Path], options: BackendOptions) -> None:
        log: Callable[[str], None] = options.log or (lambda line: None)
        self._tvm = load_tvm()
        source = ModuleSource.of(self._tvm, path, options, log)
        engine = source.get()
        self._threads = source.threads
        self._results: dict[int, NDArray[np.float32]] = {}
        machine = self._tvm.relax.VirtualMachine(load_library(engine.plan), self._tvm.cpu())
        self._run: Any = machine['main']
        super().__init__(
            engine.spec, self._describe(source, engine), _aligned_buffers(engine.spec, options))

    def _describe(self, source: ModuleSource, engine: CachedEngine) -> BackendInfo:
        measured = len(source.database.records)
        details = {
            'precision': engine.spec.precision,
            'target': f'{source.processor.name}, {source.processor.registers.lanes} lanes',
            'cpu_threads': str(self._threads),
            'tuned': f'{measured} shapes of layers were measured on this CPU' if measured
            else 'no, run `resnet_trt tune`',
            'engine': str(engine.path) if engine.path else 'in memory only',
            'engine_built_because': engine.reason or 'it was not, it was found',
            'engine_build_s': f'{engine.build_s:.1f}',
        }
        return BackendInfo('tvm', str(self._tvm.__version__), 'CPU', details)

    def _submit(self, batch_size: int, index: int) -> None:
        use_threads(self._threads)
        try:
            images = self._tvm.runtime.from_dlpack(self._buffers[index][:batch_size])
            self._results[index] = self._run(images).numpy()
        except RuntimeError as error:
            raise InferenceError(f'TVM failed on a batch of {batch_size}: {error}') from error

    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        return self._results[index]

    def _close(self) -> None:
        self._results.clear()
        self._run = None


def _aligned_buffers(spec: ModelSpec, options: BackendOptions) -> list[NDArray[np.uint8]]:
    """Allocate batch buffers as `host_buffers`, each beginning at a multiple of the alignment."""
    shape = (options.max_batch_size, spec.height, spec.width, 3)
    size = int(np.prod(shape))
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
