"""How long answers take: one idle camera, and six at 30 Hz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.camera import Camera, several
from bench.figures import (
    Account, balance_checks, Check, latencies_ms, Outcome, percentile, rounded, spread,
    sum_balances)
from bench.observer import counts, stage_ms, stages, unaccounted, unaccounted_regions
from bench.rig import Phase, Rig
import numpy as np

ADDED_LIMIT_MS = 2.0
SIX_ALLOWANCE_MS = 10.0
_BACKEND_MS = 5.0
_WARM_S = 1.0


def run_idle(seconds: float, rate_hz: float = 30.0) -> Outcome:
    """Measure what the node adds to inference for one VGA camera."""
    with Rig([Camera('front', rate_hz=rate_hz)], {
            'backend': f'simulated:{_BACKEND_MS}', 'batch_size': 1}) as rig:
        rig.measure(_WARM_S)
        phase = rig.measure(seconds)
        done = rig.account(phase)
    outcome = Outcome(
        'added_latency',
        f'one VGA camera at {rate_hz:g} Hz, batch 1, {_BACKEND_MS:g} ms backend')
    outcome.checks = [
        # Frame by frame: a backend that oversleeps is no latency of the node's.
        Check('added latency, p99 of receive to publish less inference of the same frame',
              stage_ms(phase.status, 'added', 99), ADDED_LIMIT_MS, 'ms'),
        *account_checks(rig, phase, done)]
    outcome.figures = common_figures(phase, seconds)
    return outcome


def run_six(seconds: float, max_wait_ms: float = 5.0, rate_hz: float = 30.0) -> Outcome:
    """Measure six VGA cameras at 30 Hz with a backend of 5 ms a batch."""
    cameras = several(6, rate_hz=rate_hz)
    with Rig(cameras, {
            'backend': f'simulated:{_BACKEND_MS}', 'batch_size': 6,
            'max_wait_ms': max_wait_ms, 'image_reliability': 'reliable'}) as rig:
        rig.measure(_WARM_S)
        phase = rig.measure(seconds)
        done = rig.account(phase)
    limit_ms = max_wait_ms + 2 * _BACKEND_MS + SIX_ALLOWANCE_MS
    outcome = Outcome(
        'six_cameras', f'six VGA cameras at {rate_hz:g} Hz, {_BACKEND_MS:g} ms backend, '
        f'max_wait_ms {max_wait_ms:g}')
    outcome.checks = [
        *account_checks(rig, phase, done),
        Check('p99 of receive to publish', stage_ms(phase.status, 'total', 99), limit_ms, 'ms'),
        Check('p99 of source to answer, across three processes',
              rounded(percentile(latencies_ms(phase.heard), 99)), limit_ms, 'ms')]
    outcome.figures = {
        **common_figures(phase, seconds),
        'answered_hz': rounded(len(phase.heard) / phase.seconds, 1),
        'mean_batch_size': phase.status.get('mean_batch_size')}
    return outcome


def account_checks(rig: Rig, phase: Phase, done: Account) -> list[Check]:
    """Return the checks that no frame is lost silently and each answer is its own frame's."""
    names = [camera.name for camera in rig.cameras if camera.receiver == 'ours']
    lost = sum(abs(unaccounted(counts(phase.status, name))) for name in names)
    return [
        Check('frames that the node received and cannot account for', lost, 0),
        *balance_checks(phase.balances),
        Check('answers that are foreign, repeated or mistaken',
              done.foreign + done.repeated + done.mistaken, 0)]


def region_checks(phase: Phase, cameras: Sequence[str], regions: int) -> list[Check]:
    """
    Return the checks that no region is lost and each has its own answer.

    :param cameras: names of ours.
    :param regions: of each frame.
    """
    answers = phase.regions
    lost = sum(abs(unaccounted_regions(phase.status, name)) for name in cameras)
    return [
        Check('regions that the node received and cannot account for', lost, 0),
        Check('regions of answered frames without an answer, or beyond those sent',
              int(np.abs(regions - answers['answered']).sum()
                  + np.abs(regions - answers['regions']).sum()), 0),
        Check("regions with another region's answer", int(answers['mistaken'].sum()), 0)]


def dropped(status: Mapping[str, str]) -> dict[str, int]:
    """Return the frames that the node dropped, by camera and reason, where there are any."""
    return {key: int(value) for key, value in status.items()
            if '/dropped_' in key and value != '0'}


def common_figures(phase: Phase, seconds: float) -> dict[str, object]:
    """Return what every scenario tells: counts, latencies, stages, load."""
    latency = latencies_ms(phase.heard)
    return {
        'seconds': seconds,
        'sent': len(phase.sent), 'answered': len(phase.heard),
        # Of the whole time, warming up included, as the node counts.
        'balance': sum_balances(phase.balances).to_json(),
        'source_to_answer_ms': spread(latency),
        'source_to_answer_curve_ms': [
            rounded(float(value), 2) for value in np.percentile(latency, range(0, 101, 2))]
        if len(latency) else [],
        'stages_ms': {
            stage: [stage_ms(phase.status, stage, share) for share in (50, 95, 99)]
            for stage in stages(phase.status)},
        'node_cpu_ms_per_answer': rounded(
            phase.usage['node'].cpu_ms / max(1, len(phase.heard))),
        'node_threads_ms_per_answer': {
            name: rounded(spent / max(1, len(phase.heard)))
            for name, spent in sorted(
                phase.usage['node'].threads_ms.items(), key=lambda item: -item[1])
            if spent / max(1, len(phase.heard)) >= 0.005},
        'load': phase.load()}
