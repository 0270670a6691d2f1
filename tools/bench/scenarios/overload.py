"""Twice the load that the backend can bear."""

from __future__ import annotations

from bench.camera import several
from bench.figures import Check, latencies_ms, Outcome, percentile, rounded, unevenness
from bench.rig import Rig
from bench.scenarios.latency import account_checks, common_figures, dropped
import numpy as np

_CAMERAS = 6
_BATCH = 3
_BACKEND_MS = 40.0
#: Long enough for two batches ahead; and too short for that.
MAX_AGE_MS, TIGHT_MAX_AGE_MS = 200.0, 150.0
_WARM_S = 3.0


def run(seconds: float, max_age_ms: float = MAX_AGE_MS) -> Outcome:
    """Send six VGA cameras' frames at twice the rate that the backend can answer."""
    capacity_hz = _BATCH * 1e3 / _BACKEND_MS
    rate_hz = 2 * capacity_hz / _CAMERAS
    with Rig(several(_CAMERAS, rate_hz=rate_hz), {
            'backend': f'simulated:{_BACKEND_MS}', 'batch_size': _BATCH,
            'max_age_ms': max_age_ms}) as rig:
        warm = rig.measure(_WARM_S)
        phase = rig.measure(seconds)
        done = rig.account(phase)
    per_camera = [int(np.count_nonzero(phase.heard['camera'] == index))
                  for index in range(_CAMERAS)]
    times_s = np.sort(phase.heard['received_ns']) / 1e9
    throughput_hz = (len(times_s) - 1) / (times_s[-1] - times_s[0]) if len(times_s) > 1 else 0.0
    outcome = Outcome(
        'overload' if max_age_ms == MAX_AGE_MS else 'overload_tight',
        f'six VGA cameras at {rate_hz:g} Hz, twice what the backend bears '
        f'({_BATCH} frames in {_BACKEND_MS:g} ms), max_age_ms {max_age_ms:g}')
    outcome.checks = [
        Check('throughput, share of capacity', rounded(throughput_hz / capacity_hz), 0.95,
              at_least=True),
        Check('oldest answer, source to listener',
              rounded(percentile(latencies_ms(phase.heard), 100)), max_age_ms, 'ms'),
        Check('cameras apart, most less least', rounded(unevenness(per_camera)), 5.0, '%'),
        Check('memory gained', rounded(
            phase.usage['node'].rss_mib - warm.usage['node'].rss_mib, 2), 5.0, 'MiB'),
        *account_checks(rig, phase, done)]
    outcome.figures = {
        **common_figures(phase, seconds), 'capacity_hz': capacity_hz,
        'throughput_hz': rounded(throughput_hz, 1), 'answers_per_camera': per_camera,
        'dropped': dropped(phase.status)}
    return outcome
