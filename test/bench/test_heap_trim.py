"""The two modes of a process that receives large messages, without any ROS."""

from __future__ import annotations

import os
import platform

import pytest
from tools.heap_trim import measure


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='the C library is not glibc')
def test_a_block_above_the_frames_decides_whether_each_costs_page_faults(monkeypatch):
    for name in [name for name in os.environ if name.startswith(('MALLOC_', 'GLIBC_TUNABLES'))]:
        monkeypatch.delenv(name)
    faults = measure()
    # Three copies of 6.2 MB are 4556 pages of 4 KiB.
    assert faults[True] < 50
    assert faults[False] > 500
