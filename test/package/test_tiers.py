"""`pytest -m 'not slow'` leaves slow tests out, and fails a fast one that does what they do."""

from __future__ import annotations

import os
from pathlib import Path
import re
import sys

import pytest
from repository import HELPERS
import stalled

pytestmark = pytest.mark.slow

#: Name of a test to what it does.
REFUSED = {
    'process': 'subprocess.run(["true"])',
    'fork': 'os.fork()',
    'multiprocessing': 'multiprocessing.get_context("spawn").Process(target=print).start()',
    'network': 'socket.socket().connect(("127.0.0.1", 9))',
    'torch': 'import torch',
    'ros': 'importlib.import_module("rclpy")',
    'swallowed': 'try: subprocess.run(["true"])\n    except BaseException: pass',
    'thread': 'one = threading.Thread(target=subprocess.run, args=(["true"],)); '
              'one.start(); one.join()'}
ALLOWED = {
    'file': 'open(__file__).close()',
    'unix_socket': 'socket.socket(socket.AF_UNIX).bind(str(tmp_path / "socket"))',
    'search': 'importlib.util.find_spec("torch")'}
IMPORTS = ('import contextlib, importlib.util, multiprocessing, os, socket, subprocess, threading',
           'import pytest')


@pytest.fixture(params=[(), ('-n', '1')], ids=['alone', 'xdist'])
def outcomes(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return what a fast run says of each test."""
    tests = [f'def test_{name}(tmp_path):\n    {code}' for name, code in
             {**REFUSED, **ALLOWED}.items()]
    tests += ['@pytest.mark.slow\ndef test_marked():\n    subprocess.run(["true"])',
              'def test_fixture(peer):\n    raise AssertionError']
    (tmp_path / 'test_one.py').write_text('\n'.join([*IMPORTS, *tests]))
    (tmp_path / 'test_file.py').write_text(
        'import pytest, torch\npytestmark = pytest.mark.slow\ndef test_in_slow_file(): pass')
    done = stalled.run(
        [sys.executable, '-m', 'pytest', '-p', 'tiers', '-m', 'not slow', '-rA', '--tb=no',
         '-p', 'no:cacheprovider', '-W', 'ignore', *request.param, '.'], cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(HELPERS)})
    assert '2 deselected' in done.stdout or request.param, done.stdout + done.stderr
    return {name: f'{outcome} {why}' for outcome, name, why in re.findall(
        r'^(PASSED|FAILED|ERROR) test_\w+\.py::test_(\w+)(.*)', done.stdout, re.MULTILINE)}


def test_what_a_fast_test_must_not_do_fails(outcomes: dict[str, str]) -> None:
    assert outcomes.keys() == {*REFUSED, *ALLOWED}
    for name in REFUSED:
        assert 'a fast test' in outcomes[name], outcomes
    for name in ALLOWED:
        assert outcomes[name].startswith('PASSED'), outcomes
