"""Measures a scenario: synthetic cameras, node and listener in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
import re
import signal
import subprocess
import sys
from typing import Any, Optional

from bench import BenchError
from bench.figures import latencies_ms, spread
from bench.observer import counts
from bench.rig import NODE, node_arguments, Phase, Rig
from bench.scenarios.latency import account_checks, common_figures, region_checks
from bench.scenarios.regions import regions_per_second
from tools.gpu.node.awake import cores_awake
from tools.gpu.node.scenarios import MANY_BATCH, MOST_REGIONS, Scenario

_WARM_S = 3.0
_BUILD_LIMIT_S = 400.0
#: Factor between the rates that `run_limit` tries, and seconds at each.
_STEP, _STEP_S = 1.5, 2.0
_HIGHEST_HZ = 1000.0
#: Seconds that a scenario may take without building its engine, beyond those of its measurement.
_OVERHEAD_S = 60.0
#: Scenarios with regions are measured for this long at most: all of them in three minutes.
_REGIONS_S = 10.0


class Bench:
    """
    Measures scenarios.

    :param models: precision to ONNX model.
    :param engine_dir: folder of engines, None for a backend that compiles none.
    :param parameters: of the node, beyond those of a scenario.
    :param seconds: of each measurement at a fixed rate.
    """

    def __init__(
            self, models: dict[str, Path], engine_dir: Optional[Path],
            parameters: dict[str, object], seconds: float) -> None:
        self._models, self._engine_dir, self._seconds = models, engine_dir, seconds
        self._parameters = parameters
        #: By precision and largest batch.
        self._plans: dict[tuple[str, int], Path] = {}

    def run(self, scenario: Scenario) -> dict[str, Any]:
        """
        Measure one.

        :returns: ready for JSON.
        :raises BenchError: if a process ends or nothing is heard.
        """
        plan = self._build(scenario)
        if scenario.kind.endswith('plain') and plan is None:
            raise BenchError('the plain node runs engines, and this backend compiles none')
        run = {'rate': self._rate, 'awake': self._awake, 'plain': self._plain,
               'limit': self._limit, 'regions': self._rate, 'regions_plain': self._plain,
               'regions_limit': self._regions_limit}[scenario.kind]
        with _at_most(_OVERHEAD_S + self._length_s(scenario)):
            return {'scenario': asdict(scenario), **run(scenario, plan)}

    def _length_s(self, scenario: Scenario) -> float:
        return min(self._seconds, _REGIONS_S) if scenario.regions else self._seconds

    def _of_node(self, scenario: Scenario) -> dict[str, object]:
        return {
            **({'engine_dir': self._engine_dir} if self._engine_dir else {}),
            # Many regions fill whole batches: half of the time to build.
            **({'opt_batch_size': MANY_BATCH}
               if self._engine_dir and scenario.batch == MANY_BATCH else {}),
            **({'input': 'regions'} if scenario.regions else {}),
            'model_path': self._models[scenario.precision], 'batch_size': scenario.batch,
            'max_wait_ms': 0.0, 'image_reliability': 'reliable',
            'image_transport': 'compressed' if scenario.jpeg else 'raw', **self._parameters}

    def _build(self, scenario: Scenario) -> Optional[Path]:
        """Return the engine that the node will find, None for a backend without one."""
        if self._engine_dir is None:
            return None
        kind = scenario.precision, scenario.engine_batch
        if kind not in self._plans:
            words = node_arguments(
                [camera.name for camera in scenario.sources()],
                {**self._of_node(scenario), 'build_only': True})
            done = subprocess.run(
                [sys.executable, '-m', NODE, *words], capture_output=True, text=True,
                timeout=_BUILD_LIMIT_S, check=False)
            found = re.search(r'engine ready: (\S+)', done.stdout + done.stderr)
            if found is None:
                raise BenchError(f'no engine of {self._models[kind[0]]}:\n{done.stderr[-2000:]}')
            self._plans[kind] = Path(found[1])
        return self._plans[kind]

    def _rate(self, scenario: Scenario, _: Optional[Path]) -> dict[str, Any]:
        with Rig(scenario.sources(), self._of_node(scenario)) as rig:
            # What a benchmark tells that counts the first frame of a run alone.
            first = rig.measure(_WARM_S)
            length_s = self._length_s(scenario)
            phase = rig.measure(length_s)
            checks = account_checks(rig, phase, rig.account(phase, simulated=False))
            if scenario.regions:
                checks += region_checks(
                    phase, [camera.name for camera in rig.cameras], scenario.regions)
            return {
                **_figures(scenario, phase, length_s),
                'first_answer_ms': round(float(latencies_ms(first.heard)[0]), 3),
                'checks': [check.to_json() for check in checks]}

    def _awake(self, scenario: Scenario, plan: Optional[Path]) -> dict[str, Any]:
        with cores_awake():
            return self._rate(scenario, plan)

    def _plain(self, scenario: Scenario, plan: Optional[Path]) -> dict[str, Any]:
        ours, = scenario.sources()
        cameras = [ours, replace(ours, receiver='plain')]
        others: dict[str, tuple[str, ...]] = {'plain': (
            'tools.gpu.node.plain_node', ours.name, str(plan),
            *(['regions'] * bool(ours.regions)))}
        found: dict[str, Any] = {'ours': [], 'plain': []}
        with Rig(cameras, self._of_node(scenario), others) as rig:
            for receiver in found:
                rig.measure(_WARM_S, receiver)
            for receiver in 2 * list(found):
                phase = rig.measure(self._length_s(scenario) / 2, receiver)
                process = 'node' if receiver == 'ours' else 'plain'
                found[receiver].append({
                    'sent': len(phase.sent), 'answered': len(phase.heard),
                    'source_to_answer_ms': spread(latencies_ms(phase.heard)),
                    'cpu_ms_per_answer': round(
                        phase.usage[process].cpu_ms / max(1, len(phase.heard)), 3)})
        return {'turns': found}

    def _limit(self, scenario: Scenario, _: Optional[Path]) -> dict[str, Any]:
        rate, steps = scenario.rate_hz, []
        with Rig(scenario.sources(), self._of_node(scenario)) as rig:
            rig.measure(_WARM_S)
            before = _lost(rig.settle(), scenario)
            while rate <= _HIGHEST_HZ:
                phase = rig.measure(_STEP_S, rate_hz=rate)
                steps.append({'rate_hz': round(rate, 1), **_step(scenario, phase, before)})
                if _exceeded(steps[-1]):
                    break
                before, rate = _lost(phase.status, scenario), rate * _STEP
        return {'steps': steps}

    def _regions_limit(self, scenario: Scenario, _: Optional[Path]) -> dict[str, Any]:
        regions, steps = scenario.regions, []
        with Rig(scenario.sources(), self._of_node(scenario)) as rig:
            rig.measure(_WARM_S, regions=regions)
            before = _lost(rig.settle(), scenario)
            while regions <= MOST_REGIONS:
                phase = rig.measure(_STEP_S, regions=regions)
                rate = regions_per_second(phase.regions)
                steps.append({
                    'regions': regions, 'regions_hz': rate and round(rate, 1),
                    **_step(scenario, phase, before)})
                if _exceeded(steps[-1]):
                    break
                before, regions = _lost(phase.status, scenario), round(regions * _STEP)
        return {'steps': steps}


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise a BenchError where the body takes longer."""
    def end(*_: object) -> None:
        raise BenchError(f'took longer than its {seconds:g} s')
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _step(scenario: Scenario, phase: Phase, before: dict[str, int]) -> dict[str, Any]:
    """Return what one step of a search shows; `before` is `_lost` when it began."""
    now = _lost(phase.status, scenario)
    return {
        'sent': len(phase.sent), 'answered': len(phase.heard),
        'lost': {name: count for name in now if (count := now[name] - before[name])},
        'cameras_skipped': phase.skipped,
        'source_to_answer_ms': spread(latencies_ms(phase.heard)), 'load': phase.load()}


def _exceeded(step: dict[str, Any]) -> bool:
    """Tell whether a frame was lost, or the cameras could not send one."""
    return step['answered'] < step['sent'] or step['cameras_skipped'] > 0


def _figures(scenario: Scenario, phase: Phase, seconds: float) -> dict[str, Any]:
    rate = regions_per_second(phase.regions)
    return {
        **({'regions': {'sent': scenario.regions * len(phase.sent),
                        'answered': int(phase.regions['answered'].sum()),
                        'answered_hz': rate and round(rate, 1)}} if scenario.regions else {}),
        'figures': common_figures(phase, seconds), 'lost': _lost(phase.status, scenario),
        'backend': phase.status.get('backend'), 'batches': phase.status.get('mean_batch_size')}


def _lost(status: dict[str, str], scenario: Scenario) -> dict[str, int]:
    """Return the frames that were dropped or lost, by reason, of all cameras."""
    total: dict[str, int] = {}
    for camera in scenario.sources():
        for name, count in counts(status, camera.name).items():
            if name.startswith('dropped_') or name == 'lost_in_transport':
                total[name] = total.get(name, 0) + count
    return total
