"""The cache of engines among several processes: one builds, others wait, builders may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from models.engine_builds import Builder, KEY, PLAN
import pytest

from resnet_trt_node.backends.engines.cache import EngineCache
from resnet_trt_node.errors import BackendError

pytestmark = pytest.mark.slow

WORKER = '\n'.join([
    'import os, sys, time',
    'from pathlib import Path',
    'sys.path[:0] = {path!r}',
    'from resnet_trt_node.backends.engines.cache import BuiltEngine, EngineCache',
    'from models.engine_builds import KEY, PLAN, SPEC',
    'folder = Path({folder!r})',
    'def build(timing):',
    "    with open(folder / 'builds', 'a') as file:",
    "        file.write(f'{{os.getpid()}}\\n')",
    '    deadline = time.monotonic() + 300',
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


def wait_for(condition, deadline_s=60.0):
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
    assert f'process {first.pid}' in lines[1]
    assert str(cache.folder) in lines[1]
    (cache.folder / 'go').touch()
    said = [worker.communicate(timeout=120)[0] for worker in (first, second)]
    assert 'first engine' in said[0]
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
    killed.communicate(timeout=120)
    assert not list(cache.folder.glob('*.engine'))
    engine = cache.get(KEY, Builder())
    assert 'first engine' in engine.reason
    assert [file.name for file in cache.folder.glob('.*.tmp')] == ['.now.tmp']


def test_waiting_for_a_builder_ends(tmp_path, said):
    cache = EngineCache(tmp_path / 'engines', said.append, lock_timeout_s=0.2)
    worker = start_worker(cache)
    try:
        wait_for(lambda: builds_of(cache))
        with pytest.raises(BackendError, match=f'process {worker.pid}'):
            cache.get(KEY, Builder())
    finally:
        (cache.folder / 'go').touch()
        worker.communicate(timeout=120)


def test_a_failing_build_leaves_no_engine(cache):
    def fail(timing):
        raise BackendError('no kernel for it')
    with pytest.raises(BackendError, match='no kernel for it'):
        cache.get(KEY, fail)
    assert sorted(file.name for file in cache.folder.iterdir()) == ['.lock']
    assert cache.get(KEY, Builder()).plan == PLAN
