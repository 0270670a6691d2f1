"""One way to an engine, for the backend and for `resnet_trt build`: stored, or built now."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
import os
from pathlib import Path
from shlex import quote
from typing import Any, Optional, Union

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.engines.cache import BuiltEngine, EngineCache
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.backends.engines.key import EngineKey
from resnet_trt_node.backends.options import check_precision
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.builder import EngineBuilder, split_profiles
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.contract.model_file import read_model
from resnet_trt_node.errors import BackendUnavailable, UsageError

#: The options that decide what is compiled, in the order of an engine's key.
_KEY_OPTIONS = (
    'dla_core', 'optimization_level', 'sparse_weights', 'target_sm', 'tf32',
    'version_compatible', 'workspace_mib')
#: Those of them that are no part of a key unless they are set.
_OFTEN_UNSET = ('target_sm', 'version_compatible')
#: Those that a node and a command may set away from their defaults.
NODE_OPTIONS = ('optimization_level', 'workspace_mib', 'tf32', 'sparse_weights', 'dla_core')


class EngineSource:
    """
    Where the engine of a model comes from; nothing is built yet.

    :param trt: the TensorRT module.
    :param flavour: its name in `versions.FLAVOURS`.
    :param path: the deployable ONNX file.
    :param options: how to build the engine, and the log.
    :param device: the GPU that will run it, current in this thread; None only together with
        `options.target_sm`.
    :param min_batch_size: smallest batch that the engine must take.
    :raises ModelError: if there is no such file.
    :raises UsageError: for a target that cannot be compiled for, or if the smallest batch is
        larger than one that the engine is tuned for.
    :raises BackendUnavailable: if this flavour knows no engine for the device.
    """

    def __init__(
            self, trt: Any, flavour: str, path: Union[str, Path], options: TensorRtOptions,
            device: Optional[CudaDevice], min_batch_size: int = 1) -> None:
        path = Path(path)
        # Whether that is all of the model is looked at before an engine is built of it.
        data = read_model(path)
        profiles = split_profiles(
            min_batch_size, options.opt_batch_sizes, options.max_batch_size)
        name, capability = _device_key(trt, flavour, options, device)
        if versions.can_target(trt):
            # Left to itself, RTX compiles for its usual GPUs, to which Turing does not belong.
            options = replace(options, target_sm=capability)
        #: How the engine is built; with TensorRT-RTX they say for which compute capability.
        self.options = options
        version, builder = str(trt.__version__), ''
        if options.version_compatible:
            version, builder = builder, version
            if versions.can_target(trt):
                raise BackendUnavailable(
                    f'{flavour} builds none that later versions run (it has no lean runtime): '
                    'leave version_compatible out, or use tensorrt')
        #: What the engine is known by, its profiles among it.
        self.key = EngineKey(
            path.stem, sha256_of(data), versions.builds_for(flavour), version, name, capability,
            profiles,
            tuple((option, str(getattr(options, option)).lower()) for option in _KEY_OPTIONS
                  if option not in _OFTEN_UNSET or getattr(options, option)), builder)
        self.cache = EngineCache(options.engine_dir, options.log)
        self._builder = EngineBuilder(trt, path, data, options, profiles)
        self._path = path
        self._can_build = versions.can_build(trt)

    def get(self, force: bool = False, must_store: bool = False) -> BuiltEngine:
        """
        Return the engine, built if need be and possible.

        Arguments and errors are those of `EngineCache.get`, or `find` where nothing can be built.

        :raises ModelError: for a model that is not deployable or of another precision.
        """
        if not self._can_build:
            return self._find()
        engine = self.cache.get(self.key, self._builder.build, force, must_store)
        check_precision(engine.spec, self.options.precision)
        return engine

    def _find(self) -> BuiltEngine:
        try:
            engine = self.cache.find(self.key)
        except BackendUnavailable as error:
            # A bad model is the better reason, that onnx is missing is not.
            with suppress(BackendUnavailable):
                self._builder.check_model()
            raise BackendUnavailable(
                f'no engine to run ({error}): {self.how_to_build()}') from error
        check_precision(engine.spec, self.options.precision)
        return engine

    def how_to_build(self) -> str:
        """Return where and how to build the engine, for a runtime that cannot."""
        key, tuned = self.key, [opt for _, opt, _ in self.key.profiles]
        words = ['resnet_trt build', quote(self._path.name), '--version-compatible',
                 f'--batch-size {key.profiles[-1][-1]}']
        if tuned != sorted({1, key.profiles[-1][-1]}):
            words.append(f'--opt-batch-size {",".join(map(str, tuned))}')
        for name in NODE_OPTIONS:
            value = getattr(self.options, name)
            if value != getattr(TensorRtOptions, name):
                flag = f'--{name.replace("_", "-")}'
                words.append(flag if value is True else f'{flag} {value}')
        return (f'build it on a machine with {key.flavour} and the same GPU ({key.device}) with '
                f'`{" ".join(words)}`, as a user with the same numeric id ({os.geteuid()}), and '
                f'copy its .engine and .json to {self.cache.folder}')


def _device_key(
        trt: Any, flavour: str, options: TensorRtOptions,
        device: Optional[CudaDevice]) -> tuple[str, str]:
    """Return the GPU's name and compute capability as an engine depends on them."""
    if not versions.can_target(trt):
        if options.target_sm is not None:
            raise UsageError(
                f'{flavour} compiles for the GPU at hand only: leave the target out, or compile '
                'with tensorrt_rtx')
        if device is None:
            raise BackendUnavailable(f'{flavour} needs the GPU to compile for')
        # Every Jetson Orin is called Orin, and TensorRT's engines are for one exact GPU.
        return f'{device.name}, {device.multiprocessors} SMs', device.compute_capability
    capability = options.target_sm or (device.compute_capability if device else '')
    known = versions.known_targets(trt)
    if capability not in known:
        kind = UsageError if options.target_sm is not None else BackendUnavailable
        raise kind(
            f'{flavour} {trt.__version__} has no kernels for compute capability '
            f'{capability or "of an unknown GPU"}: it knows {", ".join(known)}')
    # Its engines run on every GPU of their compute capability.
    return '', capability
