"""What the version module makes of each TensorRT, on stand-ins and on the real TensorRT-RTX."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.errors import BackendUnavailable
from stand_ins.standin_cuda import StandInCuda
from stand_ins.standin_tensorrt import StandInTensorRt

KINDS = ('8.6', '10', '11', 'rtx')


@pytest.fixture
def module():
    return lambda kind: StandInTensorRt(kind, StandInCuda()).module


def flag_names(trt, bits):
    return [flag.name for flag in trt.NetworkDefinitionCreationFlag if bits >> flag & 1]


@pytest.mark.parametrize(('kind', 'flags'), [
    ('8.6', ['EXPLICIT_BATCH']), ('10', ['STRONGLY_TYPED']), ('11', ['STRONGLY_TYPED']),
    ('rtx', ['STRONGLY_TYPED'])])
def test_networks_are_strongly_typed_where_that_exists(module, kind, flags):
    trt = module(kind)
    assert flag_names(trt, versions.network_flags(trt, dla=False)) == flags


@pytest.mark.parametrize(('kind', 'precision', 'flags'), [
    ('8.6', 'fp32', []), ('8.6', 'fp16', ['FP16']), ('8.6', 'int8', ['FP16', 'INT8']),
    ('10', 'int8', []), ('11', 'int8', []), ('rtx', 'fp16', [])])
def test_only_8_6_gets_the_precision(module, kind, precision, flags):
    names = [flag.name for flag in versions.precision_flags(module(kind), precision, dla=False)]
    assert names == flags


def test_a_dla_gets_weak_types_where_the_version_still_has_them(module):
    assert not versions.is_strongly_typed(module('10'), dla=True)
    assert [flag.name for flag in versions.precision_flags(module('10'), 'fp16', dla=True)] == [
        'FP16']
    assert versions.is_strongly_typed(module('11'), dla=True)


@pytest.mark.parametrize(('kind', 'asked'), [
    ('8.6', {'PROFILE_SHARING_0806'}), ('10', {'PROFILE_SHARING_0806'}), ('11', set()),
    ('rtx', set())])
def test_profiles_are_shared_among_contexts(module, kind, asked):
    trt = module(kind)
    config = trt.IBuilderConfig()
    versions.share_profiles(trt, config)
    assert config.asked['preview'] == asked


@pytest.mark.parametrize(('kind', 'restricted'), [
    ('8.6', True), ('10', True), ('11', False), ('rtx', False)])
def test_kernels_are_those_of_tensorrt_itself(module, kind, restricted):
    trt = module(kind)
    config = trt.IBuilderConfig()
    versions.restrict_tactics(trt, config)
    own = (1 << trt.TacticSource.EDGE_MASK_CONVOLUTIONS) | (
        1 << trt.TacticSource.JIT_CONVOLUTIONS)
    assert config.asked.get('tactics') == (own if restricted else None)


def test_only_rtx_compiles_for_other_gpus(module):
    assert [versions.can_target(module(kind)) for kind in KINDS] == [False, False, False, True]
    assert versions.known_targets(module('10')) == []
    trt = module('rtx')
    assert versions.known_targets(trt) == ['7.5', '8.6', '8.9', '12.0']
    config = trt.IBuilderConfig()
    versions.set_target(trt, config, '12.0')
    assert (config.asked['target'], config.asked['num_compute_capabilities']) == ('SM120', 1)
    assert [versions.keeps_timings(module(kind)) for kind in KINDS] == [True, True, True, False]


@pytest.mark.parametrize(('kind', 'has'), [('8.6', False), ('10', True), ('11', True)])
def test_progress_comes_from_a_monitor_where_there_is_one(module, kind, has):
    trt = module(kind)
    config = trt.IBuilderConfig()
    calls = []
    watch = SimpleNamespace(
        start=lambda *arguments: calls.append(arguments), finish=calls.append,
        step=lambda phase, step: calls.append(step) or step < 1)
    assert versions.attach_progress(trt, config, watch) == has
    if has:
        monitor = config.asked['progress_monitor']
        monitor.phase_start('Building', None, 3)
        assert monitor.step_complete('Building', 0) is True
        assert monitor.step_complete('Building', 1) is False
        monitor.phase_finish('Building')
        assert calls == [('Building', None, 3), 0, 1, 'Building']


def test_a_context_gets_its_memory_by_method_or_attribute():
    given = []
    versions.give_memory(
        SimpleNamespace(set_device_memory=lambda *arguments: given.append(arguments)), 256, 64)
    assert given == [(256, 64)]
    old = SimpleNamespace()
    versions.give_memory(old, 512, 64)
    assert old.device_memory == 512
    assert versions.device_memory_bytes(SimpleNamespace(device_memory_size=5)) == 5
    assert versions.device_memory_bytes(
        SimpleNamespace(device_memory_size=0, device_memory_size_v2=1 << 33)) == 1 << 33


def test_a_missing_or_old_tensorrt_is_refused(monkeypatch, module):
    monkeypatch.setitem(__import__('sys').modules, 'tensorrt', None)
    with pytest.raises(BackendUnavailable, match='tensorrt cannot be imported'):
        versions.load_module('tensorrt')
    trt = module('8.6')
    del trt.IExecutionContext.execute_async_v3
    monkeypatch.setitem(__import__('sys').modules, 'tensorrt', trt)
    with pytest.raises(BackendUnavailable, match=r'8\.6\.1 is too old'):
        versions.load_module('tensorrt')


def test_the_real_tensorrt_rtx_is_read_right():
    trt = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
    assert versions.load_module('tensorrt_rtx') is trt
    assert flag_bits(trt) == ['STRONGLY_TYPED']
    assert versions.precision_flags(trt, 'int8', dla=False) == []
    assert {'7.5', '8.6', '8.9', '12.0'} <= set(versions.known_targets(trt))
    assert hasattr(trt.IExecutionContext, 'set_device_memory')
    assert hasattr(trt.ICudaEngine, 'device_memory_size_v2')
    assert hasattr(trt.ExecutionContextAllocationStrategy, 'USER_MANAGED')
    # What `allow_graphs` and `create_context` use.
    assert hasattr(trt.BuilderFlag, 'REQUIRE_USER_ALLOCATION')
    assert hasattr(trt.DynamicShapesKernelSpecializationStrategy, 'EAGER')
    assert hasattr(trt.ICudaEngine, 'create_runtime_config')
    assert hasattr(trt.IRuntimeConfig, 'set_execution_context_allocation_strategy')
    assert hasattr(trt.IRuntimeConfig, 'dynamic_shapes_kernel_specialization_strategy')


def flag_bits(trt):
    bits = versions.network_flags(trt, dla=False)
    return [name for name, flag in trt.NetworkDefinitionCreationFlag.__members__.items()
            if bits >> int(flag) & 1]
