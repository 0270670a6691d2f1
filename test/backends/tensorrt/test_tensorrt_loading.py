"""Engines that TensorRT cannot load or run: built once more, or an error that gives the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from resnet_trt_node.backends.tensorrt.log import _spread
from resnet_trt_node.errors import BackendError
from stand_ins.tensorrt_machine import colours_of, World, worlds


@pytest.fixture
def world(monkeypatch: Any, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Return what makes a machine; at the end nothing may be held on it."""
    yield from worlds(monkeypatch, tmp_path)


def refuse_contexts(machine: World, monkeypatch: Any, builds: int, why: str) -> None:
    """Let engines of the first so many builds give no context."""
    engine = machine.trt.module.ICudaEngine
    real = engine.create_execution_context_without_device_memory

    def create(self: Any) -> Any:
        if len(machine.trt.builds) > builds:
            return real(self)
        _spread('ERROR', why)
        return None
    monkeypatch.setattr(engine, 'create_execution_context_without_device_memory', create)


def test_an_engine_that_tensorrt_cannot_load_is_quarantined_and_rebuilt(world: Any) -> None:
    machine = world()
    with machine.start():
        pass
    machine.trt.module.Runtime.deserialize_cuda_engine, real = (
        lambda self, plan: None if len(machine.trt.builds) == 1 else real(self, plan)), (
        machine.trt.module.Runtime.deserialize_cuda_engine)
    with machine.start() as backend:
        assert colours_of(backend, ['white']) == ['white']
    assert len(machine.trt.builds) == 2
    assert [file.suffixes[-2:] for file in machine.engines.glob('*.engine.bad')] == [
        ['.engine', '.bad']]


@pytest.mark.parametrize('stored', [True, False])
def test_an_engine_that_gives_no_context_is_quarantined_and_rebuilt(
        world: Any, monkeypatch: Any, stored: bool) -> None:
    # 8.6.0 can build an engine of which its own Myelin makes no context.
    machine = world()
    if stored:
        with machine.start():
            pass
    refuse_contexts(machine, monkeypatch, 1, 'Error Code 1: Myelin (No Myelin Error exists)')
    with machine.start() as backend:
        assert colours_of(backend, ['white']) == ['white']
        assert 'Myelin' in backend.info.details['engine_built_because']
    assert len(machine.trt.builds) == 2
    assert any('once more' in line for line in machine.said)
    assert len(list(machine.engines.glob('timing-*.cache.bad'))) == 1
    with machine.start():
        assert len(machine.trt.builds) == 2


def test_engines_that_never_give_a_context_are_an_error_and_none_stays(
        world: Any, monkeypatch: Any) -> None:
    machine = world()
    refuse_contexts(machine, monkeypatch, 9, 'Error Code 1: Myelin (No Myelin Error exists)')
    with pytest.raises(BackendError, match=r'No Myelin.*optimization level'):
        machine.start()
    assert machine.everything_freed()
    assert len(machine.trt.builds) == 2
    assert not list(machine.engines.glob('*.engine'))


def test_an_engine_in_memory_only_is_built_once_more_too(
        world: Any, monkeypatch: Any) -> None:
    machine = world()
    machine.engines.write_text('no folder')
    refuse_contexts(machine, monkeypatch, 1, 'Error Code 1: Myelin (No Myelin Error exists)')
    with machine.start() as backend:
        assert colours_of(backend, ['white']) == ['white']
    assert len(machine.trt.builds) == 2
    assert not any('quarantined' in line for line in machine.said)


@pytest.mark.parametrize('stored', [True, False])
def test_a_runtime_that_does_not_start_is_an_error(world: Any, stored: bool) -> None:
    machine = world()
    if stored:
        with machine.start():
            pass
    machine.trt.runtime_fails = 'CUDA initialization failure with error: 2'
    with pytest.raises(BackendError, match=r'cannot start: .*error: 2'):
        machine.start()
    assert machine.everything_freed()
    machine.trt.runtime_fails = ''
    with machine.start():
        assert len(machine.trt.builds) == 1


def test_too_little_memory_to_load_an_engine_is_not_its_fault(
        world: Any, monkeypatch: Any) -> None:
    machine = world()
    with machine.start():
        pass

    def refuse(self: Any, plan: bytes) -> None:
        _spread('ERROR', 'Error Code 1: Cuda Runtime (out of memory)')
    monkeypatch.setattr(machine.trt.module.Runtime, 'deserialize_cuda_engine', refuse)
    with pytest.raises(BackendError, match=r'cannot load .*out of memory'):
        machine.start()
    assert machine.everything_freed()
    assert len(machine.trt.builds) == 1
    assert len(list(machine.engines.glob('*.engine'))) == 1


def test_too_little_memory_for_a_context_is_not_the_engines_fault(
        world: Any, monkeypatch: Any) -> None:
    machine = world()
    refuse_contexts(machine, monkeypatch, 9, 'Error Code 1: Cuda Runtime (out of memory)')
    with pytest.raises(BackendError, match=r'context .*out of memory'):
        machine.start()
    assert machine.everything_freed()
    assert len(machine.trt.builds) == 1
    assert len(list(machine.engines.glob('*.engine'))) == 1
