"""
The node's statistics, collected in one place for /diagnostics and `~/statistics`.

Counters are current; rates and levels are those of the last full period.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Mapping, Optional, Union

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.node.monitoring.health import camera_health, Level, node_health
from resnet_trt_node.node.pipeline.counters import CameraCounts, sum_counts
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.topics.arrivals import ArrivalRates
from resnet_trt_node.regions.region import OUTCOMES
from resnet_trt_node.text.printable import printable

#: Entries of `BackendInfo.details` that are reported.
_BACKEND_DETAILS = ('device_memory_mib', 'engine', 'cuda_graphs')
#: The value of a key.
Value = Union[int, float, str]


@dataclass
class TopicState:
    """
    The state of a camera's topics.

    :param image_topic: the full name of the topic that is subscribed to.
    :param publishers: publishers of that topic.
    :param listeners: subscriptions to its results.
    :param timeout: how long it has sent nothing, if longer than `camera_timeout_sec`.
    :param notes: problems of the image topic, in words.
    :param arrivals: how often images arrive, and how old they are then.
    :param codec: of the last packet of video, '' where none came.
    :param receive: how images are received, `message` or `serialised`.
    :param extra_buffers: images that were received into memory of their own, see
        `MessageBuffers`.
    """

    image_topic: str
    publishers: int
    listeners: int
    timeout: Optional[str] = None
    notes: list[str] = field(default_factory=list)
    arrivals: ArrivalRates = field(default_factory=ArrivalRates)
    codec: str = ''
    receive: str = 'message'
    extra_buffers: int = 0


@dataclass
class Report:
    """
    Levels, messages and numbers.

    :param level: of the node and its backend; the cameras have their own.
    :param message: the reasons of the level.
    :param values: the statistics by key.
    :param cameras: one report for each camera; these have no `cameras`.
    """

    level: Level
    message: str
    values: dict[str, Value]
    cameras: dict[str, Report] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON document."""
        document: dict[str, Any] = {
            'level': self.level.name, 'message': self.message, **self.values}
        if self.cameras:
            document['cameras'] = {name: one.as_json() for name, one in self.cameras.items()}
        return document


class Statistics:
    """Reads a pipeline's counters and keeps those of the last period for rates and levels."""

    def __init__(self) -> None:
        self._last_sec = monotonic()
        self._last: dict[str, CameraCounts] = {}
        self._last_retried = 0
        # Of the last full period.
        self._elapsed_sec = 1.0
        self._periods: dict[str, CameraCounts] = {}
        self._retried = 0

    def tick(self, pipeline: Pipeline) -> None:
        """End a period: rates and levels refer to the time since the last call."""
        now_sec, counts = monotonic(), pipeline.counters.counts()
        retried = pipeline.counters.events()['retried_batches']
        self._elapsed_sec = max(now_sec - self._last_sec, 1e-9)
        self._periods = {
            name: _difference(now, self._last.get(name, CameraCounts()))
            for name, now in counts.items()}
        self._retried = retried - self._last_retried
        self._last_sec, self._last, self._last_retried = now_sec, counts, retried

    def report(
            self, pipeline: Optional[Pipeline], topics: dict[str, TopicState],
            parameters: NodeParameters, error: Optional[str] = None) -> Report:
        """
        Return the current report.

        :param pipeline: the open pipeline, None while the node is unconfigured.
        :param topics: the topic state of each camera.
        :param parameters: the thresholds.
        :param error: why configuring failed, None if it did not.
        """
        if pipeline is None:
            return Report(
                Level.WARN if error is None else Level.ERROR, error or 'not configured',
                {'state': 'unconfigured'})
        counts = pipeline.counters.counts()
        total, period = sum_counts(counts.values()), sum_counts(self._periods.values())
        percentiles_ms = pipeline.counters.percentiles_ms()
        values = {
            **_identity(pipeline, parameters), **self._rates(period),
            **_counters(total), **_batches(pipeline), **{
                f'{stage}_p{share}_ms': round(value, 3)
                for stage, three in percentiles_ms.items()
                for share, value in zip((50, 95, 99), three)}}
        health = node_health(
            period.dropped['failed'], self._retried, pipeline.backend_state,
            percentiles_ms['total'][2] if 'total' in percentiles_ms else None, parameters)
        if pipeline.overdue is not None:
            health.add(Level.WARN, f'the backend: {pipeline.overdue}')
        if total.mismatch is not None:
            health.add(Level.ERROR, total.mismatch)
        if pipeline.unexpected_exception is not None:
            health.add(
                Level.ERROR, f'stopped: {printable(repr(pipeline.unexpected_exception), 500)}')
        working = 'classifying' if pipeline.accepting else 'inactive'
        return Report(health.level, health.message(working), values, {
            name: self._camera(
                name, counts[name], topics[name], parameters,
                _path(pipeline.paths.get(name), parameters))
            for name in counts if name in topics})

    def _camera(
            self, name: str, counts: CameraCounts, topic: TopicState,
            parameters: NodeParameters, path: Mapping[str, str]) -> Report:
        period = self._periods.get(name, CameraCounts())
        health = camera_health(period, topic.timeout, topic.notes, parameters)
        return Report(health.level, health.message('OK'), {
            'image_topic': topic.image_topic, 'receive': topic.receive,
            **({'receive_extra_buffers': topic.extra_buffers} if topic.extra_buffers else {}),
            **({'video_codec': topic.codec} if topic.codec else {}),
            **path,
            'publishers': topic.publishers, 'listeners': topic.listeners,
            **self._rates(period), **_arrivals(topic.arrivals), **_counters(counts),
            **counts.events})

    def _rates(self, period: CameraCounts) -> dict[str, Value]:
        return {'received_hz': round(period.received / self._elapsed_sec, 1),
                'answered_hz': round(period.answered / self._elapsed_sec, 1)}


def _arrivals(rates: ArrivalRates) -> dict[str, Value]:
    """Return them by greenwave_monitor's keys, see `diagnostics`."""
    values: dict[str, Value] = {
        'frame_rate_node': round(rates.node_hz, 2), 'frame_rate_msg': round(rates.stamp_hz, 2)}
    if rates.delay_ms is not None:
        values['current_delay_from_realtime_ms'] = round(rates.delay_ms, 3)
    return values


def _path(path: Optional[str], parameters: NodeParameters) -> dict[str, str]:
    """Return where the last answered frame of a camera was decoded and resized."""
    if path is None:
        return {}
    decoded = {'decode': 'nvjpeg' if path == 'jpeg' else 'cpu'}
    return {'preprocess': 'gpu' if path else 'cpu',
            **(decoded if parameters.image_transport != 'raw' else {})}


def _difference(now: CameraCounts, before: CameraCounts) -> CameraCounts:
    return replace(
        now, received=now.received - before.received, answered=now.answered - before.answered,
        dropped={reason: number - before.dropped[reason]
                 for reason, number in now.dropped.items()},
        regions={what: number - before.regions[what] for what, number in now.regions.items()},
        events={event: number - before.events[event] for event, number in now.events.items()})


def _identity(pipeline: Pipeline, parameters: NodeParameters) -> dict[str, Value]:
    info, spec = pipeline.backend.info, pipeline.backend.spec
    return {
        'state': 'active' if pipeline.accepting else 'inactive',
        'backend': f'{info.name} {info.version}',
        'backend_state': pipeline.backend_state.phase.value,
        'device': info.device,
        'model': printable(spec.architecture),
        'precision': spec.precision,
        'max_batch_size': parameters.batch_limit,
        **{key: info.details[key] for key in _BACKEND_DETAILS if key in info.details},
    }


def _counters(counts: CameraCounts) -> dict[str, Value]:
    return {
        'received': counts.received, 'answered': counts.answered,
        'in_progress': counts.in_progress,
        **{f'dropped_{reason}': number for reason, number in counts.dropped.items()},
        **_regions(counts)}


def _regions(counts: CameraCounts) -> dict[str, Value]:
    """Return the counters of regions; none where whole frames are classified."""
    if not counts.regions['received']:
        return {}
    answered = sum(counts.regions[outcome] for outcome in OUTCOMES)
    return {
        **{f'regions_{what}': number for what, number in counts.regions.items()},
        'regions_in_progress': counts.regions_in_progress,
        'regions_per_frame': round(answered / max(1, counts.answered), 1)}


def _batches(pipeline: Pipeline) -> dict[str, Value]:
    counters = pipeline.counters
    return {
        **counters.events(),
        'mean_batch_size': round(counters.mean_batch_size(), 2),
        # Size to number, of the last 1000 batches.
        'batch_sizes': ' '.join(
            f'{size}:{number}' for size, number in counters.batch_histogram().items())}


def opened_line(backend: Backend, took_ms: Mapping[int, float]) -> str:
    """
    Return the log line about an opened backend.

    :param backend: open and warmed up.
    :param took_ms: time of a batch in the warm-up, by batch size.
    """
    spec, info = backend.spec, backend.info
    warm = ', '.join(f'{size}: {ms:.1f}' for size, ms in took_ms.items())
    kind = ', multi-label' if spec.multi_label else ''
    return (f'{printable(spec.architecture) or "model"} ({spec.precision}, {spec.num_classes} '
            f'classes{kind}, {spec.resize.describe()}) on '
            f'{info.name} {info.version}, {info.device}; '
            f'warmed up, ms by batch size: {warm}')
