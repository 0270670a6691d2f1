"""
Runs a module that ends with its parent, whatever ends that.

Usage: python -m bench.tethered PARENT_PID MODULE [ARGUMENT...]
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tell the kernel, then become the module."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), 'prctl(PR_SET_PDEATHSIG)')
    parent, module = int(sys.argv[1]), sys.argv[2]
    if os.getppid() != parent:
        # It ended before the kernel knew.
        sys.exit(1)
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    main()
