"""What a pipeline is given: settings that may change while it runs, and what it calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional, TYPE_CHECKING, Union

from resnet_trt_node.contract.prediction import UnknownRule

if TYPE_CHECKING:
    from resnet_trt_node.backends.base import Backend
    from resnet_trt_node.imaging.frame import Frame
    from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
    from resnet_trt_node.imaging.raw.encodings import RawImage
    from resnet_trt_node.node.pipeline.frame_queue import InFlightFrame

#: See `PipelineHooks.device_picture`.
DevicePicture = Callable[..., 'Union[RawImage, EncodedPicture, None]']
#: The longest pause before a failed backend is opened again, in seconds.
MOST_BACKOFF_SEC = 30.0


@dataclass(frozen=True)
class LiveSettings:
    """
    What may change while frames flow; the meaning is that of the node's parameters.

    :param max_wait_ms: how long the first frame of a batch waits for others, in milliseconds.
    :param max_age_ms: the most from arrival to answer, in milliseconds; 0 keeps every frame.
    :param top_k: classes in a result.
    :param score_threshold: classes below it are left out.
    :param unknown_below: what says that a frame shows none of the classes; 0 for never.
    :param unknown_label: what it is called then.
    :param unknown_criterion: one of `prediction.UNKNOWN_CRITERIA`.
    :param reopen_after_failures: batches that fail in a row before the backend is opened again.
    :param max_reopen_attempts: after so many it is disabled; 0 for no limit.
    :param reopen_backoff_sec: pause before the first attempt, in seconds; doubled with each.
    :param infer_timeout_ms: a call that takes longer hangs, in milliseconds; 0 waits for ever.
    """

    max_wait_ms: float = 0.0
    max_age_ms: float = 0.0
    top_k: int = 5
    score_threshold: float = 0.0
    unknown_below: float = 0.0
    unknown_label: str = 'unknown'
    unknown_criterion: str = 'score'
    reopen_after_failures: int = 3
    max_reopen_attempts: int = 5
    reopen_backoff_sec: float = 0.5
    infer_timeout_ms: float = 5000.0

    @property
    def unknown(self) -> Optional[UnknownRule]:
        """Return when a frame or region shows none of the classes, None for never."""
        return UnknownRule(
            self.unknown_below, self.unknown_label,
            self.unknown_criterion) if self.unknown_below else None

    def backoff_sec(self, attempt: int) -> float:
        """
        Return the pause before an attempt to open a failed backend again.

        :param attempt: 0 for the first; the pause doubles with each, up to `MOST_BACKOFF_SEC`.
        """
        # Beyond 2**20 it is MOST_BACKOFF_SEC anyway, and a float would overflow at 2**1024.
        return min(self.reopen_backoff_sec * 2.0 ** min(attempt, 20), MOST_BACKOFF_SEC)


@dataclass(frozen=True)
class PipelineHooks:
    """
    What the pipeline calls; each runs on one of its threads.

    :param open_backend: opens the backend on the inference worker, which then owns it; called
        again after the backend kept failing.
    :param decode: turns a message into a frame, raising FrameError for a bad one; also takes how
        many pixels a side suffice, None for all, see `decode_compressed`.
    :param publish: publishes what `Work.answer` returned; returns the milliseconds from the
        frame's own time stamp to the publication, None where the stamp is unusable.
    :param log_bad_frame: logs a frame that could not be decoded, or for which the backend
        returned no probabilities: camera and reason.
    :param log_failure: logs a failure of the backend, or what is done about it.
    :param device_picture: returns what the device may convert of a message, a checked raw image
        or, where `decodes` allows that, a jpeg, raising FrameError for a bad one; None for all
        other messages. Only called where there is such a device.
    """

    open_backend: Callable[[], Backend]
    decode: Callable[[Any, Optional[int]], Frame]
    publish: Callable[[InFlightFrame, Any], Optional[float]]
    log_bad_frame: Callable[[str, str], None]
    log_failure: Callable[[str], object]
    device_picture: DevicePicture = lambda message, decodes: None
