"""
Keep every core awake, to tell what sleeping cores add to a latency.

A core that has nothing to do is put to sleep, and in a virtual machine often taken away; the
thread that it runs next begins late and with cold caches. Here a process of the scheduling policy
SCHED_IDLE, which gives way to any other at once (sched(7)), spins on each core.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
import os
from pathlib import Path
import signal
import sys
import tempfile

from bench.children import Child


@contextmanager
def cores_awake() -> Iterator[None]:
    """Keep the cores of this process awake while the body runs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='awake.')))
        for core in sorted(os.sched_getaffinity(0)):
            stack.enter_context(Child(
                f'core{core}', 'tools.gpu.node.awake', [str(core)], folder, talks=False))
        yield


def main() -> None:
    """Spin on the core that is named, until killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.sched_setaffinity(0, {int(sys.argv[1])})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass


if __name__ == '__main__':
    main()
