"""Apache TVM itself: importing it, the processor to compile for, and the threads that compute."""

from __future__ import annotations

from dataclasses import dataclass
import os
from pathlib import Path
import threading
from typing import Any, Tuple

from resnet_trt_node.backends.tvm.workload import Registers
from resnet_trt_node.errors import BackendUnavailable

#: TVM reads these when a thread computes for the first time; a user's own values stay.
_ENVIRONMENT = {
    # Otherwise it binds the calling thread, which may be the node's, to one core for good.
    'TVM_BIND_THREADS': '0',
    # Otherwise its threads spin for milliseconds after each batch, and take the CPU from the
    # decoding and from every other node.
    'TVM_THREAD_POOL_SPIN_COUNT': '5000',
}
_configured = threading.local()


@dataclass(frozen=True)
class Processor:
    """
    The CPU that is compiled for.

    :param name: LLVM's name of it, such as 'znver5'.
    :param features: LLVM's names of what it can do, '+avx512f' and so on, sorted.
    :param triple: LLVM's name of the platform.
    """

    name: str
    features: Tuple[str, ...]
    triple: str

    @property
    def registers(self) -> Registers:
        """Return the vector registers."""
        if '+avx512vl' in self.features:
            return Registers(16, 32)
        if '+avx2' in self.features:
            return Registers(8, 16)
        # NEON; the SSE of an old x86 has 16 of them.
        return Registers(4, 32 if 'aarch64' in self.triple else 16)

    def target(self, tvm: Any) -> Any:
        """Return it as a tvm.target.Target."""
        values: dict[str, Any] = {'kind': 'llvm', 'mtriple': self.triple, 'mcpu': self.name}
        if self.features:
            values['mattr'] = list(self.features)
        return tvm.target.Target(values)


def load_tvm() -> Any:
    """
    Import TVM.

    :raises BackendUnavailable: if it is not installed or cannot be loaded.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # It counts half of the cores it sees, since it takes them for hyper-threads.
    os.environ.setdefault('TVM_NUM_THREADS', str(physical_cores()))
    try:
        import tvm
        import tvm.relax
        import tvm.s_tir
        import tvm.topi
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendUnavailable(
            f'Apache TVM cannot be imported ({error}): pip install apache-tvm') from error
    return tvm


def host_processor() -> Processor:
    """Return the CPU of this machine as TVM's LLVM names it."""
    from tvm_ffi import get_global_func
    prefix = 'tvm.codegen.llvm.'
    features = {
        str(name): bool(has)
        for name, has in get_global_func(f'{prefix}GetHostCPUFeatures')().items()}
    return Processor(
        str(get_global_func(f'{prefix}GetHostCPUName')()),
        tuple(sorted(f'+{name}' for name, has in features.items() if has)),
        str(get_global_func(f'{prefix}GetDefaultTargetTriple')()))


def physical_cores() -> int:
    """Return the cores that this process may use; two hyper-threads are one."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f'/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list')
        cores.add(siblings.read_text() if siblings.exists() else str(cpu))
    return len(cores)


def use_threads(count: int) -> None:
    """Let what this thread calls next compute with so many threads, its own included."""
    if getattr(_configured, 'count', None) == count:
        return
    from tvm_ffi import get_global_func
    get_global_func('runtime.config_threadpool')(1, count)
    _configured.count = count
