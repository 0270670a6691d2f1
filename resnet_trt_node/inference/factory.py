"""Opening a backend by name, or the best one that this machine can run."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Union

from resnet_trt_node.errors import BackendUnavailable, UsageError
from resnet_trt_node.inference.backend import Backend, BackendOptions

#: Name to (module, class); a module is imported only when its backend is opened.
BACKENDS = {
    'tensorrt': ('resnet_trt_node.inference.tensorrt_backend', 'TensorRtBackend'),
    'tensorrt_rtx': ('resnet_trt_node.inference.tensorrt_backend', 'TensorRtRtxBackend'),
    'onnxruntime': ('resnet_trt_node.inference.onnxruntime_backend', 'OnnxRuntimeBackend'),
    'tvm': ('resnet_trt_node.inference.tvm_backend', 'TvmBackend'),
    'simulated': ('resnet_trt_node.inference.simulated_backend', 'SimulatedBackend'),
}
#: What `auto` tries, best first.
AUTO_ORDER = ('tensorrt', 'tensorrt_rtx', 'onnxruntime')
BACKEND_CHOICES = ('auto', *BACKENDS)
_DEFAULT_OPTIONS = BackendOptions()


def open_backend(
        path: Union[str, Path], name: str = 'auto',
        options: BackendOptions = _DEFAULT_OPTIONS) -> Backend:
    """
    Open a deployable model.

    `auto` takes the first of `AUTO_ORDER` that this machine can run and says through
    `options.log` why the better ones cannot; a bad model is an error, never a reason to go on.

    :param path: the deployable ONNX file.
    :param name: one of `BACKEND_CHOICES`.
    :param options: what to open it with.
    :returns: an open backend; the calling thread owns it and closes it.
    :raises UsageError: for an unknown name.
    :raises BackendUnavailable: if the runtime or its device is missing.
    :raises ModelError: if the model cannot be used.
    """
    if name != 'auto':
        return _open(path, name, options)
    refusals = []
    for candidate in AUTO_ORDER:
        try:
            backend = _open(path, candidate, options)
        except BackendUnavailable as error:
            refusals.append(f'{candidate}: {error}')
            continue
        if refusals and options.log is not None:
            options.log(f'using {candidate}, since the better ones cannot be: '
                        + '; '.join(refusals))
        return backend
    raise BackendUnavailable('no backend can run here: ' + '; '.join(refusals))


def _open(path: Union[str, Path], name: str, options: BackendOptions) -> Backend:
    if name not in BACKENDS:
        raise UsageError(f'unknown backend {name!r}: choose one of {", ".join(BACKEND_CHOICES)}')
    module, cls = BACKENDS[name]
    backend: Backend = getattr(import_module(module), cls)(path, options)
    return backend
