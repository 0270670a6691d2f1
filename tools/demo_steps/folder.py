"""The folder of the results, which one demo at a time writes."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from demo_steps import DemoError


def claim_folder(out: Path) -> IO[str]:
    """
    Make a folder and keep other demos out of it, while the result is open.

    :param out: of the results; may be there already.
    :raises DemoError: if it cannot be made or written, or if another demo has it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / '.lock').open('w')
    except OSError as error:
        raise DemoError(
            f'cannot write the folder {out} ({error.strerror}): name another one with --out, '
            'as in `python tools/demo.py --out /tmp/demo`') from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise DemoError(
            f'another demo writes to {out} at this moment: wait until it has ended') from None
    return lock
