"""What keeps cores awake: a process on each, giving way to all others, and gone after."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from tools.gpu.node.awake import cores_awake

pytestmark = pytest.mark.slow


def _spinning() -> dict[int, list[int]]:
    """Return our children that may run whenever nothing else does, with their cores."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        try:
            if os.sched_getscheduler(child.pid) == os.SCHED_IDLE:
                found[child.pid] = sorted(os.sched_getaffinity(child.pid))
        except ProcessLookupError:
            continue
    return found


def test_each_core_has_a_process_that_gives_way_until_the_end():
    cores = sorted(os.sched_getaffinity(0))
    with cores_awake():
        deadline = time.monotonic() + 60
        while len(found := _spinning()) < len(cores) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sorted(found.values()) == [[core] for core in cores]
    assert not any(map(psutil.pid_exists, found))
