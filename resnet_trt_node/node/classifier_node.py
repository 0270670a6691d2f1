"""The lifecycle node: topics, parameters and states around the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
import traceback
from typing import Any, Callable, Optional

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, qos_profile_sensor_data, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from resnet_trt_node.errors import ResnetTrtError, UsageError
from resnet_trt_node.inference.annotate import annotate
from resnet_trt_node.inference.backend import Backend, BackendOptions
from resnet_trt_node.inference.classifier import Prediction
from resnet_trt_node.inference.factory import open_backend
from resnet_trt_node.node.conversion import Converter
from resnet_trt_node.node.diagnostics import DiagnosticsReporter
from resnet_trt_node.node.frame_queue import Ticket
from resnet_trt_node.node.messages import classification, label_info, rgb_image
from resnet_trt_node.node.parameter_server import ParameterServer
from resnet_trt_node.node.parameters import NodeParameters
from resnet_trt_node.node.pipeline import LiveSettings, Pipeline, PipelineHooks
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification, LabelInfo

#: A batch in the backend gets this long when the node is deactivated or stopped.
DRAIN_TIMEOUT_SEC = 1.0
#: The last results get this long to reach their listeners.
_ACK_TIMEOUT_NS = 200_000_000
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


_Transition = Callable[['ClassifierNode', LifecycleState], TransitionCallbackReturn]


def _reported(transition: _Transition) -> _Transition:
    """Log what a transition raises; rclpy turns it into ERROR without a word."""
    @wraps(transition)
    def run(node: ClassifierNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:  # noqa: B902  whatever it is, it must not pass in silence
            node.get_logger().fatal(f'{transition.__name__} failed:\n{traceback.format_exc()}')
            node.fault = error
            return TransitionCallbackReturn.ERROR
    return run


@dataclass(frozen=True)
class _Camera:
    """A camera's topics; names are relative, so that remapping and namespaces work."""

    image_topic: str
    results: Any
    annotated: Any


class ClassifierNode(LifecycleNode):
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
        self._cameras: dict[str, _Camera] = {}
        self._image_subscriptions: list[Any] = []
        self._warned_topics: set[tuple[str, str]] = set()
        #: Why the last configuration was refused, for the exit code.
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
        self._converter = Converter(self.get_logger().info)
        self._reporter = DiagnosticsReporter(f'{self.get_fully_qualified_name()}: classifier')
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._timer = self.create_timer(
            self.parameters.diagnostics_period_sec, self._publish_diagnostics)

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
        names = parameters.cameras or ('',)
        pipeline = Pipeline(
            names, parameters.queue_depth, parameters.fit,  # type: ignore[arg-type]
            _live_settings(parameters), PipelineHooks(
                self._open_backend, self._converter.to_frame, self._deliver,
                self._log_bad_frame, self._log_failure))
        try:
            if not parameters.model_path and parameters.backend != 'simulated':
                raise UsageError(
                    'no model: set the parameter model_path to a file made by '
                    '`resnet_trt export` or `resnet_trt prepare`')
            took_ms = pipeline.start(self._still_wanted)
        except (ResnetTrtError, TimeoutError) as error:
            pipeline.close(0.0)
            self.failure = error if isinstance(error, ResnetTrtError) else None
            self.get_logger().error(f'cannot configure: {error}')
            return TransitionCallbackReturn.FAILURE
        self.failure = None
        self._pipeline = pipeline
        self._cameras = {name: self._create_publishers(name) for name in names}
        self._label_publisher = self.create_publisher(LabelInfo, 'label_info', _LATCHED)
        self._publish_labels()
        self._log_ready(pipeline.backend, took_ms)
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take frames and subscribe."""
        result = super().on_activate(state)
        if self._pipeline is None or result != TransitionCallbackReturn.SUCCESS:
            return TransitionCallbackReturn.FAILURE
        self._pipeline.resume()
        for name, camera in self._cameras.items():
            self._image_subscriptions.append(self._subscribe(name, camera.image_topic))
        topics = ', '.join(item.topic_name for item in self._image_subscriptions)
        self.get_logger().info(f'active, listening to {topics}')
        return result

    @_reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and answer what is on its way."""
        self._drain()
        return super().on_deactivate(state)

    @_reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer what is on its way and free the model."""
        self.finalized = True
        self._drain()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free what a failed transition left; the node can be configured again."""
        self.finalized = True
        self._drain()
        self._release()
        self.finalized = False
        return TransitionCallbackReturn.SUCCESS

    # Frames.

    def _subscribe(self, camera: str, topic: str) -> Any:
        parameters = self.parameters
        qos = QoSProfile(
            depth=max(qos_profile_sensor_data.depth, parameters.queue_depth),
            reliability=ReliabilityPolicy.RELIABLE if parameters.image_reliability == 'reliable'
            else ReliabilityPolicy.BEST_EFFORT)
        # Declared only where the user overrides it: rclpy would keep the first activation's
        # values for good, and a later change of image_reliability would do nothing.
        prefix = f'qos_overrides.{self.resolve_topic_name(topic)}.subscription'
        overridden = bool(self.get_parameters_by_prefix(prefix))
        return self.create_subscription(
            self._image_type(), topic, lambda message: self._take(camera, message), qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies()
            if overridden else None)

    def _image_type(self) -> Any:
        return CompressedImage if self.parameters.image_transport == 'compressed' else Image

    def _take(self, camera: str, message: Any) -> None:
        if self._pipeline is not None:
            self._pipeline.offer(camera, message)

    def _deliver(self, ticket: Ticket, predictions: list[Prediction]) -> None:
        camera, parameters = self._cameras[ticket.camera], self.parameters
        header = ticket.message.header
        camera.results.publish(classification(header, predictions, parameters.class_id_format))
        if camera.annotated.get_subscription_count():
            frame = self._converter.to_frame(ticket.message)
            camera.annotated.publish(rgb_image(header, annotate(frame, predictions)))

    def _open_backend(self) -> Backend:
        parameters = self.parameters
        return open_backend(parameters.model_path, parameters.backend, BackendOptions(
            max_batch_size=parameters.batch_limit, device_id=parameters.device_id,
            cpu_threads=parameters.cpu_threads, simulated_ms=parameters.simulated_ms,
            log=self._log_backend))

    def _drain(self) -> None:
        for subscription in self._image_subscriptions:
            self.destroy_subscription(subscription)
        self._image_subscriptions.clear()
        if self._pipeline is not None and not self._pipeline.drain(DRAIN_TIMEOUT_SEC):
            self.get_logger().warning(
                f'{self._pipeline.accounting.total().in_progress} frames were still being '
                f'inferred after {DRAIN_TIMEOUT_SEC} s and get no answer')
        for camera in self._cameras.values():
            # Publishing returns before the listeners have it, and destroying does not wait.
            camera.results.wait_for_all_acked(Duration(nanoseconds=_ACK_TIMEOUT_NS))

    def _release(self) -> None:
        if self._pipeline is None:
            return
        if not self._pipeline.close(DRAIN_TIMEOUT_SEC):
            self.get_logger().error('the backend does not end; its thread is left behind')
        self._log_account(self._pipeline)
        self._pipeline = None
        for camera in self._cameras.values():
            self.destroy_publisher(camera.results)
            self.destroy_publisher(camera.annotated)
        self.destroy_publisher(self._label_publisher)
        self._cameras = {}

    def _create_publishers(self, name: str) -> _Camera:
        prefix = f'{name}/' if name else ''
        suffix = '/compressed' if self.parameters.image_transport == 'compressed' else ''
        overridable = QoSOverridingOptions.with_default_policies()
        return _Camera(
            f'{prefix}image{suffix}',
            self.create_publisher(
                Classification, f'{prefix}classification', 10,
                qos_overriding_options=overridable),
            self.create_publisher(
                Image, f'{prefix}image_annotated', 2, qos_overriding_options=overridable))

    # What the node tells.

    def _apply_live(self, parameters: NodeParameters) -> None:
        if self._pipeline is not None:
            self._pipeline.settings = _live_settings(parameters)

    def _publish_labels(self) -> None:
        assert self._pipeline is not None
        message = label_info(
            self.get_clock().now().to_msg(), self._pipeline.backend.spec.labels,
            self.parameters.score_threshold)
        if message is None:
            self.get_logger().warning('too many classes for label_info, which counts in uint16')
        else:
            self._label_publisher.publish(message)

    def _publish_diagnostics(self) -> None:
        notes = self._wrong_types()
        self._diagnostics.publish(
            self._reporter.report(self.get_clock().now().to_msg(), self._pipeline, notes))

    def _wrong_types(self) -> list[str]:
        """Say which image topics carry another type, which DDS keeps apart without a word."""
        wanted = 'sensor_msgs/msg/' + self._image_type().__name__
        notes = []
        for subscription in self._image_subscriptions:
            topic = subscription.topic_name
            types = {info.topic_type for info in self.get_publishers_info_by_topic(topic)}
            for other in sorted(types - {wanted}):
                note = f'{topic} carries {other}, this node wants {wanted}'
                if {other, wanted} == {'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'}:
                    note += ': set the parameter image_transport to match'
                notes.append(note)
                if (topic, other) not in self._warned_topics:
                    self._warned_topics.add((topic, other))
                    self.get_logger().warning(note)
        return notes

    def _log_ready(self, backend: Backend, took_ms: dict[int, float]) -> None:
        spec, info = backend.spec, backend.info
        warm = ', '.join(f'{size}: {ms:.1f}' for size, ms in took_ms.items())
        self._reporter.hardware_id = info.device
        self.get_logger().info(
            f'{spec.architecture or "model"} ({spec.precision}, {spec.num_classes} classes, '
            f'{spec.resize.describe()}) on {info.name} {info.version}, {info.device}; '
            f'warmed up, ms by batch size: {warm}')

    def _log_backend(self, line: str) -> None:
        self.get_logger().warning(line)

    def _log_bad_frame(self, camera: str, reason: str) -> None:
        where = f'camera {camera}: ' if camera else ''
        self.get_logger().warning(
            f'{where}frame dropped: {reason}', throttle_duration_sec=1.0)

    def _log_failure(self, reason: str) -> None:
        self.get_logger().error(f'batch lost: {reason}', throttle_duration_sec=1.0)

    def _log_account(self, pipeline: Pipeline) -> None:
        total = pipeline.accounting.total()
        dropped = ', '.join(f'{number} {reason}' for reason, number in total.dropped.items()
                            if number) or 'none'
        self.get_logger().info(
            f'{total.received} frames received, {total.answered} answered, dropped: {dropped}')


def _live_settings(parameters: NodeParameters) -> LiveSettings:
    return LiveSettings(
        parameters.max_wait_ms, parameters.max_age_ms, parameters.top_k,
        parameters.score_threshold)
