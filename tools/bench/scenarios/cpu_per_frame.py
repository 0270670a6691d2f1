"""CPU time of a 1080p frame, beside the plain node's, in turns within one run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median
import time
from typing import Any, Optional

from bench.camera import Camera
from bench.figures import Account, balance_checks, Check, Outcome, rounded, sum_balances
from bench.rig import Phase, Rig, Usage
from bench.stages import measure_stages

RATIO_LIMIT = 0.25
_WARM_S = 2.0
_IDLE_S = 2.0
#: Receiver to the name of its process.
_PROCESSES = {'ours': 'node', 'plain': 'plain', 'bare': 'bare'}


def run(seconds: float, rounds: int = 3, rate_hz: float = 20.0, models: Optional[
        tuple[Path, Path]] = None) -> Outcome:
    """
    Measure one 1080p camera at 20 Hz: this node, the plain one, and one that only receives.

    Each round starts the nodes anew: where a process's heap happens to end decides whether its
    frames cost page faults, and one start would be one throw of the dice.

    :param seconds: for each node in each round.
    :param rounds: how often the nodes take turns.
    :param models: the same classifier deployable and as float NCHW, run by ONNX Runtime with one
        thread; None takes a backend that sleeps 5 ms in both.
    """
    turns = [_round(number, seconds, rate_hz, models) for number in range(rounds)]
    name = 'cpu_per_frame' if models is None else 'cpu_per_frame_onnxruntime'
    work = ('a backend that sleeps 5 ms' if models is None
            else 'EfficientNet-Lite0 in ONNX Runtime, one thread')
    outcome = Outcome(name, f'CPU time of a 1080p bgr8 frame at {rate_hz:g} Hz, {work}')
    ours, plain, bare = (_summary([turn[receiver] for turn in turns]) for receiver in _PROCESSES)
    ratio = ours['cpu_ms'] / plain['cpu_ms']
    if models is None:
        ours['stages_ms'] = _our_stages(ours, Camera('front', width=1920, height=1080))
        outcome.checks.append(Check(
            'CPU per frame, as a share of that of the plain node', rounded(ratio), RATIO_LIMIT))
    balances = [one for turn in turns for one in turn['ours'].balances]
    outcome.checks += balance_checks(balances)
    outcome.figures = {'seconds_per_turn': seconds, 'rounds': rounds, 'ratio': rounded(ratio),
                       'ours': ours, 'plain': plain, 'bare': bare,
                       'balance': sum_balances(balances).to_json()}
    return outcome


class _Turn:
    """What one node did in one round."""

    def __init__(
            self, receiver: str, phase: Phase, idle: Usage, account: Account,
            stages: dict[str, float]) -> None:
        self.usage = phase.usage[_PROCESSES[receiver]]
        # Per frame that was answered: one that the transport lost costs little and helps nobody.
        self.frames = max(1, len(phase.heard))
        self.cpu_ms = self.usage.cpu_ms / self.frames
        self.idle_ms_per_s = idle.cpu_ms / _IDLE_S
        self.load = phase.load()
        self.account = account
        self.balances = phase.balances
        self.stages = stages


def _round(
        number: int, seconds: float, rate_hz: float,
        models: Optional[tuple[Path, Path]]) -> dict[str, _Turn]:
    cameras = [Camera('front', receiver, 1920, 1080, rate_hz, red=90) for receiver in _PROCESSES]
    parameters: dict[str, object] = {'backend': 'simulated:5'}
    if models is not None:
        parameters = {
            'backend': 'onnxruntime', 'model_path': str(models[0]), 'threads': 1}
    turns = {}
    others = {
        'plain': ('bench.plain_node', 'front', str(models[1]) if models else '', '5.0'),
        'bare': ('bench.bare_node', 'front')}
    with Rig(cameras, parameters, others) as rig:
        for receiver in _PROCESSES:
            rig.measure(_WARM_S, receiver)
        before = {name: child.sample() for name, child in rig.children.items()}
        time.sleep(_IDLE_S)
        idle = {name: Usage.between(before[name], child.sample())
                for name, child in rig.children.items()}
        # Whoever comes first now comes last next time.
        for receiver in sorted(_PROCESSES, reverse=bool(number % 2)):
            stages_before = _stages(rig)
            phase = rig.measure(seconds, receiver)
            turns[receiver] = _Turn(
                receiver, phase, idle[_PROCESSES[receiver]],
                # The bare node names no class by which an answer could be told.
                rig.account(phase, models is None and receiver != 'bare'),
                {name: value - stages_before[name] for name, value in _stages(rig).items()})
    return turns


def _stages(rig: Rig) -> dict[str, float]:
    """Return the plain node's milliseconds by stage so far."""
    return {name: spent / 1e6 for name, spent in rig.children['plain'].ask()['spent_ns'].items()}


def _summary(turns: list[_Turn]) -> dict[str, Any]:
    frames = sum(turn.frames for turn in turns)
    threads: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    for turn in turns:
        threads.update(turn.usage.threads_ms)
        stages.update(turn.stages)
    cpu_ms = median(turn.cpu_ms for turn in turns)
    summary = {
        'cpu_ms': rounded(cpu_ms),
        'cpu_ms_rounds': [rounded(turn.cpu_ms) for turn in turns],
        'page_faults': rounded(sum(turn.usage.minor_faults for turn in turns) / frames, 1),
        'page_faults_rounds': [
            rounded(turn.usage.minor_faults / turn.frames, 1) for turn in turns],
        'idle_ms_per_second': rounded(median(turn.idle_ms_per_s for turn in turns), 1),
        'rss_mib': rounded(turns[-1].usage.rss_mib, 1),
        'threads_ms': {name: rounded(spent / frames) for name, spent in threads.most_common()
                       if spent / frames >= 0.005},
        'answered': f'{sum(turn.account.answered for turn in turns)} of '
                    f'{sum(turn.account.sent for turn in turns)}',
        'load': turns[-1].load}
    if any(stages.values()):
        summary['stages_ms'] = _with_rest(
            cpu_ms, {name: spent / frames for name, spent in stages.items()})
    return summary


def _our_stages(ours: dict[str, Any], camera: Camera) -> dict[str, Optional[float]]:
    """
    Return where our CPU time goes.

    Converting and resizing are measured here, alone, on the same picture. The pipeline's threads
    carry names. The rest is receiving, in the executor's thread and the middleware's, and what
    waking the preprocess worker takes.
    """
    threads = ours['threads_ms']
    return _with_rest(ours['cpu_ms'], {
        **measure_stages(camera),
        'infer': threads.get('inference', 0.0), 'publish': threads.get('publisher', 0.0)})


def _with_rest(total: float, stages: dict[str, float]) -> dict[str, Optional[float]]:
    """Put what is in no stage first: the middleware, deserialising, the executor."""
    return {'receive': rounded(total - sum(stages.values())),
            **{stage: rounded(spent) for stage, spent in stages.items()}}
