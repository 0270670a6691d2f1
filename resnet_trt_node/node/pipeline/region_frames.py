"""Frames of which regions are classified."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.imaging.decode import message_size
from resnet_trt_node.node.pipeline.settings import LiveSettings
from resnet_trt_node.node.pipeline.work import Decode
from resnet_trt_node.regions.frame_regions import (
    FrameRegions, RegionClassifier, RegionSettings)
from resnet_trt_node.regions.region import Region, RegionAnswer


class RegionWork(FrameRegions):
    """The regions of a frame as a pipeline's `Work`."""

    def answer(self, settings: LiveSettings) -> list[RegionAnswer]:
        """Return what became of each region, in their order."""
        return self.answers(settings.top_k, settings.score_threshold, settings.unknown)


class RegionFrames:
    """
    Regions of frames; see `work.FrameInput`.

    Messages have an `image`, sensor_msgs/Image or CompressedImage, and `detections`.

    :param settings: how.
    :param regions_of: reads the regions of a message's `detections`.
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
        return len(message.detections.detections)

    def begin(self, camera: str, message: Any, decode: Decode) -> RegionWork:
        """
        Select the regions that are inferred, and decode the image if there is any.

        :raises FrameError: if the image cannot be used, even where no region of it is inferred.
        """
        image = message.image
        return RegionWork(
            self._classifier, camera, self._stamp_ns_of(image),
            self._regions_of(message.detections), message_size(image),
            lambda: decode(image, None))
