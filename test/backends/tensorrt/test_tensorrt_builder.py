"""Building engines: the real parser and builder of TensorRT-RTX, and stand-ins of the others."""

from __future__ import annotations

from dataclasses import replace
import re
import time

from models.tiny_model import write_tiny_model
import numpy as np
import onnx
from onnx import helper, numpy_helper
import pytest
from resnet_trt_node.backends.tensorrt.builder import EngineBuilder, split_profiles
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.backends.tensorrt.progress import BuildProgress
from resnet_trt_node.contract.sparsity import SparseBuild
from resnet_trt_node.errors import BackendError, BackendUnavailable, ModelError, UsageError
from stand_ins.standin_cuda import StandInCuda
from stand_ins.standin_tensorrt import StandInTensorRt

PROFILES = ((1, 2, 2),)
OPTIONS = TensorRtOptions(optimization_level=2, workspace_mib=64)


@pytest.fixture
def model(tmp_path):
    return write_tiny_model(tmp_path / 'tiny.onnx')


def build(trt, path, options=OPTIONS, log=None, profiles=PROFILES, **more):
    said = [] if log is None else log
    return EngineBuilder(
        trt, path, path.read_bytes(), replace(options, log=said.append), profiles).build(**more)


# Profiles

@pytest.mark.parametrize(('smallest', 'tuned', 'largest', 'profiles'), [
    (1, (), 1, ((1, 1, 1),)),
    (1, (), 64, ((1, 64, 64),)),
    (1, (1, 64), 64, ((1, 1, 8), (9, 64, 64))),
    (1, (1, 8, 64), 128, ((1, 1, 2), (3, 8, 22), (23, 64, 128))),
    (1, (1, 2), 2, ((1, 1, 1), (2, 2, 2))),
    (4, (8,), 16, ((4, 8, 16),)),
])
def test_profiles_cover_all_sizes_once(smallest, tuned, largest, profiles):
    assert split_profiles(smallest, tuned, largest) == profiles


def test_tuned_sizes_outside_are_refused():
    with pytest.raises(UsageError, match='batch sizes 4 to 8'):
        split_profiles(4, (2,), 8)
    with pytest.raises(UsageError, match='opt_batch_sizes are'):
        TensorRtOptions(max_batch_size=4, opt_batch_sizes=(1, 8))


# What each version gets

def test_8_6_gets_precision_tactics_profiles_and_limits(model):
    world = StandInTensorRt('8.6', StandInCuda())
    options = TensorRtOptions(optimization_level=5, workspace_mib=256, tf32=True)
    build(world.module, model, options, profiles=((1, 1, 2), (3, 8, 8)))
    asked, = world.builds
    assert asked['profiles'] == [[1, 1, 2], [3, 8, 8]]
    assert (asked['builder_optimization_level'], asked['workspace']) == (5, 256 << 20)
    assert {flag.name for flag in asked['flags']} == {'TF32'}
    assert asked['preview'] == {'PROFILE_SHARING_0806'}
    assert asked['timing'] == b''


def test_tf32_is_off_unless_asked_for(model):
    world = StandInTensorRt('10', StandInCuda())
    build(world.module, model)
    assert world.builds[0]['flags'] == set()


@pytest.mark.parametrize('kind', ['8.6', '10', '11', 'rtx'])
def test_sparse_weights_are_asked_for_and_what_came_of_it_is_logged(kind, model, tmp_path):
    sparse = onnx.load(str(model))
    weight = next(one for one in sparse.graph.initializer if one.name == 'weights')
    # Eight classes by the means of four channels: two of those are enough.
    values = np.zeros((4, 8), np.float32)
    values[1:3] = 1
    weight.CopyFrom(numpy_helper.from_array(values, 'weights'))
    onnx.save(sparse, str(tmp_path / 'sparse.onnx'))
    world = StandInTensorRt(kind, StandInCuda())
    world.information = ['Found CUDA', '(Sparsity) Found 7 layer(s) eligible to use sparse '
                         'tactics: a', '(Sparsity) Chose 2 layer(s) using sparse tactics: a']
    said = []
    built = build(world.module, tmp_path / 'sparse.onnx',
                  replace(OPTIONS, sparse_weights=True), said)
    assert built.sparsity == SparseBuild(1, 7, 2, ('a',))
    assert re.findall(r'\d+', said[-1].replace('2:4', '')) == ['1', '7', '2']
    assert build(world.module, tmp_path / 'sparse.onnx').sparsity is None
    asked, usual = (build['flags'] for build in world.builds)
    assert {flag.name for flag in asked - usual} == {'SPARSE_WEIGHTS'}


def test_sparse_weights_of_a_dense_model_are_warned_of(model):
    world = StandInTensorRt('10', StandInCuda())
    said = []
    assert build(world.module, model, replace(OPTIONS, sparse_weights=True), said).sparsity == (
        SparseBuild(0))
    assert str(model) in said[0]
    assert 'resnet_trt prune' in said[0]


def test_the_timing_cache_goes_in_and_out(model):
    world = StandInTensorRt('8.6', StandInCuda())
    assert build(world.module, model, timing_cache=b'old').timing_cache == b'old+'
    assert world.builds[0]['timing'] == b'old'


def test_timings_of_another_gpu_are_replaced(model):
    world = StandInTensorRt('8.6', StandInCuda())
    engine = build(world.module, model, timing_cache=b'of another GPU')
    assert world.builds[0]['timing'] == b''
    assert engine.timing_cache == b'+'


def test_a_dla_is_refused_with_the_reason(model):
    world = StandInTensorRt('8.6', StandInCuda())
    on_dla = TensorRtOptions(dla_core=1)
    with pytest.raises(BackendUnavailable, match='no deep learning accelerator'):
        build(world.module, model, on_dla)
    world.dla_cores = 1
    with pytest.raises(UsageError, match='DLA core 1'):
        build(world.module, model, on_dla)
    world.dla_cores = 2
    with pytest.raises(ModelError, match=r'fp32 .*DLA.*--precision fp16'):
        build(world.module, model, on_dla)


@pytest.fixture
def call_it(model, tmp_path):
    """Return what writes the model under the name of another precision."""
    def write(precision):
        content = onnx.load(str(model))
        next(value for value in content.metadata_props
             if value.key == 'resnet_trt.precision').value = precision
        onnx.save(content, str(tmp_path / f'{precision}.onnx'))
        return tmp_path / f'{precision}.onnx'
    return write


def test_a_dla_takes_no_int8_pairs_from_weakly_typed_builds(call_it):
    on_dla = TensorRtOptions(dla_core=0)
    for kind in ('8.6', '10'):
        world = StandInTensorRt(kind, StandInCuda())
        world.dla_cores = 1
        with pytest.raises(ModelError, match=r'int8 .*DLA.*--precision fp16'):
            build(world.module, call_it('int8'), on_dla)
        assert world.builds == []


def test_a_dla_takes_one_batch_size(call_it):
    world = StandInTensorRt('8.6', StandInCuda())
    world.dla_cores = 1
    half = call_it('fp16')
    for profiles in (((1, 1, 2), (3, 8, 8)), ((1, 1, 1), (2, 2, 2)), ((1, 4, 4),)):
        with pytest.raises(UsageError, match=r'takes one batch size .* batch_size to 1'):
            build(world.module, half, TensorRtOptions(dla_core=0), profiles=profiles)
    assert world.builds == []
    build(world.module, half, TensorRtOptions(dla_core=0), profiles=((4, 4, 4),))


def test_a_dla_gets_core_fallback_and_precision(call_it):
    world = StandInTensorRt('8.6', StandInCuda())
    world.dla_cores = 2
    build(world.module, call_it('fp16'), TensorRtOptions(dla_core=1), profiles=((1, 1, 1),))
    asked, = world.builds
    assert (asked['default_device_type'].name, asked['DLA_core']) == ('DLA', 1)
    assert {flag.name for flag in asked['flags']} == {'FP16', 'GPU_FALLBACK'}


def test_no_gpu_is_reported_in_tensorrts_words(model):
    with pytest.raises(BackendUnavailable, match=r'no GPU .*error: 35'):
        build(StandInTensorRt('8.6', None).module, model)


def test_another_precision_is_refused_with_the_command(model):
    world = StandInTensorRt('8.6', StandInCuda())
    with pytest.raises(ModelError, match=r'resnet_trt quantize MODEL\.onnx --images DIR'):
        build(world.module, model, replace(OPTIONS, precision='int8'))
    assert world.builds == []


# Progress

class Clock:
    """The time module with hands."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


def test_progress_with_a_monitor_is_logged_now_and_then(monkeypatch):
    clock = Clock()
    monkeypatch.setattr('resnet_trt_node.backends.tensorrt.progress.time', clock)
    world = StandInTensorRt('10', StandInCuda())
    config = world.module.IBuilderConfig()
    said = []
    with BuildProgress(world.module, config, 'm.onnx', said.append) as progress:
        monitor = config.asked['progress_monitor']
        monitor.phase_start('Timing', None, 10)
        for step in range(10):
            clock.now += 2
            assert monitor.step_complete('Timing', step)
        progress.check()
    assert [re.findall(r'(\d+) (?:%|s\b)', line) for line in said] == [
        ['30', '6'], ['60', '12'], ['90', '18']]
    assert all('m.onnx' in line and 'Timing' in line for line in said)


def test_ctrl_c_while_reporting_ends_the_build_and_is_raised_after_it(monkeypatch):
    clock = Clock()
    monkeypatch.setattr('resnet_trt_node.backends.tensorrt.progress.time', clock)
    world = StandInTensorRt('10', StandInCuda())
    config = world.module.IBuilderConfig()

    def interrupt(line):
        raise KeyboardInterrupt
    with BuildProgress(world.module, config, 'm.onnx', interrupt) as progress:
        config.asked['progress_monitor'].phase_start('Timing', None, 10)
        clock.now += 60
        assert not config.asked['progress_monitor'].step_complete('Timing', 0)
        with pytest.raises(KeyboardInterrupt):
            progress.check()


def test_progress_without_a_monitor_is_the_clock():
    world = StandInTensorRt('8.6', StandInCuda())
    said = []
    with BuildProgress(
            world.module, world.module.IBuilderConfig(), 'm.onnx', said.append, 0.01):
        deadline = time.monotonic() + 30
        while len(said) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    count = len(said)
    assert count >= 2
    assert re.search(r'm\.onnx.* \d+ s', said[0])


# The real parser and builder

FOR_ADA = TensorRtOptions(target_sm='8.9')


def test_the_real_builder_takes_a_tiny_model(rtx, model):
    said = []
    built = build(rtx, model, FOR_ADA, said)
    assert len(built.plan) > 1000
    assert built.spec.precision == 'fp32'
    assert built.timing_cache == b''


def test_the_real_parser_names_the_layer_that_it_refuses(rtx, model, tmp_path):
    broken = onnx.load(str(model))
    broken.graph.node[1].op_type = 'NoSuchOperator'
    broken.graph.node[1].name = 'the_mean'
    onnx.save(broken, str(tmp_path / 'broken.onnx'))
    with pytest.raises(ModelError, match=r'broken\.onnx.*the_mean') as raised:
        build(rtx, tmp_path / 'broken.onnx', FOR_ADA)
    assert 'NoSuchOperator' in str(raised.value)


def test_the_real_parser_explains_a_wrong_shape(rtx, model, tmp_path):
    broken = onnx.load(str(model))
    # Three weights for four inputs: the checker of shapes is the parser's.
    next(node for node in broken.graph.node if node.op_type == 'ReduceMean').attribute.append(
        helper.make_attribute('noop_with_empty_axes', 1))
    gemm = next(node for node in broken.graph.node if node.op_type == 'Gemm')
    gemm.name = 'classifier'
    gemm.attribute.append(helper.make_attribute('transB', 1))
    onnx.save(broken, str(tmp_path / 'broken.onnx'))
    with pytest.raises((ModelError, BackendError), match='classifier'):
        build(rtx, tmp_path / 'broken.onnx', FOR_ADA)
