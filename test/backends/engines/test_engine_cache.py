"""The cache of engines: hits, misses and reasons, and folders where nothing can be stored."""

from __future__ import annotations

from dataclasses import replace
import json
import os
from pathlib import Path
import subprocess
import sys

from models.engine_builds import Builder, KEY, PLAN, SPEC
import pytest

from resnet_trt_node.backends.engines import files as engine_files
from resnet_trt_node.backends.engines.cache import BuiltEngine, default_engine_dir, EngineCache
from resnet_trt_node.contract.sparsity import SparseBuild
from resnet_trt_node.errors import BackendError


def test_a_miss_builds_and_a_hit_does_not(cache, said):
    build = Builder()
    first = cache.get(KEY, build)
    assert (first.plan, first.spec) == (PLAN, SPEC)
    assert 'first engine' in first.reason
    again = cache.get(KEY, build)
    assert (again.plan, again.spec, again.path, again.reason) == (PLAN, SPEC, first.path, '')
    assert len(build.timings) == 1
    line, = said
    assert first.path.name in line
    assert first.reason in line


def test_the_side_file_describes_the_engine(cache):
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
    sparsity = SparseBuild(19, 12, None, ('a',))
    built = cache.get(KEY, lambda timing: BuiltEngine(PLAN, SPEC, timing, sparsity))
    assert built.sparsity == cache.get(KEY, Builder()).sparsity == sparsity
    side = cache.path_of(KEY).with_suffix('.json')
    document = json.loads(side.read_text())
    assert document['sparsity'] == {
        'two_four': 19, 'eligible': 12, 'chosen': None, 'layers': ['a']}
    side.write_text(json.dumps({**document, 'sparsity': {'two_four': 'many'}}))
    assert cache.get(KEY, Builder()).sparsity is None
    assert 'altered' in said[-2]


def test_the_nearest_engine_explains(cache):
    for version in ('7.0', '8.6.0'):
        cache.get(replace(KEY, version=version, device='Card B'), Builder())
    cache.get(replace(KEY, version='7.0'), Builder())
    assert cache.get(KEY, Builder()).reason in (
        'TensorRT 7.0 -> 8.6.0', 'GPU Card B -> Card A')


def test_an_engine_of_the_same_bytes_explains_under_another_name(cache):
    cache.get(KEY, Builder())
    other = replace(KEY, stem='renamed', version='10.3.0')
    assert cache.get(other, Builder()).reason == 'TensorRT 8.6.0 -> 10.3.0'


def test_another_file_name_of_the_same_bytes_has_the_same_digest_and_is_told(cache):
    assert replace(KEY, stem='renamed').digest() == KEY.digest()
    cache.get(KEY, Builder())
    assert 'model -> renamed' in cache.get(replace(KEY, stem='renamed'), Builder()).reason


@pytest.mark.parametrize('stem', ['m' * 250, '\u6a21' * 83, 'm\udcff'])
def test_any_file_name_of_a_model_will_do(cache, stem):
    # The longest that a file system takes, and one of bytes that are no UTF-8.
    key = replace(KEY, stem=stem)
    engine = cache.get(key, Builder(), must_store=True)
    assert engine.path.name.startswith(stem[:60].strip('\udcff'))
    engine.path.name.encode()  # it can be logged
    assert cache.get(key, Builder()).reason == ''
    cache.reject(key, engine, 'of another world')
    assert cache.get(key, Builder()).reason.endswith('of another world')


def test_force_builds_again(cache):
    build = Builder()
    cache.get(KEY, build)
    assert 'asked for' in cache.get(KEY, build, force=True).reason
    assert len(build.timings) == 2


def test_the_timing_cache_is_kept_for_the_same_machine(cache):
    build = Builder()
    cache.get(KEY, build)
    cache.get(replace(KEY, model_sha256='b' * 64), build)
    cache.get(replace(KEY, device='Card B'), build)
    assert build.timings == [b'', b'+', b'']


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
    assert 'memory' in said[-1]
    assert list(cache.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path, said):
    (tmp_path / 'file').touch()
    cache = EngineCache(tmp_path / 'file' / 'engines', said.append)
    with pytest.raises(BackendError, match='cannot make'):
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
    'from resnet_trt_node.backends.engines.cache import EngineCache',
    'from models.engine_builds import Builder, KEY',
    'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)',
    'resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))',
    'said = []',
    'cache = EngineCache(Path({folder!r}), said.append)',
    'engine = cache.get(KEY, Builder())',
    'assert engine.path is None and len(engine.plan) == 25600',
    "assert 'cannot store' in said[-1] and 'File too large' in said[-1], said",
    'try:',
    '    cache.get(KEY, Builder(), must_store=True)',
    'except BackendError as error:',
    '    print(error)',
])


@pytest.mark.slow
def test_a_disk_that_is_full_leaves_nothing_half_written(cache):
    script = FULL_DISK.format(path=sys.path, folder=str(cache.folder))
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert 'free some space' in done.stdout
    assert [file.name for file in cache.folder.iterdir()] == ['.lock']
