"""
Stand-ins for TensorRT 8.6, 10.x, 11.x, their lean runtimes and TensorRT-RTX.

Each has the attributes that the real one has.
What they "build" is the ONNX file itself, and what runs it is ONNX Runtime, so that the backend's
answers are right or wrong, not just there. They enforce TensorRT's rules on order and addresses.
"""

from __future__ import annotations

from enum import IntEnum
import json
import sys
from types import ModuleType
from typing import Any, Optional

import numpy as np
import onnxruntime
from stand_ins.standin_cuda import StandInCuda

_MAGIC = b'stand-in engine '


class StandInTensorRt:
    """
    One make-believe TensorRT.

    :param kind: '8.6', '10', '11' or 'rtx', or 'lean 10' for the lean runtime of one of these.
    :param cuda: the driver that it computes on; None for a machine without a GPU.
    """

    def __init__(self, kind: str, cuda: Optional[StandInCuda]) -> None:
        self.kind = kind.split()[-1]
        self.name = 'tensorrt_lean' if 'lean' in kind else (
            'tensorrt_rtx' if kind == 'rtx' else 'tensorrt')
        self.cuda = cuda
        self.dla_cores = 0
        self.build_fails = self.runtime_fails = ''
        self.information: list[str] = []
        self.builds: list[dict[str, Any]] = []
        self.contexts = 0
        self.engines = 0
        self.module = _module(self)

    def install(self, monkeypatch: Any) -> StandInTensorRt:
        """Put the module where imports find it."""
        monkeypatch.setitem(sys.modules, self.name, self.module)
        return self


def _enum(name: str, *members: str) -> Any:
    return IntEnum(name, {member: index for index, member in enumerate(members)})


def _module(world: StandInTensorRt) -> Any:
    kind = world.kind
    old, ten, new = kind == '8.6', kind == '10', kind in ('11', 'rtx')
    trt: Any = ModuleType('tensorrt')
    trt.__version__ = {'8.6': '8.6.1', '10': '10.3.0', '11': '11.0.0', 'rtx': '1.7.1'}[kind]
    trt.BuilderFlag = _enum(
        'BuilderFlag', 'TF32', 'GPU_FALLBACK', 'SPARSE_WEIGHTS', 'VERSION_COMPATIBLE',
        *(() if new else ('FP16', 'INT8')),
        *(('REQUIRE_USER_ALLOCATION',) if kind == 'rtx' else ()))
    trt.NetworkDefinitionCreationFlag = _enum('NetworkDefinitionCreationFlag', *(
        ('EXPLICIT_BATCH',) if old else ('EXPLICIT_BATCH', 'STRONGLY_TYPED') if ten
        else ('STRONGLY_TYPED',)))
    trt.TacticSource = _enum('TacticSource', *(() if new else ('CUBLAS', 'CUBLAS_LT', 'CUDNN')),
                             'EDGE_MASK_CONVOLUTIONS', 'JIT_CONVOLUTIONS')
    trt.PreviewFeature = _enum('PreviewFeature', *(
        ('PROFILE_SHARING_0806',) if old or ten else ('ALIASED_PLUGIN_IO_10_03',)))
    trt.MemoryPoolType = _enum('MemoryPoolType', 'WORKSPACE')
    trt.DeviceType = _enum('DeviceType', 'GPU', 'DLA')
    if kind == 'rtx':
        trt.ComputeCapability = _enum(
            'ComputeCapability', 'NONE', 'CURRENT', 'SM75', 'SM86', 'SM89', 'SM120')
        trt.DynamicShapesKernelSpecializationStrategy = _enum('Kernels', 'LAZY', 'EAGER', 'NONE')
    if not old:
        trt.ExecutionContextAllocationStrategy = _enum('Strategy', 'STATIC', 'USER_MANAGED')
        trt.IProgressMonitor = type('IProgressMonitor', (), {})

    class ILogger:

        Severity = _enum('Severity', 'INTERNAL_ERROR', 'ERROR', 'WARNING', 'INFO')

    class IBuilderConfig:

        builder_optimization_level = 3

        def __init__(self) -> None:
            self.__dict__.update(
                asked={'flags': {trt.BuilderFlag.TF32}, 'preview': set(), 'profiles': []})

        def __setattr__(self, name: str, value: Any) -> None:
            self.asked[name] = value

        def set_flag(self, flag: Any) -> None:
            self.asked['flags'].add(flag)

        def clear_flag(self, flag: Any) -> None:
            self.asked['flags'].discard(flag)

        def set_preview_feature(self, feature: Any, on: bool) -> None:
            self.asked['preview'].add(feature.name)

        def set_tactic_sources(self, bits: int) -> bool:
            self.asked['tactics'] = bits
            return True

        def set_memory_pool_limit(self, pool: Any, size: int) -> None:
            self.asked['workspace'] = size

        def add_optimization_profile(self, profile: Any) -> int:
            self.asked['profiles'].append(profile.sizes)
            return len(self.asked['profiles']) - 1

        def create_timing_cache(self, data: bytes) -> Any:
            self.asked['timing'] = data
            cache = type('Cache', (), {})()
            cache.serialize = lambda: data + b'+'
            return cache

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            return not cache.serialize().startswith(b'of another GPU')

        if kind == 'rtx':
            def set_compute_capability(self, capability: Any, index: int) -> bool:
                self.asked['target'] = capability.name
                return True

    class Profile:

        def set_shape(self, name: str, low: Any, opt: Any, high: Any) -> None:
            self.sizes = [low[0], opt[0], high[0]]

    class Builder:

        def __init__(self, logger: Any) -> None:
            if world.cuda is None and kind != 'rtx':
                logger.log(ILogger.Severity.ERROR, 'CUDA initialization failure with error: 35')
                raise TypeError('pybind11::init(): factory function returned nullptr')
            self.num_DLA_cores = world.dla_cores
            self._logger = logger
            self.create_builder_config = IBuilderConfig
            self.create_optimization_profile = Profile

        def create_network(self, flags: int) -> Any:
            network = type('Network', (), {})()
            network.flags = flags
            return network

        def build_serialized_network(self, network: Any, config: Any) -> Optional[bytes]:
            world.builds.append({**config.asked, 'network_flags': network.flags})
            monitor = config.asked.get('progress_monitor')
            if monitor is not None:
                monitor.phase_start('Building Engine', None, 4)
                if not all(monitor.step_complete('Building Engine', step) for step in range(4)):
                    return None
                monitor.phase_finish('Building Engine')
            for line in world.information:
                self._logger.log(ILogger.Severity.INFO, line)
            if world.build_fails:
                self._logger.log(ILogger.Severity.ERROR, world.build_fails)
                return None
            head = json.dumps([
                trt.__version__, config.asked['profiles'],
                trt.BuilderFlag.VERSION_COMPATIBLE in config.asked['flags']]).encode()
            return _MAGIC + len(head).to_bytes(4, 'little') + head + network.onnx

    class ParserError:

        def __init__(self, index: int, name: str, text: str) -> None:
            self.node = lambda: index
            self.desc = lambda: text
            if not old:
                self.node_name = lambda: name

    class OnnxParser:

        def __init__(self, network: Any, logger: Any) -> None:
            self._network = network
            self._errors: list[Any] = []
            self.num_errors = 0
            self.get_error = lambda index: self._errors[index]

        def parse(self, data: bytes) -> bool:
            import onnx
            for index, node in enumerate(onnx.load_from_string(data).graph.node):
                if not onnx.defs.has(node.op_type):
                    self._errors.append(ParserError(index, node.name, 'no importer registered'))
            self.num_errors = len(self._errors)
            self._network.onnx = data
            return not self._errors

    class IExecutionContext:

        def __init__(self, engine: Any) -> None:
            self._engine = engine
            self._addresses: dict[str, int] = {}
            self._profile = self._shape = self._memory = None
            world.contexts += 1

        def __del__(self) -> None:
            assert world.cuda is not None
            assert any(world.cuda.stacks.values()), 'a context outlived its CUDA context'
            world.contexts -= 1

        def set_optimization_profile_async(self, index: int, stream: int) -> bool:
            self._profile = index
            return 0 <= index < len(self._engine.profiles)

        def set_tensor_address(self, name: str, address: int) -> bool:
            self._addresses[name] = address
            return name in ('images', 'probabilities')

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            low, _, high = self._engine.profiles[self._profile]
            if not low <= shape[0] <= high:
                return False
            self._shape = tuple(shape)
            return True

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            if name == 'images':
                return self._shape or (-1,)
            result, = self._engine.session.run(None, {'images': np.zeros(self._shape, np.uint8)})
            return tuple(result.shape)

        def execute_async_v3(self, stream: int) -> bool:
            assert self._memory is not None, 'no device memory was given'
            assert world.cuda is not None
            if self._shape is None or len(self._addresses) != 2:
                return False
            shape = self._shape

            def compute() -> None:
                assert shape == self._shape, 'a recorded context was changed'
                view = world.cuda.view  # type: ignore[union-attr]
                images = view(self._addresses['images'], int(np.prod(shape))).reshape(shape)
                result, = self._engine.session.run(None, {'images': images})
                flat = result.astype(np.float32).reshape(-1).view(np.uint8)
                view(self._addresses['probabilities'], flat.size)[:] = flat
            world.cuda.streams[stream].add(compute)
            return True

        if not old:
            def set_device_memory(self, address: int, size: int) -> None:
                self._memory = address
        else:
            device_memory = property(None, lambda self, value: setattr(self, '_memory', value))

    class ICudaEngine:

        def __init__(self, plan: bytes) -> None:
            size = int.from_bytes(plan[len(_MAGIC):len(_MAGIC) + 4], 'little')
            start = len(_MAGIC) + 4
            self.version, self.profiles, self.compatible = json.loads(plan[start:start + size])
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self.session = onnxruntime.InferenceSession(plan[start + size:], options)
            setattr(self, 'device_memory_size' if old else 'device_memory_size_v2', 4096)
            world.engines += 1

        def __del__(self) -> None:
            world.engines -= 1

        if old:
            def create_execution_context_without_device_memory(self) -> Any:
                return IExecutionContext(self)
        else:
            def create_execution_context(self, how: Any) -> Any:
                if kind == 'rtx':
                    # Recorded otherwise, a graph keeps the kernels that bridge the compilation.
                    assert how.dynamic_shapes_kernel_specialization_strategy.name == 'EAGER'
                    how = how.strategy
                assert how.name == 'USER_MANAGED'
                return IExecutionContext(self)

            if kind == 'rtx':
                def create_runtime_config(self) -> Any:
                    config = type('IRuntimeConfig', (), {})()
                    config.set_execution_context_allocation_strategy = (
                        lambda strategy: setattr(config, 'strategy', strategy))
                    return config

    class Runtime:

        def __init__(self, logger: Any) -> None:
            if world.runtime_fails:
                logger.log(ILogger.Severity.ERROR, world.runtime_fails)
                raise TypeError('pybind11::init(): factory function returned nullptr')
            self._logger = logger
            self.engine_host_code_allowed = False

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            if not plan.startswith(_MAGIC):
                self._logger.log(ILogger.Severity.ERROR, 'magicTag does not match')
                return None
            engine = ICudaEngine(plan)
            problem = self._problem_of(engine)
            if problem:
                self._logger.log(ILogger.Severity.ERROR, problem)
                return None
            return engine

        def _problem_of(self, engine: Any) -> str:
            built, runs = (int(text.split('.')[0]) for text in (engine.version, trt.__version__))
            if built != runs and not (engine.compatible and (built, runs) in ((8, 10), (10, 11))):
                return 'Failed due to an old deserialization call on a newer plan file.'
            if engine.compatible and not self.engine_host_code_allowed:
                return ('Cannot deserialize engine with lean runtime since '
                        'IRuntime::getEngineHostCodeAllowed() is false.')
            if world.name == 'tensorrt_lean' and not engine.compatible:
                return 'Unexpected call to stub loadRunner for ShuffleRunner.'
            return ''

    for thing in (ILogger, IBuilderConfig, Builder, OnnxParser, IExecutionContext, ICudaEngine,
                  Runtime):
        setattr(trt, thing.__name__, thing)
    if world.name == 'tensorrt_lean':
        for name in ('Builder', 'IBuilderConfig', 'OnnxParser', 'NetworkDefinitionCreationFlag'):
            delattr(trt, name)
    return trt
