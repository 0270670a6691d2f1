"""
Ctrl-C while a runtime computes in C++, where Python's handler does not run before it is done.

Python's part of the signal handler, in C, writes the signal's number into a pipe at once. A thread
that reads there tells the runtimes that were registered for as long as they compute.
"""

from __future__ import annotations

from contextlib import contextmanager
import os
import signal
from threading import current_thread, main_thread, Thread
from typing import Callable, Iterator

_running: set[Callable[[], None]] = set()


@contextmanager
def interruptible(cancel: Callable[[], None]) -> Iterator[None]:
    """
    Have a call ended by Ctrl-C while the block runs, where `interrupts_reach_runtimes` does.

    :param cancel: makes the call return soon; called on another thread.
    """
    _running.add(cancel)
    try:
        yield
    finally:
        _running.discard(cancel)


@contextmanager
def interrupts_reach_runtimes() -> Iterator[None]:
    """Let Ctrl-C end what computes in C++ while the block runs, on the main thread."""
    if current_thread() is not main_thread():
        # Signals are the main thread's.
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = Thread(target=_watch, args=(reading,), name='interrupt', daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()
        os.close(reading)


def _watch(reading: int) -> None:
    while numbers := os.read(reading, 64):
        if signal.SIGINT in numbers:
            for cancel in list(_running):
                cancel()
