"""What goes wrong in the soak: each fault is brought about, and then must have been got over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
import random
import time

from bench import BenchError
from bench.cameras_process import BROKEN
from bench.children import wait_until
from bench.faulty_node import order_faults
from bench.procfs import ProcessSample
from bench.rig import Rig
import numpy as np

_RECOVERY_S = 30.0
#: Of a backend that keeps failing, enough to have it opened anew where the node does that.
_OUTAGE_BATCHES = 8
_CHANGES: tuple[tuple[str, object, bool], ...] = (
    ('top_k', 1, True), ('top_k', 5, True), ('max_wait_ms', 10.0, True),
    ('max_wait_ms', 0.0, True), ('max_age_ms', 500.0, True), ('max_age_ms', 0.0, True),
    ('score_threshold', 0.1, True), ('score_threshold', 0.0, True),
    # These must be refused, and nothing else happen.
    ('top_k', -1, False), ('batch_size', 2, False), ('queue_depth', 0, False))


class Faults:
    """
    Brings faults about, at random but the same at every run.

    :param rig: what suffers them; its cameras must be running.
    :param faults_file: see `faulty_node`.
    :param start_cameras: starts the cameras again after they were killed.
    :param of_backend: whether the node is `faulty_node`, whose backend can be made to fail.
    """

    def __init__(
            self, rig: Rig, faults_file: Path, start_cameras: Callable[[], None],
            of_backend: bool = True) -> None:
        self._rig = rig
        self._faults_file = faults_file
        self._start_cameras = start_cameras
        self._random = random.Random(4)
        #: How often each fault was brought about.
        self.done: Counter[str] = Counter()
        #: Longest seconds from the end of a fault to an answer to every camera.
        self.recovery_s: dict[str, float] = {}
        #: The node after each cleanup: what it holds then, it holds for good.
        self.cleaned_up: list[ProcessSample] = []
        #: What did not go as it must, in words.
        self.complaints: list[str] = []
        self._kinds = {
            'broken frames': self._broken_frames, 'cameras killed': self._kill_cameras,
            'deactivated': self._deactivate, 'cleaned up': self._clean_up,
            'parameters changed': self._change_parameters,
            **({'backend raises once': self._raise_once, 'backend outage': self._outage,
                'backend disabled': self._break_for_good} if of_backend else {})}
        self._order: list[str] = []

    def bring_about(self) -> None:
        """Bring about the next fault and wait until every camera is answered again."""
        if not self._order:
            # Each kind comes before any comes again.
            self._order = list(self._kinds)
            self._random.shuffle(self._order)
        kind = self._order.pop()
        self._kinds[kind]()
        self.done[kind] += 1
        self._wait_for_answers(kind)

    def _wait_for_answers(self, kind: str) -> None:
        start_s, start_ns = time.monotonic(), time.time_ns()
        seen = len(self._rig.heard())

        def answered() -> bool:
            heard = self._rig.heard(seen)
            fresh = heard[heard['stamp_ns'] > start_ns]
            return len(np.unique(fresh['camera'])) == len(self._rig.cameras)
        try:
            wait_until(answered, f'answers to every camera after: {kind}', _RECOVERY_S,
                       list(self._rig.children.values()))
        except BenchError:
            self._recover(kind)
            wait_until(answered, f'answers even after activating it again: {kind}', _RECOVERY_S,
                       list(self._rig.children.values()))
        took_s = time.monotonic() - start_s
        self.recovery_s[kind] = round(max(took_s, self.recovery_s.get(kind, 0.0)), 2)

    def _recover(self, kind: str) -> None:
        """Bring the node back by hand, and complain about it."""
        state = self._rig.observer.state()
        self.complaints.append(
            f'after {kind!r} the node was {state} and did not answer for {_RECOVERY_S:g} s')
        if state == 'unconfigured':
            self._rig.observer.change_state('configure')
        if self._rig.observer.state() == 'inactive':
            self._rig.observer.change_state('activate')

    # The faults.

    def _broken_frames(self) -> None:
        cameras = self._rig.children['cameras']
        for camera in self._rig.cameras:
            cameras.ask(do='broken', camera=camera.key, kind=self._random.choice(BROKEN[:4]))

    def _kill_cameras(self) -> None:
        self._rig.children['cameras'].kill()
        self._start_cameras()

    def _raise_once(self) -> None:
        order_faults(self._faults_file, 1)
        wait_until(lambda: not self._faults_file.exists(), 'the backend to fail once')

    def _outage(self) -> None:
        order_faults(self._faults_file, _OUTAGE_BATCHES)
        wait_until(lambda: not self._faults_file.exists(), 'the backend to fail for a while', 60.0)

    def _break_for_good(self) -> None:
        order_faults(self._faults_file, 1_000_000)
        try:
            # Frees what it has and says so; the process stays.
            wait_until(lambda: self._rig.observer.state() == 'unconfigured',
                       'the node to give its backend up', _RECOVERY_S)
        finally:
            self._faults_file.unlink(missing_ok=True)
        self._transitions('configure', 'activate')

    def _deactivate(self) -> None:
        self._transitions('deactivate', 'activate')

    def _clean_up(self) -> None:
        self._transitions('deactivate', 'cleanup')
        self.cleaned_up.append(self._rig.children['node'].sample())
        self._transitions('configure', 'activate')

    def _transitions(self, *names: str) -> None:
        for name in names:
            if not self._rig.observer.change_state(name):
                self.complaints.append(
                    f'{name} failed; the node is {self._rig.observer.state()}')

    def _change_parameters(self) -> None:
        for name, value, acceptable in _CHANGES:
            accepted, reason = self._rig.observer.set_parameter(name, value)
            if accepted != acceptable or not (accepted or reason):
                self.complaints.append(
                    f'{name} = {value} was ' + ('accepted' if accepted else f'refused: {reason}'))
