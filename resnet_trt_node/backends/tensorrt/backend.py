"""The backend for NVIDIA GPUs: TensorRT and TensorRT-RTX, with pycuda."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Sequence, TYPE_CHECKING, Union

import numpy as np

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.cuda.device import CudaDevice, load_graph_driver
from resnet_trt_node.backends.engines.cache import BuiltEngine
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.engine import EngineSource
from resnet_trt_node.backends.tensorrt.execution import (
    EngineRefused, LoadedEngine, refusal, Slot)
from resnet_trt_node.backends.tensorrt.log import TensorRtLog
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.errors import BackendError, InferenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TensorRtBackend(Backend):
    """
    A deployable model as a TensorRT engine.

    `submit` enqueues copy, network and copy on the buffer's own stream and returns; `collect`
    waits. So with two buffers one batch is copied while the other is computed.

    :param path: the deployable ONNX file; its engine is built at the first opening.
    :param options: how to build the engine and run it.
    :raises BackendUnavailable: if TensorRT, pycuda, the driver or the GPU is missing.
    :raises ModelError: if the model is not deployable, of another precision than asked for, or
        refused by TensorRT.
    :raises BackendError: if the engine cannot be built or there is not enough memory.
    """

    flavour = 'tensorrt'
    options_type = TensorRtOptions

    def __init__(self, path: Union[str, Path], options: TensorRtOptions) -> None:
        self._options = options
        self._log = options.log
        self._slots: list[Slot] = []
        self._trt_log: Optional[TensorRtLog] = None
        self._runtime: Any = None
        self._engine: Any = None
        self._loaded: Optional[LoadedEngine] = None
        self._source: Optional[EngineSource] = None
        self._trt = versions.load_module(self.flavour)
        try:
            self._open(path)
        except EngineRefused as error:
            self._log(f'{error}; building it once more, without the timings of that build')
            try:
                self._open(path)
            except EngineRefused as again:
                raise BackendError(
                    f'{again}, and one built before it was refused too: try another '
                    'optimization level, precision or batch size') from again

    def _open(self, path: Union[str, Path]) -> None:
        """Get an engine and everything that runs it, or free all and move the engine aside."""
        self._device = CudaDevice(self._options.device_id, self._log)
        try:
            free_before = self._device.memory_bytes()[0]
            # Kept for a second try, since it knows then why it builds.
            source = self._source = self._source or EngineSource.of(
                self._trt, self.flavour, path, self._options, self._device, self._log)
            cached = source.get(self._log)
            try:
                self._load(source, cached)
            except EngineRefused as error:
                source.cache.reject(source.key, cached, str(error))
                raise
            used = free_before - self._device.memory_bytes()[0]
            super().__init__(
                cached.spec, self._describe(cached, used),
                [slot.images for slot in self._slots])
        except BaseException:
            self._release()
            raise

    def _load(self, source: EngineSource, cached: BuiltEngine) -> None:
        """Deserialise the engine and allocate what runs it."""
        trt_log = self._trt_log = TensorRtLog(self._trt, self._log)
        try:
            self._runtime = self._trt.Runtime(trt_log.logger)
        except TypeError as error:
            # What pybind makes of a null pointer: too little memory, or another driver by now.
            raise BackendError(f'TensorRT cannot start: {trt_log.explain()}') from error
        if self._options.dla_core is not None:
            self._runtime.DLA_core = self._options.dla_core
        self._engine = self._runtime.deserialize_cuda_engine(cached.plan)
        if self._engine is None:
            raise refusal('TensorRT cannot load the engine', trt_log.explain())
        graph_driver = None
        if self._options.cuda_graph_max_batch:
            graph_driver = load_graph_driver()
            if graph_driver is None:
                self._log('CUDA graphs are not used, cuda-bindings is not installed: '
                          'pip install cuda-bindings lowers the latency of small batches')
        self._graphs = graph_driver is not None
        self._loaded = LoadedEngine(
            self._trt, self._engine, self._device, cached.spec, self._options,
            source.key.profiles, graph_driver, trt_log.explain, self._log)
        for _ in range(self._options.num_buffers):
            # In the list before it allocates, so that a failure midway frees it as well.
            self._slots.append(Slot(self._loaded))
            self._slots[-1].allocate()

    def _describe(self, cached: BuiltEngine, used_bytes: int) -> BackendInfo:
        options = self._options
        details = {
            **cached.details,
            # Other processes come and go meanwhile, so this is what it looked like from here.
            'device_memory_mib': f'{max(used_bytes, self._device.allocated_bytes) / 2**20:.1f}',
            'buffers_memory_mib': f'{self._device.allocated_bytes / 2**20:.1f}',
            'cuda_graphs': f'batch sizes up to {options.cuda_graph_max_batch}'
            if self._graphs else 'no',
            'waits': 'asleep' if options.blocking_sync else 'spinning',
            'dla_core': 'none' if options.dla_core is None else str(options.dla_core),
        }
        return BackendInfo(
            self.flavour, str(self._trt.__version__),
            f'{self._device.name} ({options.device_id})', details)

    def warm_up_sizes(self, index: int) -> Sequence[int]:
        """Return the sizes that a buffer has a graph of, and those that stand for the others."""
        return self._slots[index].warm_up_sizes()

    def _submit(self, batch_size: int, index: int) -> None:
        self._slots[index].submit(batch_size)

    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        return self._slots[index].collect(batch_size)

    def _close(self) -> None:
        self._release()

    def _release(self) -> None:
        """Free everything, whatever state opening or a CUDA error left it in."""
        for slot in self._slots:
            try:
                slot.free()
            except InferenceError as error:
                # The caller has this error already, or never asked for the result.
                self._log(f'while closing: {error}')
        self._slots.clear()
        # While the CUDA context is still current.
        if self._loaded is not None:
            # A traceback may keep this object alive for longer.
            self._loaded.engine = None
        self._engine = None
        self._runtime = None
        if self._trt_log is not None:
            self._trt_log.close()
        self._device.close()


class TensorRtRtxBackend(TensorRtBackend):
    """The same with TensorRT-RTX, for GeForce and RTX GPUs of compute capability 7.5 on."""

    flavour = 'tensorrt_rtx'
