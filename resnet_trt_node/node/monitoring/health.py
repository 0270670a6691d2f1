"""Diagnostics levels: from the counters of the last period to OK, WARN or ERROR with reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Optional

from resnet_trt_node.node.pipeline.counters import CameraCounts
from resnet_trt_node.node.pipeline.inference.backend_state import BackendPhase, BackendState
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters


#: What to do where DDS loses frames.
LOST_REMEDY = (
    'its shared memory or receive buffers are too small for them, see '
    'docs/how-to/large-images.md')


class Level(IntEnum):
    """The levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass
class Health:
    """The worst level found so far, with all reasons."""

    level: Level = Level.OK
    reasons: list[str] = field(default_factory=list)

    def add(self, level: Level, reason: str) -> None:
        """Add a reason, and raise the level to its level."""
        self.level = max(self.level, level)
        self.reasons.append(reason)

    def message(self, well: str) -> str:
        """Return the reasons, or the given text if there are none."""
        return '; '.join(self.reasons) or well


def camera_health(
        period: CameraCounts, timeout: Optional[str], notes: list[str],
        parameters: NodeParameters) -> Health:
    """
    Return the level of one camera.

    :param period: its counters in the last period.
    :param timeout: its camera timeout in words, None if there is none.
    :param notes: problems of its image topic, in words.
    :param parameters: the thresholds.
    """
    health = Health()
    if timeout is not None:
        health.add(Level.ERROR, timeout)
    for note in notes:
        health.add(Level.WARN, note)
    if period.dropped['malformed']:
        health.add(Level.WARN, f'{period.dropped["malformed"]} frames could not be decoded')
    lost = period.events['lost_in_transport']
    if lost and lost / (lost + period.received) > parameters.warn_drop_ratio:
        health.add(
            Level.WARN, f'DDS lost {lost} of {lost + period.received} frames on the way: '
                        f'{LOST_REMEDY}')
    # Those that were refused are no fault of the camera: the node itself was stopping.
    dropped = sum(period.dropped.values()) - period.dropped['refused']
    ended = period.answered + dropped
    if ended:
        ratio = dropped / ended
        for level, threshold in (
                (Level.ERROR, parameters.error_drop_ratio),
                (Level.WARN, parameters.warn_drop_ratio)):
            if ratio > threshold:
                health.add(level, f'{dropped} of {ended} frames got no answer, '
                                  f'{ratio:.0%} is more than {threshold:.0%}')
                break
    return health


def node_health(
        failed_frames: int, retried_batches: int, state: BackendState,
        latency_p99_ms: Optional[float], parameters: NodeParameters) -> Health:
    """
    Return the level of the backend and of the latency.

    :param failed_frames: frames that the backend failed on in the last period.
    :param retried_batches: batches that were retried in the last period.
    :param state: of the backend.
    :param latency_p99_ms: from reception to publication, None before the first answer.
    :param parameters: the thresholds.
    """
    health = Health()
    if state.phase is BackendPhase.DISABLED:
        health.add(Level.ERROR, state.reason)
    elif state.phase is BackendPhase.REOPENING:
        health.add(Level.ERROR, f'opening the backend again: {state.reason}')
    if failed_frames:
        health.add(Level.ERROR, f'the backend failed on {failed_frames} frames')
    elif retried_batches:
        health.add(Level.WARN, f'batches that failed and were retried: {retried_batches}')
    if latency_p99_ms is not None:
        for level, threshold in (
                (Level.ERROR, parameters.error_latency_ms),
                (Level.WARN, parameters.warn_latency_ms)):
            if threshold and latency_p99_ms > threshold:
                health.add(level, f'p99 from reception to publication is {latency_p99_ms:.1f} ms, '
                                  f'more than {threshold:g} ms')
                break
    return health
