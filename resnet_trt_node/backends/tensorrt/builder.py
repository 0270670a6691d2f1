"""Compiling a deployable model with any flavour of TensorRT: parse, configure, build, explain."""

from __future__ import annotations

from math import isqrt
from pathlib import Path
from typing import Any, Callable, Tuple, Union

from resnet_trt_node.backends.engines.cache import BuiltEngine
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.backends.options import check_precision, HOW_TO_MAKE
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.log import TensorRtLog
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.backends.tensorrt.progress import BuildProgress
from resnet_trt_node.contract.model_file import naming, parse_model, read_model, spec_of
from resnet_trt_node.contract.sparsity import SparseBuild, two_four_layers
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec
from resnet_trt_node.errors import BackendError, BackendUnavailable, ModelError, UsageError

#: (smallest, tuned for, largest) batch size.
Profile = Tuple[int, int, int]
Log = Callable[[str], None]

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

    :param trt: the module, from `tensorrt_versions.load_module`.
    :param log: told of progress and of TensorRT's warnings.
    """

    def __init__(self, trt: Any, log: Log) -> None:
        self._trt = trt
        self._log = log

    def build(
            self, path: Union[str, Path], model_sha256: str, options: TensorRtOptions,
            profiles: Tuple[Profile, ...], timing_cache: bytes = b'') -> BuiltEngine:
        """
        Compile a model.

        :param path: the deployable ONNX file.
        :param model_sha256: what the file's digest must be still, since the engine is stored
            under it.
        :param options: what to tell the builder; of a model, its `precision` refuses any other.
        :param profiles: batch sizes of each optimisation profile, rising.
        :param timing_cache: what an earlier build of this machine left, b'' for none.
        :raises ModelError: if the model is not deployable, changed meanwhile, has another
            precision, or TensorRT's parser refuses it.
        :raises BackendUnavailable: without a GPU or DLA that the build needs.
        :raises BackendError: if TensorRT cannot build it.
        """
        data = read_model(path)
        if sha256_of(data) != model_sha256:
            raise ModelError(f'{path} was changed while it was read: try again')
        model = parse_model(data, path)
        with naming(path):
            spec = spec_of(model)
            check_precision(spec, options.precision)
        self._trt_log = TensorRtLog(self._trt, self._log)
        try:
            return self._build(path, data, model, spec, options, profiles, timing_cache)
        finally:
            self._trt_log.close()

    def _build(
            self, path: Union[str, Path], data: bytes, model: Any, spec: ModelSpec,
            options: TensorRtOptions, profiles: Tuple[Profile, ...],
            timing_cache: bytes) -> BuiltEngine:
        builder = self._make_builder()
        config = builder.create_builder_config()
        dla = options.dla_core is not None
        self._configure(config, options, spec)
        if dla:
            self._use_dla(builder, config, options, profiles, spec)
        network = builder.create_network(versions.network_flags(self._trt, dla))
        self._parse(network, data, model, path)
        sparse = self._find_sparse(path, model) if options.sparse_weights else None
        self._add_profiles(builder, config, spec, profiles)
        timing: Any = None
        if versions.keeps_timings(self._trt):
            # False: a cache of another GPU is refused, and a new one takes its place.
            for content in (timing_cache, b''):
                timing = config.create_timing_cache(content)
                if config.set_timing_cache(timing, False):
                    break
        with BuildProgress(self._trt, config, Path(path).name, self._log) as progress:
            plan = builder.build_serialized_network(network, config)
            progress.check()
        if plan is None:
            raise BackendError(
                f'TensorRT cannot build {path}: {self._trt_log.explain()}; '
                + (f'Turing takes fp16: `{HOW_TO_MAKE["fp16"]}`'
                   if options.target_sm == _TURING and spec.precision == 'fp32' else
                   'try another optimisation level, more workspace or a smaller batch'))
        sparsity = None if sparse is None else SparseBuild.of_log(sparse, self._trt_log.sparsity)
        if sparsity is not None:
            self._log(f'sparse weights: {sparsity.describe()}')
        return BuiltEngine(
            bytes(plan), spec, bytes(timing.serialize()) if timing else b'', sparsity)

    def _find_sparse(self, path: Union[str, Path], model: Any) -> int:
        """Return how many layers are 2:4; a model without any is built all the same."""
        count = len(two_four_layers(model))
        if not count:
            self._log(
                f'sparse weights were asked for, but no layer of {path} is 2:4: the engine will '
                'be an ordinary one; make a 2:4 model with `resnet_trt prune`, or do not ask')
        return count

    def _make_builder(self) -> Any:
        try:
            builder = self._trt.Builder(self._trt_log.logger)
        except TypeError as error:
            # What pybind makes of a null pointer: there is no GPU, or no driver for it.
            raise BackendUnavailable(
                f'TensorRT finds no GPU to build on: {self._trt_log.explain()}') from error
        return builder

    def _configure(self, config: Any, options: TensorRtOptions, spec: ModelSpec) -> None:
        trt = self._trt
        config.builder_optimization_level = options.optimization_level
        versions.time_carefully(trt, config)
        if options.workspace_mib:
            config.set_memory_pool_limit(
                trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
        # TensorRT's own default is on, which makes fp32 something else than fp32.
        (config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
        if options.sparse_weights:
            config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
        for flag in versions.precision_flags(
                trt, spec.precision, options.dla_core is not None):
            config.set_flag(flag)
        versions.share_profiles(trt, config)
        versions.allow_graphs(trt, config)
        versions.restrict_tactics(trt, config)
        if options.target_sm is not None:
            versions.set_target(trt, config, options.target_sm)

    def _use_dla(
            self, builder: Any, config: Any, options: TensorRtOptions,
            profiles: Tuple[Profile, ...], spec: ModelSpec) -> None:
        trt, core, cores = self._trt, options.dla_core or 0, builder.num_DLA_cores
        if cores == 0:
            raise BackendUnavailable(
                'this device has no deep learning accelerator: leave the DLA core out')
        if core >= cores:
            raise UsageError(f'DLA core {core}: this device has 0 to {cores - 1}')
        # Weakly typed builds leave QuantizeLinear pairs, and all between them, to the GPU.
        if spec.precision == 'fp32' or (
                spec.precision == 'int8' and not versions.is_strongly_typed(trt, dla=True)):
            raise ModelError(
                f'the model is {spec.precision} and a DLA computes in fp16: make another with '
                f'`{HOW_TO_MAKE["fp16"]}`')
        smallest, largest = profiles[0][0], profiles[-1][-1]
        if smallest != largest:
            # TensorRT would run the whole network on the GPU, with warnings at the first start.
            raise UsageError(
                f'a DLA takes one batch size and this engine would take {smallest} to {largest}: '
                'set max_batch_size to 1 (--max-batch 1)')
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)

    def _parse(self, network: Any, data: bytes, model: Any, path: Union[str, Path]) -> None:
        parser = self._trt.OnnxParser(network, self._trt_log.logger)
        if parser.parse(data):
            return
        problems = [self._describe(parser.get_error(index), model)
                    for index in range(parser.num_errors)]
        raise ModelError(
            f"TensorRT's parser refuses {path}: "
            + ('; '.join(problems[:3]) or self._trt_log.explain())
            + '; export the model again with `resnet_trt export`, or replace that layer')

    def _describe(self, error: Any, model: Any) -> str:
        """Return a parser's error with the layer that it is about."""
        node = error.node()
        # 8.6 gives the node's place alone, and it is past the end if no node is to blame.
        known = model.graph.node[node] if 0 <= node < len(model.graph.node) else None
        name = versions.parser_error_layer(error) or (known.name if known is not None else '')
        operator = known.op_type if known is not None else ''
        where = f'layer {name!r} ' if name else f'node {node} '
        return f'{where}({operator}): {error.desc()}' if operator else f'{where}: {error.desc()}'

    def _add_profiles(
            self, builder: Any, config: Any, spec: ModelSpec,
            profiles: Tuple[Profile, ...]) -> None:
        for sizes in profiles:
            profile = builder.create_optimization_profile()
            profile.set_shape(
                INPUT_NAME, *((size, spec.height, spec.width, 3) for size in sizes))
            if config.add_optimization_profile(profile) < 0:
                raise BackendError(
                    f'TensorRT refuses the batch sizes {sizes}: {self._trt_log.explain()}')
