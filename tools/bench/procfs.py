"""What Linux tells about a process, read from outside it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
import os
from pathlib import Path
import re
import time

_TICKS = os.sysconf('SC_CLK_TCK')
_PAGE = os.sysconf('SC_PAGE_SIZE')


@dataclass(frozen=True)
class ProcessSample:
    """
    One look at a process.

    :param time_s: when, on `time.monotonic`.
    :param cpu_s: user and system time of all its threads since its start.
    :param minor_faults: page faults that needed no disk, since its start.
    :param rss_bytes: resident memory.
    :param own_bytes: what of it no file and no shared memory holds, as the shared memory of
        publishers that the middleware maps.
    :param threads: how many threads it has.
    :param descriptors: how many file descriptors are open.
    :param thread_cpu_s: CPU time of its living threads, summed by name without numbers.
    """

    time_s: float
    cpu_s: float
    minor_faults: int
    rss_bytes: int
    own_bytes: int
    threads: int
    descriptors: int
    thread_cpu_s: dict[str, float]


def sample(pid: int) -> ProcessSample:
    """
    Look at a process of this user.

    :raises ProcessLookupError: if there is none.
    """
    folder = Path('/proc') / str(pid)
    try:
        # Behind the name in brackets, which may hold anything; numbered from 3 in proc(5).
        fields = (folder / 'stat').read_text().rpartition(')')[2].split()
        resident, shared = (int(text) for text in (folder / 'statm').read_text().split()[1:3])
        descriptors = len(os.listdir(folder / 'fd'))
        thread_cpu_s = _thread_cpu(folder)
    except FileNotFoundError as error:
        raise ProcessLookupError(f'no process {pid}') from error
    return ProcessSample(
        time.monotonic(), (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[7]),
        resident * _PAGE, (resident - shared) * _PAGE, int(fields[17]), descriptors, thread_cpu_s)


def _thread_cpu(folder: Path) -> dict[str, float]:
    threads: dict[str, float] = defaultdict(float)
    for task in (folder / 'task').iterdir():
        try:
            name = (task / 'comm').read_text().strip()
            # In nanoseconds, where `stat` has ticks of 10 ms.
            spent_ns = int((task / 'schedstat').read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            # The thread ended while we looked.
            continue
        threads[re.sub(r'[.\-]?\d+$', '', name)] += spent_ns / 1e9
    return dict(threads)


def busy_cores() -> float:
    """Return the seconds that all cores together have been busy since the machine started."""
    numbers = [int(text) for text in Path('/proc/stat').read_text().split('\n', 1)[0].split()[1:]]
    # user nice system idle iowait irq softirq steal; guests are in user already.
    return (sum(numbers[:8]) - numbers[3] - numbers[4]) / _TICKS


def shared_segments(pid: int) -> set[Path]:
    """Return the files in /dev/shm that a process has mapped."""
    try:
        maps = (Path('/proc') / str(pid) / 'maps').read_text()
    except (OSError, ProcessLookupError):
        return set()
    return {Path(found) for found in re.findall(r'(/dev/shm/\S+)', maps)}


def orphans(segments: set[Path]) -> set[Path]:
    """Return those files in /dev/shm that are still there and that no process has mapped."""
    mapped = {path for entry in Path('/proc').iterdir() if entry.name.isdigit()
              for path in shared_segments(int(entry.name))}
    return {path for path in segments - mapped if path.exists()}


def remove_orphans(segments: set[Path]) -> None:
    """Remove shared memory that a killed process left, unless somebody else has it mapped."""
    for path in orphans(segments):
        path.unlink(missing_ok=True)
        # By its lock Fast DDS tells whether somebody lives that uses a segment.
        path.with_name(f'{path.name}_el').unlink(missing_ok=True)
