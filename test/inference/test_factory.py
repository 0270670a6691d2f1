"""Opening a backend by name, and what `auto` takes and tells."""

import pytest

from resnet_trt_node.errors import BackendUnavailable, ModelError, UsageError
from resnet_trt_node.inference import factory
from resnet_trt_node.inference.backend import BackendOptions
from resnet_trt_node.inference.simulated_backend import SIMULATED_SPEC
from tiny_model import write_tiny_model


@pytest.fixture
def path(tmp_path):
    return write_tiny_model(tmp_path / 'tiny.onnx')


def test_a_backend_is_opened_by_its_name(path):
    with factory.open_backend(path, 'simulated', BackendOptions(max_batch_size=3)) as backend:
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


def let_auto_try(monkeypatch, **outcomes):
    """Replace `AUTO_ORDER` by names that raise the given error or open the simulated backend."""
    really_open = factory._open

    def fake_open(path, name, options):
        if isinstance(outcomes[name], Exception):
            raise outcomes[name]
        return really_open(path, outcomes[name], options)
    monkeypatch.setattr(factory, 'AUTO_ORDER', tuple(outcomes))
    monkeypatch.setattr(factory, '_open', fake_open)


def test_auto_takes_the_best_in_silence(path, monkeypatch):
    let_auto_try(monkeypatch, first='simulated', second=AssertionError('not to be tried'))
    lines = []
    with factory.open_backend(path, options=BackendOptions(log=lines.append)) as backend:
        assert backend.info.name == 'simulated'
    assert lines == []


def test_auto_says_why_it_did_not_take_the_best(path, monkeypatch):
    let_auto_try(
        monkeypatch, first=BackendUnavailable('no GPU'), second=BackendUnavailable('too old'),
        third='simulated')
    lines = []
    with factory.open_backend(path, options=BackendOptions(log=lines.append)) as backend:
        assert backend.info.name == 'simulated'
    assert lines == [
        'using third, since the better ones cannot be: first: no GPU; second: too old']


def test_auto_falls_back_without_a_listener_too(path, monkeypatch):
    let_auto_try(monkeypatch, first=BackendUnavailable('no GPU'), second='simulated')
    with factory.open_backend(path) as backend:
        assert backend.info.name == 'simulated'


def test_auto_tells_every_reason_when_nothing_runs(path, monkeypatch):
    let_auto_try(monkeypatch, a=BackendUnavailable('no GPU'), b=BackendUnavailable('no wheel'))
    with pytest.raises(BackendUnavailable) as refusal:
        factory.open_backend(path)
    assert str(refusal.value) == 'no backend can run here: a: no GPU; b: no wheel'


def test_a_bad_model_is_no_reason_to_try_the_next(path, monkeypatch):
    let_auto_try(monkeypatch, a=ModelError('bad'), b=AssertionError('not to be tried'))
    with pytest.raises(ModelError, match=r'^bad$'):
        factory.open_backend(path)


@pytest.mark.parametrize(('name', 'value'), [
    ('max_batch_size', 0), ('max_batch_size', 1025), ('num_buffers', 0), ('num_buffers', 17),
    ('device_id', -1), ('cpu_threads', -1), ('simulated_ms', -1.0),
    ('simulated_ms', float('nan')), ('simulated_ms_per_frame', float('inf'))])
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(UsageError, match=f'^{name} is {value}: choose '):
        BackendOptions(**{name: value})
