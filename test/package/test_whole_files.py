"""A worker that dies costs a run one repetition, in which no test is lost and none waits."""

from __future__ import annotations

import os
from pathlib import Path
import re
import sys

import pytest
from repository import HELPERS
import stalled

pytestmark = pytest.mark.slow

#: Each test leaves its name in a file; one dies always, one the first time, one fails once.
TESTS = '\n'.join((
    'import os, pathlib, pytest, time',
    'def begun(name):',
    "    with open(os.environ['BEGUN'], 'a') as file:",
    "        file.write(name + '\\n')",
    "    return pathlib.Path(os.environ['BEGUN']).read_text().split().count(name)",
    "@pytest.mark.parametrize('number', range(8))",
    'def test_it(number, request):',
    '    times = begun(request.node.nodeid)',
    '    time.sleep(0.02)',
    "    if request.node.nodeid in ('test_1.py::test_it[3]', 'test_7.py::test_it[7]'):",
    '        os._exit(9)',
    "    if request.node.nodeid == 'test_2.py::test_it[2]' and times == 1:",
    '        os._exit(9)',
    "    assert request.node.nodeid != 'test_3.py::test_it[0]' or times == 2, 'fails once'"))


@pytest.mark.parametrize('workers', ['1', '3'])
def test_all_tests_run_though_workers_die(tmp_path: Path, workers: str) -> None:
    for number in range(8):
        (tmp_path / f'test_{number}.py').write_text(TESTS)
    begun = tmp_path / 'begun'
    done = stalled.run(
        [sys.executable, '-m', 'pytest', '-p', 'whole_files', '-p', 'no:cacheprovider', '-n',
         workers, '--max-worker-restart', '9', '--dist', 'loadfile', '--reruns', '1',
         '--rerun-show-tracebacks', '-rfR', '.'],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(HELPERS), 'BEGUN': str(begun)})
    assert done.returncode == 1
    assert set(re.findall(r'^FAILED (\S+)', done.stdout, re.MULTILINE)) == {
        'test_1.py::test_it[3]', 'test_7.py::test_it[7]'}, done.stdout
    twice = {'test_1.py::test_it[3]', 'test_2.py::test_it[2]', 'test_3.py::test_it[0]',
             'test_7.py::test_it[7]'}
    assert set(re.findall(r'^RERUN (\S+)', done.stdout, re.MULTILINE)) == twice
    assert 'fails once' in done.stdout
    assert '2 failed, 62 passed, 4 rerun' in done.stdout, done.stdout
    assert sorted(begun.read_text().split()) == sorted(
        [f'test_{file}.py::test_it[{number}]' for file in range(8) for number in range(8)]
        + list(twice))
