"""
An engine run with as little around it as possible: what the project's own backend is held against.

It shares no code with the backend on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from cuda.bindings import driver as graphs
import numpy as np
import pycuda.driver as cuda
import tensorrt as trt


def _ok(result: Any) -> Any:
    error, *values = result
    if error:
        raise RuntimeError(error.name)
    return values[0] if values else None


class BareEngine:
    """
    One context, one stream, one batch size; a CUDA context must be current.

    :param plan: the engine file.
    :param batch_size: of every run.
    :param profile: index of the optimisation profile.
    :param frames: uint8 (batch_size or more, H, W, 3), copied into `images`, page-locked memory
        that each run reads; `result` is float32 (batch_size, classes).
    """

    def __init__(self, plan: Path, batch_size: int, profile: int, frames: np.ndarray) -> None:
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        self._context = self._engine.create_execution_context()
        self._stream = cuda.Stream()
        self._handle = int(self._stream.handle)
        self._graph_stream = graphs.CUstream(self._handle)
        self._context.set_optimization_profile_async(profile, self._handle)
        self._stream.synchronize()
        self.images = cuda.pagelocked_zeros((batch_size, *frames.shape[1:]), np.uint8)
        self.images[:] = frames[:batch_size]
        classes = self._engine.get_tensor_shape('probabilities')[1]
        self.result = cuda.pagelocked_zeros((batch_size, classes), np.float32)
        self._memory = [cuda.mem_alloc(array.nbytes) for array in (self.images, self.result)]
        self._input, self._output = (int(memory) for memory in self._memory)
        self._context.set_input_shape('images', tuple(self.images.shape))
        self._context.set_tensor_address('images', self._input)
        self._context.set_tensor_address('probabilities', self._output)
        self.enqueue()
        self._graph = self._record()

    def _work(self) -> None:
        cuda.memcpy_htod_async(self._input, self.images, self._stream)
        if not self._context.execute_async_v3(self._handle):
            raise RuntimeError('execute_async_v3 failed')
        cuda.memcpy_dtoh_async(self.result, self._output, self._stream)

    def _record(self) -> Any:
        stream = self._graph_stream
        _ok(graphs.cuStreamBeginCapture(
            stream, graphs.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))
        self._work()
        graph = _ok(graphs.cuStreamEndCapture(stream))
        return _ok(graphs.cuGraphInstantiate(graph, 0))

    def enqueue(self) -> None:
        """Copy in, run, copy out, wait."""
        self._work()
        self._stream.synchronize()

    def replay(self) -> None:
        """Do the same as one CUDA graph."""
        graphs.cuGraphLaunch(self._graph, self._graph_stream)
        self._stream.synchronize()

    def device_ms(self, runs: int) -> float:
        """Return milliseconds a run on the device alone, without copies, one after the other."""
        start, end = cuda.Event(), cuda.Event()
        start.record(self._stream)
        for _ in range(runs):
            self._context.execute_async_v3(self._handle)
        end.record(self._stream)
        end.synchronize()
        return float(start.time_till(end)) / runs

    def layers(self, runs: int = 20) -> list[tuple[str, float]]:
        """Return each layer with its milliseconds, slowest first; the sum is more than a run's."""
        took: dict[str, float] = defaultdict(float)

        class Profiler(trt.IProfiler):

            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, name: str, ms: float) -> None:
                took[name] += ms / runs

        self._context.profiler = Profiler()
        for _ in range(runs):
            self._context.execute_async_v3(self._handle)
            self._stream.synchronize()
        return sorted(took.items(), key=lambda item: -item[1])
