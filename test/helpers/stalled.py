"""Ends a command that hangs, however slow or busy the machine is that it works on."""

from __future__ import annotations

import subprocess
import tempfile
from time import monotonic
from typing import Any, Sequence

import psutil

#: A command whose processes got no CPU time worth the name for so long waits for what never comes.
STALLED_SEC = 120.0
#: One that has computed for so long runs in circles; the longest test takes a tenth of it.
_MOST_CPU_SEC = 3600.0


def run(command: Sequence[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """
    Run a command to its end and return what it printed; `subprocess.run` with another time limit.

    A total of seconds says more about the machine than about the command. This one goes on for as
    long as the command or one of its children computes.

    :param command: program and arguments.
    :param kwargs: for `subprocess.Popen`.
    :raises AssertionError: if it stalls, with the end of what it printed.
    """
    # Into files: a pipe that nobody reads while the command works fills up.
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        with subprocess.Popen(list(command), stdout=out, stderr=err, text=True, **kwargs) as begun:
            _wait(begun, err)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            list(command), begun.returncode, out.read(), err.read())


def _wait(process: subprocess.Popen[str], err: Any) -> None:
    used_sec: dict[int, float] = {}
    before, moved = 0.0, monotonic()
    while True:
        try:
            process.wait(1.0)
            return
        except subprocess.TimeoutExpired:
            used_sec.update(_cpu_sec(process.pid))
        # Children that have ended keep their last reading, so the sum never falls.
        now = sum(used_sec.values())
        if now > before + 0.05:
            before, moved = now, monotonic()
        if monotonic() - moved > STALLED_SEC or now > _MOST_CPU_SEC:
            _kill(process.pid)
            process.wait()
            err.seek(0)
            raise AssertionError(
                f'stalled after {now:.0f} s of CPU time: {process.args!r}\n{err.read()[-2000:]}')


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_sec(pid: int) -> dict[int, float]:
    found = {}
    for one in _family(pid):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found[one.pid] = times.user + times.system
    return found


def _kill(pid: int) -> None:
    for one in reversed(_family(pid)):
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
