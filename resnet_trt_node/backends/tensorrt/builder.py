"""Compiling a deployable model with any flavour of TensorRT: parse, configure, build, explain."""

from __future__ import annotations

from math import isqrt
from pathlib import Path
from typing import Any, Tuple

from resnet_trt_node.backends.engines.cache import BuiltEngine
from resnet_trt_node.backends.options import check_precision, HOW_TO_MAKE
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.log import TensorRtLog
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.backends.tensorrt.progress import BuildProgress
from resnet_trt_node.contract.model_file import naming, parse_model, spec_of
from resnet_trt_node.contract.sparsity import SparseBuild, two_four_layers
from resnet_trt_node.contract.spec import INPUT_NAME
from resnet_trt_node.errors import BackendError, BackendUnavailable, ModelError, UsageError

#: (smallest, tuned for, largest) batch size.
Profile = Tuple[int, int, int]

#: TensorRT-RTX multiplies no fp32 matrices on it.
_TURING = '7.5'


def split_profiles(
        smallest: int, tuned: Tuple[int, ...], largest: int) -> Tuple[Profile, ...]:
    """
    Divide batch sizes among the sizes that an engine is tuned for.

    A kernel that is best at 64 is slow at 1, so each tuned size gets a profile; the border
    between two is their geometric mean, since what counts is the ratio.

    :param smallest: smallest batch.
    :param tuned: rising sizes; () for the largest alone.
    :param largest: largest batch.
    :returns: profiles that cover smallest..largest without overlap, rising.
    :raises UsageError: if a tuned size is outside.
    """
    if not 1 <= smallest <= (tuned or (largest,))[0] or (tuned or (largest,))[-1] > largest:
        raise UsageError(
            f'batch sizes {smallest} to {largest}, tuned for {list(tuned) or largest}: '
            'choose smallest <= tuned <= largest')
    sizes = tuned or (largest,)
    lows = [smallest] + [isqrt(low * high) + 1 for low, high in zip(sizes, sizes[1:])]
    highs = [low - 1 for low in lows[1:]] + [largest]
    return tuple(zip(lows, sizes, highs))


class EngineBuilder:
    """
    Builds one engine with one TensorRT module.

    :param trt: the module, from `versions.load_module`.
    :param path: where the model is from, for messages.
    :param data: the deployable ONNX file.
    :param options: what to tell the builder, and the log of progress and TensorRT's warnings; of
        a model, their `precision` refuses any other.
    :param profiles: batch sizes of each optimisation profile, rising.
    """

    def __init__(
            self, trt: Any, path: Path, data: bytes, options: TensorRtOptions,
            profiles: Tuple[Profile, ...]) -> None:
        self._trt = trt
        self._path = path
        self._data = data
        self._options = options
        self._profiles = profiles
        self._dla = options.dla_core is not None

    def build(self, timing_cache: bytes = b'') -> BuiltEngine:
        """
        Compile the model.

        :param timing_cache: what an earlier build of this machine left, b'' for none.
        :raises ModelError: if the model is not deployable, has another precision, or TensorRT's
            parser refuses it.
        :raises BackendUnavailable: without a GPU or DLA that the build needs.
        :raises BackendError: if TensorRT cannot build it.
        """
        self.check_model()
        with TensorRtLog(self._trt, self._options.log) as self._trt_log:
            return self._build(timing_cache)

    def check_model(self) -> None:
        """
        Read the model.

        :raises ModelError: if it is not deployable or has another precision.
        """
        self._model = parse_model(self._data, self._path)
        with naming(self._path):
            self._spec = spec_of(self._model)
            check_precision(self._spec, self._options.precision)

    def _build(self, timing_cache: bytes) -> BuiltEngine:
        path, options, spec = self._path, self._options, self._spec
        builder = self._make_builder()
        config = builder.create_builder_config()
        self._configure(config)
        if self._dla:
            self._use_dla(builder, config)
        network = builder.create_network(versions.network_flags(self._trt, self._dla))
        self._parse(network)
        sparse = self._find_sparse() if options.sparse_weights else None
        self._add_profiles(builder, config)
        timing: Any = None
        if versions.keeps_timings(self._trt):
            # False: a cache of another GPU is refused, and a new one takes its place.
            for content in (timing_cache, b''):
                timing = config.create_timing_cache(content)
                if config.set_timing_cache(timing, False):
                    break
        with BuildProgress(self._trt, config, path.name, options.log) as progress:
            plan = builder.build_serialized_network(network, config)
            progress.check()
        if plan is None:
            why = self._trt_log.explain()
            raise BackendError(f'TensorRT cannot build {path}: {why}; ' + (
                f'Turing takes fp16: `{HOW_TO_MAKE["fp16"]}`'
                if options.target_sm == _TURING and spec.precision == 'fp32' else
                'it puts its lean runtime into the engine: name the folder of that library in '
                'LD_LIBRARY_PATH, see docs/how-to/gpu.md'
                if options.version_compatible and 'lean' in why else
                'try another optimisation level, more workspace or a smaller batch'))
        sparsity = None if sparse is None else SparseBuild.of_log(sparse, self._trt_log.sparsity)
        if sparsity is not None:
            options.log(f'sparse weights: {sparsity.describe()}')
        return BuiltEngine(
            bytes(plan), spec, bytes(timing.serialize()) if timing else b'', sparsity)

    def _find_sparse(self) -> int:
        """Return how many layers are 2:4; a model without any is built all the same."""
        count = len(two_four_layers(self._model))
        if not count:
            self._options.log(
                f'sparse weights were asked for, but no layer of {self._path} is 2:4: the engine '
                'will be an ordinary one; make a 2:4 model with `resnet_trt prune`, or do not ask')
        return count

    def _make_builder(self) -> Any:
        try:
            return self._trt.Builder(self._trt_log.logger)
        except TypeError as error:
            # What pybind makes of a null pointer: there is no GPU, or no driver for it.
            raise BackendUnavailable(
                f'TensorRT finds no GPU to build on: {self._trt_log.explain()}') from error

    def _configure(self, config: Any) -> None:
        trt, options = self._trt, self._options
        config.builder_optimization_level = options.optimization_level
        versions.time_carefully(trt, config)
        if options.workspace_mib:
            config.set_memory_pool_limit(
                trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
        # TensorRT's own default is on, which makes fp32 something else than fp32.
        (config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
        if options.sparse_weights:
            config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        for flag in versions.precision_flags(trt, self._spec.precision, self._dla):
            config.set_flag(flag)
        versions.share_profiles(trt, config)
        versions.allow_graphs(trt, config)
        versions.restrict_tactics(trt, config)
        if options.target_sm is not None:
            versions.set_target(trt, config, options.target_sm)

    def _use_dla(self, builder: Any, config: Any) -> None:
        trt, core, cores = self._trt, self._options.dla_core or 0, builder.num_DLA_cores
        if cores == 0:
            raise BackendUnavailable(
                'this device has no deep learning accelerator: leave the DLA core out')
        if core >= cores:
            raise UsageError(f'DLA core {core}: this device has 0 to {cores - 1}')
        # Weakly typed builds leave QuantizeLinear pairs, and all between them, to the GPU.
        precision = self._spec.precision
        if precision == 'fp32' or (
                precision == 'int8' and not versions.is_strongly_typed(trt, dla=True)):
            raise ModelError(
                f'the model is {precision} and a DLA computes in fp16: make another with '
                f'`{HOW_TO_MAKE["fp16"]}`')
        smallest, largest = self._profiles[0][0], self._profiles[-1][-1]
        if smallest != largest:
            # TensorRT would run the whole network on the GPU, with warnings at the first start.
            raise UsageError(
                f'a DLA takes one batch size and this engine would take {smallest} to {largest}: '
                'set batch_size to 1')
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)

    def _parse(self, network: Any) -> None:
        parser = self._trt.OnnxParser(network, self._trt_log.logger)
        if parser.parse(self._data):
            return
        problems = [self._describe(parser.get_error(index)) for index in range(parser.num_errors)]
        raise ModelError(
            f"TensorRT's parser refuses {self._path}: "
            + ('; '.join(problems[:3]) or self._trt_log.explain())
            + '; export the model again with `resnet_trt export`, or replace that layer')

    def _describe(self, error: Any) -> str:
        """Return a parser's error with the layer that it is about."""
        node, nodes = error.node(), self._model.graph.node
        # 8.6 gives the node's place alone, and it is past the end if no node is to blame.
        known = nodes[node] if 0 <= node < len(nodes) else None
        name = versions.parser_error_layer(error) or getattr(known, 'name', '')
        operator = f' ({known.op_type})' if known is not None else ''
        return (f'layer {name!r}' if name else f'node {node}') + f'{operator}: {error.desc()}'

    def _add_profiles(self, builder: Any, config: Any) -> None:
        for sizes in self._profiles:
            profile = builder.create_optimization_profile()
            profile.set_shape(INPUT_NAME, *(
                (size, self._spec.height, self._spec.width, 3) for size in sizes))
            if config.add_optimization_profile(profile) < 0:
                raise BackendError(
                    f'TensorRT refuses the batch sizes {sizes}: {self._trt_log.explain()}')
