"""Keeping tests and benchmarks away from real robots and from each other."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
import tempfile
from typing import IO

from bench import BenchError

#: Linux keeps the ports of domains up to 101 free of its own; 0 is everyone's default.
_DOMAINS = range(1, 102)


def isolate_ros() -> IO[str]:
    """
    Let this process and its children meet nobody else; rclpy reads this when imported.

    :returns: a locked file, the claim on a DDS domain that no other tests or benchmarks on this
        machine use; it lasts until it is closed.
    :raises BenchError: if all domains are claimed.
    """
    claim = _claim_domain()
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    else:
        # Takes precedence, and later distributions warn about it.
        os.environ.pop('ROS_LOCALHOST_ONLY', None)
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ.pop('ROS_STATIC_PEERS', None)
    return claim


def _claim_domain() -> IO[str]:
    # The one that was claimed longest ago: for 20 s others in it know of a node that was killed.
    files = {_claim_file(domain): domain for domain in _DOMAINS}
    for path in sorted(files, key=_last_claimed):
        claim = path.open('a')
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
        else:
            os.utime(path)
            os.environ['ROS_DOMAIN_ID'] = str(files[path])
            return claim
    raise BenchError('every ROS domain is in use by tests and benchmarks: end some of them')


def _claim_file(domain: int) -> Path:
    return Path(tempfile.gettempdir()) / f'resnet_trt_node-tests-{os.getuid()}-domain-{domain}'


def _last_claimed(claim_file: Path) -> float:
    try:
        return claim_file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
