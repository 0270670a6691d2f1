"""
Imports tried out in processes of their own, all at once.

A package built for another NumPy, CUDA or Python may end the process that imports it, or never
come back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import PathFinder
import json
from pathlib import Path
import subprocess
import sys
import time

import resnet_trt_node
from resnet_trt_node.cli.support.doctor import child
from resnet_trt_node.text.printable import one_line

#: Importing OpenCV or TensorRT takes seconds on a small computer with a slow disk.
LIMIT_S = 60
#: How much longer than the child's own alarm is waited for it.
_GRACE_S = 5


@dataclass(frozen=True)
class Probe:
    """
    What to try out.

    :param code: Python, which leaves a version or the like in `found`; its `version(name)` is that
        of an installed distribution.
    :param modules: are missing, rather than broken, if an import of one of them finds nothing;
        the first is looked for before a process is started.
    """

    code: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """
    What became of a probe.

    :param state: 'ok', 'missing' or 'broken'.
    :param found: what the code found, or what is wrong.
    """

    state: str
    found: str


def import_of(module: str, version: str = '') -> Probe:
    """
    Return the probe that imports a module.

    :param version: expression of its version; '' is its `__version__`.
    """
    parts = module.split('.')
    return Probe(
        f'import {module}\nfound = {version or f"{module}.__version__"}',
        tuple('.'.join(parts[:count]) for count in range(1, len(parts) + 1)))


def search_paths() -> list[str]:
    """Return where modules are searched: not in the current folder, where anyone may put some."""
    package = str(Path(resnet_trt_node.__file__).parent.parent)
    return [*filter(None, sys.path), package]


def run_probes(
        probes: dict[str, Probe], paths: Iterable[str], limit_s: int = LIMIT_S) -> dict[
        str, Outcome]:
    """
    Run probes, all at once.

    :param probes: by name.
    :param paths: where the processes search modules.
    :param limit_s: how long each may take.
    :returns: their outcomes, by name.
    """
    places = list(paths)
    started: dict[str, subprocess.Popen[bytes]] = {}
    outcomes = {}
    for name, probe in probes.items():
        if PathFinder.find_spec(probe.modules[0], places) is None:
            outcomes[name] = Outcome('missing', 'not installed')
            continue
        try:
            # Isolated, so that neither the environment nor the current folder adds modules.
            started[name] = subprocess.Popen(
                [sys.executable, '-I', child.__file__,
                 json.dumps([limit_s, places, probe.modules, probe.code])],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError as error:
            outcomes[name] = Outcome('broken', f'no process can be started: {error.strerror}')
    deadline = time.monotonic() + limit_s + _GRACE_S
    try:
        for name, process in started.items():
            outcomes[name] = _outcome(process, deadline, limit_s)
    finally:
        for process in started.values():
            if process.poll() is None:
                process.kill()
                process.communicate()
    return outcomes


def _outcome(process: subprocess.Popen[bytes], deadline: float, limit_s: int) -> Outcome:
    try:
        output = process.communicate(timeout=max(deadline - time.monotonic(), 0))[0]
    except subprocess.TimeoutExpired:
        return Outcome('broken', f'its import does not end within {limit_s} s')
    try:
        state, found = json.loads(output)
    except ValueError:
        code = process.returncode
        return Outcome('broken', 'its import ' + (
            f'does not end within {limit_s} s' if code == -14 else
            f'ends the process by signal {-code}' if code < 0 else
            f'ends the process with exit code {code}'))
    return Outcome(state, 'not installed' if state == 'missing' else one_line(found))
