"""Version-compatible engines and the lean runtime that runs them, on stand-ins."""

from __future__ import annotations

import json
from pathlib import Path
import shlex
from typing import Any, Callable, Iterator

from models.lean_engines import build_for_lean, link_lean_library
from models.tiny_model import write_tiny_model
import pytest
from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.engines.cache import BuiltEngine
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.engine import EngineSource
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.errors import BackendError, BackendUnavailable, ModelError, UsageError
from stand_ins.standin_tensorrt import StandInTensorRt
from stand_ins.tensorrt_machine import colours_of, World, worlds


@pytest.fixture
def world(monkeypatch: Any, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Return what makes a machine; at the end nothing may be held on it."""
    yield from worlds(monkeypatch, tmp_path)


@pytest.fixture
def lean(world: Any, monkeypatch: Any) -> Callable[..., World]:
    """Return what makes a machine with a full TensorRT and a lean runtime, which it opens."""
    def make(builder: str = '8.6', runtime: str = '10') -> World:
        machine: World = world(kind=builder)
        machine.lean = StandInTensorRt(f'lean {runtime}', machine.cuda).install(monkeypatch)
        machine.name = 'tensorrt_lean'
        return machine
    return make


def build(machine: World, **options: Any) -> Any:
    """Return the engine's side file."""
    build_for_lean(machine.model, {'engine_dir': machine.engines, **options})
    side, = machine.engines.glob('*.json')
    return json.loads(side.read_text())


@pytest.mark.parametrize(('builder', 'runtime'), [
    ('8.6', '8.6'), ('8.6', '10'), ('10', '10'), ('10', '11')])
def test_lean_runs_what_another_version_built(lean: Any, builder: str, runtime: str) -> None:
    machine = lean(builder, runtime)
    build(machine, max_batch_size=3)
    with machine.start(max_batch_size=3, engine_host_code=True) as backend:
        names = ['red', 'white', 'black']
        for size in (3, 1, 2):
            assert colours_of(backend, names[:size], size % 2) == names[:size]
        assert backend.info.name == 'tensorrt_lean'
        assert backend.info.details['engine_built_by'] == machine.trt.module.__version__
    assert machine.lean.contexts == machine.lean.engines == 0
    assert len(machine.trt.builds) == 1


def test_the_key_has_no_version_and_the_side_file_names_the_builder(world: Any) -> None:
    machine = world()
    side = build(machine)
    assert (side['key']['version'], side['key']['builder']) == ('', '8.6.1')
    assert side['key']['options']['version_compatible'] == 'true'
    assert side['built_by'] == 'tensorrt 8.6.1'
    assert 'tensorrt_lean' in side['runs_on']
    assert 'VERSION_COMPATIBLE' in {flag.name for flag in machine.trt.builds[0]['flags']}


def test_a_later_tensorrt_finds_it_and_keeps_its_own_timings(
        world: Any, monkeypatch: Any) -> None:
    machine = world()
    build(machine)
    StandInTensorRt('10', machine.cuda).install(monkeypatch)
    options = {'version_compatible': True, 'engine_host_code': True}
    with machine.start(**options) as backend:
        assert colours_of(backend, ['red']) == ['red']
        assert backend.info.details['engine_built_because'] == 'it was not, it was found'
    machine.start(max_batch_size=2, **options).close()
    assert len(list(machine.engines.glob('timing-*.cache'))) == 2


def test_the_build_command_builds_what_another_version_built_again(
        world: Any, monkeypatch: Any, capsys: Any) -> None:
    machine = world()
    words = ['build', str(machine.model), '--version-compatible', '--engine-dir',
             str(machine.engines), '--json']
    assert main(words) == 0
    StandInTensorRt('10', machine.cuda).install(monkeypatch)
    for built in (True, False):
        capsys.readouterr()
        assert main(words) == 0
        shown = json.loads(capsys.readouterr().out)
        assert (shown['built'], shown['builder']) == (built, '10.3.0')


def test_one_that_is_not_for_it_is_built_again_by_a_full_tensorrt(
        world: Any, monkeypatch: Any) -> None:
    machine = world()
    build(machine)
    StandInTensorRt('11', machine.cuda).install(monkeypatch)
    with machine.start(version_compatible=True, engine_host_code=True) as backend:
        assert 'does not run engines of that' in backend.info.details['engine_built_because']
    # The timings of 8.6 led to no engine of 11.
    assert len(list(machine.engines.glob('timing-*.cache'))) == 2


@pytest.mark.parametrize('name', ['tensorrt', 'auto'])
def test_its_code_must_be_allowed(world: Any, name: str) -> None:
    machine = world()
    machine.name = name
    with pytest.raises(UsageError, match='engine_host_code'):
        machine.start(version_compatible=True)
    assert not machine.trt.builds


def test_lean_needs_the_code_to_be_allowed_and_auto_logs_that(
        lean: Any, monkeypatch: Any) -> None:
    machine = lean()
    build(machine)
    with pytest.raises(BackendUnavailable, match='engine_host_code'):
        machine.start()
    for module in ('tensorrt', 'tensorrt_rtx'):
        monkeypatch.setitem(__import__('sys').modules, module, None)
    machine.name = 'auto'
    with machine.start() as backend:
        assert backend.info.name == 'onnxruntime'
    assert machine.said.pop(0) == (
        'using onnxruntime instead of tensorrt_lean: engine_host_code is false; '
        'backend tensorrt_lean says more')
    machine.said.clear()
    with machine.start(engine_host_code=True) as backend:
        assert backend.info.name == 'tensorrt_lean'
    line, = machine.said
    assert 'using tensorrt_lean' in line


def test_auto_goes_on_from_an_engine_that_this_lean_runtime_refuses(
        lean: Any, monkeypatch: Any) -> None:
    machine = lean('8.6', '11')
    build(machine)
    for module in ('tensorrt', 'tensorrt_rtx'):
        monkeypatch.setitem(__import__('sys').modules, module, None)
    machine.name = 'auto'
    with machine.start(engine_host_code=True) as backend:
        assert backend.info.name == 'onnxruntime'
    assert machine.said[0].endswith(
        'TensorRT cannot load the engine; backend tensorrt_lean says more')
    machine.name = 'tensorrt_lean'
    with pytest.raises(BackendUnavailable, match=r'built by TensorRT 8\.6\.1'):
        machine.start(engine_host_code=True)


def test_without_an_engine_it_tells_the_command_that_builds_it(lean: Any) -> None:
    machine = lean()
    options = {'max_batch_size': 4, 'opt_batch_sizes': (2, 4), 'optimization_level': 1,
               'tf32': True}
    with pytest.raises(BackendUnavailable, match='first engine') as refusal:
        machine.start(engine_host_code=True, **options)
    assert 'Stand-in GPU' in str(refusal.value)
    assert str(machine.engines) in str(refusal.value)
    words = shlex.split(str(refusal.value).split('`')[1])
    assert words[:3] == ['resnet_trt', 'build', machine.model.name]
    assert main(['build', str(machine.model), *words[3:], '--engine-dir',
                 str(machine.engines)]) == 0
    with machine.start(engine_host_code=True, **options) as backend:
        assert colours_of(backend, ['blue']) == ['blue']
    with pytest.raises(BackendUnavailable, match='optimization_level 1 -> 2'):
        machine.start(engine_host_code=True, **{**options, 'optimization_level': 2})


def test_a_plain_engine_is_not_taken_for_one(lean: Any) -> None:
    machine = lean()
    open_backend(machine.model, 'tensorrt', engine_dir=machine.engines).close()
    with pytest.raises(BackendUnavailable, match=r'TensorRT 8\.6\.1 -> any.*--version-compatible'):
        machine.start(engine_host_code=True)


def test_a_bad_model_is_the_better_reason(lean: Any, tmp_path: Path) -> None:
    machine = lean()
    machine.model = tmp_path / 'bad.onnx'
    machine.model.write_bytes(b'no model')
    with pytest.raises(ModelError):
        machine.start(engine_host_code=True)


def test_another_precision_is_refused(lean: Any) -> None:
    machine = lean()
    build(machine)
    with pytest.raises(ModelError, match='--precision fp16'):
        machine.start(engine_host_code=True, precision='fp16')


@pytest.mark.parametrize('harm', ['altered', 'writable'])
def test_what_the_cache_does_not_trust_is_not_loaded(lean: Any, harm: str) -> None:
    machine = lean()
    build(machine)
    engine, = machine.engines.glob('*.engine')
    if harm == 'altered':
        engine.write_bytes(engine.read_bytes()[:-1] + b'?')
    else:
        engine.chmod(0o666)
    with pytest.raises(BackendUnavailable, match=r'sha256|other users'):
        machine.start(engine_host_code=True)
    assert machine.lean.engines == 0
    assert engine.exists()


def store_as_compatible(machine: World, plan: bytes, builder: str) -> None:
    """Put a plan where the lean runtime looks for one, as if that version had built it."""
    options = TensorRtOptions(version_compatible=True, engine_dir=machine.engines)
    with CudaDevice(0) as device:
        source = EngineSource(
            versions.load_module('tensorrt'), 'tensorrt', machine.model, options, device)
    spec = read_model_spec(machine.model)
    source.cache.get(source.key, lambda timing: BuiltEngine(plan, spec))


@pytest.mark.parametrize(('builder', 'runtime', 'compatible', 'keyword'), [
    ('8.6', '8.6', False, 'not version-compatible'), ('8.6', '10', False, 'another version'),
    ('8.6', '11', True, 'another version'), ('10', '8.6', True, 'another version')])
def test_a_wrong_pair_is_explained_and_the_engine_stays(
        lean: Any, builder: str, runtime: str, compatible: bool, keyword: str) -> None:
    machine = lean(builder, runtime)
    if compatible:
        build(machine)
    else:
        with open_backend(machine.model, 'tensorrt', engine_dir=machine.engines) as backend:
            plan = Path(backend.info.details['engine']).read_bytes()
        store_as_compatible(machine, plan, builder)
    with pytest.raises(BackendError, match=f'{keyword}.*--version-compatible') as refusal:
        machine.start(engine_host_code=True)
    assert f'built by TensorRT {machine.trt.module.__version__}' in str(refusal.value)
    assert not list(machine.engines.glob('*.bad'))
    assert machine.everything_freed()


def test_a_build_without_the_lean_library_says_where_to_get_it(world: Any) -> None:
    machine = world()
    machine.trt.build_fails = 'Could not determine path for lean runtime!'
    with pytest.raises(BackendError, match='LD_LIBRARY_PATH'):
        build(machine)


def test_rtx_has_none_and_auto_goes_on(world: Any) -> None:
    machine = world(kind='rtx')
    with pytest.raises(BackendUnavailable, match='lean runtime'):
        machine.start(version_compatible=True, engine_host_code=True)


def test_the_command_prints_who_runs_it(world: Any, capsys: Any) -> None:
    machine = world()
    words = ['build', str(machine.model), '--version-compatible', '--engine-dir',
             str(machine.engines)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert '8.6.1 or later' in shown
    assert 'version_compatible true, engine_host_code true' in shown
    assert main([*words, '--json']) == 0
    assert json.loads(capsys.readouterr().out)['builder'] == '8.6.1'


def test_each_lean_runtime_is_read_right(lean: Any) -> None:
    for runtime in ('8.6', '10', '11'):
        trt = StandInTensorRt(f'lean {runtime}', None).module
        assert not versions.can_build(trt)
        assert not versions.can_target(trt)
    assert versions.builds_for('tensorrt_lean') == 'tensorrt'
    lean()
    assert versions.load_module('tensorrt_lean').__version__ == '10.3.0'


def test_the_real_lean_runtime_is_read_right() -> None:
    trt = pytest.importorskip('tensorrt_lean', reason='tensorrt-lean is not installed')
    assert versions.load_module('tensorrt_lean') is trt
    assert not versions.can_build(trt)
    assert not versions.can_target(trt)
    assert hasattr(trt.Runtime, 'engine_host_code_allowed')
    assert hasattr(trt.IExecutionContext, 'set_device_memory') or hasattr(
        trt.IExecutionContext, 'device_memory')
    assert hasattr(trt.ExecutionContextAllocationStrategy, 'USER_MANAGED') if hasattr(
        trt, 'ExecutionContextAllocationStrategy') else hasattr(
        trt.ICudaEngine, 'create_execution_context_without_device_memory')
    # Those of TensorRT-RTX would need a runtime configuration.
    assert not hasattr(trt, 'DynamicShapesKernelSpecializationStrategy')


def test_the_name_of_the_model_may_hold_anything(lean: Any, tmp_path: Path) -> None:
    machine = lean()
    machine.model = write_tiny_model(tmp_path / "a model's `name`.onnx")
    with pytest.raises(BackendUnavailable, match=r'--batch-size 1'):
        machine.start(engine_host_code=True)


def test_wheels_beside_each_other_give_the_builder_its_lean_library(tmp_path: Path) -> None:
    for folder, package, library, info in (
            ('lean86', 'tensorrt_lean', 'libnvinfer_lean.so.8', 'tensorrt_lean-8.6.0'),
            ('lean10', 'tensorrt_lean_libs', 'libnvinfer_lean.so.10',
             'tensorrt_lean_cu13_libs-10.16.1.11')):
        place = tmp_path / 'kit' / folder
        (place / package).mkdir(parents=True)
        (place / package / library).write_bytes(info.encode())
        (place / f'{info}.dist-info').mkdir()
    (tmp_path / 'kit' / 'trt86').mkdir()
    links = tmp_path / 'links'
    links.mkdir()
    assert not link_lean_library(links, ['', str(tmp_path / 'elsewhere' / 'site')])
    assert link_lean_library(links, ['', str(tmp_path / 'kit' / 'trt86')])
    assert {path.name: path.read_text() for path in links.iterdir()} == {
        'libnvinfer_lean.so.8.6.0': 'tensorrt_lean-8.6.0',
        'libnvinfer_lean.so.10.16.1.11': 'tensorrt_lean_cu13_libs-10.16.1.11'}
