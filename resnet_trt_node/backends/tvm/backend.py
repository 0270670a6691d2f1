"""The backend that compiles a model for this very processor: Apache TVM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import shutil
from typing import Any, TYPE_CHECKING, Union

import numpy as np

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.engines.cache import BuiltEngine, EngineCache
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.backends.engines.key import EngineKey
from resnet_trt_node.backends.host_buffers import host_buffers
from resnet_trt_node.backends.options import (
    called, choice, EngineOptions, number, TVM_TARGETS)
from resnet_trt_node.backends.tvm.cpu import Cpu
from resnet_trt_node.backends.tvm.cuda import Gpu
from resnet_trt_node.backends.tvm.runtime import lines_of, load_tvm
from resnet_trt_node.contract.model_file import naming, parse_model, read_model, spec_in
from resnet_trt_node.errors import (
    BackendError, BackendUnavailable, InferenceError, UsageError)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Changes when the generated code does though TVM and model are the same.
_CODE = '2'


@dataclass(frozen=True)
class TvmOptions(EngineOptions):
    """
    Options of the TVM backend.

    :param threads: threads that infer, 0 for every core.
    :param tvm_target: what to compile for; auto is the GPU where TVM can use one, else the CPU.
    """

    threads: int = number(0, 0, 1024)
    tvm_target: str = choice('auto', TVM_TARGETS)


class TvmBackend(Backend):
    """
    A deployable model as a module that TVM compiled, kept like an engine.

    On the CPU one function serves every batch size: the number of frames is a variable in its
    loops. For a GPU there is one for each power of two, and a batch is cut into these. Inference
    happens in `submit`.

    :param path: the deployable ONNX file; it is compiled at the first opening.
    :param options: how to open it.
    :raises BackendUnavailable: if TVM is missing, or the GPU that was asked for, or a linker to
        compile with.
    :raises ModelError: if the model is not deployable or has operators that TVM does not know.
    :raises BackendError: if it cannot be compiled or loaded.
    """

    asynchronous = False
    options_type = TvmOptions

    def __init__(self, path: Union[str, Path], options: TvmOptions) -> None:
        tvm = load_tvm()
        path = Path(path)
        # Whether that is all of the model is looked at before an engine is built of it.
        data = read_model(path)
        target = _choose_target(tvm, options)
        largest = options.max_batch_size
        key = EngineKey(
            path.stem, sha256_of(data), 'tvm', str(tvm.__version__), target.name,
            target.architecture, ((1, largest, largest),),
            tuple(sorted({'code': _CODE, **target.settings}.items())))

        def build(timing_cache: bytes) -> BuiltEngine:
            model = parse_model(data, path)
            spec = spec_in(model, path)
            _check_linker()
            try:
                with naming(path):
                    return BuiltEngine(target.compile_library(model, largest), spec)
            except (RuntimeError, ValueError, TypeError, OSError) as error:
                raise BackendError(
                    f'TVM {tvm.__version__} cannot compile {path} ({lines_of(error)[-1]}): use '
                    'another backend, such as onnxruntime') from error

        engine = EngineCache(options.engine_dir, options.log).get(key, build)
        self._results: dict[int, NDArray[np.float32]] = {}
        self._run = target.load(engine.plan, engine.spec, largest)
        super().__init__(
            engine.spec,
            BackendInfo('tvm', str(tvm.__version__), target.device, {
                **engine.details, **target.details}),
            host_buffers(engine.spec, options))

    def _submit(self, batch_size: int, index: int) -> None:
        try:
            self._results[index] = self._run(self._buffers[index][:batch_size])
        except RuntimeError as error:
            raise InferenceError(f'TVM failed on a batch of {batch_size}: {error}') from error

    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        return self._results[index]

    def _close(self) -> None:
        self._results.clear()
        del self._run


def _choose_target(tvm: Any, options: TvmOptions) -> Union[Cpu, Gpu]:
    """
    Return the processor that `tvm_target` names; auto takes the CPU where there is no GPU.

    :raises BackendUnavailable: if the GPU was asked for and cannot be used.
    :raises UsageError: for an option that the processor which was asked for does not use.
    """
    target: Union[Cpu, Gpu, None] = None
    if options.tvm_target != 'cpu':
        try:
            target = Gpu(tvm, options.device)
        except BackendUnavailable as error:
            if options.tvm_target == 'cuda':
                raise
            options.log(f'TVM compiles for the CPU: {error}')
    option, other = ('device', 'CPU') if target is None else ('threads', 'GPU')
    if getattr(options, option) != getattr(TvmOptions, option):
        reason = f'{called(option)} has no effect where TVM computes on the {other}'
        if options.tvm_target != 'auto':
            raise UsageError(f'{reason}: leave it out, or set another tvm_target')
        options.log(reason)
    return target or Cpu(tvm, options.threads)


def _check_linker() -> None:
    if not any(shutil.which(name) for name in ('g++', 'gcc', 'clang++', 'clang', 'c++', 'cc')):
        raise BackendUnavailable(
            'TVM needs a C++ compiler to link what it compiled, and there is none: '
            'apt install g++, or build the engine on another machine of this kind')
