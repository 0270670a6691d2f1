"""
Every parameter of the node, declared once: name, default, description, range, when it may change.

This module does not import ROS; `parameter_server` declares the fields with rclpy. A test checks
the YAML file and docs/reference/parameters.md against it.
"""

from __future__ import annotations

from dataclasses import dataclass, Field, field, fields
import re
from typing import Any, Callable, get_args, Optional

from resnet_trt_node.backends.factory import BACKEND_CHOICES
from resnet_trt_node.backends.options import discard, TVM_TARGETS
from resnet_trt_node.contract.prediction import UNKNOWN_CRITERIA, UnknownRule
from resnet_trt_node.contract.spec import PRECISIONS
from resnet_trt_node.errors import UsageError
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.node.pipeline.settings import LiveSettings
from resnet_trt_node.node.ros.parameters.values import check_value, to_backend
from resnet_trt_node.node.ros.transports import base_topic, TRANSPORTS
from resnet_trt_node.regions.selection import Aspect, MAX_MARGIN, RegionRules
from resnet_trt_node.regions.settings import RegionSettings
from resnet_trt_node.regions.smoothing import MAX_WINDOW, SMOOTHINGS
from resnet_trt_node.regions.track_cache import TrackSettings

#: Those that are options of a backend by the same name.
BACKEND_PARAMETERS = (
    'device', 'threads', 'precision', 'engine_dir', 'optimization_level', 'workspace_mib',
    'tf32', 'sparse_weights', 'version_compatible', 'engine_host_code', 'dla_core',
    'cuda_graph_max_batch', 'blocking_sync', 'preprocess', 'tvm_target')
#: What is classified.
INPUTS = ('image', 'regions')
_NAME_TOKEN = re.compile(r'[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')


def _parameter(
        default: Any, description: str, *, low: Optional[float] = None,
        high: Optional[float] = None, choices: tuple[str, ...] = (), live: bool = False,
        at_start: bool = False) -> Any:
    return field(default=default, metadata={
        'description': description, 'low': low, 'high': high, 'choices': choices, 'live': live,
        'at_start': at_start})


@dataclass(frozen=True)
class NodeParameters:
    """
    The node's parameters; the metadata of a field holds its description and range.

    Fields marked live take effect at once and those marked at_start when the process starts. The
    others can be set only while the node is unconfigured.
    """

    model_path: str = _parameter(
        '', 'Deployable ONNX model, made by `resnet_trt export` or `resnet_trt prepare`.')
    backend: str = _parameter(
        'auto', 'Inference runtime; auto selects the best one available on this machine.',
        choices=BACKEND_CHOICES)
    device: int = _parameter(0, 'Index of the GPU.', low=0, high=255)
    threads: int = _parameter(
        0, 'Number of threads for a CPU backend; 0 uses the default of the runtime.', low=0,
        high=1024)
    precision: str = _parameter(
        'any', 'Required precision: a model of any other precision is refused. The model itself '
        'determines the precision.', choices=('any', *PRECISIONS))
    engine_dir: str = _parameter(
        '', 'Folder for compiled engines; empty means ~/.cache/resnet_trt_node/engines.')
    build_only: bool = _parameter(
        False, 'Build the engine and exit, for CI and for building container or disk images.',
        at_start=True)
    opt_batch_size: int = _parameter(
        0, 'Batch size for which the engine is optimised; 0 optimises for 1 and for the largest '
        'batch, which doubles the build time.', low=0, high=256)
    optimization_level: int = _parameter(
        3, 'Optimization level of the TensorRT builder; higher levels search longer for faster '
        'kernels.', low=0, high=5)
    workspace_mib: int = _parameter(
        0, 'Maximum TensorRT workspace per layer on the GPU, in MiB; 0 uses the default of '
        'TensorRT.', low=0, high=1 << 20)
    tf32: bool = _parameter(False, 'Allow TF32 in fp32 layers: faster, with a 10-bit mantissa.')
    sparse_weights: bool = _parameter(
        False, 'Allow sparse kernels for a model made by `resnet_trt prune`, where they are '
        'faster.')
    version_compatible: bool = _parameter(
        False, 'Build an engine that newer TensorRT versions and tensorrt_lean can also run.')
    engine_host_code: bool = _parameter(
        False, 'Allow version-compatible engines to run the host code they contain; required by '
        'tensorrt_lean.')
    dla_core: int = _parameter(
        -1, 'Deep learning accelerator (DLA) core to use; -1 uses the GPU.', low=-1, high=7)
    cuda_graph_max_batch: int = _parameter(
        8, 'Largest batch size that runs as a CUDA graph, which speeds up small batches; 0 '
        'disables CUDA graphs.', low=0, high=256)
    blocking_sync: bool = _parameter(
        False, 'Sleep instead of spinning while the GPU computes: less CPU load, more latency.')
    preprocess: str = _parameter(
        'auto', 'Where frames are decoded, converted and resized: gpu has TensorRT backends do it '
        'on the GPU, and resize exactly as Pillow does; auto takes the GPU where that works.',
        choices=('auto', 'cpu', 'gpu'))
    tvm_target: str = _parameter(
        'auto', 'Target that TVM compiles for; auto uses the GPU if TVM can, otherwise the CPU.',
        choices=TVM_TARGETS)
    batch_size: int = _parameter(
        8, 'Maximum number of frames or regions per batch. A batch of frames never exceeds '
        'cameras x queue_depth.', low=1, high=256)
    max_wait_ms: float = _parameter(
        0.0, 'How long the first frame of a batch waits for others while the backend is idle.',
        low=0.0, high=1000.0, live=True)
    max_age_ms: float = _parameter(
        0.0, 'Deadline for the answer, counted from the arrival of the frame. A frame that cannot '
        'meet it is dropped as stale before any work is spent on it; 0 disables the deadline.',
        low=0.0, high=60_000.0, live=True)
    queue_depth: int = _parameter(
        1, 'Frames queued per camera; when the queue is full, a new frame supersedes the oldest. '
        'With 1, the newest frame wins.', low=1, high=1000)
    preprocess_threads: int = _parameter(
        0, 'Threads that decode and resize waiting frames in parallel; 0 chooses by the number of '
        'cores.', low=0, high=64)
    input: str = _parameter(  # noqa: A003  # the parameter's name
        'image', 'What to classify: image classifies whole images (image -> classification); '
        'regions classifies the boxes of a detector (image and detections -> '
        'classified_detections).', choices=INPUTS)
    cameras: tuple[str, ...] = _parameter(
        (), 'Camera names: [front, left] subscribes to front/image and left/image and publishes '
        'front/classification and left/classification. Empty means image -> classification.')
    image_transport: str = _parameter(
        'raw', 'raw subscribes to image, compressed to image/compressed, which may also be video '
        '(H.264 or H.265), ffmpeg to image/ffmpeg, and foxglove to image/foxglove.',
        choices=tuple(TRANSPORTS))
    max_image_mib: int = _parameter(
        MAX_IMAGE_BYTES >> 20, 'Maximum memory for one frame in MiB, including decoding; a larger '
        'frame is dropped as malformed.', low=1, high=65_536, live=True)
    image_reliability: str = _parameter(
        'best_effort', 'QoS reliability of the image and detection subscriptions; best_effort is '
        'compatible with every publisher.', choices=('best_effort', 'reliable'))
    receive: str = _parameter(
        'auto', 'How images are received: serialised takes the serialised message on a thread of '
        'its own and views its pixels in place, which uses less CPU; message has rclpy take it '
        'in the executor; auto selects serialised where that was tested.',
        choices=('auto', 'message', 'serialised'))
    resize_method: str = _parameter(
        'fast', 'How frames are resized: exact matches Pillow, fast approximates it with OpenCV.',
        choices=('fast', 'exact'))
    regions_slop_ms: float = _parameter(
        0.0, 'Maximum difference between the stamps of an image and its detections; use less than '
        'half the time between two images. 0 requires equal stamps.', low=0.0, high=1000.0)
    regions_wait_ms: float = _parameter(
        500.0, 'How long an image and detections wait for each other before they count as '
        'unmatched.', low=1.0, high=60_000.0)
    regions_queue: int = _parameter(
        16, 'Maximum number of images waiting for detections, and of detections waiting for an '
        'image, per camera; beyond that, the oldest counts as unmatched.', low=1, high=1000)
    region_classes: tuple[str, ...] = _parameter(
        (), 'Classify only detections whose best hypothesis has one of these class ids; others '
        'are passed through unchanged. Empty means all.')
    region_margin: float = _parameter(
        0.0, 'Margin added on each side of a box before cropping, as a fraction of its width or '
        'height.', low=0.0, high=MAX_MARGIN)
    region_aspect: str = _parameter(
        'model', "How a box is fitted to the model's input: stretch distorts it, pad adds a "
        "border, model applies the model's own resize rule.", choices=get_args(Aspect))
    min_region_px: int = _parameter(
        8, 'A region with fewer visible pixels than this in width or height is not classified and '
        'gets an empty result.', low=1, high=10_000)
    max_regions: int = _parameter(
        1000, 'Maximum number of regions classified per frame; the rest get an empty result.',
        low=1, high=100_000)
    keep_source_results: bool = _parameter(
        False, "Keep the detector's hypotheses and append the classifier's, instead of replacing "
        'them.')
    track_cache: bool = _parameter(
        False, 'Cache the answer for each detection with a track id, and infer it again only as '
        'set by the reinfer parameters. Do not use it for objects that change state, such as '
        'traffic lights.')
    reinfer_interval_ms: float = _parameter(
        500.0, 'With track_cache: infer a track again when its answer is this old; 0 infers every '
        'frame.', low=0.0, high=3_600_000.0)
    reinfer_growth: float = _parameter(
        1.5, 'With track_cache: infer a track again when the longer side of its box has grown by '
        'this factor; 1 infers every frame.', low=1.0, high=1000.0)
    reinfer_below: float = _parameter(
        0.5, 'With track_cache: infer a track again while its best score is below this.', low=0.0,
        high=1.0)
    smoothing: str = _parameter(
        'none', 'How the scores of a track are smoothed over its inferences, at the cost of '
        'delay: ema is an exponential moving average, majority uses the most frequent best class.',
        choices=SMOOTHINGS)
    smoothing_window: int = _parameter(
        5, 'Number of inferences of a track that smoothing covers.', low=1, high=MAX_WINDOW)
    top_k: int = _parameter(
        5, 'Maximum number of classes in a result; no limit for multi-label models.', low=1,
        high=65_535, live=True)
    score_threshold: float = _parameter(
        0.0, 'Classes with a lower score are left out of the result; 0 means 0.5 for multi-label '
        'models.', low=0.0, high=1.0, live=True)
    unknown_below: float = _parameter(
        0.0, 'If the best score is below this, the result is the single class unknown_label; 0 '
        'disables this.', low=0.0, high=1.0, live=True)
    unknown_label: str = _parameter(
        'unknown', 'Class name for results whose best score is below unknown_below.', live=True)
    unknown_criterion: str = _parameter(
        'score', 'Value compared with unknown_below: score is the best score; entropy uses all '
        'scores and is 1 / k if k classes are equally probable; multi-label models always use '
        'score.', choices=UNKNOWN_CRITERIA,
        live=True)
    class_id_format: str = _parameter(
        'label', 'Content of class_id: the class name or the class index.',
        choices=('label', 'index'))
    camera_timeout_sec: float = _parameter(
        2.0, 'Report an ERROR if a camera sends no image for this long; 0 disables the check.',
        low=0.0, high=3600.0, live=True)
    warn_drop_ratio: float = _parameter(
        0.5, 'Report WARN if more than this fraction of the frames in a period got no answer; 1 '
        'disables the check.', low=0.0, high=1.0, live=True)
    error_drop_ratio: float = _parameter(
        1.0, 'Report ERROR if more than this fraction of the frames in a period got no answer; 1 '
        'disables the check.', low=0.0, high=1.0, live=True)
    warn_latency_ms: float = _parameter(
        0.0, 'Report WARN if the p99 latency from reception to publication exceeds this; 0 '
        'disables the check.', low=0.0, high=60_000.0, live=True)
    error_latency_ms: float = _parameter(
        0.0, 'Report ERROR if the p99 latency from reception to publication exceeds this; 0 '
        'disables the check.', low=0.0, high=60_000.0, live=True)
    diagnostics_period_sec: float = _parameter(
        1.0, 'Period of /diagnostics.', low=0.1, high=60.0, live=True)
    reopen_after_failures: int = _parameter(
        3, 'Close and reopen the backend after this many failed batches in a row.', low=1,
        high=1000, live=True)
    max_reopen_attempts: int = _parameter(
        5, 'Attempts to reopen a failing backend before it is disabled and the node goes to its '
        'error state; 0 means no limit.', low=0, high=1_000_000, live=True)
    reopen_backoff_sec: float = _parameter(
        0.5, 'Pause before the first attempt; it doubles with each attempt, up to 30 s.', low=0.0,
        high=30.0, live=True)
    infer_timeout_ms: float = _parameter(
        5000.0, 'A backend call that takes longer than this counts as a hang, and the node goes '
        'to its error state. The limit is at least ten times the slowest warm-up batch; 0 '
        'disables the check.', low=0.0, high=3_600_000.0, live=True)
    executor: str = _parameter(
        'auto', 'rclpy executor: events is the EventsExecutor, which uses less CPU; auto selects '
        'it if rclpy provides it.', choices=('auto', 'events', 'single_threaded'), at_start=True)
    autostart: bool = _parameter(
        True, 'Configure and activate the node at startup; set to false if a lifecycle manager '
        'does this.', at_start=True)

    def __post_init__(self) -> None:
        """Refuse values out of type, range or choice."""
        for parameter in fields(self):
            check_value(parameter, getattr(self, parameter.name))
        for name in self.cameras:
            _check_camera(name)
        if len(set(self.cameras)) != len(self.cameras):
            raise UsageError(f'cameras: {", ".join(self.cameras)} names one camera twice')
        UnknownRule(self.unknown_below, self.unknown_label, self.unknown_criterion)

    @property
    def has_regions(self) -> bool:
        """Tell whether regions of the images are classified."""
        return self.input == 'regions'

    @property
    def batch_limit(self) -> int:
        """Return the largest possible batch, for which the backend is opened."""
        if self.has_regions:
            # The regions of one frame fill it.
            return self.batch_size
        return min(self.batch_size, max(1, len(self.cameras)) * self.queue_depth)

    def live_settings(self) -> LiveSettings:
        """Return the values that may change while the node is active."""
        return LiveSettings(**{
            setting.name: getattr(self, setting.name) for setting in fields(LiveSettings)})

    def region_settings(self) -> RegionSettings:
        """Return how regions are classified, and how the answers of tracks are kept."""
        return RegionSettings(
            self.resize_method,  # type: ignore[arg-type]
            RegionRules(
                self.region_classes, self.region_margin, self.region_aspect, self.min_region_px,
                self.max_regions),
            TrackSettings(**{
                setting.name: getattr(self, setting.name) for setting in fields(TrackSettings)}))

    def backend_options(
            self, num_buffers: int, log: Callable[[str], None] = discard) -> dict[str, Any]:
        """
        Return the keyword arguments of `open_backend`: the backend's options, and those implied.

        :param num_buffers: number of batch buffers.
        :param log: called with each log line of the backend.
        """
        largest = self.batch_limit
        tuned = {1, largest} if self.opt_batch_size == 0 else {min(self.opt_batch_size, largest)}
        options = to_backend({name: getattr(self, name) for name in BACKEND_PARAMETERS})
        # Not set by the user: a backend that does not know it may ignore it.
        implied = [] if self.opt_batch_size else ['opt_batch_sizes']
        if self.preprocess == 'auto':
            implied += 'preprocess', 'decode_jpeg'
            if self.image_transport not in ('raw', 'compressed'):
                # Video is decoded by the CPU.
                options['preprocess'] = 'cpu'
        options['decode_jpeg'] = (
            self.image_transport == 'compressed' and options['preprocess'] != 'cpu')
        return {
            'max_batch_size': largest, 'num_buffers': num_buffers, 'log': log,
            'opt_batch_sizes': tuple(sorted(tuned)),
            'implied': tuple(implied), **options}


def _check_camera(name: str) -> None:
    if _NAME_TOKEN.fullmatch(name):
        return
    topic = base_topic(name).strip('/')
    camera = topic.rpartition('/')[0] or topic
    if name.startswith('/') and _NAME_TOKEN.fullmatch(camera):
        raise UsageError(
            f'cameras: {name!r} is a topic: name the camera, such as {camera}, whose images are '
            f'{camera}/image, and remap that to the topic, -r {camera}/image:={name}')
    raise UsageError(
        f'cameras: {name!r} is not a ROS name: use letters, digits and _, parts joined by /')


def parameter_fields() -> dict[str, Field[Any]]:
    """Return the dataclass fields by name; `default` and `metadata` describe each parameter."""
    return {parameter.name: parameter for parameter in fields(NodeParameters)}
