"""Packages are tried out in processes of their own, whatever their import does."""

from __future__ import annotations

import pytest
from resnet_trt_node.cli.support.doctor import probes
from resnet_trt_node.cli.support.doctor.probes import (
    import_of, Outcome, Probe, run_probes, search_paths)
from stand_ins.stand_in_packages import FAILING, write_packages

pytestmark = pytest.mark.slow


def outcome_of(tmp_path, source, name='thing', **limits) -> Outcome:
    return run_probes(
        {'it': import_of(name)}, write_packages(tmp_path, {name: source}), **limits)['it']


def test_a_version_is_found_whatever_the_package_prints(tmp_path):
    noise = 'import os\nprint("hello" * 100_000)\nos.write(1, b"[1, 2]")\n'
    assert outcome_of(tmp_path, f'{noise}__version__ = 3') == Outcome('ok', '3')


def test_a_long_message_is_cut(tmp_path):
    assert 900 < len(outcome_of(tmp_path, 'raise OSError("x" * 100_000)').found) < 1100


def test_without_processes_there_is_still_an_outcome(tmp_path, monkeypatch):
    monkeypatch.setattr(probes.sys, 'executable', str(tmp_path / 'gone'))
    assert 'no process' in outcome_of(tmp_path, '').found


def test_what_is_not_there_is_missing(tmp_path):
    paths = write_packages(tmp_path, {'outer': ''})
    found = run_probes({'a': import_of('nowhere'), 'b': import_of('outer.inner')}, paths)
    assert found == dict.fromkeys('ab', Outcome('missing', 'not installed'))


@pytest.mark.parametrize(('kind', 'said'), [
    ('segfault', 'ends the process by signal 11'), ('exit', 'ends the process with exit code 7'),
    ('sys_exit', 'SystemExit: no licence'), ('library', 'libnvinfer.so.10'),
    ('core_files', 'OSError: (0, 0)'),
    ('numpy_1', 'NumPy 1.x'), ('other_module', 'package_that_is_nowhere'), ('noise', 'broken')])
def test_what_fails_is_broken(tmp_path, kind, said):
    found = outcome_of(tmp_path, FAILING[kind])
    assert found.state == 'broken'
    assert said in found.found


def test_an_import_that_never_ends_is_ended(tmp_path):
    found = outcome_of(tmp_path, 'import time\ntime.sleep(1000)', limit_s=1)
    assert found == Outcome('broken', 'its import does not end within 1 s')


def test_one_that_ignores_its_alarm_too(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, '_GRACE_S', 0)
    found = outcome_of(
        tmp_path, 'import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\n'
        'time.sleep(1000)', limit_s=1)
    assert found == Outcome('broken', 'its import does not end within 1 s')


def test_one_that_fails_does_not_hide_the_others(tmp_path):
    paths = write_packages(tmp_path, {'bad': FAILING['segfault'], 'good': '__version__ = 1'})
    found = run_probes({name: import_of(name) for name in ('bad', 'good')}, paths)
    assert [found[name].state for name in ('bad', 'good')] == ['broken', 'ok']


def test_code_that_finds_nothing_is_ok(tmp_path):
    paths = write_packages(tmp_path, {'thing': ''})
    assert run_probes({'it': Probe('import thing', ('thing',))}, paths)['it'] == Outcome('ok', '')


def test_the_current_folder_is_not_searched():
    assert '' not in search_paths()


def test_a_package_without_metadata_is_not_missing(tmp_path):
    paths = write_packages(tmp_path, {'thing': ''})
    probe = Probe('import thing\nfound = version("thing")', ('thing',))
    assert run_probes({'it': probe}, paths)['it'] == Outcome('ok', 'of unknown version')
