"""
Run a step of tools/setup_venv.sh and show how far it is, instead of what it prints.

Usage: setup_progress.py LOG WHAT COMMAND...

LOG lies in the virtual environment and takes what the command prints; its end is shown if the
command fails. On a terminal one line with a bar moves; elsewhere each phase is a line.
"""

from __future__ import annotations

import os
from pathlib import Path
import re
import signal
import subprocess
import sys
from threading import Thread
from typing import Optional, TextIO

_BAR, _TAIL = 24, 30
_REDRAW_S = 0.2
#: A name ends at a version or a condition; local files are processed, others collected.
_COLLECTED = re.compile(r'(?:Collecting|Processing) (?:\S*/)?([^\s/]+?)(?=-\d|[\s=<>~!;]|$)')
_SIZE = re.compile(r' +Downloading .*(\(.*\))$')
_TO_INSTALL = re.compile(r'Installing collected packages: (.*)')
#: Of make and of ninja, as CMake has them print it.
_PERCENT, _COUNT = re.compile(r'\[ *(\d+)%\]'), re.compile(r'\[(\d+)/(\d+)\]')


class Progress:
    """
    How far a command is, from what it prints.

    :param what: the command's work in words.
    """

    def __init__(self, what: str) -> None:
        self.phase = what
        self.done, self.total = 0, 0
        self._what = what
        self._unit, self._detail = '', ''

    @property
    def installs(self) -> bool:
        """Return whether packages are being installed."""
        return self._unit == ' packages'

    def read(self, line: str) -> None:
        """Take a line of pip, make or ninja; others tell nothing."""
        if match := _COLLECTED.match(line):
            self.done, self._detail = self.done + 1, match[1]
        elif match := _SIZE.match(line):
            self._detail += f' {match[1]}'
        elif match := _TO_INSTALL.match(line):
            self.total, self.done = match[1].count(',') + 1, 0
            self.phase, self._unit = f'{self._what}: {self.total} to install', ' packages'
        elif match := _PERCENT.match(line):
            # Jobs at once tell it in any order.
            self.done, self.total, self._unit = max(self.done, int(match[1])), 100, ' %'
        elif match := _COUNT.match(line):
            self.done, self.total, self._unit = int(match[1]), int(match[2]), ' steps'

    def describe(self) -> str:
        """Return it as one line, with a bar where the end is known."""
        if not self.total:
            collected = f'{self.done} collected, {self._detail}' if self.done else '...'
            return f'{self._what}: {collected}'
        done = min(self.done, self.total)
        filled = _BAR * done // self.total
        count = f'{done}' if self._unit == ' %' else f'{done} of {self.total}'
        # The bar stands last: it is what a narrow terminal cuts off.
        return f"{self._what}: {count}{self._unit} [{'#' * filled:{_BAR}}]"


class Display:
    """
    Shows a progress, as a line that moves on a terminal, else as a line for each phase.

    :param stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._moves = stream.isatty()
        self._shown = ''

    def show(self, progress: Progress) -> None:
        """Write what has changed."""
        line = f'setup: {progress.describe() if self._moves else progress.phase}'
        if line == self._shown:
            return
        self._shown = line
        if self._moves:
            # Erased to its end, and one column short of what would wrap.
            line = line[:os.get_terminal_size(self._stream.fileno()).columns - 1]
            self._stream.write(f'\r{line}\x1b[K')
        else:
            self._stream.write(f'{line}\n')
        self._stream.flush()

    def end(self) -> None:
        """Leave the line that moves."""
        if self._moves:
            self._stream.write('\n')


def main(log: Path, what: str, command: list[str]) -> int:
    """Run the command and show how far it is; returns its exit code."""
    progress, display = Progress(what), Display(sys.stderr)
    before = _installed(log.parent)
    with log.open('w', encoding='utf-8') as file, subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors='replace') as process:
        reader = Thread(target=_follow, args=(process.stdout, file, progress), daemon=True)
        reader.start()
        try:
            while reader.is_alive():
                display.show(progress)
                reader.join(_REDRAW_S)
                if progress.installs:
                    # Pip tells nothing while it installs.
                    progress.done = _installed(log.parent) - before
            display.show(progress)
        except KeyboardInterrupt:
            process.wait()  # the terminal has interrupted it too
            raise
        finally:
            display.end()
    if process.returncode:
        sys.stderr.write(''.join(
            log.read_text(encoding='utf-8').splitlines(keepends=True)[-_TAIL:]))
    return process.returncode


def _follow(output: Optional[TextIO], log: TextIO, progress: Progress) -> None:
    for line in output or ():
        progress.read(line.rstrip('\n'))
        try:
            log.write(line)
        except OSError:
            pass  # a disk that is full: the command has to end, which says so too


def _installed(environment: Path) -> int:
    """Return how many packages an environment has."""
    return sum(1 for _ in environment.glob('lib/python*/site-packages/*.dist-info'))


if __name__ == '__main__':
    try:
        sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
    except OSError as error:
        sys.exit(f'setup: {error.strerror}: {error.filename or sys.argv[1]}')
    except KeyboardInterrupt:
        # Ended by the signal, so that the shell script ends too instead of telling of a failure.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
