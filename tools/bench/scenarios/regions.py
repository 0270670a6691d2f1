"""Regions of six cameras, beside a plain node that infers them one by one, within one run."""

from __future__ import annotations

from typing import Any, Optional

from bench.camera import several
from bench.figures import Check, latencies_ms, Outcome, rounded, spread
from bench.observer import stage_ms
from bench.rig import Phase, Rig
from bench.scenarios.latency import account_checks, common_figures, dropped, region_checks
import numpy as np
from numpy.typing import NDArray

THROUGHPUT_RATIO = 5.0
ALLOWANCE_MS = 15.0
_CAMERAS, _REGIONS, _RATE_HZ = 6, 10, 20.0
#: Of a batch, and of each row in it.
_BATCH_MS, _ROW_MS = 5.0, 0.3
_BATCH = 32
_MAX_WAIT_MS = 5.0
_WARM_S = 2.0


def run(seconds: float) -> Outcome:
    """
    Offer six VGA cameras' regions to this node and to the plain one, one after the other.

    :param seconds: for each.
    """
    cameras = [camera for receiver in ('ours', 'plain') for camera in several(
        _CAMERAS, receiver, _RATE_HZ, regions=_REGIONS)]
    names = ','.join(camera.name for camera in cameras if camera.receiver == 'plain')
    others = {'plain': ('bench.plain_regions_node', names, '', str(_BATCH_MS + _ROW_MS))}
    with Rig(cameras, {
            'input': 'regions', 'backend': f'simulated:{_BATCH_MS}+{_ROW_MS}',
            'batch_size': _BATCH, 'max_wait_ms': _MAX_WAIT_MS,
            'image_reliability': 'reliable'}, others) as rig:
        phases = {}
        for receiver in ('ours', 'plain'):
            rig.measure(_WARM_S, receiver)
            phases[receiver] = rig.measure(seconds, receiver)
        phase = phases['ours']
        checks = [*account_checks(rig, phase, rig.account(phase, simulated=False)),
                  *region_checks(phase, names.split(','), _REGIONS)]
    rates = {receiver: regions_per_second(one.regions) for receiver, one in phases.items()}
    infer_ms = _BATCH_MS + _BATCH * _ROW_MS
    ours_hz, plain_hz = rates['ours'], rates['plain']
    outcome = Outcome(
        'regions', f'{_REGIONS} regions of each of six VGA cameras at {_RATE_HZ:g} Hz, a backend '
        f'of {_BATCH_MS:g} ms and {_ROW_MS:g} ms a region, max_wait_ms {_MAX_WAIT_MS:g}')
    outcome.checks = [
        Check('regions answered a second, times those of the plain node',
              rounded(ours_hz / plain_hz, 2) if ours_hz and plain_hz else None, THROUGHPUT_RATIO,
              at_least=True),
        Check('p99 of receive to publish', stage_ms(phase.status, 'total', 99),
              _MAX_WAIT_MS + 2 * infer_ms + ALLOWANCE_MS, 'ms'),
        *checks]
    outcome.figures = {
        **common_figures(phase, seconds), 'max_batch_size': _BATCH,
        'mean_batch_size': phase.status.get('mean_batch_size'), 'dropped': dropped(phase.status),
        'regions': {receiver: _summary(receiver, one, rates[receiver])
                    for receiver, one in phases.items()}}
    return outcome


def regions_per_second(answers: NDArray[np.void]) -> Optional[float]:
    """
    Return how many regions were answered a second, from the first answer to the last.

    :param answers: records of kind `REGIONS`.
    :returns: None for fewer than two, or for none within that time.
    """
    if len(answers) < 2:
        return None
    ordered = np.sort(answers, order='received_ns')
    seconds = (ordered['received_ns'][-1] - ordered['received_ns'][0]) / 1e9
    # Those of the first came before that time began.
    return float(ordered['answered'][1:].sum() / seconds) or None


def _summary(receiver: str, phase: Phase, rate: Optional[float]) -> dict[str, Any]:
    return {
        'frames_sent': len(phase.sent), 'frames_answered': len(phase.heard),
        'regions_sent': _REGIONS * len(phase.sent),
        'regions_answered': int(phase.regions['answered'].sum()),
        'regions_hz': rounded(rate, 1),
        'source_to_answer_ms': spread(latencies_ms(phase.heard)),
        'cpu_ms_per_region': rounded(
            phase.usage['node' if receiver == 'ours' else receiver].cpu_ms
            / max(1, int(phase.regions['answered'].sum()))),
        'load': phase.load()}
