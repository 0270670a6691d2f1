"""The limit of the long tests: against hanging, not against slowness."""

from __future__ import annotations

import sys

import psutil
import pytest
import stalled

pytestmark = pytest.mark.slow


def test_a_command_gives_what_it_printed_and_its_exit_code():
    done = stalled.run([sys.executable, '-c', (
        'import sys; print("out"); print("err", file=sys.stderr); sys.exit(3)')])
    assert (done.returncode, done.stdout, done.stderr) == (3, 'out\n', 'err\n')


def test_a_command_that_waits_for_ever_is_ended_with_its_children(monkeypatch):
    monkeypatch.setattr(stalled, 'STALLED_SEC', 3.0)
    with pytest.raises(AssertionError, match='waiting') as caught:
        stalled.run(['sh', '-c', 'echo waiting >&2; sleep 1000 & echo $! >&2; wait'])
    try:
        child = psutil.Process(int(str(caught.value).split()[-1]))
        # What has ended and nobody has asked for is a zombie for as long.
        assert child.wait(30) is None or child.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        pass


def test_a_command_that_computes_longer_than_the_limit_is_let_go_on(monkeypatch):
    monkeypatch.setattr(stalled, 'STALLED_SEC', 1.5)
    done = stalled.run([sys.executable, '-c', (
        'from time import process_time\nwhile process_time() < 4: pass\nprint("done")')])
    assert done.stdout == 'done\n'
