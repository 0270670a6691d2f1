"""Opening a backend by name, and what `auto` takes and logs."""

from dataclasses import fields
from pathlib import Path

from models.tiny_model import write_tiny_model
import pytest
from resnet_trt_node.backends import factory
from resnet_trt_node.backends.onnxruntime import OnnxRuntimeOptions
from resnet_trt_node.backends.options import BackendOptions, called, EngineOptions
from resnet_trt_node.backends.simulated import (
    SIMULATED_SPEC, SimulatedBackend, SimulatedOptions)
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.errors import BackendUnavailable, ModelError, UsageError


@pytest.fixture
def path(tmp_path):
    return write_tiny_model(tmp_path / 'tiny.onnx')


def test_a_backend_is_opened_by_its_name(path):
    with factory.open_backend(path, 'simulated', max_batch_size=3) as backend:
        assert backend.info.name == 'simulated'
        assert backend.max_batch_size == 3
        assert backend.num_buffers == 2


@pytest.mark.parametrize('nothing', ['', '.'])
def test_the_simulated_backend_needs_no_model(nothing):
    with factory.open_backend(nothing, 'simulated') as backend:
        assert backend.spec == SIMULATED_SPEC


def test_an_unknown_name_is_refused_with_the_known_ones(path):
    with pytest.raises(UsageError) as refusal:
        factory.open_backend(path, 'cuda')
    assert str(refusal.value) == (
        f"unknown backend 'cuda': choose one of {', '.join(factory.BACKEND_CHOICES)}")


def test_auto_tries_only_real_backends():
    assert set(factory.AUTO_ORDER) <= set(factory.BACKENDS)
    assert 'simulated' not in factory.AUTO_ORDER
    assert factory.BACKEND_CHOICES[0] == 'auto'
    assert factory.BACKEND_CHOICES[1:] == tuple(factory.BACKENDS)


def test_tvm_is_found_by_its_entry_point(repository, tmp_path, monkeypatch):
    assert factory.BACKENDS['tvm'] == ''
    value = factory._SOURCE_TREE['tvm'].removeprefix('resnet_trt_node')
    assert f"'tvm = {{package_name}}{value}'" in (repository / 'setup.py').read_text()
    assert "f'{package_name}.backends'" in (repository / 'setup.py').read_text()
    metadata = tmp_path / 'resnet_trt_node-99.dist-info'
    metadata.mkdir()
    (metadata / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: resnet_trt_node\nVersion: 99\n')
    (metadata / 'entry_points.txt').write_text(
        '[resnet_trt_node.backends]\ntvm = other_backend:OtherBackend\n')
    (tmp_path / 'other_backend.py').write_text(
        'from resnet_trt_node.backends.simulated import SimulatedBackend\n'
        'class OtherBackend(SimulatedBackend):\n'
        '    pass\n')
    monkeypatch.syspath_prepend(tmp_path)
    with factory.open_backend('', 'tvm') as backend:
        assert type(backend).__name__ == 'OtherBackend'


def let_auto_try(monkeypatch, **outcomes):
    """Replace `AUTO_ORDER` by names that raise the given error or open the simulated backend."""
    true_class_of = factory._class_of

    def class_of(name):
        if name not in outcomes:
            return true_class_of(name)
        if not isinstance(outcomes[name], Exception):
            return true_class_of(outcomes[name])

        class Failing(SimulatedBackend):
            options_type = TensorRtOptions

            def __init__(self, path, options):
                raise outcomes[name]
        return Failing
    monkeypatch.setattr(factory, 'AUTO_ORDER', tuple(outcomes))
    monkeypatch.setattr(factory, '_class_of', class_of)


def test_auto_takes_the_best_without_a_log_line(path, monkeypatch):
    let_auto_try(monkeypatch, first='simulated', second=AssertionError('not to be tried'))
    lines = []
    with factory.open_backend(path, log=lines.append) as backend:
        assert backend.info.name == 'simulated'
    assert lines == []


@pytest.mark.parametrize(('error', 'reason'), [
    ("tensorrt cannot be imported (No module named 'tensorrt'): install it",
     'tensorrt cannot be imported'),
    ('the CUDA driver finds no GPU: look at nvidia-smi', 'the CUDA driver finds no GPU'),
    ('no GPU', 'no GPU')])
def test_auto_logs_once_in_a_short_line_why_it_did_not_take_the_best(
        path, monkeypatch, error, reason):
    let_auto_try(
        monkeypatch, tensorrt=BackendUnavailable(error),
        second=BackendUnavailable('pycuda cannot be imported (x)'), onnxruntime='simulated')
    lines = []
    for _ in range(3):
        with factory.open_backend(path, log=lines.append) as backend:
            assert backend.info.name == 'simulated'
    assert lines == [
        f'using onnxruntime instead of tensorrt: {reason}; '
        + ('see `resnet_trt doctor`' if 'imported' in reason else 'backend tensorrt says more')]
    assert len(lines[0]) <= 110


def test_a_backend_that_is_installed_and_does_not_work_is_the_one_named(path, monkeypatch):
    let_auto_try(
        monkeypatch, tensorrt=BackendUnavailable('tensorrt cannot be imported (No module)'),
        tensorrt_lean=BackendUnavailable('its engine is of another machine: build it'),
        onnxruntime='simulated')
    lines = []
    factory.open_backend(path, log=lines.append).close()
    assert lines == ['using onnxruntime instead of tensorrt_lean: its engine is of another '
                     'machine; backend tensorrt_lean says more']


def test_a_long_reason_is_shortened(path, monkeypatch):
    let_auto_try(
        monkeypatch, tensorrt_lean=BackendUnavailable(f'/{"long/" * 30}plan is damaged'),
        onnxruntime='simulated')
    lines = []
    factory.open_backend(path, log=lines.append).close()
    line, = lines
    assert len(line) == 110
    assert 'tensorrt_lean: /long/' in line
    assert line.endswith('plan is damaged; backend tensorrt_lean says more')


def test_auto_logs_which_options_have_no_effect(path, monkeypatch):
    let_auto_try(monkeypatch, first=BackendUnavailable('no GPU'), second='simulated')
    lines = []
    options = {'workspace_mib': 64, 'tf32': True, 'simulated_ms': 0, 'log': lines.append}
    for _ in range(2):
        with factory.open_backend(path, **options) as backend:
            assert backend.info.details['simulated_ms'] == '0'
    assert lines[1:] == ['second does not use workspace_mib, tf32']
    with factory.open_backend(path, implied=('tf32', 'workspace_mib'), **options):
        assert len(lines) == 2


def test_auto_refuses_what_none_of_its_backends_uses(path, monkeypatch):
    with pytest.raises(UsageError, match=r'simulated_ms is 1, .*auto .*\(simulated\)'):
        factory.open_backend(path, simulated_ms=1)


def test_auto_falls_back_without_a_listener_too(path, monkeypatch):
    let_auto_try(monkeypatch, first=BackendUnavailable('no GPU'), second='simulated')
    with factory.open_backend(path) as backend:
        assert backend.info.name == 'simulated'


def test_auto_gives_every_reason_when_nothing_runs(path, monkeypatch):
    let_auto_try(monkeypatch, a=BackendUnavailable('no GPU'), b=BackendUnavailable('no wheel'))
    with pytest.raises(BackendUnavailable, match='a: no GPU; b: no wheel'):
        factory.open_backend(path)


def test_a_bad_model_is_no_reason_to_try_the_next(path, monkeypatch):
    let_auto_try(monkeypatch, a=ModelError('bad'), b=AssertionError('not to be tried'))
    with pytest.raises(ModelError, match=r'^bad$'):
        factory.open_backend(path)


@pytest.mark.parametrize(('kind', 'name', 'value'), [
    (BackendOptions, 'max_batch_size', 0), (BackendOptions, 'max_batch_size', 1025),
    (BackendOptions, 'num_buffers', 0), (BackendOptions, 'num_buffers', 17),
    (BackendOptions, 'precision', 'fp8'), (EngineOptions, 'device', -1),
    (OnnxRuntimeOptions, 'threads', -1), (TensorRtOptions, 'dla_core', 8),
    (TensorRtOptions, 'opt_batch_sizes', (2,)), (SimulatedOptions, 'simulated_ms', -1.0),
    (SimulatedOptions, 'simulated_ms', float('nan'))])
def test_options_out_of_range_are_refused(kind, name, value):
    with pytest.raises(UsageError, match=f'{called(name)}.*choose '):
        kind(**{name: value})


@pytest.mark.parametrize(('name', 'took', 'every'), [
    ('simulated', 5.0, 0), ('simulated:0', 0.0, 0), ('simulated:2.5:3', 2.5, 3)])
def test_options_may_stand_behind_the_name(path, monkeypatch, name, took, every):
    monkeypatch.setattr(
        SimulatedBackend, '__init__', lambda self, path, options: setattr(self, 'given', options))
    monkeypatch.setattr(SimulatedBackend, 'spec', SIMULATED_SPEC, raising=False)
    given = factory.open_backend(path, name).given
    assert given == SimulatedOptions(simulated_ms=took, simulated_fail_every=every)


@pytest.mark.parametrize('name', [
    'simulated:fast', 'simulated:1:x', 'simulated:-1', 'auto:5', 'onnxruntime:5'])
def test_what_means_nothing_behind_the_name_is_refused(path, name):
    with pytest.raises(UsageError):
        factory.open_backend(path, name)


#: An allowed value of each option that is not its default.
SET = {
    'device': 1, 'threads': 2, 'engine_dir': Path('engines'), 'opt_batch_sizes': (1,),
    'optimization_level': 1, 'workspace_mib': 1, 'tf32': True, 'sparse_weights': True,
    'version_compatible': True, 'engine_host_code': True, 'target_sm': '8.9', 'dla_core': 0,
    'cuda_graph_max_batch': 0, 'zero_copy_max_batch': 0, 'blocking_sync': True,
    'preprocess': 'gpu', 'decode_jpeg': True, 'tvm_target': 'cpu', 'simulated_ms': 0.0,
    'simulated_row_ms': 0.1, 'simulated_fail_every': 7}


def test_each_option_is_common_or_some_backends_own():
    common = {option.name for option in fields(BackendOptions)}
    own = [factory.options_of(name) for name in factory.BACKENDS]
    assert frozenset().union(*own) == common | set(SET)
    assert frozenset.intersection(*own) == common
    assert factory.options_of('auto') == factory.options_of('tensorrt') | {'threads'}


def test_an_option_that_no_backend_knows_is_refused(path):
    with pytest.raises(UsageError, match='cpu_thread'):
        factory.open_backend(path, 'onnxruntime', cpu_thread=1)


@pytest.mark.parametrize('option', SET)
@pytest.mark.parametrize('name', factory.BACKENDS)
def test_an_option_that_a_backend_does_not_use_is_refused(path, monkeypatch, name, option):
    given = []

    def remember(self, path, options):
        given.append(options)
        self.spec = SIMULATED_SPEC
    kind = factory._class_of(name)
    monkeypatch.setattr(kind, '__init__', remember)
    options = {option: SET[option]}
    if option in factory.options_of(name):
        factory.open_backend(path, name, **options)
        assert getattr(given[0], option) == SET[option]
        return
    users = [other for other in ('auto', *factory.BACKENDS) if option in factory.options_of(other)]
    with pytest.raises(UsageError) as refusal:
        factory.open_backend(path, name, **options)
    message = str(refusal.value)
    assert message.startswith(option[:12])
    assert message.endswith(f'({", ".join(users)})')
    # Somebody else's choice is not the user's: the backend gets its default.
    factory.open_backend(path, name, implied=[option], **options)
    assert given == [kind.options_type()]


@pytest.mark.slow
@pytest.mark.parametrize('name', ['auto', 'onnxruntime', 'simulated', 'tvm'])
def test_another_precision_than_asked_for_is_refused_by_every_backend(path, tmp_path, name):
    given = {'engine_dir': tmp_path} if name == 'tvm' else {}
    try:
        factory.open_backend(path, name, precision='fp32', **given).close()
    except BackendUnavailable as error:
        pytest.skip(str(error))
    with pytest.raises(ModelError, match=r'int8 was asked for.*resnet_trt quantize'):
        factory.open_backend(path, name, precision='int8', **given)
