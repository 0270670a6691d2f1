"""
The other end of `remote`: one backend in a Python of its own, told what to do over a pipe.

It needs nothing but what the backend needs, and runs on Python 3.9, so that TensorRT 8.6 can be
compared with runtimes that want a newer Python.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import Any, BinaryIO, Optional, Tuple

import numpy as np

from resnet_trt_node import __version__
from resnet_trt_node.compare.choice import open_here
from resnet_trt_node.compare.subject import Subject
from resnet_trt_node.compare.wire import (
    options_from_json, PROTOCOL, receive, send, to_array)
from resnet_trt_node.errors import ResnetTrtError, UsageError

Reply = Tuple[dict[str, Any], Any]


class Worker:
    """
    Answers requests; each is a header with the name of a method in `do`.

    :param replies: where log lines go while a request is worked on.
    """

    def __init__(self, replies: BinaryIO) -> None:
        self._replies = replies
        self._subject: Optional[Subject] = None

    def handle(self, header: dict[str, Any], payload: bytes) -> Reply:
        """
        Do what a request says.

        :returns: header and payload of the reply.
        :raises ResnetTrtError: if it cannot be done; the worker can go on.
        """
        do = header.get('do')
        if do == 'open':
            return self._open(header), b''
        if self._subject is None:
            raise UsageError(f'{do!r} before a model is open')
        if do == 'load':
            self._subject.load(to_array(header, payload, np.uint8))
            return {}, b''
        if do == 'answer':
            answer = self._subject.answer()
            probabilities = np.ascontiguousarray(answer.probabilities, np.float32)
            return {'shape': probabilities.shape, 'took_ns': answer.took_ns}, probabilities
        if do == 'time':
            took_ns = self._subject.time(int(header['settle']), int(header['count']))
            return {'count': len(took_ns)}, np.array(took_ns, np.int64)
        raise UsageError(f'a worker cannot do {do!r}')

    def close(self) -> None:
        """Close the backend."""
        if self._subject is not None:
            self._subject.close()

    def _open(self, header: dict[str, Any]) -> dict[str, Any]:
        if self._subject is not None:
            raise UsageError('a model is open already: a worker holds one')

        def log(line: str) -> None:
            send(self._replies, {'log': line})
        options = options_from_json(header['options'], log=log)
        self._subject = subject = open_here(header['name'], header['model'], options)
        info = subject.info
        return {
            'spec': subject.spec.to_metadata(), 'name': info.name, 'version': info.version,
            'device': info.device, 'details': dict(info.details)}


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """
    Answer requests until their pipe ends.

    :raises WireError: if something else than a request comes.
    """
    send(replies, {
        'protocol': PROTOCOL, 'tool_version': __version__, 'python': platform.python_version()})
    worker = Worker(replies)
    try:
        while True:
            try:
                header, payload = receive(requests)
            except EOFError:
                return
            try:
                reply, data = worker.handle(header, payload)
            except ResnetTrtError as error:
                reply, data = {'error': type(error).__name__, 'message': str(error)}, b''
            send(replies, reply, data)
    finally:
        worker.close()


def main() -> int:
    """
    Serve on the standard streams.

    :returns: 0; an error that is not this package's ends it with a traceback, which the other
        end shows.
    """
    # Runtimes print to the output as they please: that must not fall between the messages.
    replies = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        serve(sys.stdin.buffer, replies)
    except BrokenPipeError:
        # Whoever asked is gone; what is left in the stream's buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), replies.fileno())
    return 0


if __name__ == '__main__':
    sys.exit(main())
