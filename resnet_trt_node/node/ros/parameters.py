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
from resnet_trt_node.node.ros.parameter_values import check_value, to_backend
from resnet_trt_node.regions.selection import Aspect, MAX_MARGIN, RegionRules
from resnet_trt_node.regions.settings import RegionSettings
from resnet_trt_node.regions.smoothing import MAX_WINDOW, SMOOTHINGS
from resnet_trt_node.regions.track_cache import TrackSettings

#: Those that are options of a backend by the same name.
BACKEND_PARAMETERS = (
    'device', 'threads', 'precision', 'engine_dir', 'optimization_level', 'workspace_mib',
    'tf32', 'sparse_weights', 'version_compatible', 'engine_host_code', 'dla_core',
    'cuda_graph_max_batch', 'blocking_sync', 'tvm_target')
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
        'auto', 'Runtime that infers; auto chooses the best one that this machine can run.',
        choices=BACKEND_CHOICES)
    device: int = _parameter(0, 'Index of the GPU.', low=0, high=255)
    threads: int = _parameter(
        0, 'Threads of a backend on the CPU; 0 for the default of the runtime.', low=0, high=1024)
    precision: str = _parameter(
        'any', 'Refuse a model of another precision; a model states its precision in its graph.',
        choices=('any', *PRECISIONS))
    engine_dir: str = _parameter(
        '', 'Folder of compiled TensorRT engines; empty is ~/.cache/resnet_trt_node/engines.')
    build_only: bool = _parameter(
        False, 'Compile the engine, then end: for CI and for building container or disk images.',
        at_start=True)
    opt_batch_size: int = _parameter(
        0, 'Batch size that the engine is optimised for; 0 optimises for 1 and for the largest, '
        'which takes twice as long to build.', low=0, high=256)
    optimization_level: int = _parameter(
        3, 'How long TensorRT searches for the fastest kernels.', low=0, high=5)
    workspace_mib: int = _parameter(
        0, 'Workspace memory of a layer on the device, in MiB; 0 for the default of TensorRT.',
        low=0, high=1 << 20)
    tf32: bool = _parameter(
        False, 'Allow TF32 in fp32 layers: faster, with 10 bits of mantissa.')
    sparse_weights: bool = _parameter(
        False, 'Allow sparse kernels for a model made by resnet_trt prune, where they are faster.')
    version_compatible: bool = _parameter(
        False, 'Build an engine that later TensorRT versions and tensorrt_lean run too.')
    engine_host_code: bool = _parameter(
        False, 'Let version-compatible engines run the code that they carry; tensorrt_lean needs '
        'it.')
    dla_core: int = _parameter(
        -1, 'Deep learning accelerator (DLA) to run on, -1 for the GPU.', low=-1, high=7)
    cuda_graph_max_batch: int = _parameter(
        8, 'Batches up to this size run as CUDA graphs, which speeds up small ones; 0 for none.',
        low=0, high=256)
    blocking_sync: bool = _parameter(
        False, 'Sleep instead of spin while the GPU computes: less CPU, more latency.')
    tvm_target: str = _parameter(
        'auto', 'What TVM compiles for; auto is the GPU where TVM can use one, else the CPU.',
        choices=TVM_TARGETS)
    batch_size: int = _parameter(
        8, 'Most frames or regions inferred together. A batch of frames never holds more than '
        'cameras x queue_depth.', low=1, high=256)
    max_wait_ms: float = _parameter(
        0.0, 'How long the first frame of a batch waits for others while the backend is idle.',
        low=0.0, high=1000.0, live=True)
    max_age_ms: float = _parameter(
        0.0, 'A frame whose answer would come later than this after its arrival is dropped as '
        'stale before work is spent on it; 0 keeps every frame.',
        low=0.0, high=60_000.0, live=True)
    queue_depth: int = _parameter(
        1, 'Frames kept waiting per camera; when one more arrives the oldest is superseded. '
        '1 means the newest frame wins.', low=1, high=1000)
    preprocess_threads: int = _parameter(
        0, 'Threads that decode and resize frames that wait at the same time; 0 chooses by the '
        'number of cores.', low=0, high=64)
    input: str = _parameter(  # noqa: A003  # the parameter's name
        'image', 'What is classified: image is the whole image -> classification, regions the '
        'boxes of a detector in it, image and detections -> classified_detections.',
        choices=INPUTS)
    cameras: tuple[str, ...] = _parameter(
        (), 'Camera names: [front, left] subscribes to front/image and left/image and answers on '
        'front/classification and left/classification. Empty means image -> classification.')
    image_transport: str = _parameter(
        'raw', 'raw subscribes to image, compressed to image/compressed.',
        choices=('raw', 'compressed'))
    max_image_mib: int = _parameter(
        MAX_IMAGE_BYTES >> 20, 'Memory in MiB that a frame may take, decoding included; one that '
        'would take more is dropped as malformed.', low=1, high=65_536, live=True)
    image_reliability: str = _parameter(
        'best_effort', 'Reliability of the subscriptions to images and detections; best_effort is '
        'compatible with every publisher.', choices=('best_effort', 'reliable'))
    resize_method: str = _parameter(
        'fast', 'How frames are resized: exact gives the values of Pillow, fast approximates them '
        'with OpenCV.', choices=('fast', 'exact'))
    regions_slop_ms: float = _parameter(
        0.0, 'How far apart the stamps of an image and its detections may be; choose less than '
        'half of the time between two images. 0 matches equal stamps only.',
        low=0.0, high=1000.0)
    regions_wait_ms: float = _parameter(
        500.0, 'How long an image and detections wait for each other before they count as '
        'unmatched.', low=1.0, high=60_000.0)
    regions_queue: int = _parameter(
        16, 'Images of a camera that wait for their detections, and detections that wait for '
        'their image; with one more the oldest counts as unmatched.', low=1, high=1000)
    region_classes: tuple[str, ...] = _parameter(
        (), 'Only detections whose best hypothesis has one of these class ids are classified, the '
        'others stay as they are. Empty means all.')
    region_margin: float = _parameter(
        0.0, 'Share of the width of a box that is added on its left and on its right before it is '
        'cropped, and of its height above and below.', low=0.0, high=MAX_MARGIN)
    region_aspect: str = _parameter(
        'model', "How a box gets the shape of the model's input: stretch to it, pad to it, or by "
        "the model's own resize rule.", choices=get_args(Aspect))
    min_region_px: int = _parameter(
        8, 'A region of which less than this many pixels lie in the image, in width or height, is '
        'not classified and gets an empty result.', low=1, high=10_000)
    max_regions: int = _parameter(
        1000, 'Regions of one frame that are classified; those after them get an empty result.',
        low=1, high=100_000)
    keep_source_results: bool = _parameter(
        False, "Keep the detector's hypotheses before ours in each detection instead of replacing "
        'them.')
    track_cache: bool = _parameter(
        False, 'Keep the answer of each tracked detection, one with an id, and infer it anew only '
        'as the reinfer parameters say. Never for what changes its state, such as traffic lights.')
    reinfer_interval_ms: float = _parameter(
        500.0, 'With track_cache: infer a track anew when its answer is this old; 0 infers each '
        'frame.', low=0.0, high=3_600_000.0)
    reinfer_growth: float = _parameter(
        1.5, 'With track_cache: infer a track anew when its box has grown to this many times its '
        'size; 1 infers each frame.', low=1.0, high=1000.0)
    reinfer_below: float = _parameter(
        0.5, 'With track_cache: infer a track anew while its best score is below this.',
        low=0.0, high=1.0)
    smoothing: str = _parameter(
        'none', "How a track's scores are smoothed over its inferences, at the price of a delay: "
        'ema is their exponential moving average, majority takes the most frequent best class.',
        choices=SMOOTHINGS)
    smoothing_window: int = _parameter(
        5, 'Inferences of a track that smoothing spans.', low=1, high=MAX_WINDOW)
    top_k: int = _parameter(
        5, 'Most classes in a result.', low=1, high=65_535, live=True)
    score_threshold: float = _parameter(
        0.0, 'Classes with a lower score are left out of a result.', low=0.0, high=1.0, live=True)
    unknown_below: float = _parameter(
        0.0, 'A result whose best score is below this has the one class unknown_label instead; 0 '
        'never.', low=0.0, high=1.0, live=True)
    unknown_label: str = _parameter(
        'unknown', 'Class of a result whose best score is below unknown_below.', live=True)
    unknown_criterion: str = _parameter(
        'score', 'What unknown_below is compared with: the best score; or, by entropy, a value '
        'that is 1 / k where k classes are equally probable.', choices=UNKNOWN_CRITERIA,
        live=True)
    class_id_format: str = _parameter(
        'label', 'What class_id holds: the class name or its index.', choices=('label', 'index'))
    camera_timeout_sec: float = _parameter(
        2.0, 'A camera that sends no image for this long has timed out, an ERROR; 0 never.',
        low=0.0, high=3600.0, live=True)
    warn_drop_ratio: float = _parameter(
        0.5, 'Diagnostics show WARN if more than this share of the frames of a period got no '
        'answer; 1 never.', low=0.0, high=1.0, live=True)
    error_drop_ratio: float = _parameter(
        1.0, 'Diagnostics show ERROR if more than this share got no answer; 1 never.',
        low=0.0, high=1.0, live=True)
    warn_latency_ms: float = _parameter(
        0.0, 'Diagnostics show WARN if the p99 latency from reception to publication is above '
        'this; 0 never.', low=0.0, high=60_000.0, live=True)
    error_latency_ms: float = _parameter(
        0.0, 'Diagnostics show ERROR if the p99 latency is above this; 0 never.',
        low=0.0, high=60_000.0, live=True)
    diagnostics_period_sec: float = _parameter(
        1.0, 'Time between two messages on /diagnostics.', low=0.1, high=60.0, live=True)
    reopen_after_failures: int = _parameter(
        3, 'After this many failed batches in a row the backend is closed and opened again.',
        low=1, high=1000, live=True)
    max_reopen_attempts: int = _parameter(
        5, 'Attempts to open a failing backend again before it is disabled and the node goes to '
        'its error state; 0 for no limit.', low=0, high=1_000_000, live=True)
    reopen_backoff_sec: float = _parameter(
        0.5, 'Pause before the first attempt; it doubles with each, up to 30 s.',
        low=0.0, high=30.0, live=True)
    infer_timeout_ms: float = _parameter(
        5000.0, 'A backend call that takes longer than this hangs: the node goes to its error '
        'state. Never less than ten times the slowest batch of the warm-up; 0 waits for ever.',
        low=0.0, high=3_600_000.0, live=True)
    executor: str = _parameter(
        'auto', 'The rclpy executor: events is the EventsExecutor, which takes less CPU; auto '
        'chooses it if rclpy has it.',
        choices=('auto', 'events', 'single_threaded'), at_start=True)
    autostart: bool = _parameter(
        True, 'Configure and activate at start; set false if a lifecycle manager does it.',
        at_start=True)

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
        return {
            'max_batch_size': largest, 'num_buffers': num_buffers, 'log': log,
            'opt_batch_sizes': tuple(sorted(tuned)),
            # Not set by the user: a backend that does not know it may ignore it.
            'implied': () if self.opt_batch_size else ('opt_batch_sizes',),
            **to_backend({name: getattr(self, name) for name in BACKEND_PARAMETERS})}


def _check_camera(name: str) -> None:
    if _NAME_TOKEN.fullmatch(name):
        return
    topic = name.removesuffix('/compressed').strip('/')
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
