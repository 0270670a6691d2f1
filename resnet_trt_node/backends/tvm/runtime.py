"""Apache TVM itself: importing it, the threads that compute, and compiled modules as bytes."""

from __future__ import annotations

import os
from pathlib import Path
import tempfile
import threading
from typing import Any, Callable, TYPE_CHECKING

from resnet_trt_node.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

#: TVM reads these when a thread computes for the first time; a user's own values stay.
_ENVIRONMENT = {
    # Otherwise it binds the calling thread, which may be the node's, to one core for good.
    'TVM_BIND_THREADS': '0',
    # Otherwise its threads spin for milliseconds after each batch, and take the CPU from the
    # decoding and from every other node.
    'TVM_THREAD_POOL_SPIN_COUNT': '5000',
}
_configured = threading.local()


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


def lines_of(error: Exception) -> list[str]:
    """Return the lines of one of TVM's errors, at least one."""
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]


def build(tvm: Any, module: Any, target: Any) -> Any:
    """
    Compile a scheduled module.

    :returns: a tvm.relax.VMExecutable; on a GPU it captures CUDA graphs.
    """
    from tvm.relax.backend import cpu_generic, cuda
    on_gpu = target.kind.name == 'cuda'
    pipeline = (cuda if on_gpu else cpu_generic).pipeline
    with target, tvm.transform.PassContext(
            opt_level=3, config={'relax.backend.use_cuda_graph': on_gpu}):
        module = tvm.transform.Sequential([
            *pipeline.dataflow_lower_passes(target), *pipeline.finalize_passes(target)])(module)
        return tvm.relax.build(module, target=target, relax_pipeline=None)


def export_library(executable: Any) -> bytes:
    """Link a compiled module as a shared library and return what is in it."""
    with tempfile.TemporaryDirectory(prefix='resnet-trt-tvm-') as folder:
        library = Path(folder) / 'model.so'
        executable.export_library(str(library), workspace_dir=folder)
        return library.read_bytes()


def load_library(library: bytes) -> Any:
    """
    Load a compiled module.

    :param library: a shared library, checked.
    :returns: a tvm_ffi.Module; the library is unloaded with it.
    :raises BackendError: if it cannot be loaded.
    """
    import tvm_ffi
    # Never from the folder of engines: the bytes were checked, the file may change meanwhile.
    # Memory that has a name is not under a temporary folder's rule that nothing is executed.
    descriptor = os.memfd_create('resnet-trt-tvm', os.MFD_CLOEXEC)
    try:
        with open(descriptor, 'wb', closefd=False) as file:
            file.write(library)
        with tempfile.TemporaryDirectory(prefix='resnet-trt-tvm-') as folder:
            # TVM looks at the name's ending.
            link = Path(folder) / 'model.so'
            link.symlink_to(f'/proc/{os.getpid()}/fd/{descriptor}')
            return tvm_ffi.load_module(link, keep_module_alive=False)
    except (OSError, RuntimeError) as error:
        raise BackendError(
            f'the compiled module cannot be loaded ({error}): delete its engine, it is built '
            'again') from error
    finally:
        os.close(descriptor)
