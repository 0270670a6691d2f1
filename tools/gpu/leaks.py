"""Which part of opening and closing an engine keeps memory: each by itself, in a loop."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Callable

from cuda.bindings import driver as graphs
import numpy as np
import pycuda.driver as cuda
from resnet_trt_node.backends.cuda.device import CudaDevice
import tensorrt as trt
from tools.gpu.steps import Case, host_bytes, Lab, tiny_case

_SETTLE, _CYCLES = 60, 300


def run_leaks(lab: Lab) -> dict[str, dict[str, float]]:
    """Return KiB of host and device memory that a cycle of each part keeps, caches filled."""
    case = tiny_case(lab)
    device = CudaDevice(0, print)
    with lab.start(case) as backend:
        plan = Path(backend.info.details['engine']).read_bytes()
    parts: dict[str, Callable[[], Any]] = {
        'pinned': lambda: cuda.pagelocked_zeros((2, 32, 32, 3), np.uint8),
        'device_memory': lambda: cuda.mem_alloc(1 << 20).free(),
        'stream_events': lambda: (cuda.Stream(), cuda.Event(), cuda.Event()),
        'runtime': lambda: trt.Runtime(LOGGER),
        'engine': lambda: trt.Runtime(LOGGER).deserialize_cuda_engine(plan),
        'context': lambda: make_context(plan),
        'enqueue': lambda: enqueue(plan, False),
        'graph': lambda: enqueue(plan, True),
        'ours_no_graphs': lambda: ours(lab, case, cuda_graph_max_batch=0),
        'ours': lambda: ours(lab, case),
    }
    try:
        return {name: watch(name, part) for name, part in parts.items()}
    finally:
        device.close()


LOGGER = trt.Logger(trt.Logger.ERROR)


def watch(name: str, part: Callable[[], Any]) -> dict[str, float]:
    """Repeat a part and return the growth of a cycle in KiB."""
    for _ in range(_SETTLE):
        part()
    gc.collect()
    host, free = host_bytes(), cuda.mem_get_info()[0]
    for _ in range(_CYCLES):
        part()
    gc.collect()
    growth = {
        'host_kib': (host_bytes() - host) / 1024 / _CYCLES,
        'device_kib': (free - cuda.mem_get_info()[0]) / 1024 / _CYCLES}
    print(f'{name:16} {growth["host_kib"]:8.1f} KiB host, {growth["device_kib"]:8.1f} KiB device',
          flush=True)
    return growth


def make_context(plan: bytes) -> tuple[Any, Any, Any]:
    """Deserialise and make one context with memory of its own."""
    runtime = trt.Runtime(LOGGER)
    engine = runtime.deserialize_cuda_engine(plan)
    return runtime, engine, engine.create_execution_context()


def enqueue(plan: bytes, graph: bool) -> None:
    """Run once, or record and run once."""
    parts = make_context(plan)
    context = parts[-1]
    stream = cuda.Stream()
    memory = [cuda.mem_alloc(1 << 16), cuda.mem_alloc(1 << 16)]
    context.set_input_shape('images', (2, 32, 32, 3))
    context.set_tensor_address('images', int(memory[0]))
    context.set_tensor_address('probabilities', int(memory[1]))
    context.execute_async_v3(int(stream.handle))
    stream.synchronize()
    if graph:
        handle = graphs.CUstream(int(stream.handle))
        graphs.cuStreamBeginCapture(
            handle, graphs.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        context.execute_async_v3(int(stream.handle))
        _, recorded = graphs.cuStreamEndCapture(handle)
        _, executable = graphs.cuGraphInstantiate(recorded, 0)
        graphs.cuGraphDestroy(recorded)
        graphs.cuGraphLaunch(executable, handle)
        stream.synchronize()
        graphs.cuGraphExecDestroy(executable)


def ours(lab: Lab, case: Case, **options: Any) -> None:
    """Open through the backend, infer once, close."""
    with lab.start(case, **options) as backend:
        backend.infer(2)
