"""The backend that compiles a model for this very processor: Apache TVM."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Optional, TYPE_CHECKING, Union

import numpy as np

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.engines.cache import CachedEngine
from resnet_trt_node.backends.host_buffers import host_buffers
from resnet_trt_node.backends.tvm.cuda import GpuModule
from resnet_trt_node.backends.tvm.engine import load_library, ModuleSource, TvmOptions
from resnet_trt_node.backends.tvm.runtime import load_tvm, use_threads
from resnet_trt_node.errors import InferenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class TvmBackend(Backend):
    """
    A deployable model as a module that TVM compiled, kept like an engine.

    On the CPU one function serves every batch size: the number of frames is a variable in its
    loops. For a GPU there is one for each power of two, and a batch is cut into these. Inference
    happens in `submit`.

    :param path: the deployable ONNX file; it is compiled at the first opening.
    :param options: how to open it.
    :raises BackendUnavailable: if TVM is missing, or the GPU that was asked for, or a linker to
        compile with.
    :raises ModelError: if the model is not deployable, of another precision than asked for, or
        has operators that TVM does not know.
    :raises BackendError: if it cannot be compiled or loaded.
    """

    asynchronous = False
    options_type = TvmOptions

    def __init__(self, path: Union[str, Path], options: TvmOptions) -> None:
        self._tvm = load_tvm()
        source = ModuleSource.of(self._tvm, path, options, options.log)
        engine = source.get()
        self._results: dict[int, NDArray[np.float32]] = {}
        self._run = self._runner(source, engine, options)
        super().__init__(
            engine.spec, self._describe(source, engine), host_buffers(engine.spec, options))

    def _runner(
            self, source: ModuleSource, engine: CachedEngine,
            options: TvmOptions) -> Optional[Run]:
        """Load the module; return what infers frames with it."""
        library = load_library(engine.plan)
        if source.gpu is not None:
            return GpuModule(
                self._tvm, library, source.gpu, engine.spec, options.max_batch_size).run
        function = self._tvm.relax.VirtualMachine(library, self._tvm.cpu())['main']
        from_dlpack = self._tvm.runtime.from_dlpack

        def run(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
            use_threads(source.threads)
            result: NDArray[np.float32] = function(from_dlpack(frames)).numpy()
            return result
        return run

    def _describe(self, source: ModuleSource, engine: CachedEngine) -> BackendInfo:
        details = {
            'precision': engine.spec.precision,
            'engine': str(engine.path) if engine.path else 'in memory only',
            'engine_built_because': engine.reason or 'it was not, it was found',
            'engine_build_s': f'{engine.build_s:.1f}',
        }
        version = str(self._tvm.__version__)
        if source.gpu is not None:
            details['target'] = source.key.compute_capability
            return BackendInfo(
                'tvm', version, f'{source.key.device} ({source.options.device_id})', details)
        measured = len(source.database.records)
        details.update({
            'target': f'{source.processor.name}, {source.processor.registers.lanes} lanes',
            'cpu_threads': str(source.threads),
            'tuned': f'{measured} shapes of layers were measured on this CPU' if measured
            else 'no, run `resnet_trt tune`'})
        return BackendInfo('tvm', version, 'CPU', details)

    def _submit(self, batch_size: int, index: int) -> None:
        if self._run is None:
            raise InferenceError('the backend is closed: open it again')
        try:
            self._results[index] = self._run(self._buffers[index][:batch_size])
        except RuntimeError as error:
            raise InferenceError(f'TVM failed on a batch of {batch_size}: {error}') from error

    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        return self._results[index]

    def _close(self) -> None:
        self._results.clear()
        self._run = None
