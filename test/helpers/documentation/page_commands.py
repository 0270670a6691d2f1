"""Runs the commands of a page as they stand, in processes of their own."""

from __future__ import annotations

from contextlib import contextmanager
import os
from pathlib import Path
import shlex
import signal
import subprocess
import sys
from typing import Iterator

from repository import HELPERS, REPOSITORY

#: What the shell finds by these names; `ros2` is the one command of it that a page needs, in a
#: stand-in, as launch has no wheel.
_PROGRAMS = {
    'classifier_node': ['-m', 'resnet_trt_node.node.entry'],
    'resnet_trt': ['-m', 'resnet_trt_node.cli.main'],
    'python3': [],
    'ros2': [str(HELPERS / 'stand_ins' / 'stand_in_ros2.py')]}


@contextmanager
def running(line: str, folder: Path, *python_path: Path) -> Iterator[subprocess.Popen[str]]:
    """
    Run a command at most as long as the block.

    :param line: without line breaks; `$PWD` in it is the folder.
    :param folder: where it runs.
    :param python_path: folders for the path of Python, besides the repository.
    """
    found = os.pathsep.join(map(str, (REPOSITORY, *python_path)))
    program, *words = shlex.split(line.replace('$PWD', shlex.quote(str(folder))))
    with subprocess.Popen(
            [sys.executable, *_PROGRAMS[program], *words], cwd=folder,
            env={**os.environ, 'PYTHONPATH': found}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def end(*processes: subprocess.Popen[str]) -> None:
    """End processes as Ctrl-C does, and check that they end well."""
    for process in processes:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
        assert 'Traceback' not in out
