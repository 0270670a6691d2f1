"""Six cameras for a long time, with faults: nothing may be lost, nothing may grow."""

from __future__ import annotations

from pathlib import Path
import re
import tempfile
from threading import Event, Thread
import time
from typing import Any

from bench import BenchError
from bench.camera import several
from bench.faulty_node import VARIABLE
from bench.figures import Account, account, Check, growth, Outcome, rounded
from bench.procfs import ProcessSample
from bench.rig import Rig
from bench.scenarios.faults import Faults
import numpy as np

#: Allowed for the whole, and for every hour.
_GROWTH_MIB, _GROWTH_MIB_PER_HOUR = 8.0, 2.0
_SAMPLE_S = 1.0
#: See `_fill_queues`.
_STALLS, _STALL_S = 3, 2.0
#: Recovery with short pauses, so that many faults fit into a short run.
_RECOVERY = {'reopen_backoff_sec': 0.1, 'max_reopen_attempts': 3}
_LAST_ACCOUNT = re.compile(
    r'(\d+) frames received, (\d+) answered, dropped: (.*)$', re.MULTILINE)


def run(seconds: float, fault_every_s: float = 5.0, rate_hz: float = 20.0) -> Outcome:
    """
    Run six VGA cameras with a fault every few seconds.

    :param seconds: how long.
    :param fault_every_s: pause after the node has got over a fault.
    :param rate_hz: of each camera.
    """
    with tempfile.TemporaryDirectory(prefix='resnet_trt_soak_') as folder:
        faults_file = Path(folder) / 'faults'
        with Rig(several(6, rate_hz=rate_hz), {
                'backend': 'simulated', 'simulated_ms': 5.0, 'max_batch_size': 6,
                'image_reliability': 'reliable', **_RECOVERY},
                module='bench.faulty_node', environment={VARIABLE: str(faults_file)}) as rig:
            return _run(rig, faults_file, seconds, rate_hz, fault_every_s)


def _run(
        rig: Rig, faults_file: Path, seconds: float, rate_hz: float,
        fault_every_s: float) -> Outcome:
    keys = [camera.key for camera in rig.cameras]

    def start_cameras(anew: bool = True) -> None:
        if anew:
            rig.start_cameras()
            rig.wait_until_ready()
        rig.children['cameras'].ask(do='run', cameras=keys, seconds=None)

    sampler = _Sampler(rig)
    faults = Faults(rig, faults_file, start_cameras)
    start_cameras(anew=False)
    _fill_queues(rig)
    start_s = time.monotonic()
    with sampler:
        while time.monotonic() < start_s + seconds - fault_every_s:
            sampler.wait(fault_every_s)
            faults.bring_about()
        sampler.wait(max(0.0, start_s + seconds - time.monotonic()))
    took_s = time.monotonic() - start_s
    rig.children['cameras'].ask(do='stop')
    rig.settle()
    code = rig.stop_node()
    done = account(rig.sent(), rig.heard(), {
        index: camera.red for index, camera in enumerate(rig.cameras)})
    node_log = rig.children['node'].log.read_text(encoding='utf-8', errors='replace')
    return _outcome(
        sampler.samples, faults, code, done, len(rig.heard()), node_log, took_s, rate_hz)


def _fill_queues(rig: Rig) -> None:
    """
    Let the node stand still a few times, so that all queues have once been full.

    DDS keeps the memory of its longest queue for good: 5 images a camera, 27 MiB here. In the
    middle of a run a machine that is busy with other things fills it too, which is no leak.
    """
    for _ in range(_STALLS):
        rig.children['node'].pause(_STALL_S)
        rig.children['node'].check()
        time.sleep(_STALL_S)


def _outcome(
        samples: list[ProcessSample], faults: Faults, code: int, done: Account, heard: int,
        node_log: str, took_s: float, rate_hz: float) -> Outcome:
    times_s = [sample.time_s for sample in samples]
    # Shared memory comes and goes with the cameras, by steps that would hide what stays.
    gained_mib, slope = growth(times_s, [sample.own_bytes / 2**20 for sample in samples])
    told = read_accounts(node_log)
    outcome = Outcome(
        'soak', f'six VGA cameras at {rate_hz:g} Hz for {took_s / 60:.1f} minutes, '
        f'{sum(faults.done.values())} faults')
    outcome.checks = [
        Check('frames that the node received and cannot account for',
              sum(abs(lost) for _, _, lost in told), 0),
        Check('answers that the node counts and nobody heard, or the other way round',
              abs(sum(answered for _, answered, _ in told) - heard), 0),
        Check('answers that are foreign, repeated or mistaken',
              done.foreign + done.repeated + done.mistaken, 0),
        Check('memory gained', rounded(gained_mib, 2),
              _GROWTH_MIB + _GROWTH_MIB_PER_HOUR * took_s / 3600, 'MiB'),
        Check('threads gained', _gained([sample.threads for sample in samples]), 0),
        Check('file descriptors gained', _gained([sample.descriptors for sample in samples]), 0),
        Check('faults that the node did not get over as it should', len(faults.complaints), 0),
        Check('exit code', code, 0)]
    step = max(1, len(samples) // 120)
    outcome.figures = {
        'seconds': rounded(took_s, 1), 'sent': done.sent, 'broken': done.broken,
        'received': sum(received for received, _, _ in told), 'answered': heard,
        'faults': dict(faults.done), 'longest_recovery_s': faults.recovery_s,
        'complaints': faults.complaints, 'memory_slope_mib_per_hour': rounded(slope, 1),
        'node_cores': rounded(
            (samples[-1].cpu_s - samples[0].cpu_s) / (times_s[-1] - times_s[0])),
        # Seconds, MiB resident, and MiB of that which are the node's own.
        'memory_curve': [[rounded(sample.time_s - times_s[0], 0),
                          rounded(sample.rss_bytes / 2**20, 1),
                          rounded(sample.own_bytes / 2**20, 1)] for sample in samples[::step]],
        'threads': [samples[0].threads, samples[-1].threads],
        'descriptors': [samples[0].descriptors, samples[-1].descriptors]}
    return outcome


def _gained(values: list[int]) -> float:
    """Return the last fifth's median less the second fifth's."""
    fifth = max(1, len(values) // 5)
    return float(np.median(values[-fifth:]) - np.median(values[fifth:2 * fifth]))


def read_accounts(node_log: str) -> list[tuple[int, int, int]]:
    """
    Return the account that the node logs each time it frees its model.

    :returns: frames received, answered, and those in no counter, for each.
    :raises BenchError: if there is none.
    """
    accounts = []
    for match in _LAST_ACCOUNT.finditer(node_log):
        received, answered = int(match[1]), int(match[2])
        dropped = sum(int(number) for number in re.findall(r'(\d+) [a-z]', match[3]))
        accounts.append((received, answered, received - answered - dropped))
    if not accounts:
        raise BenchError('the node logged no account of its frames')
    return accounts


class _Sampler:
    """Looks at the node every second, in a thread; a context manager."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._end = Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self.samples: list[ProcessSample] = []

    def _sample(self) -> None:
        while not self._end.wait(_SAMPLE_S):
            if not self._rig.children['node'].alive:
                return
            self.samples.append(self._rig.children['node'].sample())

    def wait(self, seconds: float) -> None:
        """Let time pass, as long as the node runs."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._rig.children['node'].check()
            self._end.wait(min(left_s, _SAMPLE_S))

    def __enter__(self) -> _Sampler:
        """Start looking."""
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join()
