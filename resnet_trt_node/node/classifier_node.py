"""The lifecycle node: topics, parameters and states around the pipeline."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any, Callable, Optional, Sequence

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # Humble has it there
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from resnet_trt_node.allocator import touch_memory
from resnet_trt_node.contract.prediction import least_score
from resnet_trt_node.errors import ResnetTrtError, UsageError
from resnet_trt_node.node.annotator import Annotator
from resnet_trt_node.node.async_configure import NodeOfAsyncConfigure, OpeningCancelled
from resnet_trt_node.node.backend_opener import BackendOpener
from resnet_trt_node.node.deferred_destruction import NodeOfDeferredDestruction
from resnet_trt_node.node.monitoring.report import opened_line
from resnet_trt_node.node.monitoring.reporter import Reporter
from resnet_trt_node.node.pipeline.frame_queue import InFlightFrame
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.pipeline.preprocess_worker import chosen_threads
from resnet_trt_node.node.pipeline.settings import PipelineHooks
from resnet_trt_node.node.ros.conversion import Converter
from resnet_trt_node.node.ros.frames import frames_of
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.parameters.server import NodeOfCheckedParameters, ParameterServer
from resnet_trt_node.node.ros.topics.node_topics import NodeTopics
from resnet_trt_node.node.transition_exceptions import reported
from resnet_trt_node.text.printable import LINE_LIMIT, printable

#: A batch in the backend gets this long when the node is deactivated or stopped, and listeners
#: that take the last results; the backend is to be freed in what stopping may take altogether.
DRAIN_TIMEOUT_SEC, _FLUSH_SEC, _STOP_SEC = 1.0, 0.2, 1.4
#: Freeing the backend gets this long in cleanup. On an H200 a second was too short beside
#: processes that built engines: the driver serves all of them.
_CLEANUP_SEC = 5.0
#: How often it is checked whether the backend hangs or was disabled.
_WATCH_SEC = 0.5
#: While the node is drained a batch hangs after this, and ten times the slowest of the warm-up.
_HUNG_IN_DRAIN_MS = 900.0


class ClassifierNode(NodeOfAsyncConfigure, NodeOfDeferredDestruction, NodeOfCheckedParameters):
    """
    Classifies the images of one or several cameras.

    configure opens and warms the model, activate subscribes, deactivate drains, cleanup frees.
    Subscribes `image` (or `image/compressed`), with regions `detections` too; publishes
    `classification` or `classified_detections`, `label_info` (latched), `image_annotated` (while
    someone listens) and `/diagnostics`.

    :param still_wanted: asked during what takes seconds, such as creating the topics of hundreds
        of cameras; False ends it.
    :param kwargs: for rclpy's Node, such as `parameter_overrides`.
    :raises UsageError: for parameters that cannot be used.
    """

    def __init__(self, still_wanted: Callable[[], bool] = lambda: True, **kwargs: Any) -> None:
        super().__init__(
            'classifier', automatically_declare_parameters_from_overrides=True, **kwargs)
        self._opening: Optional[Pipeline] = None
        #: The open pipeline, None while the node is unconfigured.
        self.pipeline: Optional[Pipeline] = None
        self._topics = NodeTopics(self, still_wanted)
        self._active = False
        #: Why the last configuration or activation was refused, for the exit code.
        self.refusal: Optional[ResnetTrtError] = None
        #: Why the backend of the last configuration was disabled, None if it was not.
        self.disabled: Optional[str] = None
        #: Of a transition; the process should end with it.
        self.unexpected_exception: Optional[BaseException] = None
        #: Whether the lifecycle has ended; no transition is possible any more.
        self.finalized = False
        try:
            self._parameter_server = ParameterServer(
                self, lambda: self.pipeline is None and self._opening is None, self._apply_live)
        except UsageError:
            self.destroy_node()
            raise
        self._converter = Converter(self.get_logger().info, self.get_logger().warning)
        self._opener = BackendOpener(
            lambda: self.parameters,
            lambda line: self.get_logger().warning(printable(line, LINE_LIMIT)))
        # The ROS clock stands still with use_sim_time and no /clock: a supervisor would hear
        # nothing of the node then.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._reporter = Reporter(self, lambda: self.parameters, self._steady)
        # A timer, since not every executor knows guard conditions, which a thread could trigger.
        self.create_timer(_WATCH_SEC, self._watch_backend, clock=self._steady)

    @property
    def parameters(self) -> NodeParameters:
        """Return the current parameters."""
        return self._parameter_server.values

    # Transitions.

    def begin_configuring(self) -> Future[dict[int, float]]:
        """Have the model opened and warmed by the thread that will use it."""
        return self._begin_opening().begin()

    def _begin_opening(self) -> Pipeline:
        parameters = self.parameters
        self._converter.max_bytes = parameters.max_image_mib << 20
        self._converter.bridge_check.start()
        self._opening = pipeline = Pipeline(
            parameters.cameras or ('',), parameters.queue_depth, frames_of(parameters),
            parameters.live_settings(), PipelineHooks(
                self._opener.open_model, self._converter.to_frame, self._publish,
                self._log_bad_frame,
                lambda line: self.get_logger().error(printable(line, LINE_LIMIT)),
                self._converter.device_picture),
            chosen_threads(parameters.preprocess_threads))
        self._reporter.progress = self._opener.begin()
        return pipeline

    def cancel_configuring(self) -> None:
        """Cancel the opening of the model; nobody can stop a runtime that compiles."""
        if self._opening is not None:
            self._opening.close(0.0)
            self._opening = self._reporter.progress = None
            self._refuse_configuration(
                OpeningCancelled('stopped while the model was being opened'))

    @reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Wait until the model is open and warm, create the publishers."""
        pipeline, parameters = self._opening or self._begin_opening(), self.parameters
        try:
            took_ms = pipeline.start()
        except BaseException as error:
            pipeline.close(0.0)
            if not isinstance(error, ResnetTrtError):
                raise
            return self._refuse_configuration(error)
        finally:
            self._opening = self._reporter.progress = None
        # From here on `_release` frees what there is, whatever fails.
        self.pipeline = pipeline
        pipeline.settings = parameters.live_settings()
        annotator = Annotator(
            self._converter.to_frame,
            partial(pipeline.counters.count_at, event='skipped_pictures'),
            partial(self.get_logger().warning, throttle_duration_sec=1.0))
        try:
            self._topics.create(parameters, annotator)
        except (UsageError, OpeningCancelled) as error:
            self._release()
            return self._refuse_configuration(error)
        self.refusal = self.disabled = None
        self._publish_labels(pipeline)
        self._reporter.opened(pipeline, self._topics.cameras)
        self.get_logger().info(opened_line(pipeline.backend, took_ms))
        return TransitionCallbackReturn.SUCCESS

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Accept frames and subscribe."""
        result = super().on_activate(state)
        if self.pipeline is None or result != TransitionCallbackReturn.SUCCESS:
            return TransitionCallbackReturn.FAILURE
        self.pipeline.resume()
        # Deactivating gave it back.
        touch_memory(len(self._topics.cameras))
        try:
            topics = self._topics.subscribe(self.pipeline)
        except (UsageError, OpeningCancelled) as error:
            self._drain()
            super().on_deactivate(state)
            self.refusal = error if isinstance(error, UsageError) else None
            self.get_logger().error(f'cannot activate: {error}')
            return TransitionCallbackReturn.FAILURE
        self.refusal = None
        self._active = True
        self._reporter.listening(True)
        self.get_logger().info(f'active, listening to {topics}')
        return result

    @reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and answer the frames in flight; an error if the backend was disabled."""
        self._drain()
        result = super().on_deactivate(state)
        return TransitionCallbackReturn.ERROR if self._backend_disabled() else result

    @reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model; an error if the backend was disabled, or does not end."""
        if self.pipeline is None or self._backend_disabled():
            return TransitionCallbackReturn.ERROR
        self._release(max(_CLEANUP_SEC, self.pipeline.longest_end_sec))
        if self.disabled:
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    @reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the frames in flight and free the model."""
        self.finalized = True
        self._converter.bridge_check.close()
        end = monotonic() + _STOP_SEC
        self._drain()
        self._release(max(0.1, end - monotonic()))
        return TransitionCallbackReturn.SUCCESS

    @reported
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free what a failed transition left; the node can be configured again."""
        self.finalized = True
        self.disabled = self._backend_disabled() or self.disabled
        self._drain()
        self._release()
        self._reporter.error = self.disabled
        self._reporter.publish_now()
        self.finalized = False
        return TransitionCallbackReturn.SUCCESS

    def _refuse_configuration(self, error: Exception) -> TransitionCallbackReturn:
        self.refusal = error if isinstance(error, ResnetTrtError) else None
        self._reporter.error = f'cannot configure: {error}'
        self.get_logger().error(f'cannot configure: {error}')
        return TransitionCallbackReturn.FAILURE

    def _backend_disabled(self) -> Optional[str]:
        """Return why the backend was disabled, None while it was not."""
        if self.pipeline is None or not self.pipeline.backend_state.disabled:
            return None
        return self.pipeline.backend_state.reason

    def _watch_backend(self) -> None:
        """Go to the error state and from there to unconfigured if the backend was disabled."""
        if self.pipeline is not None:
            self.pipeline.check_backend()
        reason = self._backend_disabled()
        if reason is not None:
            self.get_logger().error(reason)
            self._reporter.publish_now()
            # Both end with an error, which is how the lifecycle shows one.
            (self.trigger_deactivate if self._active else self.trigger_cleanup)()

    # Frames.

    def _publish(self, frame: InFlightFrame, answer: Sequence[Any]) -> Optional[float]:
        return self._topics.cameras[frame.camera].publish(frame.message, answer)

    def _drain(self) -> None:
        self._active = False
        self._reporter.listening(False)
        self._topics.unsubscribe()
        if self.pipeline is None:
            return
        abandoned = self.pipeline.drain(DRAIN_TIMEOUT_SEC)
        if abandoned and self.parameters.infer_timeout_ms:
            self.pipeline.check_backend(_HUNG_IN_DRAIN_MS)
        if abandoned and not self._backend_disabled():
            self.get_logger().warning(
                f'{abandoned} frames were still being inferred after {DRAIN_TIMEOUT_SEC} s and '
                'get no answer')
        self._topics.flush(_FLUSH_SEC)

    def _release(self, timeout_sec: float = DRAIN_TIMEOUT_SEC) -> None:
        if self.pipeline is None:
            return
        self._reporter.closed()
        if not self.pipeline.close(timeout_sec):
            self._opener.abandoned = self.pipeline
            reason = 'the backend does not end: it keeps its memory and a thread until it does'
            self.disabled = self._backend_disabled() or reason
            self.get_logger().error(reason)
        total = self.pipeline.counters.total()
        self.get_logger().info(str(total))
        # All threads have ended, so that a frame that somebody still holds has no end either.
        if total.mismatch or total.in_progress:
            self.get_logger().error(total.mismatch or f'{total.in_progress} frames have no end')
        self.pipeline = None
        self._topics.close()

    # What the node publishes and logs besides.

    def _apply_live(self, parameters: NodeParameters) -> None:
        self._reporter.apply(parameters)
        self._converter.max_bytes = parameters.max_image_mib << 20
        if self.pipeline is None:
            return
        before = self.pipeline.settings
        self.pipeline.settings = parameters.live_settings()
        if before.score_threshold != parameters.score_threshold:
            # The labels carry the threshold.
            self._publish_labels(self.pipeline)

    def _publish_labels(self, pipeline: Pipeline) -> None:
        spec = pipeline.backend.spec
        self._topics.publish_labels(
            spec.labels, least_score(self.parameters.score_threshold, spec.multi_label))

    def _log_bad_frame(self, camera: str, reason: str) -> None:
        where = f'camera {camera}: ' if camera else ''
        self.get_logger().warning(
            f'{where}frame dropped: {printable(reason, 500)}', throttle_duration_sec=1.0,
            throttle_time_source_type=self._steady)
