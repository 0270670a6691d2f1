"""Six cameras for a long time, with faults: nothing may be lost, nothing may grow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
import re
import tempfile
from threading import Event, Thread
import time
from typing import Any, Optional

from bench import BenchError
from bench.camera import Camera, several
from bench.deployment import Deployment, PROFILE
from bench.faulty_node import VARIABLE
from bench.figures import (
    Account, account, Balance, balance_checks, Check, growth, Outcome, rounded)
from bench.procfs import ProcessSample
from bench.rig import Rig
from bench.scenarios.faults import Faults
import numpy as np

#: Allowed for the whole of a short run, and for every hour.
_GROWTH_MIB, _GROWTH_MIB_PER_HOUR = 8.0, 2.0
#: Of a device, in a run of minutes; TensorRT itself keeps some when it is opened anew.
_DEVICE_GROWTH_MIB = 8.0
#: Memory is judged by its slope behind these, in runs that are long enough to have one.
_SETTLE_S, SLOPE_FROM_S = 600.0, 1800.0
#: Of the sent frames, on the default transport.
_LEAST_ANSWERED = 0.5
_SAMPLE_S = 1.0
#: See `_fill_queues`: how often, how long, and what the node gets to catch up.
_STALLS, _STALL_S, _CATCH_UP_S = 3, 0.5, 2.0
#: Recovery with short pauses, so that many faults fit into a short run.
_RECOVERY = {'reopen_backoff_sec': 0.1, 'max_reopen_attempts': 3}
_LAST_ACCOUNT = re.compile(
    r'(?:(\d+) frames lost in transport; )?(\d+) frames received, (\d+) answered, '
    r'dropped: (.*)$', re.MULTILINE)


@dataclass(frozen=True)
class Device:
    """
    A node on a real backend, instead of one whose backend fails when it is told to.

    :param name: of the outcome.
    :param title: of its cameras.
    :param cameras: what is sent.
    :param parameters: of the node.
    :param used_mib: returns the memory that a process uses on the device, in MiB; None where the
        device has none of its own.
    """

    name: str
    title: str
    cameras: list[Camera]
    parameters: dict[str, object]
    used_mib: Optional[Callable[[int], float]]


def run_on(device: Device, seconds: float, fault_every_s: float = 5.0) -> Outcome:
    """
    Run cameras against a node on a device, with faults of everything but the backend.

    :param device: which.
    :param seconds: how long.
    :param fault_every_s: pause after the node has got over a fault.
    """
    with tempfile.TemporaryDirectory(prefix='resnet_trt_soak_') as folder, Rig(
            device.cameras, {**device.parameters, 'autostart': False,
                             'image_reliability': 'reliable'}) as rig:
        return _run(rig, Path(folder) / 'faults', seconds, fault_every_s, PROFILE, device)


def run(
        seconds: float, fault_every_s: float = 5.0, rate_hz: float = 20.0,
        deployment: Deployment = PROFILE) -> Outcome:
    """
    Run six VGA cameras with a fault every few seconds, see `_cameras`.

    :param seconds: how long.
    :param fault_every_s: pause after the node has got over a fault.
    :param rate_hz: of each camera.
    :param deployment: how cameras and node are deployed.
    """
    with tempfile.TemporaryDirectory(prefix='resnet_trt_soak_') as folder:
        faults_file = Path(folder) / 'faults'
        with Rig(_cameras(rate_hz, deployment), {
                'backend': 'simulated:5', 'batch_size': 6,
                # A node that started itself would end when its backend is disabled.
                'image_reliability': 'best_effort' if deployment.best_effort else 'reliable',
                'autostart': False, **_RECOVERY}, module='bench.faulty_node',
                environment={VARIABLE: str(faults_file)}, deployment=deployment) as rig:
            return _run(rig, faults_file, seconds, fault_every_s, deployment)


def _cameras(rate_hz: float, deployment: Deployment) -> list[Camera]:
    """
    Return six VGA cameras.

    A grey picture passes the default transport, of one in colour a tenth may: the socket's buffer
    is smaller. So there some are grey and answered while others lose frames all the time.
    """
    cameras = several(6, rate_hz=rate_hz, best_effort=deployment.best_effort)
    if not deployment.best_effort:
        return cameras
    return [*(replace(camera, encoding='mono8') for camera in cameras[:4]),
            *(replace(camera, rate_hz=rate_hz / 2) for camera in cameras[4:])]


def _run(
        rig: Rig, faults_file: Path, seconds: float, fault_every_s: float,
        deployment: Deployment, device: Optional[Device] = None) -> Outcome:
    keys = [camera.key for camera in rig.cameras]

    def start_cameras(anew: bool = True) -> None:
        if anew:
            rig.start_cameras()
            rig.wait_until_ready()
        rig.children['cameras'].ask(do='run', cameras=keys, seconds=None)

    sampler = _Sampler(rig, None if device is None else device.used_mib)
    faults = Faults(rig, faults_file, start_cameras, device is None)
    start_cameras(anew=False)
    _fill_queues(rig)
    start_s = time.monotonic()
    with sampler:
        # In a run whose memory is judged by its slope the faults come without a pause at first:
        # they have fragmented the heap as much as they can before the judging begins.
        settled_s = start_s + (_SETTLE_S if seconds >= SLOPE_FROM_S else 0.0)
        while (now_s := time.monotonic()) < start_s + seconds - fault_every_s:
            if now_s > settled_s:
                sampler.wait(fault_every_s)
            faults.bring_about()
        sampler.wait(max(0.0, start_s + seconds - time.monotonic()))
    took_s = time.monotonic() - start_s
    rig.children['cameras'].ask(do='stop')
    rig.settle()
    code = rig.stop_node()
    # What a real model says of a grey picture is not known.
    done = account(rig.sent(), rig.heard(), None if device is not None else {
        index: camera.red for index, camera in enumerate(rig.cameras)})
    node_log = rig.children['node'].log.read_text(encoding='utf-8', errors='replace')
    outcome = _outcome(
        sampler.samples, faults, code, done, len(rig.heard()), read_accounts(node_log), took_s)
    outcome.name = 'soak' if deployment is PROFILE else f'soak_{deployment.name}'
    outcome.title = (
        'six VGA cameras '
        + (f'({rig.cameras[0].rate_hz:g} Hz, two of them in colour at half of that) '
           if deployment.best_effort else f'at {rig.cameras[0].rate_hz:g} Hz ')
        + f'for {took_s / 60:.1f} minutes, '
        f'{sum(faults.done.values())} faults; {deployment.title}')
    if device is not None:
        outcome.name = device.name
        outcome.title = (
            f'{device.title}, for {took_s / 60:.1f} minutes, {sum(faults.done.values())} faults')
        if device.used_mib is not None:
            outcome.checks += [
                Check('memory of the device gained', rounded(_gained(sampler.device_mib), 2),
                      _DEVICE_GROWTH_MIB, 'MiB'),
                # Or nothing was seen of it.
                Check('samples in which the node had memory of the device, as a share',
                      rounded(float(np.mean(np.array(sampler.device_mib) > 0))), 0.5,
                      at_least=True)]
            outcome.figures['device_mib'] = sampler.device_mib
    if deployment.best_effort:
        outcome.checks += [
            # Or the node was not put to that test.
            Check('frames that DDS told were lost', outcome.figures['balance']['lost'], 1,
                  at_least=True),
            Check('answers, as a share of the frames sent whole',
                  rounded(done.answered / max(1, done.sent)), _LEAST_ANSWERED, at_least=True)]
    return outcome


def _fill_queues(rig: Rig) -> None:
    """
    Let the node stand still a few times, so that all queues have once been full.

    DDS keeps the memory of its longest queue for good: 5 images a camera, 27 MiB here. In the
    middle of a run a machine that is busy with other things fills it too, which is no leak.

    Not for seconds: the node at times hears nothing more after a stop of two. Fast DDS probably
    takes a reader of its shared memory for dead that does not stir between two of its checks.
    """
    for _ in range(_STALLS):
        rig.children['node'].pause(_STALL_S)
        rig.children['node'].check()
        time.sleep(_CATCH_UP_S)


def _outcome(
        samples: list[ProcessSample], faults: Faults, code: int, done: Account, heard: int,
        logged: list[LoggedAccount], took_s: float) -> Outcome:
    times_s = [sample.time_s for sample in samples]
    # Shared memory comes and goes with the cameras, by steps that would hide what stays.
    own_mib = [sample.own_bytes / 2**20 for sample in samples]
    long = took_s >= SLOPE_FROM_S
    gained_mib, slope = growth(times_s, own_mib)
    resting = [sample.own_bytes / 2**20 for sample in faults.cleaned_up]
    if long:
        # While it works, what it keeps for the next frames and what its queues hold goes up and
        # down by 10 MiB. After a cleanup it holds neither: what grows there, it holds for good.
        _, slope = growth(
            [sample.time_s for sample in faults.cleaned_up], resting, _SETTLE_S)
    balance = Balance(
        done.sent + done.broken, sum(one.received for one in logged),
        sum(one.lost for one in logged), sum(one.answered for one in logged), heard)
    outcome = Outcome('soak', '')
    outcome.checks = [
        Check('frames that the node received and cannot account for',
              sum(abs(one.unaccounted) for one in logged), 0),
        *balance_checks([balance]),
        Check('answers that are foreign, repeated or mistaken',
              done.foreign + done.repeated + done.mistaken, 0),
        # A line through a few minutes says nothing of hours, and steps of a long run are no slope.
        Check('slope of the memory after cleanups, from minute ten on', rounded(slope, 2),
              _GROWTH_MIB_PER_HOUR, 'MiB/h') if long else
        Check('memory gained', rounded(gained_mib, 2),
              _GROWTH_MIB + _GROWTH_MIB_PER_HOUR * took_s / 3600, 'MiB'),
        Check('threads gained', _gained([sample.threads for sample in samples]), 0),
        Check('file descriptors gained', _gained([sample.descriptors for sample in samples]), 0),
        Check('faults that the node did not get over as it should', len(faults.complaints), 0),
        Check('exit code', code, 0)]
    step = max(1, len(samples) // 120)
    outcome.figures = {
        'seconds': rounded(took_s, 1), 'sent': done.sent, 'broken': done.broken,
        'received': balance.received, 'answered': heard, 'balance': balance.to_json(),
        'faults': dict(faults.done), 'longest_recovery_s': faults.recovery_s,
        'complaints': faults.complaints, 'memory_slope_mib_per_hour': rounded(slope, 1),
        'memory_gained_mib': rounded(gained_mib, 2),
        'memory_cleaned_up_mib': [rounded(value, 1) for value in resting],
        'memory_slope_at_work_mib_per_hour': rounded(growth(times_s, own_mib, _SETTLE_S)[1], 1)
        if long else None,
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


@dataclass(frozen=True)
class LoggedAccount:
    """
    What the node logs when it frees its model.

    :param lost: frames that DDS told were lost in transport.
    :param received: frames received.
    :param answered: frames answered.
    :param unaccounted: frames received that are in no counter.
    """

    lost: int
    received: int
    answered: int
    unaccounted: int


def read_accounts(node_log: str) -> list[LoggedAccount]:
    """
    Return the account that the node logs each time it frees its model.

    :raises BenchError: if there is none.
    """
    accounts = []
    for match in _LAST_ACCOUNT.finditer(node_log):
        received, answered = int(match[2]), int(match[3])
        dropped = sum(int(number) for number in re.findall(r'(\d+) [a-z]', match[4]))
        accounts.append(LoggedAccount(
            int(match[1] or 0), received, answered, received - answered - dropped))
    if not accounts:
        raise BenchError('the node logged no account of its frames')
    return accounts


class _Sampler:
    """Looks at the node every second, in a thread; a context manager."""

    def __init__(self, rig: Rig, used_mib: Optional[Callable[[int], float]] = None) -> None:
        self._rig = rig
        self._used_mib = used_mib
        self._end = Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self.samples: list[ProcessSample] = []
        #: Memory that is used on the device.
        self.device_mib: list[float] = []

    def _sample(self) -> None:
        while not self._end.wait(_SAMPLE_S):
            if not self._rig.children['node'].alive:
                return
            self.samples.append(self._rig.children['node'].sample())
            if self._used_mib is not None:
                self.device_mib.append(self._used_mib(self._rig.children['node'].pid))

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
