"""Child processes that never outlive the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import json
import os
from pathlib import Path
from queue import Empty, SimpleQueue
import signal
import subprocess
import sys
from threading import Thread
import time
from types import TracebackType
from typing import Any, Optional

from bench import BenchError
from bench.environment import ROOT
from bench.procfs import ProcessSample, remove_orphans, sample, shared_segments

_TAIL = 15
_STOP_S = 10.0
#: Kept in memory instead of given back: see docs/how-to/benchmark.md. For the synthetic cameras
#: only, which shall not be the limit of what they measure.
_KEEPING = {
    'MALLOC_MMAP_THRESHOLD_': str(32 * 2**20), 'MALLOC_TRIM_THRESHOLD_': str(256 * 2**20)}


class Child:
    """
    A Python module run as a process; a context manager that always ends it.

    Its standard error, and of the node all it prints, goes to a file.

    :param name: for messages and the log's name.
    :param module: what `python -m` runs.
    :param arguments: its command line.
    :param folder: where the log goes.
    :param talks: whether it reads standard input and answers lines on standard output.
    :param environment: what differs from this process's own; None takes a variable away.
    """

    def __init__(
            self, name: str, module: str, arguments: Sequence[str], folder: Path,
            talks: bool = True,
            environment: Optional[Mapping[str, Optional[str]]] = None) -> None:
        self.name = name
        self.log = folder / f'{name}.log'
        paths = [str(ROOT / 'tools'), str(ROOT), os.environ.get('PYTHONPATH', '')]
        whole = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths)),
                 **(environment or {})}
        with self.log.open('ab') as log:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'bench.tethered', str(os.getpid()), module, *arguments],
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log, stderr=log, text=True, cwd=ROOT,
                env={name: value for name, value in whole.items() if value is not None})
        self._lines: SimpleQueue[Optional[str]] = SimpleQueue()
        if talks:
            Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip('\n'))
        self._lines.put(None)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    def sample(self) -> ProcessSample:
        """
        Look at the process.

        :raises BenchError: if it has ended.
        """
        self.check()
        try:
            return sample(self.pid)
        except ProcessLookupError:
            self._process.wait(_STOP_S)
            self.check()
            raise

    def check(self) -> None:
        """
        Check that it still runs.

        :raises BenchError: if not; the message has the end of its log.
        """
        code = self._process.poll()
        if code is not None:
            raise BenchError(f'{self.name} ended with exit code {code}\n{self.tail()}')

    def tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(encoding='utf-8', errors='replace').splitlines()
        return '\n'.join([f'last lines of {self.log}:', *lines[-_TAIL:]])

    def say(self, line: str) -> None:
        """Write a line to its input."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + '\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.wait(_STOP_S)
            self.check()
            raise

    def hear(self, timeout_s: float = 30.0) -> str:
        """
        Wait for a line of its output.

        :raises BenchError: if none comes or the process ends.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except Empty:
            raise BenchError(
                f'{self.name} said nothing for {timeout_s:g} s\n{self.tail()}') from None
        if line is None:
            self._process.wait(_STOP_S)
            self.check()
            raise BenchError(f'{self.name} closed its output\n{self.tail()}')
        return line

    def ask(self, timeout_s: float = 30.0, **command: Any) -> dict[str, Any]:
        """Send a command as JSON and return the answer."""
        self.say(json.dumps(command))
        answer: dict[str, Any] = json.loads(self.hear(timeout_s))
        return answer

    def pause(self, seconds: float) -> None:
        """Let the process do nothing for a while."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would, and remove the shared memory that it leaves."""
        segments = shared_segments(self.pid)
        self._process.kill()
        self._process.wait()
        remove_orphans(segments)

    def stop(self) -> int:
        """End it in its own way, by force after a while; return the exit code."""
        if self.alive:
            if self._process.stdin is not None:
                self._process.stdin.close()
            else:
                self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                print(f'bench: {self.name} does not end: killed', file=sys.stderr)
                self.kill()
        return int(self._process.returncode)

    def __enter__(self) -> Child:
        """Return the process itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """End it."""
        self.stop()


def cameras_process(
        cameras_json: str, records: Path, folder: Path,
        environment: Mapping[str, Optional[str]]) -> Child:
    """Start the synthetic cameras and wait until they obey."""
    child = Child('cameras', 'bench.cameras_process', [cameras_json, str(records)], folder,
                  environment={**_KEEPING, **environment})
    child.hear()
    return child


def wait_until(
        condition: Callable[[], Any], what: str, timeout_s: float = 30.0,
        children: Sequence[Child] = ()) -> Any:
    """
    Wait for a condition and return its value.

    :param what: what is waited for, in words.
    :param children: processes that must not end meanwhile.
    :raises BenchError: after the time-out.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        for child in children:
            child.check()
        if time.monotonic() > deadline_s:
            tails = '\n'.join(child.tail() for child in children)
            raise BenchError(f'waited {timeout_s:g} s for {what}\n{tails}')
        time.sleep(0.02)
    return value
