"""Opening a backend by name, or the best one that this machine can run."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Callable, Collection, FrozenSet, Union

from resnet_trt_node.backends.base import Backend, BackendOptions
from resnet_trt_node.backends.option_check import (
    called, check_options, check_precision, narrowed, unknown_options)
from resnet_trt_node.errors import BackendUnavailable, ModelError, UsageError

#: Name to (module, class); a module is imported only when its backend is opened.
BACKENDS = {
    'tensorrt': ('resnet_trt_node.backends.tensorrt.backend', 'TensorRtBackend'),
    'tensorrt_rtx': ('resnet_trt_node.backends.tensorrt.backend', 'TensorRtRtxBackend'),
    'onnxruntime': ('resnet_trt_node.backends.onnxruntime', 'OnnxRuntimeBackend'),
    'tvm': ('resnet_trt_node.backends.tvm.backend', 'TvmBackend'),
    'simulated': ('resnet_trt_node.backends.simulated', 'SimulatedBackend'),
}
#: What `auto` tries, best first.
AUTO_ORDER = ('tensorrt', 'tensorrt_rtx', 'onnxruntime')
BACKEND_CHOICES = ('auto', *BACKENDS)
_DEFAULT_OPTIONS = BackendOptions()


def options_of(name: str) -> FrozenSet[str]:
    """
    Return the options that a backend uses besides the common ones, by its class.

    :param name: one of `BACKEND_CHOICES`; 'auto' uses what any backend does that it tries.
    :raises UsageError: for an unknown name.
    """
    if name == 'auto':
        return frozenset().union(*map(options_of, AUTO_ORDER))
    return _class_of(name).own_options


def open_backend(
        path: Union[str, Path], name: str = 'auto',
        options: BackendOptions = _DEFAULT_OPTIONS, implied: Collection[str] = ()) -> Backend:
    """
    Open a deployable model.

    `auto` takes the first of `AUTO_ORDER` that this machine can run and says through
    `options.log`, in one line, why the better ones cannot and which options are then without
    effect; a bad model is an error, never a reason to go on.

    :param path: the deployable ONNX file.
    :param name: one of `BACKEND_CHOICES`.
    :param options: what to open it with.
    :param implied: options that the caller chose by itself, or that are for another backend: one
        that does not use them may ignore them.
    :returns: an open backend; the calling thread owns it and closes it.
    :raises UsageError: for an unknown name, or an option that was set and has no effect.
    :raises BackendUnavailable: if the runtime or its device is missing.
    :raises ModelError: if the model cannot be used.
    """
    if name not in BACKEND_CHOICES:
        raise UsageError(f'unknown backend {name!r}: choose one of {", ".join(BACKEND_CHOICES)}')
    known = {choice: options_of(choice) for choice in ('auto', *BACKENDS)}
    check_options(name, options, known, implied)
    if name != 'auto':
        return _open(path, name, narrowed(options, known[name]))
    refusals = []
    for candidate in AUTO_ORDER:
        mine = options_of(candidate)
        try:
            backend = _open(path, candidate, narrowed(options, mine))
        except BackendUnavailable as error:
            refusals.append((candidate, error))
            continue
        told = [f'using {candidate}']
        if refusals:
            told.append('since the better ones cannot be: ' + '; '.join(
                f'{refused}: {_cause(error)}' for refused, error in refusals))
        idle = unknown_options(options, {*mine, *implied})
        if idle:
            told.append('on which these have no effect: ' + ', '.join(map(called, idle)))
        if len(told) > 1 and options.log is not None:
            options.log(', '.join(told))
        return backend
    raise BackendUnavailable('no backend can run here: ' + '; '.join(
        f'{candidate}: {error}' for candidate, error in refusals))


def _cause(error: BackendUnavailable) -> str:
    """Return an error without its advice, which is for who names that backend."""
    return str(error).partition('): ')[0] + ')' if '): ' in str(error) else str(error)


def _class_of(name: str) -> type[Backend]:
    if name not in BACKENDS:
        raise UsageError(f'unknown backend {name!r}: choose one of {", ".join(BACKEND_CHOICES)}')
    module, cls = BACKENDS[name]
    found: type[Backend] = getattr(import_module(module), cls)
    return found


def _open(path: Union[str, Path], name: str, options: BackendOptions) -> Backend:
    # Each class has parameters of its own.
    make: Callable[..., Backend] = _class_of(name)
    backend = make(path, options)
    try:
        check_precision(backend.spec, options.precision)
    except ModelError as error:
        backend.close()
        # The simulated backend needs no file.
        where = f'{path}: ' if str(path) not in ('', '.') else ''
        raise type(error)(f'{where}{error}') from error
    return backend
