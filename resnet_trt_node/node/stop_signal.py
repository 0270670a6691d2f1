"""SIGINT and SIGTERM: remembered while the node runs, obeyed at once before."""

from __future__ import annotations

import os
import signal
import sys
from threading import Timer
from time import monotonic
from typing import Any, Optional

#: After the first signal, how long further ones are taken for echoes of it.
PATIENCE_SEC = 2.0


class StopSignal:
    """
    Handles SIGINT and SIGTERM from now on.

    Until `remember` is called nothing has to be cleaned up, and a signal ends the process with 0.
    After that it is remembered. A repeated one kills, should the node hang, but only after a
    while: launch forwards the Ctrl-C that the process group has got already.
    """

    def __init__(self) -> None:
        self._first_sec: Optional[float] = None
        self._end_at_once = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def remember(self) -> None:
        """Have signals remembered: from now on there is something to clean up."""
        self._end_at_once = False

    @property
    def received(self) -> bool:
        """Tell whether the node should end."""
        return self._first_sec is not None

    @property
    def age_sec(self) -> float:
        """Return how long ago the first signal came, 0.0 if none did."""
        return 0.0 if self._first_sec is None else monotonic() - self._first_sec

    def _receive(self, number: int, frame: Any) -> None:
        if self._end_at_once:
            # An exception would surface in the middle of some module's import, and be taken for
            # its failure.
            os._exit(0)
        if self._first_sec is None:
            self._first_sec = monotonic()
        elif self.age_sec > PATIENCE_SEC:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def end_within(seconds: float) -> None:
    """End the process with 0 after so long if it has not ended by itself."""
    timer = Timer(seconds, _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    print('stopped in time, with topics not taken back: others take the node for alive for some '
          'seconds', file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(0)
