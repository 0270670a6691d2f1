"""Stand-ins for page-locked memory, and for graphs and the run-time compiler of cuda-bindings."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any, Callable, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stand_ins.standin_cuda import StandInCuda


def driver_bindings(cuda: StandInCuda) -> Any:
    """Return a stand-in for cuda.bindings.driver."""
    class Result(IntEnum):

        CUDA_SUCCESS = 0
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900

    def guarded(name: str) -> Result:
        try:
            cuda.call(name)
        except cuda.error:
            return Result.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
        return Result.CUDA_SUCCESS

    def begin(stream: int, mode: int) -> tuple[Any, ...]:
        error = guarded('cuStreamBeginCapture')
        if not error:
            cuda.streams[stream].recording = []
        return (error,)

    def end(stream: int) -> tuple[Any, ...]:
        work, cuda.streams[stream].recording = cuda.streams[stream].recording, None
        error = guarded('cuStreamEndCapture')
        if not error:
            cuda.held['graph'] += 1
        return error, None if error else work

    executables: dict[int, list[Callable[[], None]]] = {}

    def instantiate(graph: list[Any], flags: int) -> tuple[Any, ...]:
        error = guarded('cuGraphInstantiate')
        if error:
            return error, None
        cuda.held['graph executable'] += 1
        # A number, as the driver's handle is: what it runs must not live on in a traceback.
        handle = cuda.handle()
        executables[handle] = list(graph)
        return error, handle

    def launch(executable: int, stream: int) -> tuple[Any, ...]:
        error = guarded('cuGraphLaunch')
        if not error:
            for work in executables[executable]:
                cuda.streams[stream].add(work)
        return (error,)

    def destroy(kind: str) -> Callable[[Any], tuple[Any, ...]]:
        def free(graph: Any) -> tuple[Any, ...]:
            cuda.held[kind] -= 1
            if kind == 'graph executable':
                del executables[graph]
            return (Result.CUDA_SUCCESS,)
        return free

    module: Any = ModuleType('cuda.bindings.driver')
    module.CUstream = int
    module.CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
    module.cuStreamBeginCapture, module.cuStreamEndCapture = begin, end
    module.cuGraphInstantiate, module.cuGraphLaunch = instantiate, launch
    module.cuGraphDestroy, module.cuGraphExecDestroy = destroy('graph'), destroy(
        'graph executable')
    return module


def compiler_bindings(cuda: StandInCuda) -> Any:
    """Return a stand-in for cuda.bindings.nvrtc, which compiles everything but `#error`."""
    class Result(IntEnum):

        NVRTC_SUCCESS = 0
        NVRTC_ERROR_COMPILATION = 6

    def compile_program(program: dict[str, Any], number: int, options: list[bytes]) -> Any:
        assert number == len(options)
        if b'#error' in program['source']:
            program['log'] = b'an error in line 1'
            return (Result.NVRTC_ERROR_COMPILATION,)
        cuda.compiled.append((options, program['source']))
        program['binary'] = b'compiled ' + program['source'][:20]
        return (Result.NVRTC_SUCCESS,)

    def fill(what: str) -> Callable[[dict[str, Any], bytes], Any]:
        def write(program: dict[str, Any], target: bytes) -> Any:
            # It writes into the immutable bytes that it was given, as the real one does.
            ctypes.memmove(target, program[what], len(program[what]))
            return (Result.NVRTC_SUCCESS,)
        return write

    def size(what: str) -> Callable[[dict[str, Any]], Any]:
        return lambda program: (Result.NVRTC_SUCCESS, len(program[what]))

    module: Any = ModuleType('cuda.bindings.nvrtc')
    module.nvrtcCreateProgram = lambda source, name, *headers: (
        Result.NVRTC_SUCCESS, {'source': source})
    module.nvrtcCompileProgram = compile_program
    module.nvrtcGetProgramLogSize, module.nvrtcGetProgramLog = size('log'), fill('log')
    module.nvrtcGetCUBINSize, module.nvrtcGetCUBIN = size('binary'), fill('binary')
    module.nvrtcVersion = lambda: (Result.NVRTC_SUCCESS, 13, 1)
    module.nvrtcDestroyProgram = lambda program: (Result.NVRTC_SUCCESS,)
    return module


class Pinned(bytearray):
    """
    Page-locked memory, the base of an array.

    As pycuda's, it is freed with its last view if a context is current on that thread, or was made
    there; elsewhere it is lost, unless `free` was called with one.
    """

    def __init__(self, cuda: StandInCuda, size: int) -> None:
        super().__init__(size)
        self._cuda = cuda
        self._held = True
        cuda.held['host memory'] += 1

    def free(self) -> None:
        self._cuda.call('cuMemFreeHost')
        self._cuda.held['host memory'] -= self._held
        self._held = False

    def __del__(self) -> None:
        if self._held and self._cuda.can_free():
            self._cuda.held['host memory'] -= 1


def pinned_zeros(cuda: StandInCuda, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array in page-locked memory."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, Pinned(cuda, max(size, 1)))
