"""A step of a try in a process of its own, since it may lose the CUDA context or crash."""

from __future__ import annotations

from collections.abc import Mapping
import json
import subprocess
import sys
from typing import Any, Optional


def run_step(
        module: str, details: dict[str, Any], seconds: float,
        environment: Optional[Mapping[str, str]] = None) -> dict[str, Any]:
    """
    Return what a step finds, and how it ended if not well.

    :param module: is run with the details as JSON; it prints lines of RESULT and a JSON object,
        the last of which counts.
    :param details: for the step.
    :param seconds: it may take.
    :param environment: of the process, None for this one's.
    """
    try:
        done = subprocess.run(
            [sys.executable, '-X', 'faulthandler', '-m', module, json.dumps(details)],
            capture_output=True, text=True, env=environment, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        return {'timed_out': seconds, 'stdout': str(error.stdout)[-900:],
                'stderr': str(error.stderr)[-900:]}
    results = [line[7:] for line in done.stdout.splitlines() if line.startswith('RESULT ')]
    # A step that is lost on the way has told how far it got.
    ending = {} if done.returncode == 0 else {
        'ended_with': done.returncode, 'stderr': done.stderr[-1500:]}
    return {**(json.loads(results[-1]) if results else {}), **ending}
