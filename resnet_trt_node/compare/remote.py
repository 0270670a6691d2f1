"""A backend in another Python: a worker process, and the pipe to it."""

from __future__ import annotations

from collections import deque
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any, BinaryIO, Callable, Mapping, Optional, Tuple, TYPE_CHECKING, Union

import numpy as np

from resnet_trt_node import errors
from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.backends.options import discard
from resnet_trt_node.compare.subject import Answer, Subject
from resnet_trt_node.compare.wire import (
    options_to_json, PROTOCOL, receive, send, to_array, WireError)
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import (
    BackendError, BackendUnavailable, InferenceError, ResnetTrtError, UsageError)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The first argument is a folder that holds this package and nothing else. It takes the place of
#: the current folder, where others may have put modules.
_START = (
    'import sys; sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]; '
    'from resnet_trt_node.compare.worker import main; sys.exit(main())')
_PACKAGE = Path(__file__).resolve().parents[1]
#: How many lines of the worker's error stream are kept for its obituary.
_LAST_LINES = 12
_CLOSE_S = 20.0


class WorkerSubject(Subject):
    """
    A backend in a process of another Python.

    The worker takes the times itself, next to the backend's own calls: the pipe does not count.

    :param python: path or command of the interpreter.
    :param name: the backend.
    :param model: the deployable ONNX file.
    :param options: what to open it with; `log` gets the worker's lines.
    :raises UsageError: if there is no such interpreter.
    :raises BackendUnavailable: if the worker cannot start there.
    :raises ResnetTrtError: what opening the backend there raised.
    """

    def __init__(
            self, python: str, name: str, model: Union[str, Path],
            options: Mapping[str, Any]) -> None:
        self._log: Callable[[str], None] = options.get('log', discard)
        self._pipe = _Process(python)
        try:
            self._pipe.greet()
            reply, _ = self._ask({
                'do': 'open', 'name': name, 'model': str(model),
                'options': options_to_json(options)})
            info = BackendInfo(
                reply['name'], reply['version'], reply['device'], reply['details'])
            super().__init__(
                ModelSpec.from_metadata(reply['spec']), info, self._pipe.python_version)
        except BaseException:
            self._pipe.close()
            raise

    @property
    def process_id(self) -> int:
        """Return the worker's process id."""
        return self._pipe.process.pid

    def load(self, frames: NDArray[np.uint8]) -> None:
        """Send the frames to the worker, which writes them into the backend's buffer."""
        self._ask({'do': 'load', 'shape': frames.shape}, np.ascontiguousarray(frames))

    def answer(self) -> Answer:
        """Have the worker infer the loaded batch once."""
        reply, payload = self._ask({'do': 'answer'})
        return Answer(to_array(reply, payload, np.float32), int(reply['took_ns']))

    def time(self, settle: int, count: int) -> list[int]:
        """Have the worker infer the loaded batch again and again."""
        _, payload = self._ask({'do': 'time', 'settle': settle, 'count': count})
        return [int(took_ns) for took_ns in np.frombuffer(payload, np.int64)]

    def close(self) -> None:
        """Let the worker close its backend and end."""
        self._pipe.close()

    def _ask(self, header: dict[str, Any], payload: Any = b'') -> Tuple[dict[str, Any], bytes]:
        """
        Send a request and wait for its reply.

        :raises InferenceError: if the worker dies.
        :raises ResnetTrtError: what the worker raised, as the same class.
        """
        if self._pipe.closed:
            raise UsageError('the worker is closed: open it again')
        try:
            send(self._pipe.requests, header, payload)
            while True:
                reply, data = receive(self._pipe.replies)
                if 'log' not in reply:
                    break
                if self._log is not None:
                    self._log(str(reply['log']))
        except (EOFError, OSError) as error:
            raise InferenceError(
                f'{self._pipe.python} {self._pipe.obituary()}, during {header["do"]!r}') from error
        if 'error' in reply:
            raise _error_class(reply['error'])(
                f'{reply["message"]} (in {self._pipe.python})')
        return reply, data


class _Process:
    """
    A worker process and its three pipes.

    :param python: path or command of the interpreter.
    """

    def __init__(self, python: str) -> None:
        found = shutil.which(os.path.expanduser(python))
        if found is None:
            raise UsageError(f'there is no program {python}: name a Python interpreter')
        self.python = python
        self.python_version = ''
        self.closed = False
        # A folder with this package alone: the one it lies in may be a site-packages, whose
        # compiled packages the other Python cannot load.
        self._folder = tempfile.TemporaryDirectory(prefix='resnet_trt_worker-')
        (Path(self._folder.name) / _PACKAGE.name).symlink_to(_PACKAGE, target_is_directory=True)
        try:
            self.process = subprocess.Popen(
                [found, '-c', _START, self._folder.name], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(found),
                # Ctrl-C is for this process, which then closes the worker.
                start_new_session=True)
        except OSError as error:
            self._folder.cleanup()
            raise BackendUnavailable(
                f'{python} cannot be started ({error.strerror or error}): name a Python '
                'interpreter') from error
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    @property
    def requests(self) -> BinaryIO:
        """Return the pipe to the worker."""
        return _pipe(self.process.stdin)

    @property
    def replies(self) -> BinaryIO:
        """Return the pipe from the worker."""
        return _pipe(self.process.stdout)

    def greet(self) -> None:
        """
        Read what the worker says first.

        :raises BackendUnavailable: if it says something else, or dies.
        """
        try:
            hello, _ = receive(self.replies)
        except EOFError as error:
            raise BackendUnavailable(
                f'{self.python} cannot run a worker, it {self.obituary()}: it must be Python 3.9 '
                'or newer with what the backend needs, at least numpy and onnx') from error
        except WireError as error:
            raise BackendUnavailable(f'{self.python} cannot run a worker: {error}') from error
        if hello.get('protocol') != PROTOCOL:
            raise BackendUnavailable(
                f'{self.python} runs a worker of another version, {hello}: install the same one')
        self.python_version = str(hello['python'])

    def obituary(self) -> str:
        """Return how the worker ended, with the end of its error stream."""
        try:
            code = self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            return 'closed its output and goes on'
        self._reader.join(5.0)
        how = (
            f'ended with exit status {code}' if code >= 0
            else f'was killed by {signal.Signals(-code).name}')
        said = '\n  '.join(self._last)
        return f'{how}; its last words:\n  {said}' if said else f'{how} without a word'

    def close(self) -> None:
        """End the worker; calling it again does nothing."""
        if self.closed:
            return
        self.closed = True
        try:
            self.requests.close()
        except BrokenPipeError:
            pass  # it is dead already
        try:
            self.process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(5.0)
        self.replies.close()
        _pipe(self.process.stderr).close()
        self._folder.cleanup()

    def _read_errors(self) -> None:
        for line in _pipe(self.process.stderr):
            self._last.append(line.decode('utf-8', 'replace').rstrip())


def _pipe(stream: Any) -> BinaryIO:
    pipe: BinaryIO = stream
    return pipe


def _environment(python: str) -> dict[str, str]:
    """Return the worker's environment; PYTHONPATH is for this version of Python alone."""
    environment = dict(os.environ)
    given = environment.pop('PYTHONPATH', '')
    # An empty part, as a colon at the end makes one, is the current folder.
    paths = [path for path in given.split(os.pathsep) if path]
    if paths and Path(python).resolve() == Path(sys.executable).resolve():
        environment['PYTHONPATH'] = os.pathsep.join(paths)
    return environment


def _error_class(name: str) -> type[ResnetTrtError]:
    """Return one of this package's error classes, `BackendError` for a name that is none."""
    found: Optional[Any] = getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, ResnetTrtError):
        return found
    return BackendError
