"""
Feed the readers of foreign bytes with broken ones.

Usage: python test/fuzz/fuzz.py [--target NAME] [--number 1000000] [--seed 0], or `make fuzz`.

Round k of the inputs depends on nothing but seed + k, so that a finding is found again by the
`--seed` that is printed with it. What the C libraries print is dropped.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
import resource
import sys
from time import monotonic
from typing import Any
import warnings

from hypothesis import given, HealthCheck, Phase, seed, settings
from targets import Target, TARGETS

#: Inputs a round; hypothesis remembers those of one round.
ROUND = 5_000
#: Address space of the process, so that a reader that asks for everything does not take it.
ADDRESSES_BYTES = 8 * 2**30
#: More than this resident is a finding: the largest picture that such short files may claim, of
#: 16 bits and with its 8-bit copy, takes 400 MiB, and what is loaded 100.
RESIDENT_MIB = 600


def run(target: Target, number: int, first_seed: int) -> None:
    """
    Check one round of inputs.

    :param target: what reads them.
    :param number: how many.
    :param first_seed: decides which.
    :raises Exception: what the reader raised or the check found, for the smallest input.
    """
    @settings(
        max_examples=number, database=None, deadline=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck))
    @seed(first_seed)
    @given(target.inputs)
    def check(value: Any) -> None:
        target.check(value)
    check()


def fuzz(name: str, number: int, first_seed: int) -> None:
    """Check a number of inputs in rounds, and say how it went."""
    start, peak_mib = monotonic(), 0
    for index, done in enumerate(range(0, number, ROUND)):
        try:
            run(TARGETS[name], min(ROUND, number - done), first_seed + index)
            peak_mib = _peak_mib()
            if peak_mib > RESIDENT_MIB:
                raise MemoryError(f'{peak_mib} MiB are resident')
        except BaseException:
            print(f'{name}: found with --target {name} --number {ROUND} '
                  f'--seed {first_seed + index}', flush=True)
            raise
    print(f'{name}: {number} inputs, {monotonic() - start:.0f} s, no finding, at most '
          f'{peak_mib} MiB resident', flush=True)


def _peak_mib() -> int:
    """Return the most that was resident; getrusage would count what the parent process had."""
    status = Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) // 1024


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--target', choices=TARGETS, action='append', help='default: all')
    parser.add_argument('--number', type=int, default=1_000_000, help='inputs for each target')
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES_BYTES, ADDRESSES_BYTES))
    # Pillow warns of what is odd in a header, and logs it.
    warnings.simplefilter('ignore')
    logging.disable()
    # Duplicated for tracebacks; libjpeg and libpng write to the original.
    sys.stderr = os.fdopen(os.dup(2), 'w')
    with open(os.devnull, 'w') as nowhere:
        os.dup2(nowhere.fileno(), 2)
    for name in arguments.target or TARGETS:
        fuzz(name, arguments.number, arguments.seed)
    return 0


if __name__ == '__main__':
    sys.exit(main())
