"""One engine in several streams at once, each with a context: what they bring without a node."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns
from typing import Any, Callable

from cuda.bindings import driver as graphs
import numpy as np
from numpy.typing import NDArray
import pycuda.driver as cuda
from resnet_trt_node.backends.cuda.stream import CudaGraph, CudaStream
from resnet_trt_node.contract.spec import INPUT_NAME, OUTPUT_NAME
import tensorrt as trt

_WARM_UP = 20
# TensorRT keeps the first one that it is given.
_LOGGER = trt.Logger(trt.Logger.ERROR)


class BareLanes:
    """
    An engine of one batch size; a CUDA context must be current.

    :param plan: the engine file.
    :param given: what each run takes, in the order of the engine's memory.
    :param count: streams.
    """

    def __init__(self, plan: Path, given: NDArray[Any], count: int) -> None:
        self._runtime = trt.Runtime(_LOGGER)
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            raise RuntimeError(f'{plan} cannot be loaded')
        self._lanes = [_Lane(self._engine, given) for _ in range(count)]

    def answer(self) -> NDArray[np.float32]:
        """Return the probabilities of what each run takes, float32 (N, C)."""
        lane = self._lanes[0]
        lane.run('copies')
        lane.wait()
        return lane.result.copy()

    def ways(self) -> dict[str, Callable[[], None]]:
        """Return the ways to run once and wait, by name."""
        lane = self._lanes[0]

        def once(way: str) -> Callable[[], None]:
            def run() -> None:
                lane.run(way)
                lane.wait()
            return run
        return {way: once(way) for way in ('copies', 'graph', 'in_place')}

    def sustained(self, count: int, way: str, batches: int) -> Callable[[], float]:
        """
        Return a function that runs so many batches, in so many streams, one behind the other.

        It returns nanoseconds a batch.
        """
        lanes = self._lanes[:count]

        def run() -> float:
            start = 0
            for number in range(-_WARM_UP, batches):
                lane = lanes[number % count]
                lane.wait()
                if number == 0:
                    start = perf_counter_ns()
                lane.run(way)
            for lane in lanes:
                lane.wait()
            return (perf_counter_ns() - start) / batches
        return run


class _Lane:
    """One context with its stream, buffers and recordings."""

    def __init__(self, engine: Any, given: NDArray[Any]) -> None:
        self._context = engine.create_execution_context()
        self._stream = CudaStream(cuda)
        self._context.set_optimization_profile_async(0, self._stream.handle)
        self._stream.drain()
        self._given = cuda.pagelocked_empty(
            given.shape, given.dtype, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
        self._given[:] = given
        shape = tuple(engine.get_tensor_profile_shape(INPUT_NAME, 0)[1])
        self._context.set_input_shape(INPUT_NAME, shape)
        self.result = cuda.pagelocked_empty(
            tuple(self._context.get_tensor_shape(OUTPUT_NAME)), np.float32,
            mem_flags=cuda.host_alloc_flags.DEVICEMAP)
        self._memory = [cuda.mem_alloc(array.nbytes) for array in (self._given, self.result)]
        on_device = [int(memory) for memory in self._memory]
        in_place = [int(array.base.get_device_pointer()) for array in (self._given, self.result)]
        # What a context takes where is part of a recording; each is made after its first run.
        self._recorded = {}
        for way, places, copies in (
                ('in_place', in_place, False), ('graph', on_device, True),
                ('resident_graph', on_device, False)):
            self._place(places)
            self._work(copies)
            self._stream.drain()
            self._recorded[way] = CudaGraph(
                graphs, self._stream, lambda copies=copies: self._work(copies))
        self._device = on_device
        self._stream.mark()

    def _place(self, places: list[int]) -> None:
        self._context.set_tensor_address(INPUT_NAME, places[0])
        self._context.set_tensor_address(OUTPUT_NAME, places[1])

    def _work(self, copies: bool) -> None:
        given, result = (int(memory) for memory in self._memory)
        if copies:
            self._stream.copy_in(given, self._given)
        if not self._context.execute_async_v3(self._stream.handle):
            raise RuntimeError('execute_async_v3 failed')
        if copies:
            self._stream.copy_out(self.result, result)

    def run(self, way: str) -> None:
        """
        Enqueue one batch.

        :param way: 'copies' or 'resident' call by call, 'graph' and 'resident_graph' the same as
            a recording, 'in_place' a recording that reads and writes the host's memory.
        """
        if way in self._recorded:
            self._recorded[way].launch()
        else:
            self._work(way == 'copies')
        self._stream.mark()

    def wait(self) -> None:
        """Wait for the last one."""
        self._stream.wait()
