"""What is inferred of a frame: one row of a batch for the whole of it, or one for each region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, Optional, Protocol, Sequence, Union

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.contract.prediction import Prediction, top_predictions
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.imaging.decode import message_size
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.on_device.device_rows import DeviceRows
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.planned import plan_picture
from resnet_trt_node.imaging.raw.encodings import RawImage
from resnet_trt_node.imaging.resize import ResizeMethod, Resizer
from resnet_trt_node.node.pipeline.settings import DevicePicture, LiveSettings
from resnet_trt_node.regions.frame_regions import FrameRegions, RegionClassifier
from resnet_trt_node.regions.region import Region, RegionAnswer
from resnet_trt_node.regions.settings import RegionSettings

#: Decodes a message, see `PipelineHooks.decode`.
Decode = Callable[[Any, Optional[int]], Frame]


class Work(Protocol):
    """
    A frame that is being inferred.

    Preprocess threads call `fill`, each row once, several at a time; then the publisher calls
    `take` or `fail` for each row, and `answer` once all rows have come.
    """

    @property
    def num_rows(self) -> int:
        """Return how many rows of batches it takes; 0 is answered without the backend."""

    def fill(self, index: int, row: NDArray[np.uint8]) -> None:
        """
        Write one of its rows.

        :param index: which, from 0.
        :param row: uint8 (H, W, 3) of a batch buffer, wholly overwritten.
        :raises FrameError: if the frame cannot be used.
        """

    def offload(self, index: int, rows: DeviceRows, place: int) -> str:
        """
        Have the device write one of its rows, instead of `fill`.

        :param index: which, from 0.
        :param rows: of a batch buffer.
        :param place: which of these.
        :returns: 'raw' or 'jpeg', what it makes the row of; '' where it does not and `fill` has
            to write it.
        """

    def take(self, index: int, probabilities: NDArray[np.float32]) -> None:
        """Keep the probabilities of one row, float32 (C,)."""

    def fail(self, index: int) -> bool:
        """Note that the model returned no probabilities for a row; tell whether all is lost."""

    def answer(self, settings: LiveSettings) -> Any:
        """Return what `PipelineHooks.publish` gets."""

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Return what became of its regions, after `answer`: `region.OUTCOMES` to numbers."""


class FrameInput(Protocol):
    """What all frames of a pipeline have in common; a spec is known once a backend is open."""

    def use_model(self, spec: ModelSpec) -> None:
        """Take the spec of the open model; called on the inference worker, before `begin`."""

    def num_regions(self, message: Any) -> int:
        """Return how many regions a message has; 0 where the whole frame is classified."""

    def begin(
            self, camera: str, message: Any, decode: Decode,
            picture_of: Optional[DevicePicture] = None) -> Work:
        """
        Decode a message and find out what of it is to be inferred; on a preprocess thread.

        :param camera: whose it is.
        :param message: decoded unless the device converts its pixels.
        :param decode: see `PipelineHooks.decode`.
        :param picture_of: see `PipelineHooks.device_picture`, without its `decodes`; None where
            the device converts nothing.
        :raises FrameError: if the frame cannot be used.
        """


class WholeFrame:
    """
    A frame that is classified as a whole; see `Work`.

    :param load: decodes it, no larger than the resizer needs it.
    :param resizer: brings it to the model's input.
    :param spec: of the model.
    :param picture: what the device may convert; None has it decoded at once.
    :raises FrameError: if it cannot be decoded.
    """

    num_rows = 1
    outcomes: Mapping[str, int] = {}

    def __init__(
            self, load: Callable[[], Frame], resizer: Resizer, spec: ModelSpec,
            picture: Union[RawImage, EncodedPicture, None] = None) -> None:
        self._planned = plan_picture(picture, spec.resize)
        self._frame = load() if self._planned is None else None
        self._load: Optional[Callable[[], Frame]] = load
        self._resizer = resizer
        self._spec = spec
        self._probabilities: Optional[NDArray[np.float32]] = None

    def fill(self, index: int, row: NDArray[np.uint8]) -> None:
        """Resize it, and let go of its pixels."""
        assert self._load is not None
        self._resizer.resize(self._frame or self._load(), row)
        self._let_go()

    def offload(self, index: int, rows: DeviceRows, place: int) -> str:
        """Have the device resize it, and let go of its pixels."""
        planned, load, resizer = self._planned, self._load, self._resizer
        if planned is None or load is None:
            return ''
        path = planned.put(rows, place, lambda row: resizer.resize(load(), row))
        if path:
            self._let_go()
        return path

    def _let_go(self) -> None:
        self._frame = self._planned = self._load = None

    def take(self, index: int, probabilities: NDArray[np.float32]) -> None:
        """Keep its probabilities."""
        self._probabilities = probabilities

    def fail(self, index: int) -> bool:
        """Tell that it is lost: it has no other row."""
        return True

    def answer(self, settings: LiveSettings) -> list[Prediction]:
        """Return its predictions by descending score."""
        assert self._probabilities is not None
        return top_predictions(
            self._probabilities, self._spec.labels, settings.top_k, settings.score_threshold,
            settings.unknown, self._spec.multi_label)


class WholeFrames:
    """
    Whole frames; see `FrameInput`.

    :param resize_method: how they are resized.
    """

    def __init__(self, resize_method: ResizeMethod) -> None:
        self._resize_method: ResizeMethod = resize_method

    def use_model(self, spec: ModelSpec) -> None:
        """Make the resizer."""
        self._resizer = Resizer(spec.resize, self._resize_method)
        self._spec = spec

    def num_regions(self, message: Any) -> int:
        """Return 0."""
        return 0

    def begin(
            self, camera: str, message: Any, decode: Decode,
            picture_of: Optional[DevicePicture] = None) -> WholeFrame:
        """Decode the message, no larger than the resizer needs it."""
        resizer = self._resizer
        return WholeFrame(
            lambda: decode(message, resizer.decode_side), resizer, self._spec,
            picture_of and picture_of(message))


class RegionWork(FrameRegions):
    """The regions of a frame as `Work`."""

    def answer(self, settings: LiveSettings) -> list[RegionAnswer]:
        """Return what became of each region, in their order."""
        return self.answers(settings.top_k, settings.score_threshold, settings.unknown)


class RegionFrames:
    """
    Regions of frames; see `FrameInput`.

    Messages have an `image`, sensor_msgs/Image or CompressedImage, and `detections`, whose `len`
    is their number.

    :param settings: how.
    :param regions_of: reads the regions of a message's `detections`; raises FrameError if they
        are damaged.
    :param stamp_ns_of: reads the stamp of a message's image.
    """

    def __init__(
            self, settings: RegionSettings, regions_of: Callable[[Any], Sequence[Region]],
            stamp_ns_of: Callable[[Any], int]) -> None:
        self._settings = settings
        self._regions_of = regions_of
        self._stamp_ns_of = stamp_ns_of

    def use_model(self, spec: ModelSpec) -> None:
        """Begin with no tracks."""
        self._classifier = RegionClassifier(spec, self._settings)

    def num_regions(self, message: Any) -> int:
        """Return how many detections a message has."""
        return len(message.detections)

    def begin(
            self, camera: str, message: Any, decode: Decode,
            picture_of: Optional[DevicePicture] = None) -> RegionWork:
        """
        Select the regions that are inferred, and decode the image if there is any.

        :raises FrameError: if the detections are damaged, or the image cannot be used, even where
            no region of it is inferred.
        """
        image = message.image
        return RegionWork(
            self._classifier, camera, self._stamp_ns_of(image),
            self._regions_of(message.detections), message_size(image),
            lambda: decode(image, None), picture_of and picture_of(image))
