"""
Every difference between TensorRT 8.6, 10.x, 11.x and TensorRT-RTX that this package meets.

The lean runtime of a version has what that has to run engines, and nothing to build them.

Each function asks the module which attributes it has, never which number it bears, and says which
versions that is for. Everything else goes through what all of them share: the named-tensor API.

============================  =====  ======  ======  =====
                               8.6    10.x    11.x    RTX
============================  =====  ======  ======  =====
strongly typed networks        no     yes     only    only
FP16 and INT8 builder flags    must   no use  none    none
one profile, many contexts     asked  yes     yes     yes
progress monitor               no     yes     yes     yes
layer's name in parser errors  no     yes     yes     yes
cuBLAS and cuDNN kernels       on     off     none    none
compiles for another GPU       no     no      no      yes
memory given to a context      attr.  method  method  method
============================  =====  ======  ======  =====
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Callable

from resnet_trt_node.errors import BackendUnavailable

#: Flavour to (module, what to install).
FLAVOURS = {
    'tensorrt': ('tensorrt', 'TensorRT with its Python package; JetPack has it'),
    'tensorrt_rtx': ('tensorrt_rtx', 'the wheel tensorrt-rtx-cu13'),
    'tensorrt_lean': ('tensorrt_lean', 'the wheel tensorrt-lean-cu13'),
}
#: How often a kernel is timed; building takes about that much longer in its timing part.
_TIMINGS = 2
#: Words of TensorRT about an engine that is not for it, and what they mean.
_WRONG_ENGINE = {
    'call to stub': 'the engine is not version-compatible',
    'old deserialization call on a newer plan':
        'another version built the engine, and this one does not run engines of that',
    'EngineHostCodeAllowed': 'engine_host_code is false, and the engine carries code of its own',
}


def load_module(flavour: str) -> Any:
    """
    Import a flavour of TensorRT.

    :param flavour: one of `FLAVOURS`.
    :raises BackendUnavailable: if it is not installed, cannot be loaded, or is older than 8.6.
    """
    module, advice = FLAVOURS[flavour]
    try:
        trt = import_module(module)
        # A folder of that name can be imported too, and has nothing in it.
        context = trt.IExecutionContext
    # Its package also raises OSError and RuntimeError where a library of its own is missing.
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise BackendUnavailable(
            f'{module} cannot be imported ({error}): install {advice}') from error
    if not hasattr(context, 'execute_async_v3') or (
            can_build(trt) and not hasattr(trt.IBuilderConfig, 'builder_optimization_level')):
        raise BackendUnavailable(
            f'{module} {trt.__version__} is too old: 8.6 is the first that can be used')
    return trt


def can_build(trt: Any) -> bool:
    """Tell whether this flavour builds engines; the lean runtime only runs them."""
    return hasattr(trt, 'Builder')


def builds_for(flavour: str) -> str:
    """Return the flavour that builds the engines of a flavour."""
    return flavour.replace('_lean', '')


def translate(text: str) -> str:
    """Return what TensorRT says of an engine, with what it means where that is known."""
    return next((f'{text.rstrip(".")}: {meaning}' for words, meaning in _WRONG_ENGINE.items()
                 if words in text), text)


def is_strongly_typed(trt: Any, dla: bool) -> bool:
    """
    Tell whether networks take their precision from the graph alone.

    10.x, 11.x and RTX: yes. 8.6: cannot. On a DLA, versions that still have the builder flags
    use them, since the DLA compiler of 10.x takes weakly typed networks only.

    :param dla: whether the engine is for a deep learning accelerator.
    """
    return hasattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED') and not (
        dla and hasattr(trt.BuilderFlag, 'FP16'))


def network_flags(trt: Any, dla: bool) -> int:
    """
    Return the flags of `create_network`.

    8.6 needs a flag for an explicit batch; 10.x ignores that, 11.x and RTX have no such
    flag.
    """
    name = 'STRONGLY_TYPED' if is_strongly_typed(trt, dla) else 'EXPLICIT_BATCH'
    flag = getattr(trt.NetworkDefinitionCreationFlag, name, None)
    return 0 if flag is None else 1 << int(flag)


def precision_flags(trt: Any, precision: str, dla: bool) -> list[Any]:
    """
    Return the builder flags that the graph's precision needs.

    8.6 needs them even for tensors that are fp16 or Q/DQ already, and without FP16 beside INT8
    it computes everything between the quantised layers in fp32. Strongly typed networks refuse
    them.
    """
    if is_strongly_typed(trt, dla):
        return []
    names = {'fp32': (), 'fp16': ('FP16',), 'int8': ('FP16', 'INT8')}[precision]
    return [getattr(trt.BuilderFlag, name) for name in names]


def share_profiles(trt: Any, config: Any) -> None:
    """
    Let several execution contexts use one optimisation profile.

    8.6 must be asked for it when it builds; from 9 on it is so, and the request may be gone.
    """
    feature = getattr(trt.PreviewFeature, 'PROFILE_SHARING_0806', None)
    if feature is not None:
        config.set_preview_feature(feature, True)


def allow_graphs(trt: Any, config: Any) -> None:
    """
    Have the engine allocate nothing while it runs, so that it can be recorded as a CUDA graph.

    Only RTX must be asked for that.
    """
    if can_target(trt) and hasattr(trt.BuilderFlag, 'REQUIRE_USER_ALLOCATION'):
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


def restrict_tactics(trt: Any, config: Any) -> None:
    """
    Use TensorRT's own kernels only, as 10.x does by itself and 11.x has no other.

    8.6 would also try cuDNN and cuBLAS, which an engine would then need at run time, with
    hundreds of MiB of device memory.
    """
    sources = trt.TacticSource
    if hasattr(sources, 'CUBLAS'):
        config.set_tactic_sources(
            1 << int(sources.EDGE_MASK_CONVOLUTIONS) | 1 << int(sources.JIT_CONVOLUTIONS))


def time_carefully(trt: Any, config: Any) -> None:
    """
    Have the builder time each kernel several times before it chooses.

    By itself it times once, so that engines of one model differ by percents. 11.x and RTX, where
    they have no such setting, are left as they are.
    """
    if keeps_timings(trt) and hasattr(trt.IBuilderConfig, 'avg_timing_iterations'):
        config.avg_timing_iterations = _TIMINGS


def can_target(trt: Any) -> bool:
    """Tell whether this flavour compiles for a GPU that is not there; only RTX does."""
    return hasattr(trt, 'ComputeCapability') and hasattr(
        trt.IBuilderConfig, 'set_compute_capability')


def keeps_timings(trt: Any) -> bool:
    """Tell whether builds time kernels: not RTX, which does so on the GPU that runs them."""
    return not can_target(trt)


def known_targets(trt: Any) -> list[str]:
    """Return the compute capabilities that RTX compiles for, such as '8.9', rising."""
    if not can_target(trt):
        return []
    names = [name[2:] for name in dir(trt.ComputeCapability)
             if name.startswith('SM') and name[2:].isdigit()]
    return [f'{name[:-1]}.{name[-1]}' for name in sorted(names, key=int)]


def set_target(trt: Any, config: Any, compute_capability: str) -> None:
    """
    Compile for a compute capability; only where `can_target`.

    :param compute_capability: one of `known_targets`, such as '8.9'.
    """
    config.num_compute_capabilities = 1
    config.set_compute_capability(
        getattr(trt.ComputeCapability, 'SM' + compute_capability.replace('.', '')), 0)


def attach_progress(trt: Any, config: Any, watch: Any) -> bool:
    """
    Have a build report its progress; 8.6 has no monitor.

    :param watch: has `start(phase, parent, steps)`, `step(phase, step) -> bool` (False ends the
        build) and `finish(phase)`; none of them may raise, TensorRT would not survive it.
    :returns: whether there is a monitor.
    """
    base: Any = getattr(trt, 'IProgressMonitor', None)
    if base is None:
        return False

    class Monitor(base):  # type: ignore[misc]
        """Has attributes of its own, unlike its base: TensorRT's calls go to those of `watch`."""

    monitor = Monitor()
    monitor.phase_start = watch.start
    monitor.step_complete = watch.step
    monitor.phase_finish = watch.finish
    config.progress_monitor = monitor
    return True


def parser_error_layer(error: Any) -> str:
    """Return the name of the layer that a parser error is about, '' on 8.6, which has none."""
    return str(error.node_name()) if hasattr(error, 'node_name') else ''


def device_memory_bytes(engine: Any) -> int:
    """Return what one execution context needs: 64 bit from 10.1 on, the only one in 11 and RTX."""
    if hasattr(engine, 'device_memory_size_v2'):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


def create_context(trt: Any, engine: Any) -> Any:
    """
    Make an execution context without device memory of its own.

    10.x has a strategy for it, 11.x and RTX nothing else; 8.6 has a method instead. RTX compiles
    a kernel for each shape and by itself runs slower ones until it has, which a CUDA graph would
    keep for good: so it has to compile first.

    :returns: the context, None if TensorRT could not make it.
    """
    strategy = getattr(trt, 'ExecutionContextAllocationStrategy', None)
    kernels = getattr(trt, 'DynamicShapesKernelSpecializationStrategy', None)
    if kernels is not None and strategy is not None:
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy.USER_MANAGED)
        config.dynamic_shapes_kernel_specialization_strategy = kernels.EAGER
        return engine.create_execution_context(config)
    if strategy is not None:
        return engine.create_execution_context(strategy.USER_MANAGED)
    return engine.create_execution_context_without_device_memory()


def give_memory(context: Any, address: int, size: int) -> None:
    """Give a context its device memory: with its size from 10.1 on, as an attribute before."""
    if hasattr(context, 'set_device_memory'):
        context.set_device_memory(address, size)
    else:
        context.device_memory = address


def make_logger(trt: Any, take: Callable[[str, str], None]) -> Any:
    """
    Return a TensorRT logger.

    :param take: gets the name of each line's severity, such as 'WARNING', and the line.
    """
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Passes lines on."""

        def log(self, level: Any, message: str) -> None:
            take(level.name, message)

    return Logger()
