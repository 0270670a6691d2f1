"""
Stand-ins for pycuda and cuda-bindings: they count what is held and fail on demand.

Work that is enqueued runs only when somebody waits for it, so that a test notices a buffer that is
read or reused too early. Every call checks that a context is current in the calling thread.
"""

from __future__ import annotations

from collections import Counter
import ctypes
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any, Callable, Optional

import numpy as np

from stand_ins.standin_bindings import compiler_bindings, driver_bindings, pinned_zeros


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
        self.error = Error
        self.capability = (8, 9)
        self.attributes = {'multiprocessors': 16, 'integrated': 0}
        #: What a launched kernel does, called with the arguments behind its grid's depth.
        self.kernel: Optional[Callable[..., object]] = None
        #: What was compiled: the options, then the text.
        self.compiled: list[tuple[list[bytes], bytes]] = []
        self.fail_at = fail_at
        self.sentence = sentence
        self.sticky = sticky
        self.calls = 0
        self.held: Counter[str] = Counter()
        self.memory: dict[int, np.ndarray] = {}
        self.streams: dict[int, _Queue] = {}
        self.stacks: dict[int, list[Any]] = {}
        #: The thread that retained the primary context.
        self.retained_by = 0
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
        if needs_context and not self.has_context():
            raise Error(f'{name} failed: invalid device context')

    def can_free(self) -> bool:
        """Tell whether pycuda frees memory when its last name goes in the calling thread."""
        return self.has_context() or threading.get_ident() == self.retained_by

    def has_context(self) -> bool:
        """Tell whether a context is current in the calling thread."""
        return bool(self.stacks.get(threading.get_ident()))

    def view(self, address: int, size: int) -> np.ndarray:
        """Return what a kernel sees at an address: device memory, or page-locked host memory."""
        if (memory := self.find(address, size)) is not None:
            return memory
        assert self.pinned.get(address, 0) >= size, f'a kernel was given the address {address}'
        # Not through the array, whose owners are counted.
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def find(self, address: int, size: int) -> Optional[np.ndarray]:
        """Return the device memory at an address, None where so much was not allocated."""
        for start, block in self.memory.items():
            if start <= address and address + size <= start + block.nbytes:
                return block[address - start:address - start + size]
        return None

    def device(self, address: int, size: int) -> np.ndarray:
        """Return the device memory at an address."""
        memory = self.find(address, size)
        assert memory is not None, f'{size} bytes at {address} are no device memory'
        return memory

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
            bindings.driver = driver_bindings(self)  # type: ignore[attr-defined]
            bindings.nvrtc = compiler_bindings(self)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, 'cuda', ModuleType('cuda'))
        monkeypatch.setitem(sys.modules, 'cuda.bindings', bindings)
        return self

    def _driver_module(self) -> Any:
        cuda = self
        module: Any = ModuleType('pycuda.driver')
        module.Error = Error
        module.get_driver_version = lambda: 12040
        module.init = lambda: cuda.call('cuInit', needs_context=False)
        module.event_flags = SimpleNamespace(DISABLE_TIMING=2, BLOCKING_SYNC=1)
        module.device_attribute = SimpleNamespace(
            MULTIPROCESSOR_COUNT='multiprocessors', INTEGRATED='integrated')

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
                return cuda.attributes[attribute]

            def retain_primary_context(self) -> Context:
                cuda.call('cuDevicePrimaryCtxRetain', needs_context=False)
                cuda.retained_by = threading.get_ident()
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
                # At a real address, for kernels that are compiled for the CPU.
                whole = np.full(size + 256, 0xCD, np.uint8)
                start = -whole.ctypes.data % 256
                self._address = whole.ctypes.data + start
                cuda.memory[self._address] = whole[start:start + size]
                cuda.held['device memory'] += 1

            def __int__(self) -> int:
                return self._address

            def free(self) -> None:
                cuda.held['device memory'] -= 1
                del cuda.memory[self._address]
                cuda.call('cuMemFree')

        def pagelocked_zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            cuda.call('cuMemHostAlloc')
            array = pinned_zeros(cuda, shape, dtype)
            cuda.pinned[array.ctypes.data] = array.nbytes
            return array

        def copy_in(address: int, source: np.ndarray, stream: Stream) -> None:
            cuda.call('cuMemcpyHtoDAsync')
            assert source.flags.c_contiguous

            def copy() -> None:
                cuda.device(address, source.nbytes)[:] = np.frombuffer(source.data, np.uint8)
            cuda.streams[stream.handle].add(copy)

        def copy_out(target: np.ndarray, address: int, stream: Stream) -> None:
            cuda.call('cuMemcpyDtoHAsync')

            def copy() -> None:
                target.view(np.uint8).reshape(-1)[:] = cuda.device(address, target.nbytes)
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

        class Function:

            def __init__(self, name: str) -> None:
                self.name = name

            def prepare(self, arguments: str) -> None:
                self._number = len(arguments)

            def prepared_async_call(
                    self, grid: tuple[int, int, int], block: tuple[int, int, int],
                    stream: Stream, *arguments: int) -> None:
                cuda.call('cuLaunchKernel')
                assert len(arguments) == self._number
                assert cuda.kernel is not None
                kernel = cuda.kernel
                cuda.streams[stream.handle].add(lambda: kernel(grid[2], *arguments))

        def module_from_buffer(binary: bytes) -> Any:
            cuda.call('cuModuleLoadDataEx')
            if not binary.startswith(b'compiled'):
                raise Error('cuModuleLoadDataEx failed: device kernel image is invalid')
            return SimpleNamespace(get_function=Function)

        class Memcpy2D:

            src_pitch = dst_pitch = width_in_bytes = height = 0

            def set_src_host(self, source: np.ndarray) -> None:
                assert source.flags.c_contiguous
                self.source = source

            def set_dst_device(self, address: int) -> None:
                self.address = address

            def __call__(self, stream: Stream) -> None:
                cuda.call('cuMemcpy2DAsync')
                source, width, rows = self.source, self.width_in_bytes, self.height
                assert source.nbytes == (rows - 1) * self.src_pitch + width
                first, pitch, step = self.address, self.dst_pitch, self.src_pitch

                def copy() -> None:
                    for row in range(rows):
                        cuda.device(first + row * pitch, width)[:] = source[
                            row * step:row * step + width]
                cuda.streams[stream.handle].add(copy)

        module.Memcpy2D = Memcpy2D
        module.module_from_buffer = module_from_buffer
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
