"""The cache of engines: hits, misses and reasons, distrust, two processes, dying builders."""

from __future__ import annotations

from dataclasses import replace
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from resnet_trt_node.errors import BackendError
from resnet_trt_node.inference import engine_files
from resnet_trt_node.inference.engine_cache import (
    BuiltEngine, default_engine_dir, EngineCache)
from resnet_trt_node.inference.engine_key import EngineKey
from resnet_trt_node.inference.sparsity import SparseBuild
from resnet_trt_node.inference.spec import ModelSpec, ResizeRule

SPEC = ModelSpec(
    height=8, width=8, labels=('cat', 'Hündchen'), resize=ResizeRule(10, 8, 8), precision='fp16')
KEY = EngineKey(
    'model', 'a' * 64, 'tensorrt', '8.6.0', 'Card A', '9.0', ((1, 4, 4),), (('tf32', 'false'),))
PLAN = bytes(range(256)) * 100


class Builder:
    """Counts builds and notes the timing caches that it was given."""

    def __init__(self, plan=PLAN):
        self.plan = plan
        self.timings = []

    def __call__(self, timing):
        self.timings.append(timing)
        return BuiltEngine(self.plan, SPEC, timing + b'+')


@pytest.fixture
def said():
    return []


@pytest.fixture
def cache(tmp_path, said):
    return EngineCache(tmp_path / 'engines', said.append)


def test_a_miss_builds_and_a_hit_does_not(cache, said):
    build = Builder()
    first = cache.get(KEY, build)
    assert (first.plan, first.spec) == (PLAN, SPEC)
    assert first.reason == 'the first engine of this model here'
    again = cache.get(KEY, build)
    assert (again.plan, again.spec, again.path, again.reason) == (PLAN, SPEC, first.path, '')
    assert len(build.timings) == 1
    assert said == [f'building {first.path.name}: the first engine of this model here']


def test_the_side_file_says_in_words_what_the_engine_is(cache):
    engine = cache.get(KEY, Builder())
    side = json.loads(engine.path.with_suffix('.json').read_text(encoding='utf-8'))
    assert side['key'] == {
        'stem': 'model', 'model_sha256': 'a' * 64, 'flavour': 'tensorrt', 'version': '8.6.0',
        'device': 'Card A', 'compute_capability': '9.0', 'profiles': [[1, 4, 4]],
        'options': {'tf32': 'false'}}
    assert side['plan']['bytes'] == len(PLAN)
    assert side['plan']['owner_uid'] == os.geteuid()
    assert 'sparsity' not in side
    assert side['spec']['resnet_trt.precision'] == 'fp16'


@pytest.mark.parametrize(('change', 'reason'), [
    ({'version': '10.3.0'}, 'TensorRT 8.6.0 -> 10.3.0'),
    ({'device': 'Card B', 'compute_capability': '8.9'},
     'GPU Card A -> Card B; compute capability 9.0 -> 8.9'),
    ({'model_sha256': 'b' * 64},
     'the model file changed (sha256 aaaaaaaaaaaa -> bbbbbbbbbbbb)'),
    ({'profiles': ((1, 1, 2), (3, 8, 8))},
     'batch sizes 1..4 (best at 4) -> 1..2 (best at 1), 3..8 (best at 8)'),
    ({'options': (('tf32', 'true'),)}, 'tf32 false -> true'),
    ({'options': (('level', '5'), ('tf32', 'false'))}, 'level unset -> 5'),
    ({'flavour': 'tensorrt_rtx'}, 'runtime tensorrt -> tensorrt_rtx'),
])
def test_a_rebuild_names_what_changed(cache, change, reason):
    build = Builder()
    cache.get(KEY, build)
    other = replace(KEY, **change)
    assert cache.get(other, build).reason == reason
    assert len(build.timings) == 2
    # The first one is still there.
    assert cache.get(KEY, build).reason == ''


def test_what_came_of_sparse_weights_is_kept(cache, said):
    sparsity = SparseBuild(19, 12, None)
    built = cache.get(KEY, lambda timing: BuiltEngine(PLAN, SPEC, timing, sparsity))
    assert built.sparsity == cache.get(KEY, Builder()).sparsity == sparsity
    side = cache.path_of(KEY).with_suffix('.json')
    document = json.loads(side.read_text())
    assert document['sparsity'] == {'two_four': 19, 'eligible': 12, 'chosen': None}
    side.write_text(json.dumps({**document, 'sparsity': {'two_four': 'many'}}))
    assert cache.get(KEY, Builder()).sparsity is None
    assert 'is malformed' in said[-2]


def test_the_nearest_engine_explains(cache):
    for version in ('7.0', '8.6.0'):
        cache.get(replace(KEY, version=version, device='Card B'), Builder())
    cache.get(replace(KEY, version='7.0'), Builder())
    assert cache.get(KEY, Builder()).reason in (
        'TensorRT 7.0 -> 8.6.0', 'GPU Card B -> Card A')


def test_another_file_name_of_the_same_bytes_is_found_under_its_digest(cache):
    assert replace(KEY, stem='renamed').digest() == KEY.digest()


def test_force_builds_again(cache):
    build = Builder()
    cache.get(KEY, build)
    assert cache.get(KEY, build, force=True).reason == 'a rebuild was asked for'
    assert len(build.timings) == 2


def test_the_timing_cache_is_kept_for_the_same_machine(cache):
    build = Builder()
    cache.get(KEY, build)
    cache.get(replace(KEY, model_sha256='b' * 64), build)
    cache.get(replace(KEY, device='Card B'), build)
    assert build.timings == [b'', b'+', b'']


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_altered(path):
    path.write_bytes(b'\x01' + path.read_bytes()[1:])


def damage_writable(path):
    path.chmod(0o666)


def damage_link(path):
    path.rename(path.with_suffix('.elsewhere'))
    path.symlink_to(path.with_suffix('.elsewhere'))


def damage_side(path):
    path.with_suffix('.json').write_text('{"format": 1}')


def damage_side_of_another(path):
    file = path.with_suffix('.json')
    side = json.loads(file.read_text())
    side['key']['version'] = '9.9'
    file.write_text(json.dumps(side))


def damage_owner(path):
    file = path.with_suffix('.json')
    side = json.loads(file.read_text())
    side['plan']['owner_uid'] += 1
    file.write_text(json.dumps(side))


@pytest.mark.parametrize(('damage', 'words'), [
    (damage_cut, 'it was cut off'), (damage_altered, 'it was altered'),
    (damage_writable, 'can be written by other users'), (damage_link, 'is a symbolic link'),
    (damage_side, 'is malformed'), (damage_side_of_another, 'describes another engine'),
    (damage_owner, 'wrote it')])
def test_an_engine_that_is_not_as_stored_is_moved_aside_and_rebuilt(cache, said, damage, words):
    path = cache.get(KEY, Builder(b'first')).path
    damage(path)
    engine = cache.get(KEY, Builder(b'second'))
    assert engine.plan == b'second'
    assert engine.reason.startswith('the stored engine was moved aside: ')
    assert words in engine.reason
    assert any(words in line and 'moved aside' in line for line in said), said
    assert path.with_name(path.name + '.bad').exists()
    assert cache.get(KEY, Builder(b'third')).plan == b'second'


def test_an_engine_that_the_runtime_refuses_is_moved_aside(cache, said):
    engine = cache.get(KEY, Builder())
    cache.reject(KEY, engine, 'magic tag does not match')
    assert not engine.path.exists()
    assert 'magic tag does not match' in said[-1]
    build = Builder()
    assert cache.get(KEY, build).reason == (
        'the stored engine was moved aside: magic tag does not match')
    # Its timings would have led to it again.
    assert build.timings == [b'']


def test_what_was_built_instead_meanwhile_is_not_moved_aside(cache, tmp_path):
    other = EngineCache(cache.folder, print)
    refused = cache.get(KEY, Builder(b'refused'))
    assert other.get(KEY, Builder()).plan == b'refused'
    other.reject(KEY, refused, 'no context')
    # Already moved by the other process.
    cache.reject(KEY, refused, 'no context')
    assert other.get(KEY, Builder(b'better')).plan == b'better'
    cache.reject(KEY, refused, 'no context')
    assert cache.get(KEY, Builder(b'third')).plan == b'better'


def test_an_engine_in_memory_only_is_rejected_without_a_word(cache, said, monkeypatch):
    engine = replace(cache.get(KEY, Builder()), path=None)
    said.clear()
    cache.reject(KEY, engine, 'no context')
    assert not said


def test_an_engine_that_cannot_be_moved_aside_is_an_error(cache, monkeypatch):
    engine = cache.get(KEY, Builder())

    def refuse(*arguments):
        raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(os, 'replace', refuse)
    with pytest.raises(BackendError, match=r'magic.*cannot be moved aside \(Permission denied\)'):
        cache.reject(KEY, engine, 'magic tag does not match')


def test_a_plan_without_its_side_file_is_not_used(cache):
    path = cache.get(KEY, Builder(b'first')).path
    path.with_suffix('.json').unlink()
    assert cache.get(KEY, Builder(b'second')).plan == b'second'


def test_the_default_folder_follows_the_xdg_rules(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/somewhere')
    assert default_engine_dir() == Path('/somewhere/resnet_trt_node/engines')
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    monkeypatch.setenv('HOME', '/home/robot')
    assert default_engine_dir() == Path('/home/robot/.cache/resnet_trt_node/engines')


def test_folder_and_files_are_for_their_owner_alone(cache):
    cache.get(KEY, Builder())
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in cache.folder.iterdir()} == {0o600}


# Where nothing can be stored

def test_a_folder_that_others_can_write_is_not_used(cache, said):
    cache.folder.mkdir()
    cache.folder.chmod(0o777)
    with pytest.raises(BackendError, match='chmod go-w'):
        cache.get(KEY, Builder(), must_store=True)
    engine = cache.get(KEY, Builder())
    assert (engine.plan, engine.path) == (PLAN, None)
    assert 'lives in memory only' in said[-1]
    assert list(cache.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path, said):
    (tmp_path / 'file').touch()
    cache = EngineCache(tmp_path / 'file' / 'engines', said.append)
    with pytest.raises(BackendError, match='cannot make the engine folder'):
        cache.get(KEY, Builder(), must_store=True)
    assert cache.get(KEY, Builder()).plan == PLAN


def test_a_read_only_folder(cache, monkeypatch, said):
    cache.folder.mkdir(mode=0o700)
    really_open = os.open

    def refuse(path, flags, *arguments):
        # As the superuser, who may run the tests, sees it on a read-only file system only.
        if flags & os.O_CREAT and str(path).startswith(str(cache.folder)):
            raise OSError(30, 'Read-only file system')
        return really_open(path, flags, *arguments)
    monkeypatch.setattr(engine_files.os, 'open', refuse)
    with pytest.raises(BackendError, match='Read-only file system'):
        cache.get(KEY, Builder(), must_store=True)
    engine = cache.get(KEY, Builder())
    assert (engine.plan, engine.path) == (PLAN, None)
    assert 'Read-only file system' in said[-1]


FULL_DISK = '\n'.join([
    'import resource, signal, sys',
    'from pathlib import Path',
    'sys.path[:0] = {path!r}',
    'from resnet_trt_node.errors import BackendError',
    'from resnet_trt_node.inference.engine_cache import EngineCache',
    'from test_engine_cache import Builder, KEY',
    'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)',
    'resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))',
    'said = []',
    'cache = EngineCache(Path({folder!r}), said.append)',
    'engine = cache.get(KEY, Builder())',
    'assert engine.path is None and len(engine.plan) == 25600',
    "assert 'cannot store the engine' in said[-1] and 'File too large' in said[-1], said",
    'try:',
    '    cache.get(KEY, Builder(), must_store=True)',
    'except BackendError as error:',
    '    print(error)',
])


def test_a_disk_that_is_full_leaves_nothing_half_written(cache):
    script = FULL_DISK.format(path=sys.path, folder=str(cache.folder))
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert 'free some space' in done.stdout
    assert [file.name for file in cache.folder.iterdir()] == ['.lock']


# Several processes

WORKER = '\n'.join([
    'import os, sys, time',
    'from pathlib import Path',
    'sys.path[:0] = {path!r}',
    'from resnet_trt_node.inference.engine_cache import BuiltEngine, EngineCache',
    'from test_engine_cache import KEY, PLAN, SPEC',
    'folder = Path({folder!r})',
    'def build(timing):',
    "    with open(folder / 'builds', 'a') as file:",
    "        file.write(f'{{os.getpid()}}\\n')",
    '    deadline = time.monotonic() + 30',
    "    while not (folder / 'go').exists() and time.monotonic() < deadline:",
    '        time.sleep(0.01)',
    '    return BuiltEngine(PLAN, SPEC)',
    "print('ready', flush=True)",
    'engine = EngineCache(folder, lambda line: print(line, flush=True)).get(KEY, build)',
    'assert engine.plan == PLAN',
    "print('done', engine.reason, flush=True)",
])


def start_worker(cache):
    cache.folder.mkdir(mode=0o700, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, '-c', WORKER.format(path=sys.path, folder=str(cache.folder))],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition, deadline_s=30.0):
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, 'it did not happen in time'
        time.sleep(0.01)


def builds_of(cache):
    file = cache.folder / 'builds'
    return file.read_text().split() if file.exists() else []


def test_two_processes_at_once_build_once(cache):
    first = start_worker(cache)
    wait_for(lambda: builds_of(cache))
    second = start_worker(cache)
    lines = [second.stdout.readline() for _ in range(2)]
    assert lines[1] == (
        f'waiting for process {first.pid}, which is building engines in {cache.folder}\n')
    (cache.folder / 'go').touch()
    said = [worker.communicate(timeout=30)[0] for worker in (first, second)]
    assert 'done the first engine of this model here' in said[0]
    assert said[1] == 'done \n'
    assert builds_of(cache) == [str(first.pid)]


def test_a_killed_builder_leaves_no_engine_and_no_lock(cache):
    killed = start_worker(cache)
    wait_for(lambda: builds_of(cache))
    # What a process that dies while it writes leaves behind.
    half = cache.folder / '.abc.tmp'
    half.write_bytes(b'half an engine')
    os.utime(half, (time.time() - 3600,) * 2)
    # And what another process is writing now.
    (cache.folder / '.now.tmp').write_bytes(b'half a database')
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=30)
    assert not list(cache.folder.glob('*.engine'))
    engine = cache.get(KEY, Builder())
    assert engine.reason == 'the first engine of this model here'
    assert [file.name for file in cache.folder.glob('.*.tmp')] == ['.now.tmp']


def test_waiting_for_a_builder_ends(tmp_path, said):
    cache = EngineCache(tmp_path / 'engines', said.append, lock_timeout_s=0.2)
    worker = start_worker(cache)
    try:
        wait_for(lambda: builds_of(cache))
        with pytest.raises(BackendError, match=f'process {worker.pid} has held'):
            cache.get(KEY, Builder())
    finally:
        (cache.folder / 'go').touch()
        worker.communicate(timeout=30)


def test_a_failing_build_leaves_no_engine(cache):
    def fail(timing):
        raise BackendError('no kernel for it')
    with pytest.raises(BackendError, match='no kernel for it'):
        cache.get(KEY, fail)
    assert sorted(file.name for file in cache.folder.iterdir()) == ['.lock']
    assert cache.get(KEY, Builder()).plan == PLAN
