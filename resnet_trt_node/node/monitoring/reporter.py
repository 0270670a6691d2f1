"""Publishes /diagnostics, serves `~/statistics` and logs problems of the image topics."""

from __future__ import annotations

import json
from time import perf_counter_ns
from typing import Any, Callable, Optional

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.duration import Duration
from rclpy.node import Node
from resnet_trt_node.node.monitoring.camera_watchdog import CameraWatchdog
from resnet_trt_node.node.monitoring.diagnostics import diagnostic_array
from resnet_trt_node.node.monitoring.health import Level, LOST_REMEDY
from resnet_trt_node.node.monitoring.report import Report, Statistics, TopicState
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.topics.camera_topics import CameraTopics
from resnet_trt_node.text.printable import printable_json
from std_srvs.srv import Trigger

#: Period of the check for camera timeouts, and therefore their accuracy.
_WATCH_SEC = 0.5
#: A report holds the GIL for about a millisecond, which in-flight frames would wait for. So it is
#: deferred until none is in flight, polling at this period, but for at most this long: a busy node
#: always has frames in flight.
_GAP_SEC = 0.002
_MAX_DEFERRAL_SEC = 0.05
#: How long the last report before the process ends may take to be delivered.
_URGENT_SEC = 0.2
#: Logged notes that are remembered; they name other nodes, so their number is unbounded.
_MOST_LOGGED = 1000


class Reporter:
    """
    Publishes diagnostics and serves the statistics for as long as the node exists.

    :param node: creates the publisher, the service and the timers, and logs.
    :param parameters: returns the current parameters.
    :param clock: clock of the timers; stamps are taken from the node's clock.
    """

    def __init__(
            self, node: Node, parameters: Callable[[], NodeParameters], clock: Clock) -> None:
        self._node = node
        self._parameters = parameters
        self._statistics = Statistics()
        self._pipeline: Optional[Pipeline] = None
        self._cameras: dict[str, CameraTopics] = {}
        self._watch = CameraWatchdog(())
        self._active_since_ns: Optional[int] = None
        # When the deferred report was due, perf_counter_ns.
        self._due_ns = 0
        self._logged: set[tuple[str, str]] = set()
        #: Why configuring failed, None if it did not.
        self.error: Optional[str] = None
        #: Returns the progress of configuring, None while the node is not being configured.
        self.progress: Optional[Callable[[], str]] = None
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._service = node.create_service(Trigger, '~/statistics', self._answer)
        self._timer = node.create_timer(
            parameters().diagnostics_period_sec, self._tick, clock=clock)
        self._gap_timer = node.create_timer(_GAP_SEC, self._publish_in_gap, clock=clock)
        self._gap_timer.cancel()
        self._watch_timer = node.create_timer(_WATCH_SEC, self._check_camera_timeouts, clock=clock)

    def opened(self, pipeline: Pipeline, cameras: dict[str, CameraTopics]) -> None:
        """Report on this pipeline and its topics from now on."""
        self._statistics = Statistics()
        self._pipeline, self._cameras = pipeline, cameras
        self._watch = CameraWatchdog(cameras)
        self._logged.clear()
        self.error = None

    def closed(self) -> None:
        """Stop reporting on the pipeline."""
        self._pipeline, self._cameras = None, {}
        self._active_since_ns = None

    def listening(self, active: bool) -> None:
        """Start or stop the camera timeouts, when the node is activated or deactivated."""
        self._active_since_ns = perf_counter_ns() if active else None

    def publish_now(self) -> None:
        """Publish diagnostics without deferring them, and wait for delivery."""
        self._publish()
        self._publisher.wait_for_all_acked(Duration(seconds=_URGENT_SEC))

    def apply(self, parameters: NodeParameters) -> None:
        """Apply changed parameters."""
        period_ns = int(parameters.diagnostics_period_sec * 1e9)
        if self._timer.timer_period_ns != period_ns:
            self._timer.timer_period_ns = period_ns
            self._timer.reset()

    def _tick(self) -> None:
        self._due_ns = perf_counter_ns()
        self._gap_timer.reset()
        self._publish_in_gap()

    def _publish_in_gap(self) -> None:
        waited_sec = (perf_counter_ns() - self._due_ns) / 1e9
        if (self._pipeline is not None and waited_sec < _MAX_DEFERRAL_SEC
                and self._pipeline.counters.in_progress):
            return
        self._gap_timer.cancel()
        self._publish()

    def _publish(self) -> None:
        hardware = ''
        if self._pipeline is not None:
            self._statistics.tick(self._pipeline)
            hardware = self._pipeline.backend.info.device
        self._publisher.publish(diagnostic_array(
            self._node.get_clock().now().to_msg(), self._node.get_fully_qualified_name(),
            hardware, self._report()))

    def _answer(self, request: Any, response: Any) -> Any:
        response.success = True
        response.message = printable_json(json.dumps(
            {'node': self._node.get_fully_qualified_name(), **self._report().as_json()},
            ensure_ascii=False))
        return response

    def _report(self) -> Report:
        if self.progress is not None:
            # Not OK, since images get no answer; no ERROR, since every start passes through it.
            return Report(Level.WARN, self.progress(), {'state': 'configuring'})
        now_ns = perf_counter_ns()
        topics = {
            name: TopicState(
                camera.image_topic, camera.publishers, camera.listeners,
                self._watch.reason(name, now_ns), self._notes(name, camera),
                camera.arrival_rates, camera.codec, camera.receive, camera.extra_buffers)
            for name, camera in self._cameras.items()}
        if self._pipeline is not None:
            mismatch = self._pipeline.counters.total().mismatch
            if mismatch is not None and self._is_new('', 'mismatch'):
                self._node.get_logger().error(f'the counters do not add up: {mismatch}')
        return self._statistics.report(self._pipeline, topics, self._parameters(), self.error)

    def _notes(self, name: str, camera: CameraTopics) -> list[str]:
        """Return the problems of an image topic, and log those that are new."""
        notes = camera.problems()
        for note in notes:
            if self._is_new(name, note):
                self._node.get_logger().warning(note)
        return notes

    def _is_new(self, name: str, note: str) -> bool:
        """Tell whether this is the first time in this configuration: the time to log it."""
        if (name, note) in self._logged:
            return False
        if len(self._logged) >= _MOST_LOGGED:
            self._logged.clear()
        self._logged.add((name, note))
        return True

    def _check_camera_timeouts(self) -> None:
        if self._pipeline is None:
            return
        changes = self._watch.check(
            perf_counter_ns(), self._active_since_ns,
            self._pipeline.counters.last_received_ns(), self._parameters().camera_timeout_sec)
        for name, seconds in changes:
            camera = self._cameras[name]
            if seconds is not None:
                self._node.get_logger().info(
                    f'{camera.image_topic}: images again after {seconds:.1f} s')
                continue
            lost = self._pipeline.counters.counts()[name].events['lost_in_transport']
            self._node.get_logger().warning(
                f'{camera.image_topic}: no image for {self._parameters().camera_timeout_sec:g} s; '
                f'{self._publishers_of(camera)}'
                + (f'; DDS lost {lost} frames so far: {LOST_REMEDY}' if lost else ''))

    def _publishers_of(self, camera: CameraTopics) -> str:
        if camera.publishers:
            return f'it has {camera.publishers} publisher{"s" * (camera.publishers > 1)}'
        instead = camera.published_instead([one.image_topic for one in self._cameras.values()])
        return 'it has no publisher: start the camera, or remap the topic' + (
            f'; {instead}' if instead else '')
