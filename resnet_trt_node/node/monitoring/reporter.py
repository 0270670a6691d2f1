"""The node's side that tells: /diagnostics, `~/statistics`, and log lines about the topics."""

from __future__ import annotations

import json
from time import perf_counter_ns
from typing import Any, Callable, Optional

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.duration import Duration
from rclpy.node import Node
from resnet_trt_node.node.monitoring.camera_watchdog import SilenceWatch
from resnet_trt_node.node.monitoring.diagnostics import diagnostic_array
from resnet_trt_node.node.monitoring.health import Level
from resnet_trt_node.node.monitoring.report import Report, Statistics, TopicState
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.ros.camera_topics import CameraTopics
from resnet_trt_node.node.ros.parameters import NodeParameters
from resnet_trt_node.printable import printable_json
from std_srvs.srv import Trigger

#: How often silent cameras are looked for; also the accuracy of what is told about them.
_WATCH_SEC = 0.5
#: A report takes about a millisecond of the interpreter, which frames under way would wait for. It
#: is put off until there are none, looking so often, but not longer than this: a busy node never
#: comes to an end with its frames.
_GAP_SEC = 0.002
_LONGEST_WAIT_SEC = 0.05
#: What is told last before the process ends gets so long on its way.
_URGENT_SEC = 0.2
#: Notes that were logged and are remembered; they name other nodes, which may come and go.
_MOST_TOLD = 1000


class Reporter:
    """
    Publishes diagnostics and answers the statistics service for as long as the node lives.

    :param node: creates the publisher, the service and the timers, and logs.
    :param parameters: gives the present parameters.
    :param clock: what the timers run on; stamps are of the node's clock.
    """

    def __init__(
            self, node: Node, parameters: Callable[[], NodeParameters], clock: Clock) -> None:
        self._node = node
        self._parameters = parameters
        self._statistics = Statistics()
        self._pipeline: Optional[Pipeline] = None
        self._cameras: dict[str, CameraTopics] = {}
        self._watch = SilenceWatch(())
        self._active_since_ns: Optional[int] = None
        # When the report became due that is put off, perf_counter_ns.
        self._due_ns = 0
        self._told: set[tuple[str, str]] = set()
        self._mismatch_told = False
        #: Why the node is not configured, None if it only was not asked to be.
        self.error: Optional[str] = None
        #: Tells how far configuring the node is, None while it is not being configured.
        self.progress: Optional[Callable[[], str]] = None
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._service = node.create_service(Trigger, '~/statistics', self._answer)
        self._timer = node.create_timer(
            parameters().diagnostics_period_sec, self._tick, clock=clock)
        self._gap_timer = node.create_timer(_GAP_SEC, self._tell_in_gap, clock=clock)
        self._gap_timer.cancel()
        self._watch_timer = node.create_timer(_WATCH_SEC, self._look_for_silence, clock=clock)

    def opened(self, pipeline: Pipeline, cameras: dict[str, CameraTopics]) -> None:
        """Report on a pipeline and its topics from now on."""
        self._statistics.forget()
        self._pipeline, self._cameras = pipeline, cameras
        self._watch = SilenceWatch(cameras)
        self._told.clear()
        self._mismatch_told = False
        self.error = None

    def closed(self) -> None:
        """Report no pipeline any more."""
        self._pipeline, self._cameras = None, {}
        self._active_since_ns = None

    def listening(self, active: bool) -> None:
        """Be told that the node begins or ends to listen to its cameras."""
        self._active_since_ns = perf_counter_ns() if active else None

    def tell_now(self) -> None:
        """Publish diagnostics at once, and wait a moment for those who hear them: it is urgent."""
        self._tell()
        self._publisher.wait_for_all_acked(Duration(seconds=_URGENT_SEC))

    def apply(self, parameters: NodeParameters) -> None:
        """Follow a change of parameters."""
        period_ns = int(parameters.diagnostics_period_sec * 1e9)
        if self._timer.timer_period_ns != period_ns:
            self._timer.timer_period_ns = period_ns
            self._timer.reset()

    def _tick(self) -> None:
        self._due_ns = perf_counter_ns()
        self._gap_timer.reset()
        self._tell_in_gap()

    def _tell_in_gap(self) -> None:
        waited_sec = (perf_counter_ns() - self._due_ns) / 1e9
        if (self._pipeline is not None and waited_sec < _LONGEST_WAIT_SEC
                and self._pipeline.counters.in_progress):
            return
        self._gap_timer.cancel()
        self._tell()

    def _tell(self) -> None:
        self._statistics.tick(self._pipeline)
        hardware = '' if self._pipeline is None else self._pipeline.backend.info.device
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
            # Not OK: images are not answered meanwhile. No error: this is how it begins.
            return Report(Level.WARN, self.progress(), {'state': 'configuring'})
        now_ns = perf_counter_ns()
        topics = {
            name: TopicState(
                camera.image_topic, camera.publishers, camera.listeners,
                self._watch.reason(name, now_ns), self._notes(name, camera))
            for name, camera in self._cameras.items()}
        if self._pipeline is not None:
            self._check_sum(self._pipeline)
        return self._statistics.report(self._pipeline, topics, self._parameters(), self.error)

    def _check_sum(self, pipeline: Pipeline) -> None:
        """Log once for each configuration that the counters do not add up."""
        mismatch = pipeline.counters.total().mismatch
        if mismatch is not None and not self._mismatch_told:
            self._mismatch_told = True
            self._node.get_logger().error(f'the counters do not add up: {mismatch}')

    def _notes(self, name: str, camera: CameraTopics) -> list[str]:
        """Return what is wrong with an image topic, and log it once for each configuration."""
        notes = camera.problems()
        for note in notes:
            if (name, note) not in self._told:
                if len(self._told) >= _MOST_TOLD:
                    self._told.clear()
                self._told.add((name, note))
                self._node.get_logger().warning(note)
        return notes

    def _look_for_silence(self) -> None:
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
            publishers = camera.publishers
            self._node.get_logger().warning(
                f'{camera.image_topic}: no image for {self._parameters().camera_timeout_sec:g} s; '
                + (f'it has {publishers} publisher{"s" * (publishers > 1)}' if publishers
                   else 'it has no publisher: start the camera, or remap the topic'))
