"""CPU time of a 1080p frame, beside the plain node's, in turns within one run."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any, Optional

from bench.camera import Camera
from bench.figures import Check, Outcome, rounded
from bench.rig import Phase, Rig
from bench.stages import measure_stages

RATIO_LIMIT = 0.25
_WARM_S = 2.0


def run(seconds: float, rounds: int = 3, rate_hz: float = 20.0, models: Optional[
        tuple[Path, Path]] = None) -> Outcome:
    """
    Measure one 1080p camera at 20 Hz.

    :param seconds: for each node in each round.
    :param rounds: how often the nodes take turns.
    :param models: the same classifier deployable and as float NCHW, run by ONNX Runtime with one
        thread; None takes a backend that sleeps 5 ms in both.
    """
    cameras = [Camera('front', receiver, 1920, 1080, rate_hz, red=90)
               for receiver in ('ours', 'plain')]
    parameters: dict[str, object] = {'backend': 'simulated', 'simulated_ms': 5.0}
    if models is not None:
        parameters = {
            'backend': 'onnxruntime', 'model_path': str(models[0]), 'cpu_threads': 1}
    with Rig(cameras, parameters, ('front', str(models[1]) if models else '', '5.0')) as rig:
        for receiver in ('ours', 'plain'):
            rig.measure(_WARM_S, receiver)
        phases: dict[str, list[Phase]] = {'ours': [], 'plain': []}
        stages_before = rig.children['plain'].ask()
        for _ in range(rounds):
            for receiver, list_ in phases.items():
                list_.append(rig.measure(seconds, receiver))
        stages = rig.children['plain'].ask()
        accounts = {receiver: [rig.account(phase, models is None) for phase in list_]
                    for receiver, list_ in phases.items()}
    outcome = Outcome(
        'cpu_per_frame' if models is None else 'cpu_per_frame_onnxruntime',
        f'CPU time of a 1080p bgr8 frame, one camera at {rate_hz:g} Hz, '
        + ('a backend that sleeps 5 ms' if models is None
           else 'EfficientNet-Lite0 in ONNX Runtime, one thread'))
    per_frame = {
        name: [_cpu_ms(phase, 'node' if name == 'ours' else 'plain') for phase in list_]
        for name, list_ in phases.items()}
    ratio = median(per_frame['ours']) / median(per_frame['plain'])
    if models is None:
        outcome.checks.append(Check(
            'CPU per frame, as a share of that of the plain node', rounded(ratio), RATIO_LIMIT))
    outcome.figures = {
        'seconds_per_turn': seconds, 'rounds': rounds, 'ratio': rounded(ratio),
        **{name: _summary(name, list_, per_frame[name]) for name, list_ in phases.items()},
        'answered': {name: f'{sum(one.answered for one in list_)} of '
                           f'{sum(one.sent for one in list_)}'
                     for name, list_ in accounts.items()},
    }
    plain, ours = outcome.figures['plain'], outcome.figures['ours']
    frames = stages['frames'] - stages_before['frames']
    plain['stages_ms'] = _with_rest(plain['cpu_ms'], {
        stage: (stages['spent_ns'][stage] - stages_before['spent_ns'][stage]) / frames / 1e6
        for stage in stages['spent_ns']})
    ours['stages_ms'] = _our_stages(ours, cameras[0])
    return outcome


def _cpu_ms(phase: Phase, process: str) -> float:
    # Per frame that was answered: one that the transport lost costs little and helps nobody.
    return phase.usage[process].cpu_ms / max(1, len(phase.heard))


def _summary(name: str, phases: list[Phase], per_frame: list[float]) -> dict[str, Any]:
    process = 'node' if name == 'ours' else 'plain'
    frames = max(1, sum(len(phase.heard) for phase in phases))
    threads: dict[str, float] = {}
    for phase in phases:
        for thread, spent_ms in phase.usage[process].threads_ms.items():
            threads[thread] = threads.get(thread, 0.0) + spent_ms / frames
    return {
        'cpu_ms': rounded(median(per_frame)),
        'cpu_ms_rounds': [rounded(value) for value in per_frame],
        'page_faults': rounded(
            sum(phase.usage[process].minor_faults for phase in phases) / frames, 1),
        'rss_mib': rounded(phases[-1].usage[process].rss_mib, 1),
        'threads_ms': {thread: rounded(spent) for thread, spent in sorted(
            threads.items(), key=lambda item: -item[1]) if spent >= 0.005},
        'load': phases[-1].load()}


def _our_stages(ours: dict[str, Any], camera: Camera) -> dict[str, Optional[float]]:
    """
    Return where our CPU time goes.

    The pipeline's threads carry names; what is on none of them, in the executor's thread and the
    middleware's, is receiving and its share of the rest. Converting and resizing, both the
    fitter's, are told apart by measuring them here on the same picture.
    """
    alone = measure_stages(camera)
    threads = ours['threads_ms']
    named = {name: threads[name] for name in ('fitter', 'inferrer', 'deliverer')
             if name in threads}
    if 'fitter' not in named:
        return _with_rest(ours['cpu_ms'], alone)
    share = named['fitter'] / sum(alone.values())
    return _with_rest(ours['cpu_ms'], {
        **{stage: spent * share for stage, spent in alone.items()},
        'infer': named.get('inferrer', 0.0), 'publish': named.get('deliverer', 0.0)})


def _with_rest(total: float, stages: dict[str, float]) -> dict[str, Optional[float]]:
    """Put what is in no stage first: the middleware, deserialising, the executor."""
    return {'receive': rounded(total - sum(stages.values())),
            **{stage: rounded(spent) for stage, spent in stages.items()}}
