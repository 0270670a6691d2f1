"""The node's state in words for /diagnostics."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Optional

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from resnet_trt_node.node.accounting import Accounting, CameraCounts
from resnet_trt_node.node.pipeline import Pipeline

#: Drops that mean something is wrong; superseded and stale frames are how overload is handled.
_FAULTY_DROPS = ('malformed', 'failed')


@dataclass
class DiagnosticsReporter:
    """
    Turns the pipeline's counters into a DiagnosticStatus; remembers the last ones for rates.

    :param name: the status' name, the node's own with what it does.
    :param hardware_id: what computes, in words.
    """

    name: str
    hardware_id: str = ''
    _last_total: CameraCounts = field(default_factory=CameraCounts)
    _last_sec: float = field(default_factory=monotonic)

    def report(
            self, stamp: Any, pipeline: Optional[Pipeline], notes: list[str],
            listeners: dict[str, int]) -> DiagnosticArray:
        """
        Return what there is to say now.

        :param stamp: builtin_interfaces/Time of the message.
        :param pipeline: the open pipeline, None while the node is unconfigured.
        :param notes: warnings about topics.
        :param listeners: subscriptions to each camera's results.
        """
        status = DiagnosticStatus(name=self.name, hardware_id=self.hardware_id)
        if pipeline is None:
            status.level, status.message = DiagnosticStatus.WARN, 'not configured'
        else:
            self._fill(status, pipeline, notes)
            status.values += [
                KeyValue(key=f'{camera}/listeners' if camera else 'listeners', value=str(number))
                for camera, number in listeners.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = stamp
        return array

    def _fill(self, status: DiagnosticStatus, pipeline: Pipeline, notes: list[str]) -> None:
        total = pipeline.accounting.total()
        faulty = sum(
            total.dropped[reason] - self._last_total.dropped[reason] for reason in _FAULTY_DROPS)
        failed = total.dropped['failed'] - self._last_total.dropped['failed']
        if pipeline.fault is not None:
            status.level, status.message = DiagnosticStatus.ERROR, f'stopped: {pipeline.fault!r}'
        elif failed:
            status.level = DiagnosticStatus.ERROR
            status.message = f'the backend failed on {failed} frames'
        elif faulty or notes:
            status.level = DiagnosticStatus.WARN
            status.message = '; '.join(
                ([f'{faulty} frames could not be decoded'] if faulty else []) + notes)
        else:
            status.level = DiagnosticStatus.OK
            status.message = 'classifying' if pipeline.accepting else 'inactive'
        info, spec = pipeline.backend.info, pipeline.backend.spec
        values = {
            'state': 'active' if pipeline.accepting else 'inactive',
            'backend': f'{info.name} {info.version}',
            'device': info.device,
            'model': spec.architecture,
            'precision': spec.precision,
            'max_batch_size': str(pipeline.backend.max_batch_size),
            **self._rates(total),
            **_counters(pipeline.accounting),
        }
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]

    def _rates(self, total: CameraCounts) -> dict[str, str]:
        now_sec = monotonic()
        elapsed_sec = max(now_sec - self._last_sec, 1e-9)
        rates = {
            'received_hz': f'{(total.received - self._last_total.received) / elapsed_sec:.1f}',
            'answered_hz': f'{(total.answered - self._last_total.answered) / elapsed_sec:.1f}',
        }
        self._last_total, self._last_sec = total, now_sec
        return rates


def _counters(accounting: Accounting) -> dict[str, str]:
    values = {'mean_batch_size': f'{accounting.mean_batch_size():.2f}'}
    for stage, (p50, p95, p99) in accounting.percentiles_ms().items():
        values[f'{stage}_ms_p50_p95_p99'] = f'{p50:.2f} {p95:.2f} {p99:.2f}'
    counts = accounting.counts()
    for camera, numbers in counts.items():
        prefix = f'{camera}/' if camera else ''
        values[f'{prefix}received'] = str(numbers.received)
        values[f'{prefix}answered'] = str(numbers.answered)
        values[f'{prefix}in_progress'] = str(numbers.in_progress)
        for reason, dropped in numbers.dropped.items():
            values[f'{prefix}dropped_{reason}'] = str(dropped)
    return values
