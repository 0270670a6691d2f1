"""SIGINT and SIGTERM: the process ends within a time limit, whatever it is doing."""

from __future__ import annotations

import os
from queue import SimpleQueue
import signal
import sys
from threading import Thread
from time import sleep
from typing import Any

#: Time from the signal until the process is forced to end.
_LIMIT_SEC = 1.7


class StopSignal:
    """
    Handles SIGINT and SIGTERM; the second and later ones are ignored.

    They are no second request: launch forwards the Ctrl-C that the process group has already
    received. Until `remember` is called there is nothing to clean up, and a signal ends the
    process at once.
    """

    def __init__(self) -> None:
        #: Whether a signal was received.
        self.received = False
        self._end_at_once = True
        # A SimpleQueue is reentrant, as a signal handler needs it; an Event is not.
        self._signals: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def remember(self) -> None:
        """Stop ending the process at once: from now on there is something to clean up."""
        Thread(target=self._end_in_time, name='stop', daemon=True).start()
        self._end_at_once = False

    def _receive(self, number: int, frame: Any) -> None:
        if self._end_at_once:
            # An exception would be raised within the import of some module and reported as its
            # failure.
            os._exit(0)
        self.received = True
        self._signals.put(number)

    def _end_in_time(self) -> None:
        # A hang takes longer, and so do thousands of topics, which DDS destroys one by one.
        self._signals.get()
        sleep(_LIMIT_SEC)
        print(f'classifier_node: still running {_LIMIT_SEC} s after the signal, forced to end: '
              'its topics may stay visible for some seconds', file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(0)
