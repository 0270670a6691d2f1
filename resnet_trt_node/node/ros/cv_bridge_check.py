"""
Whether the installed cv_bridge can be imported, found out in a process of its own.

A cv_bridge built for NumPy 1 may kill the process that imports it under NumPy 2.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
import subprocess
import sys
from threading import Lock
from typing import Any, Callable, Optional

from resnet_trt_node.text.printable import printable

#: Importing OpenCV and cv_bridge takes seconds on a small computer with a slow disk.
_LIMIT_SEC = 20
#: Tries it out. The C++ half is loaded by the first conversion.
TRIAL = (
    'from types import SimpleNamespace\n'
    'from cv_bridge import CvBridge\n'
    'CvBridge().imgmsg_to_cv2(SimpleNamespace(height=1, width=1, step=2, encoding="mono16", '
    'is_bigendian=0, data=bytearray(2)), "mono8")\n')
#: It ends itself, even if the node was killed; where it crashes it leaves no core file behind.
_CHECK = (
    'import resource, signal, sys\n'
    'resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n'
    f'signal.alarm({_LIMIT_SEC})\n'
    f'sys.path[:] = sys.argv[1:]\n{TRIAL}')


class CvBridgeCheck:
    """
    The check and its result; every method may be called from any thread.

    :param log: takes one line that says why cv_bridge is not used.
    """

    def __init__(self, log: Callable[[str], object]) -> None:
        self._log = log
        self._lock = Lock()
        self._process: Optional[subprocess.Popen[str]] = None
        self._bridge: Any = None

    def start(self) -> None:
        """Start the process, and return at once; called again it does nothing."""
        with self._lock:
            if self._process is not None or self._bridge is not None:
                return
            if find_spec('cv_bridge') is None:
                self._log('OpenCV converts all encodings: cv_bridge is not installed')
                return
            # Isolated: the current folder, where anyone may put modules, is not searched.
            try:
                self._process = subprocess.Popen(
                    [sys.executable, '-I', '-c', _CHECK, *filter(None, sys.path)], text=True,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            except OSError as error:
                self._log(
                    f'OpenCV converts all encodings: cv_bridge could not be tried out ({error})')

    def close(self) -> None:
        """End the process if it still runs."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def bridge(self) -> Any:
        """Return a CvBridge; None as long as it is not known to work, and where it does not."""
        with self._lock:
            if self._process is None or self._process.poll() is None:
                return self._bridge
            reason = self._failure(self._process)
            self._process = None
            if not reason:
                try:
                    self._bridge = importlib.import_module('cv_bridge').CvBridge()
                except Exception as error:  # noqa: B902  a C extension may raise anything
                    # Here another OpenCV or NumPy may be loaded already.
                    reason = f'does not load ({printable(f"{type(error).__name__}: {error}")})'
            if reason:
                self._log(f'OpenCV converts all encodings: cv_bridge {reason}')
            return self._bridge

    @staticmethod
    def _failure(process: subprocess.Popen[str]) -> str:
        """Return why cv_bridge cannot be used, '' if it can."""
        lines = (process.communicate()[1] or '').strip().splitlines() or ['no message']
        if process.returncode < 0:
            return f'was ended by signal {-process.returncode}; was it built for NumPy 1?'
        return f'does not work ({printable(lines[-1])})' if process.returncode else ''
