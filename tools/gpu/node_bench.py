"""
The whole node on a GPU: synthetic cameras, node and listener in processes of their own.

Usage: PYTHONPATH=tools:. python -m tools.gpu.node_bench --fp16 MODEL --int8 MODEL --out FILE

Each scenario's frames are counted from the camera to the listener. Results are written after each
one, and a second call goes on where the first ended. docs/how-to/gpu.md says how to repeat it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Optional

from bench import BenchError
from bench.camera import Camera, several
from bench.environment import describe_machine, isolate
from bench.figures import latencies_ms, spread
from bench.observer import counts
from bench.rig import NODE, node_arguments, Phase, Rig
from bench.scenarios.latency import account_checks, common_figures, region_checks
from bench.scenarios.regions import regions_per_second
from markdown_page import read_json, write_json
from resnet_trt_node.errors import ResnetTrtError, UsageError

SIZES = {'VGA': (640, 480), '1080p': (1920, 1080)}
#: The largest batch, of as many cameras.
BATCH = 6
#: Regions of one frame, and the largest batch with them: a detector's few, and many cameras' many.
FEW_REGIONS, FEW_BATCH = 6, 8
MANY_REGIONS, MANY_BATCH = 20, 64
#: The most regions of a frame that are tried.
MOST_REGIONS = 512
_WARM_S = 3.0
_BUILD_LIMIT_S = 400.0
#: Factor between the rates that `run_limit` tries, and seconds at each.
_STEP, _STEP_S = 1.5, 2.0
_HIGHEST_HZ = 1000.0
#: Seconds that a scenario may take without building its engine, beyond those of its measurement.
_OVERHEAD_S = 60.0
#: Scenarios with regions are measured for this long at most: all of them in three minutes.
_REGIONS_S = 10.0


@dataclass(frozen=True)
class Scenario:
    """
    What is measured together.

    :param kind: 'rate' for a fixed rate, 'plain' for the same beside the plain node with the same
        engine, in turns, 'limit' for the highest rate without a drop; 'regions' and
        'regions_plain' likewise, 'regions_limit' for the most regions of a frame without a drop.
    :param precision: of the model, 'fp16' or 'int8'.
    :param cameras: how many.
    :param size: one of `SIZES`.
    :param jpeg: whether they send jpeg.
    :param rate_hz: of each camera, or where a search begins.
    :param regions: of each frame, or where a search begins; 0 where whole frames are classified.
    """

    kind: str
    precision: str
    cameras: int
    size: str
    jpeg: bool = False
    rate_hz: float = 30.0
    regions: int = 0

    @property
    def name(self) -> str:
        """Return one word."""
        form = 'jpeg' if self.jpeg else 'raw'
        return f'{self.kind}_{self.precision}_{self.cameras}_{self.size}_{form}' + (
            f'_{self.regions}' if self.regions else '')

    @property
    def batch(self) -> int:
        """Return the node's max_batch_size."""
        if not self.regions:
            return BATCH
        return FEW_BATCH if self.regions <= FEW_BATCH else MANY_BATCH

    @property
    def engine_batch(self) -> int:
        """Return the largest batch of the engine."""
        # A camera has one frame in a batch.
        return self.batch if self.regions else self.cameras

    def sources(self) -> list[Camera]:
        """Return the cameras."""
        width, height = SIZES[self.size]
        most = MOST_REGIONS if self.kind == 'regions_limit' else self.regions
        return [replace(camera, jpeg=self.jpeg) for camera in several(
            self.cameras, rate_hz=self.rate_hz, width=width, height=height, regions=most)]


def scenarios() -> Iterator[Scenario]:
    """Give all that is measured, in their order."""
    for precision in ('fp16', 'int8'):
        for jpeg in (False, True):
            for size in SIZES:
                for cameras in (1, BATCH):
                    yield Scenario('rate', precision, cameras, size, jpeg)
    for size in SIZES:
        yield Scenario('plain', 'fp16', 1, size)
    for size in SIZES:
        for cameras in (1, BATCH):
            yield Scenario('limit', 'fp16', cameras, size, rate_hz=60.0)
    yield Scenario('regions', 'fp16', 1, 'VGA', regions=FEW_REGIONS)
    yield Scenario('regions_plain', 'fp16', 1, 'VGA', regions=FEW_REGIONS)
    for size in SIZES:
        yield Scenario('regions', 'fp16', BATCH, size, regions=MANY_REGIONS)
    yield Scenario('regions_limit', 'fp16', BATCH, 'VGA', regions=MANY_REGIONS)


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
        run = {'rate': self._rate, 'plain': self._plain, 'limit': self._limit,
               'regions': self._rate, 'regions_plain': self._plain,
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
            'model_path': self._models[scenario.precision], 'max_batch_size': scenario.batch,
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

    def _plain(self, scenario: Scenario, plan: Optional[Path]) -> dict[str, Any]:
        ours, = scenario.sources()
        cameras = [ours, replace(ours, receiver='plain')]
        others: dict[str, tuple[str, ...]] = {'plain': (
            'tools.gpu.plain_node', ours.name, str(plan), *(['regions'] * bool(ours.regions)))}
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


def main() -> int:
    """
    Measure what is missing in the JSON.

    :returns: 0, 1 if a scenario failed, 2 for what the user can mend.
    """
    parser = argparse.ArgumentParser(
        prog='node_bench', description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--fp16', type=Path, required=True, help='ResNet-50 in fp16, ONNX')
    parser.add_argument('--int8', type=Path, required=True, help='the same, quantized')
    parser.add_argument('--out', type=Path, required=True, help='JSON; what it holds is kept')
    parser.add_argument('--backend', default='tensorrt', help='of the node, for trying this out')
    parser.add_argument('--engine-dir', type=Path, default=Path('build/gpu/engines'))
    parser.add_argument('--seconds', type=float, default=20.0, help='of each scenario')
    parser.add_argument('--budget-s', type=float, default=1e9, help='stop before so many seconds')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='scenarios; a prefix is enough')
    parser.add_argument('-p', dest='parameters', action='append', default=[],
                        metavar='NAME:=VALUE',
                        help='parameter of the node, such as optimization_level:=2')
    arguments = parser.parse_args()
    try:
        return _measure(arguments)
    except ResnetTrtError as error:
        print(f'node_bench: {error}', file=sys.stderr)
        return error.exit_code


def _measure(arguments: argparse.Namespace) -> int:
    models = {'fp16': arguments.fp16, 'int8': arguments.int8}
    for path in models.values():
        if not path.is_file():
            raise UsageError(f'no model {path}: docs/how-to/gpu.md has the commands that make it')
    given = {'backend': arguments.backend,
             **dict(one.split(':=', 1) for one in arguments.parameters)}
    engines = arguments.engine_dir.resolve() if arguments.backend == 'tensorrt' else None
    results = read_json(arguments.out) if arguments.out.exists() else {'scenarios': {}}
    bench = Bench(
        {name: path.resolve() for name, path in models.items()}, engines,
        given, arguments.seconds)
    chosen = [one for one in scenarios() if arguments.only is None or any(
        one.name.startswith(name) for name in arguments.only)]
    begun, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix='resnet_trt_bench_') as folder, isolate(Path(folder)):
        results['machine'] = {**describe_machine(), 'gpu': _gpu()}
        for number, scenario in enumerate(chosen, 1):
            if scenario.name in results['scenarios']:
                continue
            if time.monotonic() - begun > arguments.budget_s:
                print('the time is up: call again to go on')
                break
            print(f'[{number}/{len(chosen)}] {scenario.name}', flush=True)
            try:
                results['scenarios'][scenario.name] = found = bench.run(scenario)
            except BenchError as error:
                failed += 1
                print(f'      failed: {error}', flush=True)
                continue
            write_json(arguments.out, results)
            print(f'      {_summary(found)}', flush=True)
    return 1 if failed else 0


def _summary(found: dict[str, Any]) -> str:
    if 'steps' in found:
        tried = 'regions' if found['scenario']['regions'] else 'rate_hz'
        return '; '.join(
            f'{tried} {step[tried]}: {step["answered"]} of {step["sent"]}, {step["lost"]}, '
            f'{step["cameras_skipped"]} skipped' for step in found['steps'])
    if 'turns' in found:
        return str(found['turns'])
    figures = found['figures']
    missed = [check['name'] for check in found['checks'] if not check['met']]
    return (f'{figures["answered"]} of {figures["sent"]}, receive to publish '
            f'{figures["stages_ms"].get("total")}, source to answer '
            f'{figures["source_to_answer_ms"]}, missed: {missed}, {found["lost"]}')


def _gpu() -> str:
    """Return the GPU's name and driver, '' where the program that tells is missing."""
    try:
        return subprocess.run(
            ['nvidia-smi', '--query-gpu=name,driver_version', '--format=csv,noheader'],
            capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ''


if __name__ == '__main__':
    sys.exit(main())
