"""One way to a compiled module, for the backend and for `resnet_trt tune`: stored, or built."""

from __future__ import annotations

from dataclasses import dataclass
import os
from pathlib import Path
import tempfile
from typing import Any, Callable, Union

from resnet_trt_node.backends.engines.cache import (
    BuiltEngine, CachedEngine, default_engine_dir, EngineCache)
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.backends.engines.key import EngineKey
from resnet_trt_node.backends.options import (
    called, check_precision, choice, EngineOptions, number, TVM_TARGETS)
from resnet_trt_node.backends.tvm.compiler import compile_for_gpu, compile_model
from resnet_trt_node.backends.tvm.cuda import (
    architecture_of, choose_compiler, open_gpu, target_of)
from resnet_trt_node.backends.tvm.database import TuningDatabase
from resnet_trt_node.backends.tvm.runtime import host_processor, physical_cores, Processor
from resnet_trt_node.contract.model_file import read_model
from resnet_trt_node.errors import BackendError, BackendUnavailable, UsageError

Log = Callable[[str], None]

#: Changes when the generated code does though TVM, model and tiles are the same.
_CODE = '1'


@dataclass(frozen=True)
class TvmOptions(EngineOptions):
    """
    What the TVM backend can be told.

    :param cpu_threads: threads that infer, 0 for every core.
    :param tvm_target: what to compile for; auto is the GPU where TVM can use one, else the CPU.
    """

    cpu_threads: int = number(0, 0, 1024)
    tvm_target: str = choice('auto', TVM_TARGETS)


@dataclass(frozen=True)
class ModuleSource:
    """
    Where the compiled module of a model comes from.

    :param tvm: the package.
    :param path: the deployable ONNX file.
    :param options: `engine_dir`, `precision`, `max_batch_size`, `cpu_threads`, `device_id` and
        `tvm_target` are used.
    :param processor: the CPU to compile for.
    :param threads: how many compute.
    :param database: tiles found by measuring, of the CPU.
    :param gpu: TVM's device, None where the CPU computes.
    :param key: what the module is known by.
    :param cache: the folder.
    """

    tvm: Any
    path: Path
    options: TvmOptions
    processor: Processor
    threads: int
    database: TuningDatabase
    gpu: Any
    key: EngineKey
    cache: EngineCache

    @classmethod
    def of(cls, tvm: Any, path: Union[str, Path], options: TvmOptions,
           log: Log) -> ModuleSource:
        """
        Find out what module is wanted; nothing is compiled yet.

        :raises ModelError: if there is no such file.
        :raises BackendUnavailable: if the GPU was asked for and cannot be used.
        :raises BackendError: for a tuning database that cannot be used.
        """
        path = Path(path)
        # Whether that is all of the model is looked at before an engine is built of it.
        model_sha256 = sha256_of(read_model(path))
        processor = host_processor()
        threads = options.cpu_threads or physical_cores()
        database = open_database(tvm, processor, threads, options)
        gpu = _gpu(tvm, options, log)
        _check_target(options, gpu is not None, log)
        device, features = (processor.name, ' '.join(processor.features)) if gpu is None else (
            str(gpu.device_name), architecture_of(gpu))
        settings = {'threads': str(threads), 'tuning': database.digest()} if gpu is None else {
            'compiler': choose_compiler()}
        largest = options.max_batch_size
        key = EngineKey(
            path.stem, model_sha256, 'tvm', str(tvm.__version__), device, features,
            ((1, largest, largest),), tuple(sorted({'code': _CODE, **settings}.items())))
        return cls(tvm, path, options, processor, threads, database, gpu, key,
                   EngineCache(options.engine_dir, log))

    def get(self, force: bool = False, must_store: bool = False) -> CachedEngine:
        """
        Return the module, compiled if need be; arguments and errors as `EngineCache.get`.

        :raises ModelError: for a model that is not deployable, of another precision, or with
            operators that TVM does not know.
        """
        def build(timing_cache: bytes) -> BuiltEngine:
            if self.gpu is not None:
                return compile_for_gpu(
                    self.tvm, self.path, self.key.model_sha256, target_of(self.tvm, self.gpu),
                    self.options.max_batch_size)
            return compile_model(
                self.tvm, self.path, self.key.model_sha256, self.processor, self.database,
                self.options.max_batch_size)

        engine = self.cache.get(self.key, build, force, must_store)
        check_precision(engine.spec, self.options.precision)
        return engine


def _gpu(tvm: Any, options: TvmOptions, log: Log) -> Any:
    """Return the GPU to compile for, None for the CPU."""
    if options.tvm_target == 'cpu':
        return None
    try:
        gpu = open_gpu(tvm, options.device_id)
        choose_compiler()
    except BackendUnavailable as error:
        if options.tvm_target == 'cuda':
            raise
        log(f'TVM compiles for the CPU: {error}')
        return None
    return gpu


def _check_target(options: TvmOptions, gpu: bool, log: Log) -> None:
    """
    Refuse an option that the target does not use, or say so where TVM chose the target.

    :raises UsageError: where the target was chosen by the user.
    """
    option = 'cpu_threads' if gpu else 'device_id'
    if getattr(options, option) == getattr(TvmOptions, option):
        return
    told = f'{called(option)} has no effect where TVM computes on the {"GPU" if gpu else "CPU"}'
    if options.tvm_target != 'auto':
        raise UsageError(f'{told}: leave it out, or set another tvm_target')
    log(told)


def open_database(
        tvm: Any, processor: Processor, threads: int, options: TvmOptions) -> TuningDatabase:
    """Open the tiles of a processor and a number of threads, in the folder of engines."""
    machine = (f'TVM {tvm.__version__}, {processor.name}, {threads} threads, '
               f'{" ".join(processor.features)}')
    return TuningDatabase(
        options.engine_dir or default_engine_dir(), machine, processor.registers)


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
