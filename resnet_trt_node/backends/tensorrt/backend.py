"""The backends for NVIDIA GPUs: TensorRT, TensorRT-RTX and the lean runtime, with pycuda."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Mapping, Optional, Sequence, TYPE_CHECKING, Union

import numpy as np

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.engines.cache import BuiltEngine
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.engine import EngineSource
from resnet_trt_node.backends.tensorrt.execution import EngineRefused, LoadedEngine
from resnet_trt_node.backends.tensorrt.log import TensorRtLog
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.errors import BackendError, BackendUnavailable, UsageError
from resnet_trt_node.imaging.on_device.device_rows import DeviceRows

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
    :raises UsageError: for a version-compatible engine that may not run its own code.
    :raises BackendError: if the engine cannot be built or there is not enough memory.
    """

    flavour = 'tensorrt'
    options_type = TensorRtOptions

    def __init__(self, path: Union[str, Path], options: TensorRtOptions) -> None:
        self._options = options
        self._trt = versions.load_module(self.flavour)
        if options.version_compatible and not options.engine_host_code:
            raise UsageError(
                'a version_compatible engine carries code of its own, which it may not run: set '
                'engine_host_code to true, or leave version_compatible out')
        self._source: Optional[EngineSource] = None
        try:
            self._open(path)
        except EngineRefused as error:
            options.log(f'{error}; building it once more, without the timings of that build')
            try:
                self._open(path)
            except EngineRefused as again:
                raise BackendError(
                    f'{again}, and one built before it was refused too: try another '
                    'optimization level, precision or batch size') from again
        # It holds the model's file.
        self._source = None

    def _open(self, path: Union[str, Path]) -> None:
        """Get an engine and everything that runs it, or free all and move the engine aside."""
        options = self._options
        with ExitStack() as stack:
            device = stack.enter_context(CudaDevice(options.device, options.log))
            free_before = device.memory_bytes()[0]
            # Kept for a second try, since it knows then why it builds.
            source = self._source = self._source or EngineSource(
                self._trt, self.flavour, path, options, device)
            cached = source.get()
            trt_log = stack.enter_context(TensorRtLog(self._trt, options.log))
            loaded = LoadedEngine(
                self._trt, trt_log, device, cached.spec, options, source.key.profiles)
            # While the CUDA context is still current.
            stack.callback(loaded.free)
            try:
                loaded.load(cached.plan)
            except EngineRefused as error:
                if versions.can_build(self._trt):
                    source.cache.reject(source.key, cached, str(error))
                    raise
                # Another version may run it, so it stays.
                raise BackendUnavailable(
                    f'{error}; {cached.path} was built by TensorRT {cached.builder}, this is '
                    f'{self.flavour} {self._trt.__version__}: {source.how_to_build()}') from error
            used_bytes = free_before - device.memory_bytes()[0]
            self._slots = loaded.slots
            super().__init__(
                cached.spec, self._describe(cached, loaded, used_bytes),
                [slot.images for slot in self._slots])
            if loaded.kernel is not None:
                self.allocate_message = loaded.shared.allocate
            self._freed_on_close = stack.pop_all()

    def _describe(
            self, cached: BuiltEngine, loaded: LoadedEngine, used_bytes: int) -> BackendInfo:
        options, device = self._options, loaded.device
        details = {
            **cached.details,
            # Other processes come and go meanwhile, so this is what it looked like from here.
            'device_memory_mib': f'{max(used_bytes, device.allocated_bytes) / 2**20:.1f}',
            'buffers_memory_mib': f'{device.allocated_bytes / 2**20:.1f}',
            'cuda_graphs': f'batch sizes up to {options.cuda_graph_max_batch}'
            if loaded.graph_driver is not None else 'no',
            'preprocess': 'cpu' if loaded.kernel is None else 'gpu',
            'decode': 'cpu' if loaded.decoder is None else 'nvjpeg',
            'waits': 'asleep' if options.blocking_sync else 'spinning',
            'dla_core': 'none' if options.dla_core is None else str(options.dla_core),
        }
        return BackendInfo(
            self.flavour, str(self._trt.__version__),
            f'{device.name} ({options.device})', details)

    def warm_up_sizes(self, index: int) -> Sequence[int]:
        """Return the sizes that a buffer has a graph of, and those that stand for the others."""
        return self._slots[index].warm_up_sizes()

    def device_rows(self, index: int = 0) -> Optional[DeviceRows]:
        """Return what has the GPU write rows of a buffer, None where the CPU writes all."""
        self._check(index)
        return self._slots[index].rows

    def fall_backs(self, index: int = 0) -> Mapping[int, Optional[Exception]]:
        """Return which rows of the last submission the CPU decoded instead of the GPU."""
        self._check(index)
        rows = self._slots[index].rows
        return {} if rows is None else rows.fall_backs

    def _submit(self, batch_size: int, index: int) -> None:
        self._slots[index].submit(batch_size)

    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        return self._slots[index].collect(batch_size)

    def _close(self) -> None:
        self._freed_on_close.close()


class TensorRtRtxBackend(TensorRtBackend):
    """The same with TensorRT-RTX, for GeForce and RTX GPUs of compute capability 7.5 on."""

    flavour = 'tensorrt_rtx'


class TensorRtLeanBackend(TensorRtBackend):
    """The same with the lean runtime, which runs version-compatible engines and builds none."""

    flavour = 'tensorrt_lean'

    def __init__(self, path: Union[str, Path], options: TensorRtOptions) -> None:
        # Whether it is installed comes first.
        versions.load_module(self.flavour)
        if not options.engine_host_code:
            raise BackendUnavailable(
                'engine_host_code is false: its engines run code of their own; set it to true '
                'where you trust who builds them')
        super().__init__(path, replace(options, version_compatible=True))
