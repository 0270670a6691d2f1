"""The lifecycle node: topics, parameters and states around the pipeline."""

from __future__ import annotations

from functools import partial, wraps
from time import monotonic
import traceback
from typing import Any, Callable, Optional, Sequence

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # Humble has it there
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from resnet_trt_node.errors import ResnetTrtError, UsageError
from resnet_trt_node.inference.backend import Backend
from resnet_trt_node.inference.classifier import Prediction
from resnet_trt_node.inference.factory import open_backend
from resnet_trt_node.node.annotator import Annotator
from resnet_trt_node.node.camera_topics import CameraTopics
from resnet_trt_node.node.conversion import Converter
from resnet_trt_node.node.deferred_destruction import NodeOfDeferredDestruction
from resnet_trt_node.node.depth_images import warn_of_depth_topic
from resnet_trt_node.node.frame_queue import Ticket
from resnet_trt_node.node.inferrer import NUM_BUFFERS
from resnet_trt_node.node.messages import label_info
from resnet_trt_node.node.parameter_server import NodeOfUnsetOverrides, ParameterServer
from resnet_trt_node.node.parameters import NodeParameters
from resnet_trt_node.node.pipeline import OpeningCancelled, Pipeline
from resnet_trt_node.node.pipeline_settings import PipelineHooks
from resnet_trt_node.node.qos_overrides import warn_of_idle_overrides
from resnet_trt_node.node.report import opened_line
from resnet_trt_node.node.reporter import Reporter
from resnet_trt_node.node.ros_errors import refusals_explained
from resnet_trt_node.printable import LINE_LIMIT, printable, printable_lines
from vision_msgs.msg import LabelInfo

#: A batch in the backend gets this long when the node is deactivated or stopped, and listeners
#: that take the last results; the backend is to be freed in what stopping may take altogether.
DRAIN_TIMEOUT_SEC, _FLUSH_SEC, _STOP_SEC = 1.0, 0.2, 1.4
#: How often it is looked whether the backend was given up, which takes it seconds to minutes.
_GIVEN_UP_SEC = 0.5
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


_Transition = Callable[['ClassifierNode', LifecycleState], TransitionCallbackReturn]


def _reported(transition: _Transition) -> _Transition:
    """Log what a transition raises; rclpy turns it into ERROR without a word."""
    @wraps(transition)
    def run(node: ClassifierNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:  # noqa: B902  whatever it is, it must not pass in silence
            trace = printable_lines(traceback.format_exc())
            node.get_logger().fatal(f'{transition.__name__} failed:\n{trace}')
            # on_error may fail too, over what the first error left behind.
            node.fault = node.fault or error
            return TransitionCallbackReturn.ERROR
    return run


class ClassifierNode(NodeOfDeferredDestruction, NodeOfUnsetOverrides):
    """
    Classifies the images of one or several cameras.

    configure opens and warms the model, activate subscribes, deactivate drains, cleanup frees.
    Subscribes `image` (or `image/compressed`); publishes `classification`, `label_info`
    (latched), `image_annotated` (while someone listens) and `/diagnostics`.

    :param still_wanted: asked while a model is being opened; False gives up.
    :param kwargs: for rclpy's Node, such as `parameter_overrides`.
    :raises UsageError: for parameters that cannot be used.
    """

    def __init__(self, still_wanted: Callable[[], bool] = lambda: True, **kwargs: Any) -> None:
        super().__init__(
            'classifier', automatically_declare_parameters_from_overrides=True, **kwargs)
        self._still_wanted = still_wanted
        self._pipeline: Optional[Pipeline] = None
        self._cameras: dict[str, CameraTopics] = {}
        self._label_publisher: Optional[Publisher[LabelInfo]] = None
        self._active = False
        #: Why the last configuration or activation was refused, for the exit code.
        self.failure: Optional[ResnetTrtError] = None
        #: An error that nobody foresaw; the process should end with it.
        self.fault: Optional[BaseException] = None
        #: Whether the lifecycle has ended; no transition is possible any more.
        self.finalized = False
        try:
            self._parameter_server = ParameterServer(
                self, lambda: self._pipeline is None, self._apply_live)
        except UsageError:
            self.destroy_node()
            raise
        self._converter = Converter(
            self.get_logger().info, self.get_logger().warning, still_wanted)
        # The ROS clock stands still with use_sim_time and no /clock: a supervisor would hear
        # nothing of the node then.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._reporter = Reporter(self, lambda: self.parameters, self._steady)
        # A timer, since not every executor knows guard conditions, which a thread could trigger.
        self._given_up_timer = self.create_timer(
            _GIVEN_UP_SEC, self._leave_active, clock=self._steady)

    @property
    def parameters(self) -> NodeParameters:
        """Return the current parameters."""
        return self._parameter_server.values

    @property
    def pipeline(self) -> Optional[Pipeline]:
        """Return the pipeline, None while the node is unconfigured."""
        return self._pipeline

    # Transitions.

    @_reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open and warm the model, create the publishers."""
        parameters = self.parameters
        self._converter.max_bytes = parameters.max_image_mib << 20
        names = parameters.cameras or ('',)
        pipeline = Pipeline(
            names, parameters.queue_depth, parameters.fit,  # type: ignore[arg-type]
            parameters.live_settings(), PipelineHooks(
                self._open_backend, self._converter.to_frame, self._deliver, self._log_bad_frame,
                lambda line: self.get_logger().error(printable(line, LINE_LIMIT))))
        try:
            if not parameters.model_path and parameters.backend != 'simulated':
                raise UsageError(
                    'no model: set the parameter model_path to a file made by '
                    '`resnet_trt export` or `resnet_trt prepare`')
            took_ms = pipeline.start(self._still_wanted)
        except (ResnetTrtError, OpeningCancelled) as error:
            pipeline.close(0.0)
            return self._refuse_configuration(error)
        # From here on `_release` frees what there is, whatever fails.
        self._pipeline = pipeline
        annotator = Annotator(
            self._converter.to_frame,
            partial(pipeline.accounting.count_at, event='skipped_pictures'),
            partial(self.get_logger().warning, throttle_duration_sec=1.0))
        try:
            self._create_topics(names, annotator)
        except (UsageError, OpeningCancelled) as error:
            self._release()
            return self._refuse_configuration(error)
        self.failure = None
        for camera in self._cameras.values():
            warn_of_depth_topic(camera.image_topic, self.get_logger().warning)
        self._publish_labels()
        self._reporter.opened(pipeline, self._cameras)
        self.get_logger().info(opened_line(pipeline.backend, took_ms))
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take frames and subscribe."""
        result = super().on_activate(state)
        if self._pipeline is None or result != TransitionCallbackReturn.SUCCESS:
            return TransitionCallbackReturn.FAILURE
        self._pipeline.resume()
        try:
            self._subscribe(self._pipeline)
        except (UsageError, OpeningCancelled) as error:
            self._drain()
            super().on_deactivate(state)
            self.failure = error if isinstance(error, UsageError) else None
            self.get_logger().error(f'cannot activate: {error}')
            return TransitionCallbackReturn.FAILURE
        self.failure = None
        self._active = True
        self._reporter.listening(True)
        topics = ', '.join(camera.image_topic for camera in self._cameras.values())
        self.get_logger().info(f'active, listening to {topics}')
        return result

    @_reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and answer what is on its way; an error if the backend was given up."""
        self._drain()
        result = super().on_deactivate(state)
        return TransitionCallbackReturn.ERROR if self._broken() else result

    @_reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model; an error if the backend was given up."""
        if self._broken():
            return TransitionCallbackReturn.ERROR
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer what is on its way and free the model."""
        self.finalized = True
        end = monotonic() + _STOP_SEC
        self._drain()
        self._release(max(0.1, end - monotonic()))
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free what a failed transition left; the node can be configured again."""
        self.finalized = True
        broken = self._broken()
        self._drain()
        self._release()
        self._reporter.error = broken
        self.finalized = False
        return TransitionCallbackReturn.SUCCESS

    def _refuse_configuration(self, error: Exception) -> TransitionCallbackReturn:
        self.failure = error if isinstance(error, ResnetTrtError) else None
        self._reporter.error = f'cannot configure: {error}'
        self.get_logger().error(f'cannot configure: {error}')
        return TransitionCallbackReturn.FAILURE

    def _broken(self) -> Optional[str]:
        """Return why the backend was given up, None while it was not."""
        failure = None if self._pipeline is None else self._pipeline.failure
        return None if failure is None else str(failure)

    def _leave_active(self) -> None:
        """Go to the error state and from there to unconfigured if the backend was given up."""
        broken = self._broken()
        if broken is None:
            return
        self.get_logger().error(broken)
        # Both end with an error, which is how the lifecycle shows one.
        if self._active:
            self.trigger_deactivate()
        else:
            self.trigger_cleanup()

    # Frames.

    def _deliver(self, ticket: Ticket, predictions: list[Prediction]) -> Optional[float]:
        age_ms = self._cameras[ticket.camera].publish(ticket.message, predictions)
        if age_ms is None and self._pipeline is not None:
            self._pipeline.accounting.count_at(ticket.camera, 'unusable_stamps')
        return age_ms

    def _open_backend(self) -> Backend:
        parameters = self.parameters
        return open_backend(
            parameters.model_path, parameters.backend,
            parameters.backend_options(NUM_BUFFERS, self._log_backend),
            parameters.implied_options)

    def _create_topics(self, names: Sequence[str], annotator: Annotator) -> None:
        for name in names:
            self._check_still_wanted()
            self._cameras[name] = CameraTopics(self, name, self.parameters, annotator)
        warn_of_idle_overrides(
            self, [end for camera in self._cameras.values() for end in camera.overridable])
        with refusals_explained('label_info'):
            self._label_publisher = self.create_publisher(LabelInfo, 'label_info', _LATCHED)

    def _check_still_wanted(self) -> None:
        # Hundreds of cameras take seconds.
        if not self._still_wanted():
            raise OpeningCancelled('the process is to end')

    def _subscribe(self, pipeline: Pipeline) -> None:
        # Decoding a compressed frame takes too long for a callback.
        here = self.parameters.image_transport == 'raw'
        for name, camera in self._cameras.items():
            self._check_still_wanted()
            camera.subscribe(
                partial(pipeline.offer, name, here=here),
                partial(pipeline.accounting.count_at, name, 'lost_in_transport'))

    def _drain(self) -> None:
        self._active = False
        self._reporter.listening(False)
        for camera in self._cameras.values():
            camera.unsubscribe()
        if self._pipeline is None:
            return
        given_up = self._pipeline.drain(DRAIN_TIMEOUT_SEC)
        if given_up:
            self.get_logger().warning(
                f'{given_up} frames were still being inferred after {DRAIN_TIMEOUT_SEC} s and '
                'get no answer')
        end = monotonic() + _FLUSH_SEC
        for camera in self._cameras.values():
            camera.flush(max(0.0, end - monotonic()))

    def _release(self, timeout_sec: float = DRAIN_TIMEOUT_SEC) -> None:
        if self._pipeline is None:
            return
        self._reporter.closed()
        if not self._pipeline.close(timeout_sec):
            self.get_logger().error('the backend does not end; its thread is left behind')
        self._log_account(self._pipeline)
        self._pipeline = None
        for camera in self._cameras.values():
            camera.close()
        self._cameras = {}
        if self._label_publisher is not None:
            self.destroy_publisher(self._label_publisher)
            self._label_publisher = None

    # What the node tells.

    def _apply_live(self, parameters: NodeParameters) -> None:
        self._reporter.apply(parameters)
        self._converter.max_bytes = parameters.max_image_mib << 20
        if self._pipeline is None:
            return
        before = self._pipeline.settings
        self._pipeline.settings = parameters.live_settings()
        if before.score_threshold != parameters.score_threshold:
            # It tells the threshold to its readers.
            self._publish_labels()

    def _publish_labels(self) -> None:
        assert self._pipeline is not None
        assert self._label_publisher is not None
        message = label_info(
            self.get_clock().now().to_msg(), self._pipeline.backend.spec.labels,
            self.parameters.score_threshold)
        if message is None:
            self.get_logger().warning('too many classes for label_info, which counts in uint16')
        else:
            self._label_publisher.publish(message)

    def _log_backend(self, line: str) -> None:
        self.get_logger().warning(printable(line, LINE_LIMIT))

    def _log_bad_frame(self, camera: str, reason: str) -> None:
        where = f'camera {camera}: ' if camera else ''
        self.get_logger().warning(
            f'{where}frame dropped: {printable(reason, 500)}', throttle_duration_sec=1.0,
            throttle_time_source_type=self._steady)

    def _log_account(self, pipeline: Pipeline) -> None:
        total = pipeline.accounting.total()
        self.get_logger().info(str(total))
        # All threads have ended, so that a frame that somebody still holds has no end either.
        if total.mismatch or total.in_progress:
            self.get_logger().error(total.mismatch or f'{total.in_progress} frames have no end')
