"""Cameras, nodes and listener set up together, and a measurement with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
import json
from pathlib import Path
import tempfile
import time
from types import TracebackType
from typing import Any, Optional

from bench import BenchError
from bench.camera import Camera, to_json
from bench.children import cameras_process, Child, wait_until
from bench.deployment import Deployment, PROFILE
from bench.environment import ROOT
from bench.figures import Account, account, Balance
from bench.observer import counts, Observer
from bench.procfs import busy_cores, ProcessSample
from bench.records import HEARD, read, REGIONS, SENT
import numpy as np
from numpy.typing import NDArray

NODE = 'resnet_trt_node.node.entry'
NODE_NAME = '/ours/classifier'


@dataclass(frozen=True)
class Usage:
    """
    What a process used between two looks.

    :param cpu_ms: user and system time.
    :param minor_faults: page faults.
    :param rss_mib: resident memory at the end.
    :param threads_ms: CPU time by thread name.
    """

    cpu_ms: float
    minor_faults: int
    rss_mib: float
    threads_ms: dict[str, float]

    @staticmethod
    def between(before: ProcessSample, after: ProcessSample) -> Usage:
        """Return the difference of two samples."""
        return Usage(
            1e3 * (after.cpu_s - before.cpu_s), after.minor_faults - before.minor_faults,
            after.rss_bytes / 2**20,
            {name: 1e3 * (spent - before.thread_cpu_s.get(name, 0.0))
             for name, spent in after.thread_cpu_s.items()})


@dataclass
class Phase:
    """
    One stretch of measuring.

    :param seconds: its length.
    :param sent: records of kind `SENT`.
    :param heard: records of kind `HEARD`, answers to those.
    :param usage: by process name.
    :param busy: cores that were busy on average, whatever with.
    :param skipped: frames that the cameras did not send, being late by a period or more.
    :param late_ms_p99: how late the cameras were.
    :param status: the node's diagnostics afterwards.
    :param balances: of our cameras, from the start to the end of this stretch.
    :param regions: records of kind `REGIONS`, of the answers among `heard` that have regions.
    """

    seconds: float
    sent: NDArray[np.void]
    heard: NDArray[np.void]
    usage: dict[str, Usage]
    busy: float
    skipped: int
    late_ms_p99: float
    status: dict[str, str] = field(default_factory=dict)
    balances: list[Balance] = field(default_factory=list)
    regions: NDArray[np.void] = field(default_factory=lambda: np.empty(0, REGIONS))

    def load(self) -> dict[str, Any]:
        """Return what shows whether the machine was the limit: cores by process."""
        ours = sum(usage.cpu_ms for usage in self.usage.values()) / 1e3 / self.seconds
        return {
            'cores_busy': round(self.busy, 2),
            'cores_of_others': round(max(0.0, self.busy - ours), 2),
            **{f'cores_{name}': round(usage.cpu_ms / 1e3 / self.seconds, 2)
               for name, usage in self.usage.items()},
            'camera_frames_skipped': self.skipped,
            'camera_late_ms_p99': round(self.late_ms_p99, 2)}


class Rig:
    """
    All processes of a scenario; a context manager that ends them.

    :param cameras: what is sent, to the node in namespace /ours or to one of `others`.
    :param parameters: of the node, name to value; `cameras` is added.
    :param others: further nodes: namespace, which is the process's name too, to the module and its
        command line behind the namespace.
    :param module: what runs as the node.
    :param environment: of the node, beyond this process's own.
    :param deployment: the transport between cameras and node.
    """

    def __init__(
            self, cameras: Sequence[Camera], parameters: dict[str, object],
            others: Optional[dict[str, tuple[str, ...]]] = None, module: str = NODE,
            environment: Optional[dict[str, str]] = None,
            deployment: Deployment = PROFILE) -> None:
        self.cameras = list(cameras)
        self._parameters = parameters
        self._others = others or {}
        self._module = module
        self._environment = {**deployment.node, **(environment or {})}
        self._deployment = deployment
        self._stack = ExitStack()
        self.children: dict[str, Child] = {}

    def __enter__(self) -> Rig:
        """Start everything and wait until each hears the other."""
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        self.folder = Path(self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix='resnet_trt_bench_')))
        self.observer = self._stack.enter_context(Observer(NODE_NAME))
        self._add(Child('listener', 'bench.listener_process', [
            to_json(self.cameras), str(self.folder / 'heard'),
            str(self.folder / 'heard_regions')], self.folder,
            environment=self._deployment.node)).hear()
        ours = [camera.name for camera in self.cameras if camera.receiver == 'ours']
        if ours:
            self._add(Child(
                'node', self._module, node_arguments(ours, self._parameters), self.folder,
                talks=False, environment=self._environment))
            if self._parameters.get('autostart') is False:
                self._activate()
        for name, (module, *arguments) in self._others.items():
            self._add(Child(name, module, [f'/{name}', *arguments], self.folder))
        self.start_cameras()
        self.wait_until_ready()

    def _activate(self) -> None:
        for transition in ('configure', 'activate'):
            if not self.observer.change_state(transition):
                raise BenchError(
                    f'{transition} failed; the node said:\n{self.children["node"].tail()}')

    def _add(self, child: Child) -> Child:
        self.children[child.name] = child
        return self._stack.enter_context(child)

    def start_cameras(self) -> None:
        """Start the cameras, also anew after they were killed."""
        self._add(cameras_process(
            to_json(self.cameras), self.folder / 'sent', self.folder, self._deployment.cameras))

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until the nodes are active and everybody hears everybody."""
        others = [child for name, child in self.children.items() if name != 'cameras']
        if 'node' in self.children:
            wait_until(self._node_is_ready, 'the node to be active and to know of the listener',
                       timeout_s, others)
        wait_until(lambda: all(self.children[name].ask()['listeners'] for name in self._others),
                   'the other nodes', timeout_s, others)
        keys = [camera.key for camera in self.cameras]
        cameras = self.children['cameras']
        wait_until(lambda: cameras.ask(do='match', cameras=keys)['matched'],
                   'the cameras to be listened to', timeout_s, others)

    def _node_is_ready(self) -> bool:
        status = self.observer.status
        return status.get('state') == 'active' and all(
            status.get(f'{camera.name}/listeners', '1') != '0'
            for camera in self.cameras if camera.receiver == 'ours')

    def measure(
            self, seconds: float, receiver: str = 'ours',
            rate_hz: Optional[float] = None, regions: Optional[int] = None) -> Phase:
        """
        Let the cameras of one receiver run for a time, and return what came of it.

        :param rate_hz: of each from now on, None for the same as before.
        :param regions: of each frame from now on, at most `Camera.regions`, likewise.
        :raises BenchError: if a process ends meanwhile.
        """
        keys = [camera.key for camera in self.cameras if camera.receiver == receiver]
        sent_before, heard_before = len(self.sent()), len(self.heard())
        regions_before = len(self.heard_regions())
        before, busy, start_s = self._samples(), busy_cores(), time.monotonic()
        cameras = self.children['cameras']
        cameras.ask(
            do='run', cameras=keys, seconds=seconds, rate_hz=rate_hz, regions=regions)
        ended = json.loads(cameras.hear(seconds + 60.0))
        took_s = time.monotonic() - start_s
        busy, after = busy_cores() - busy, self._samples()
        status = self.settle(receiver)
        heard = self.heard(heard_before)
        with_regions = [index for index, camera in enumerate(self.cameras) if camera.regions]
        expected = regions_before + np.count_nonzero(np.isin(heard['camera'], with_regions))
        wait_until(lambda: len(self.heard_regions()) >= expected, 'the answers to be read', 60.0,
                   [self.children['listener']])
        return Phase(
            took_s, self.sent(sent_before), heard,
            {name: Usage.between(before[name], after[name]) for name in after},
            busy / took_s, ended['skipped'], ended['late_ms_p99'], status,
            self._balances(status) if receiver == 'ours' else [],
            self.heard_regions(regions_before))

    def settle(self, receiver: str = 'ours') -> dict[str, str]:
        """Wait until nothing is in progress and no answer comes; return the node's diagnostics."""
        others = list(self.children.values())

        def quiet() -> bool:
            if receiver == 'ours':
                status = self.observer.next_status()
                if any(value != '0' for key, value in status.items()
                       if key.endswith('in_progress')):
                    return False
            before = len(self.heard())
            time.sleep(0.3)
            return len(self.heard()) == before
        wait_until(quiet, 'the last answers', 30.0, others)
        return self.observer.next_status() if 'node' in self.children else {}

    def _samples(self) -> dict[str, ProcessSample]:
        return {name: child.sample() for name, child in self.children.items()}

    def sent(self, start: int = 0) -> NDArray[np.void]:
        """Return the records of frames sent so far."""
        return read(self.folder / 'sent', SENT, start)

    def heard(self, start: int = 0) -> NDArray[np.void]:
        """Return the records of answers heard so far."""
        return read(self.folder / 'heard', HEARD, start)

    def heard_regions(self, start: int = 0) -> NDArray[np.void]:
        """Return the records of answers with regions heard so far."""
        return read(self.folder / 'heard_regions', REGIONS, start)

    def account(self, phase: Phase, simulated: bool = True) -> Account:
        """Compare what was sent and heard in a phase."""
        reds = {index: camera.red for index, camera in enumerate(self.cameras)}
        return account(phase.sent, phase.heard, reds if simulated else None)

    def _balances(self, status: Mapping[str, str]) -> list[Balance]:
        sent, heard = self.sent()['camera'], self.heard()['camera']
        found = []
        for index, camera in enumerate(self.cameras):
            if camera.receiver == 'ours':
                numbers = counts(status, camera.name)
                found.append(Balance(
                    int(np.count_nonzero(sent == index)), numbers['received'],
                    numbers['lost_in_transport'], numbers['answered'],
                    int(np.count_nonzero(heard == index))))
        return found

    def stop_node(self) -> int:
        """End the node as Ctrl-C does; return its exit code."""
        return self.children['node'].stop()

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """End everything."""
        self._stack.close()


def node_arguments(cameras: Sequence[str], parameters: dict[str, object]) -> list[str]:
    """Return the command line of the node: the repository's YAML and what differs from it."""
    words = ['--ros-args', '-r', '__ns:=/ours',
             '--params-file', str(ROOT / 'config' / 'classify.yaml'),
             '-p', f'cameras:=[{", ".join(cameras)}]']
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else value
        words += ['-p', f'{name}:={text}']
    return words
