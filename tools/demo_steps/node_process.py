"""`classifier_node` as a process of its own, as a robot would run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import shlex
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import Optional

from demo_steps import DemoError

_LOG_TAIL = 20
_STOP_S = 5.0


class NodeProcess:
    """
    The node, running; a context manager that always ends it.

    :param params_file: its YAML file.
    :param parameters: what differs from the file, name to text.
    :param log: takes what the node prints.
    """

    def __init__(self, params_file: Path, parameters: dict[str, str], log: Path) -> None:
        self._log = log
        arguments = ['--ros-args', '--params-file', str(params_file)]
        for name, value in parameters.items():
            arguments += ['-p', f'{name}:={value}']
        print('      $ classifier_node ' + shlex.join(arguments), flush=True)
        with log.open('w', encoding='utf-8') as file:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'resnet_trt_node.node.entry', *arguments],
                stdout=file, stderr=subprocess.STDOUT)

    def check(self) -> None:
        """
        Check that it is still running.

        :raises DemoError: if it has ended; the message has the last lines of its log.
        """
        code = self._process.poll()
        if code is not None:
            raise DemoError(f'classifier_node ended with exit code {code}\n{self.log_tail()}')

    def log_tail(self) -> str:
        """Return the last lines that the node printed."""
        lines: Sequence[str] = self._log.read_text(encoding='utf-8', errors='replace').splitlines()
        return '\n'.join([f'last lines of {self._log}:', *lines[-_LOG_TAIL:]])

    def stop(self) -> float:
        """
        End it as Ctrl-C does.

        :returns: the seconds it took.
        :raises DemoError: if it did not end by itself, or not with exit code 0.
        """
        start_s = time.perf_counter()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired as error:
            self._kill()
            raise DemoError(
                f'classifier_node did not end within {_STOP_S:g} s of Ctrl-C and was killed\n'
                f'{self.log_tail()}') from error
        if code != 0:
            raise DemoError(
                f'classifier_node ended with exit code {code} instead of 0\n{self.log_tail()}')
        return time.perf_counter() - start_s

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> NodeProcess:
        """Return the process itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """End it if `stop` was not reached."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                print('      classifier_node does not end: killed', file=sys.stderr)
                self._kill()
