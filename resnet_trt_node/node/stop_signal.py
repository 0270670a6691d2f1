"""SIGINT and SIGTERM: the node ends in time, whatever it is at."""

from __future__ import annotations

import os
from queue import SimpleQueue
import signal
import sys
from threading import Thread
from time import sleep
from typing import Any

#: From the signal until the process is ended if it has not ended by itself.
_LIMIT_SEC = 1.7


class StopSignal:
    """
    Handles SIGINT and SIGTERM from now on; further ones are taken for echoes of the first.

    Launch forwards the Ctrl-C that the process group has got already. Until `remember` is called
    nothing has to be cleaned up, and a signal ends the process at once.
    """

    def __init__(self) -> None:
        #: Whether the node should end.
        self.received = False
        self._end_at_once = True
        # Signal handlers may put into it, unlike into an Event.
        self._signals: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def remember(self) -> None:
        """Have signals remembered: from now on there is something to clean up."""
        Thread(target=self._end_in_time, name='stop', daemon=True).start()
        self._end_at_once = False

    def _receive(self, number: int, frame: Any) -> None:
        if self._end_at_once:
            # An exception would surface in the middle of some module's import, and be taken for
            # its failure.
            os._exit(0)
        self.received = True
        self._signals.put(number)

    def _end_in_time(self) -> None:
        # What takes longer: a hang, or thousands of topics, which DDS destroys one by one.
        self._signals.get()
        sleep(_LIMIT_SEC)
        print(f'classifier_node: not at its end {_LIMIT_SEC} s after the signal, ended: topics '
              'may seem to be there for some seconds', file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(0)
