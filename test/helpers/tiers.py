"""
The fast tests, as a plugin of pytest: no process, no network, no PyTorch, no ROS graph.

A test is fast unless it is marked `slow`, and `pytest -m 'not slow'` holds it to that. A file with
`pytestmark = pytest.mark.slow` is not even imported then.
"""

from __future__ import annotations

from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
import re
import sys
from types import ModuleType
from typing import Any, Iterator, NoReturn

import pytest

#: Fixtures that make slow what uses them.
_SLOW_FIXTURES = {
    'cv_bridge', 'efficientnet_lite0', 'kernel_on_cpu', 'listener', 'peer', 'resnet18',
    'resnet18_fp16', 'rtx'}
_SLOW_FILE = re.compile(r'^pytestmark = .*\bpytest\.mark\.slow\b', re.MULTILINE)
#: Audit events that a fast test must not cause.
_EVENTS = {
    'subprocess.Popen': 'starts a process', 'os.system': 'starts a process',
    'os.fork': 'starts a process', 'os.forkpty': 'starts a process',
    'os.posix_spawn': 'starts a process', 'socket.bind': 'uses the network',
    'socket.connect': 'uses the network', 'socket.sendto': 'uses the network',
    'socket.getaddrinfo': 'uses the network'}
#: Modules that it must not import. Fast DDS opens its sockets behind Python's back, so that rclpy
#: is left alone altogether; multiprocessing imports a module at the first start of a process.
_MODULES = {
    'torch': 'imports PyTorch', 'rclpy': 'uses the ROS graph',
    'multiprocessing.popen_fork': 'starts a process',
    'multiprocessing.popen_forkserver': 'starts a process',
    'multiprocessing.popen_spawn_posix': 'starts a process'}

#: What was refused since the last test began, should whoever caused it swallow the exception.
_refusals: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker."""
    config.addinivalue_line(
        'markers', 'slow: starts a process, uses a network, PyTorch or ROS, or takes seconds')


def _is_fast(config: pytest.Config) -> bool:
    return config.getoption('markexpr') == 'not slow'


def pytest_sessionstart(session: pytest.Session) -> None:
    """Hold this process to fast tests, unless pytest-xdist runs them in others."""
    config = session.config
    runs_tests = hasattr(config, 'workerinput') or not config.getoption('numprocesses', None)
    if _is_fast(config) and runs_tests:
        sys.addaudithook(_audit)
        sys.meta_path.insert(0, _Refusing())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave slow files alone in a fast run; their imports may be what makes them slow."""
    fast = _is_fast(config) and collection_path.match('test_*.py')
    return True if fast and _is_slow_file(collection_path) else None


@cache
def _is_slow_file(path: Path) -> bool:
    return _SLOW_FILE.search(path.read_text(encoding='utf-8')) is not None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow by its fixtures, before -m chooses; put slow files first."""
    for item in items:
        if _SLOW_FIXTURES.intersection(getattr(item, 'fixturenames', ())):
            item.add_marker(pytest.mark.slow)
        # What depends on no other process has no excuse: --reruns is not for it.
        if config.getoption('reruns', None) and not item.get_closest_marker('slow'):
            item.add_marker(pytest.mark.flaky(reruns=0))
    # Of several workers none shall begin a long file when the others have nothing left to do.
    items.sort(key=lambda item: not _is_slow_file(item.path))


@pytest.fixture(autouse=True)
def _no_refusals() -> Iterator[None]:
    """Fail a test also for what another thread did, or where the failure was swallowed."""
    _refusals.clear()
    yield
    if _refusals:
        pytest.fail(_refusals[0])


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    # The address of a Unix socket is a path; that is no network.
    unix = event.startswith('socket.') and isinstance(arguments[-1], (str, bytes))
    if event in _EVENTS and not unix:
        _refuse(_EVENTS[event], f'{event} {arguments!r:.100}')


class _Refusing(MetaPathFinder, Loader):
    """Finds what must not be imported, and fails its import; looking for it is no import."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in _MODULES else None

    def exec_module(self, module: ModuleType) -> NoReturn:
        _refuse(_MODULES[module.__name__], f'import {module.__name__}')


def _refuse(what: str, how: str) -> NoReturn:
    _refusals.append(
        f'a fast test {what} ({how}): mark it with @pytest.mark.slow, or its file with '
        '`pytestmark = pytest.mark.slow` if the file does so when it is imported')
    # No Exception, which an optional import or a retry would take for everyday trouble.
    pytest.fail(_refusals[-1])
