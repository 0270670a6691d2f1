"""
Stand-ins for pycuda and cuda-bindings: they count what is held and fail on demand.

Work that is enqueued runs only when somebody waits for it, so that a test notices a buffer that is
read or reused too early. Every call checks that a context is current in the calling thread.
"""

from __future__ import annotations

from collections import Counter
import ctypes
from enum import IntEnum
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any, Callable, Optional

import numpy as np


class Error(Exception):
    """What pycuda's errors derive from."""


class StandInCuda:
    """
    One make-believe driver with its devices.

    :param names: names of the devices.
    :param fail_at: the number of the call that fails, from 1; None for none.
    :param sentence: what the driver says of that failure.
    :param sticky: whether every later call fails as well.
    """

    def __init__(
            self, names: tuple[str, ...] = ('Stand-in GPU',), fail_at: Optional[int] = None,
            sentence: str = 'out of memory', sticky: bool = False) -> None:
        self.names = names
        self.capability = (8, 9)
        self.multiprocessors = 16
        self.fail_at = fail_at
        self.sentence = sentence
        self.sticky = sticky
        self.calls = 0
        self.held: Counter[str] = Counter()
        self.memory: dict[int, np.ndarray] = {}
        self.streams: dict[int, _Queue] = {}
        self.stacks: dict[int, list[Any]] = {}
        self._next = 0x10000
        #: Page-locked host memory, address to bytes; kernels may use it as well.
        self.pinned: dict[int, int] = {}

    def call(self, name: str, needs_context: bool = True) -> None:
        """Count a driver call, and fail if it is this one's turn."""
        self.calls += 1
        if self.fail_at is not None and (
                self.calls == self.fail_at or (
                    self.sticky and self.calls > self.fail_at)):
            raise Error(f'{name} failed: {self.sentence}')
        if needs_context and not self.stacks.get(threading.get_ident()):
            raise Error(f'{name} failed: invalid device context')

    def view(self, address: int, size: int) -> np.ndarray:
        """Return what a kernel sees at an address: device memory, or page-locked host memory."""
        if address in self.memory:
            return self.memory[address][:size]
        assert self.pinned.get(address, 0) >= size, f'a kernel was given the address {address}'
        # Not through the array, whose owners are counted.
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def handle(self, size: int = 1) -> int:
        """Return a fresh address or handle."""
        address, self._next = self._next, self._next + (size + 511) // 256 * 256
        return address

    def install(self, monkeypatch: Any, graphs: bool = True) -> StandInCuda:
        """Put the modules where imports find them; without `graphs` cuda-bindings is missing."""
        driver = self._driver_module()
        package = ModuleType('pycuda')
        package.driver = driver  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, 'pycuda', package)
        monkeypatch.setitem(sys.modules, 'pycuda.driver', driver)
        from resnet_trt_node.backends.cuda import device as cuda
        monkeypatch.setattr(cuda, '_primary_contexts', {})
        monkeypatch.setattr(cuda, '_of_thread', threading.local())
        bindings = ModuleType('cuda.bindings')
        if graphs:
            bindings.driver = _bindings(self)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, 'cuda', ModuleType('cuda'))
        monkeypatch.setitem(sys.modules, 'cuda.bindings', bindings)
        return self

    def _driver_module(self) -> Any:
        cuda = self
        module: Any = ModuleType('pycuda.driver')
        module.Error = Error
        module.init = lambda: cuda.call('cuInit', needs_context=False)
        module.event_flags = SimpleNamespace(DISABLE_TIMING=2, BLOCKING_SYNC=1)
        module.device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT='multiprocessors')

        class Device:

            def __init__(self, index: int) -> None:
                self._index = index

            @staticmethod
            def count() -> int:
                cuda.call('cuDeviceGetCount', needs_context=False)
                return len(cuda.names)

            def name(self) -> str:
                return cuda.names[self._index]

            def compute_capability(self) -> tuple[int, int]:
                return cuda.capability

            def get_attribute(self, attribute: str) -> int:
                assert attribute == 'multiprocessors'
                return cuda.multiprocessors

            def retain_primary_context(self) -> Context:
                cuda.call('cuDevicePrimaryCtxRetain', needs_context=False)
                return Context()

        class Context:

            def push(self) -> None:
                cuda.call('cuCtxPushCurrent', needs_context=False)
                cuda.stacks.setdefault(threading.get_ident(), []).append(self)

            @staticmethod
            def pop() -> None:
                # Works after an illegal access too: it asks nothing of the device.
                cuda.stacks[threading.get_ident()].pop()

            @staticmethod
            def synchronize() -> None:
                cuda.call('cuCtxSynchronize')

        class Allocation:

            def __init__(self, size: int) -> None:
                cuda.call('cuMemAlloc')
                self._address = cuda.handle(size)
                cuda.memory[self._address] = np.full(size, 0xCD, np.uint8)
                cuda.held['device memory'] += 1

            def __int__(self) -> int:
                return self._address

            def free(self) -> None:
                cuda.held['device memory'] -= 1
                del cuda.memory[self._address]
                cuda.call('cuMemFree')

        def pagelocked_zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            cuda.call('cuMemHostAlloc')
            array = _Pinned(cuda, shape, dtype).array
            cuda.pinned[array.ctypes.data] = array.nbytes
            return array

        def copy_in(address: int, source: np.ndarray, stream: Stream) -> None:
            cuda.call('cuMemcpyHtoDAsync')
            assert source.flags.c_contiguous

            def copy() -> None:
                cuda.memory[address][:source.nbytes] = np.frombuffer(source.data, np.uint8)
            cuda.streams[stream.handle].add(copy)

        def copy_out(target: np.ndarray, address: int, stream: Stream) -> None:
            cuda.call('cuMemcpyDtoHAsync')

            def copy() -> None:
                target.view(np.uint8).reshape(-1)[:] = cuda.memory[address][:target.nbytes]
            cuda.streams[stream.handle].add(copy)

        class Stream:

            def __init__(self) -> None:
                cuda.call('cuStreamCreate')
                self.handle = cuda.handle()
                cuda.streams[self.handle] = _Queue()
                cuda.held['stream'] += 1

            def synchronize(self) -> None:
                cuda.streams[self.handle].run()
                cuda.call('cuStreamSynchronize')

            def __del__(self) -> None:
                if hasattr(self, 'handle'):
                    cuda.held['stream'] -= 1

        class Event:

            def __init__(self, flags: int) -> None:
                self.stream: Any = None
                cuda.call('cuEventCreate')
                cuda.held['event'] += 1
                self.made = True

            def record(self, stream: Stream) -> None:
                cuda.call('cuEventRecord')
                self.stream = stream

            def synchronize(self) -> None:
                if self.stream is not None:
                    cuda.streams[self.stream.handle].run()
                cuda.call('cuEventSynchronize')

            def __del__(self) -> None:
                if hasattr(self, 'made'):
                    cuda.held['event'] -= 1

        module.Device, module.Context, module.Stream, module.Event = Device, Context, Stream, Event
        module.mem_alloc = Allocation
        module.mem_get_info = lambda: (
            (1 << 30) - sum(block.nbytes for block in cuda.memory.values()), 1 << 30)
        module.pagelocked_zeros = pagelocked_zeros
        module.memcpy_htod_async, module.memcpy_dtoh_async = copy_in, copy_out
        return module

    def nothing_held(self) -> bool:
        """Tell whether everything was freed and no context is current anywhere."""
        return not any(self.held.values()) and not any(self.stacks.values())


class _Queue:
    """A stream: work that waits, or a recording of it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.recording: Optional[list[Callable[[], None]]] = None

    def add(self, work: Callable[[], None]) -> None:
        (self.waiting if self.recording is None else self.recording).append(work)

    def run(self) -> None:
        assert self.recording is None, 'waiting for a stream that is recorded is an error'
        while self.waiting:
            self.waiting.pop(0)()


class _Pinned:
    """Page-locked memory that is freed with its last view, as pycuda's is."""

    def __init__(self, cuda: StandInCuda, shape: tuple[int, ...], dtype: Any) -> None:
        class Array(np.ndarray):

            def __array_finalize__(self, other: Any) -> None:
                self.owner = getattr(other, 'owner', None)

        class Owner:

            def __init__(self) -> None:
                cuda.held['host memory'] += 1

            def __del__(self) -> None:
                cuda.held['host memory'] -= 1

        self.array = np.zeros(shape, dtype).view(Array)
        self.array.owner = Owner()


def _bindings(cuda: StandInCuda) -> Any:
    """Return a stand-in for cuda.bindings.driver."""
    class Result(IntEnum):

        CUDA_SUCCESS = 0
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900

    def guarded(name: str) -> Result:
        try:
            cuda.call(name)
        except Error:
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
