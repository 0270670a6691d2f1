"""One batch buffer of the TensorRT backend: its memory, stream, contexts and CUDA graphs."""

from __future__ import annotations

from typing import Any, Optional, Tuple, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.base import powers_of_two
from resnet_trt_node.backends.cuda.device import CudaDevice, load_graph_driver
from resnet_trt_node.backends.cuda.kernel import Kernel
from resnet_trt_node.backends.cuda.page_locked import page_locked_memory
from resnet_trt_node.backends.cuda.picture_memory import Room
from resnet_trt_node.backends.cuda.resized_rows import ResizedRows
from resnet_trt_node.backends.cuda.stream import CudaGraph
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.log import TensorRtLog
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.backends.tensorrt.preprocessing import load_preprocessing
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME
from resnet_trt_node.errors import BackendError, InferenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from resnet_trt_node.backends.cuda.jpeg import JpegDecoder


class EngineRefused(BackendError):
    """TensorRT built this engine and cannot run it; another build of the same may do."""


def refusal(what: str, cause: str) -> BackendError:
    """
    Return the error to raise where TensorRT gives nothing back.

    :param what: it could not do.
    :param cause: its words.
    """
    # Too little memory is not the engine's fault.
    kind = BackendError if 'memory' in cause.lower() else EngineRefused
    return kind(f'{what} ({versions.translate(cause)})')


class LoadedEngine:
    """
    A deserialised engine and what its slots share.

    :param trt: the TensorRT module.
    :param trt_log: what TensorRT logs.
    :param device: where it runs.
    :param spec: the model's contract.
    :param options: the backend's options.
    :param profiles: (smallest, tuned for, largest) batch size of each profile, rising.
    """

    def __init__(
            self, trt: Any, trt_log: TensorRtLog, device: CudaDevice, spec: ModelSpec,
            options: TensorRtOptions, profiles: Tuple[Tuple[int, int, int], ...]) -> None:
        self.trt = trt
        self.explain = trt_log.explain
        self.device = device
        self.spec = spec
        self.options = options
        self.profiles = profiles
        #: cuda-bindings, None for no CUDA graphs.
        self.graph_driver: Any = None
        #: Resizes pictures, None where only the CPU does.
        self.kernel: Optional[Kernel] = None
        #: Memory for messages whose pictures it resizes.
        self.shared = page_locked_memory(device.index)
        #: What each slot's memory for pictures is to have.
        self.room = Room()
        #: Decodes jpegs for it, None where only the CPU does.
        self.decoder: Optional[JpegDecoder] = None
        self.engine: Any = None
        self.slots: list[Slot] = []
        self._logger = trt_log.logger
        self._runtime: Any = None

    def load(self, plan: bytes) -> None:
        """
        Deserialise the engine and allocate what runs it; call `free` also if that fails.

        :raises EngineRefused: if TensorRT cannot load the engine or makes no context of it.
        :raises BackendError: if there is not enough memory.
        """
        options = self.options
        try:
            self._runtime = self.trt.Runtime(self._logger)
        except TypeError as error:
            # What pybind makes of a null pointer: too little memory, or another driver by now.
            raise BackendError(f'TensorRT cannot start: {self.explain()}') from error
        if options.dla_core is not None:
            self._runtime.DLA_core = options.dla_core
        if options.version_compatible:
            self._runtime.engine_host_code_allowed = options.engine_host_code
        self.engine = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise refusal('TensorRT cannot load the engine', self.explain())
        if options.cuda_graph_max_batch:
            self.graph_driver = load_graph_driver()
            if self.graph_driver is None:
                options.log('CUDA graphs are not used, cuda-bindings is not installed: '
                            'pip install cuda-bindings lowers the latency of small batches')
        self.kernel, self.decoder = load_preprocessing(self.device, options)
        for _ in range(options.num_buffers):
            # In the list before it allocates, so that a failure midway frees it as well.
            self.slots.append(Slot(self))
            self.slots[-1].allocate()

    def free(self) -> None:
        """Free slots, engine and runtime, whatever state `load` or a CUDA error left them in."""
        for slot in self.slots:
            try:
                slot.free()
            except InferenceError as error:
                # The caller has this error already, or never asked for the result.
                self.options.log(f'while closing: {error}')
        self.slots.clear()
        if self.decoder is not None:
            self.decoder.close()
        # A traceback may keep this object alive for longer.
        self.engine = self.kernel = None
        self._runtime = None


class Slot:
    """
    Memory for one batch on both sides, and what computes it.

    A CUDA graph holds the addresses and the shape that its context had when it was recorded, and
    TensorRT forbids to change that context as long as the graph is used. So each recorded batch
    size has a context of its own. All of a slot's contexts compute in the same device memory,
    which is safe because its stream runs one after the other.

    :param loaded: what it shares with the other slots; `allocate` does what its name says.
    """

    def __init__(self, loaded: LoadedEngine) -> None:
        self._loaded = loaded
        self._graph_limit = (
            loaded.options.cuda_graph_max_batch if loaded.graph_driver is not None else 0)
        self._contexts: list[_Context] = []
        self._graphs: dict[int, Tuple[_Context, CudaGraph]] = {}

    def allocate(self) -> None:
        """
        Allocate memory, stream and a context for each profile.

        :raises EngineRefused: if TensorRT makes no context; call `free` then too.
        :raises BackendError: if there is not enough memory; likewise.
        """
        loaded, device, spec = self._loaded, self._loaded.device, self._loaded.spec
        batch = loaded.options.max_batch_size
        #: uint8 (max_batch_size, H, W, 3) RGB, page-locked.
        self.images: NDArray[np.uint8] = device.host_array(
            (batch, spec.height, spec.width, 3), np.uint8)
        self._probabilities: NDArray[np.float32] = device.host_array(
            (batch, spec.num_classes), np.float32)
        self._device_addresses = {
            INPUT_NAME: device.memory(self.images.nbytes),
            OUTPUT_NAME: device.memory(self._probabilities.nbytes)}
        #: Rows that the GPU resizes, None where only the CPU does.
        self.rows: Optional[ResizedRows] = None if loaded.kernel is None else ResizedRows(
            device, loaded.kernel, self.images, self._device_addresses[INPUT_NAME],
            loaded.shared, loaded.options.log, loaded.decoder, loaded.room)
        # Page-locked memory has the same address on both sides (unified addressing).
        self._host_addresses = {
            INPUT_NAME: self.images.ctypes.data, OUTPUT_NAME: self._probabilities.ctypes.data}
        self._scratch_bytes = versions.device_memory_bytes(loaded.engine)
        self._scratch = device.memory(self._scratch_bytes)
        self._stream = device.stream(loaded.options.blocking_sync)
        if self.rows is not None:
            self.rows.warm_up(self._stream)
        for profile in range(len(loaded.profiles)):
            self._contexts.append(self._make_context(profile, self._device_addresses))

    def submit(self, batch_size: int) -> None:
        """
        Enqueue the copy in, the network and the copy out.

        :raises InferenceError: if TensorRT or the driver refuses.
        """
        if batch_size <= self._graph_limit and batch_size not in self._graphs:
            self._record(batch_size)
        if self.rows is not None:
            self.rows.enqueue(self._stream, batch_size)
        recorded = self._graphs.get(batch_size)
        if recorded is not None:
            recorded[1].launch()
        else:
            self._enqueue(self._contexts[self._profile_of(batch_size)], batch_size)
        self._stream.mark()

    def collect(self, batch_size: int) -> NDArray[np.float32]:
        """
        Wait for what was submitted.

        :returns: float32 (batch_size, C), page-locked, valid until the next `submit`.
        :raises InferenceError: if the device failed.
        """
        self._stream.wait()
        if self.rows is not None:
            self.rows.finish()
        return self._probabilities[:batch_size]

    def warm_up_sizes(self) -> list[int]:
        """
        Return the batch sizes of which the first is slow here.

        Each graph is recorded at its first; without one, kernels are loaded for each profile.
        """
        largest = self._loaded.options.max_batch_size
        return sorted({
            *range(1, min(self._graph_limit, largest) + 1), *powers_of_two(largest),
            *(size for _, _, size in self._loaded.profiles if size <= largest)})

    def free(self) -> None:
        """
        Wait for the stream and drop graphs and contexts; the device frees the memory.

        :raises InferenceError: if what was enqueued failed; everything is dropped all the same.
        """
        try:
            if hasattr(self, '_stream'):
                self._stream.drain()
        finally:
            for context, graph in self._graphs.values():
                graph.free()
                context.drop()
            self._graphs.clear()
            for context in self._contexts:
                context.drop()
            self._contexts.clear()
            # Pages stay locked until the last array over them goes.
            for name in ('images', 'rows', '_probabilities', '_stream'):
                self.__dict__.pop(name, None)

    def _profile_of(self, batch_size: int) -> int:
        return next(index for index, (_, _, largest) in enumerate(self._loaded.profiles)
                    if batch_size <= largest)

    def _make_context(self, profile: int, addresses: dict[str, int]) -> _Context:
        loaded = self._loaded
        context = _Context(versions.create_context(loaded.trt, loaded.engine))
        try:
            if context.raw is None:
                raise refusal('TensorRT cannot make a context of the engine', loaded.explain())
            if not context.raw.set_optimization_profile_async(profile, self._stream.handle):
                raise BackendError(f'TensorRT refuses profile {profile}: {loaded.explain()}')
            self._stream.drain()
            versions.give_memory(context.raw, self._scratch, self._scratch_bytes)
            for name, address in addresses.items():
                if not context.raw.set_tensor_address(name, address):
                    raise BackendError(f'TensorRT has no tensor {name!r}: {loaded.explain()}')
        except BaseException:
            context.drop()
            raise
        return context

    def _enqueue(
            self, context: _Context, batch_size: int, in_place: bool = False) -> None:
        """Enqueue the network, and the copies unless host memory is read and written in place."""
        spec, stream = self._loaded.spec, self._stream
        if context.batch_size != batch_size:
            if not context.raw.set_input_shape(
                    INPUT_NAME, (batch_size, spec.height, spec.width, 3)):
                raise InferenceError(
                    f'TensorRT refuses a batch of {batch_size}: {self._loaded.explain()}')
            # What is copied out has the right shape in any case, and may be an earlier batch's.
            shape = tuple(context.raw.get_tensor_shape(OUTPUT_NAME))
            if shape != (batch_size, spec.num_classes):
                raise InferenceError(
                    f'the engine returns {shape} for a batch of {batch_size} instead of '
                    f'{(batch_size, spec.num_classes)}: export the model again')
            context.batch_size = batch_size
        # Else the rows are there already.
        if not in_place and self.rows is None:
            stream.copy_in(self._device_addresses[INPUT_NAME], self.images[:batch_size])
        if not context.raw.execute_async_v3(stream.handle):
            raise InferenceError(
                f'TensorRT failed on a batch of {batch_size}: {self._loaded.explain()}')
        if not in_place:
            stream.copy_out(
                self._probabilities[:batch_size], self._device_addresses[OUTPUT_NAME])

    def _record(self, batch_size: int) -> None:
        """Record the graph of a batch size; if that fails, this slot does without graphs."""
        context: Optional[_Context] = None
        # Small batches are read and written in place by the first and last kernel: that takes
        # less than the two copies, each a node of the graph. Large ones want the copy engine,
        # which works while another batch is computed.
        in_place = batch_size <= self._loaded.options.zero_copy_max_batch
        addresses = {**(self._host_addresses if in_place else self._device_addresses)}
        if self.rows is not None:
            addresses[INPUT_NAME] = self._device_addresses[INPUT_NAME]
        try:
            context = self._make_context(self._profile_of(batch_size), addresses)
            # The first run of a shape may allocate, which cannot be recorded.
            self._enqueue(context, batch_size, in_place)
            self._stream.drain()
            made = context
            graph = CudaGraph(
                self._loaded.graph_driver, self._stream,
                lambda: self._enqueue(made, batch_size, in_place))
        except BackendError as error:
            if context is not None:
                context.drop()
            self._graph_limit = 0
            self._loaded.options.log(
                f'no CUDA graph for a batch of {batch_size} ({error}); going on without graphs')
            return
        self._graphs[batch_size] = (context, graph)


class _Context:
    """An execution context and the batch size it was last set to, 0 for none."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.batch_size = 0

    def drop(self) -> None:
        """Destroy it now, not when the last traceback that mentions it goes."""
        self.raw = None
