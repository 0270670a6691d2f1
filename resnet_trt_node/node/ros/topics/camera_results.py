"""What the node publishes for a frame: its classes, or those of its regions."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.imaging.annotate import annotate
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.node.ros.messages import classification
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.stamps import stamp_ns
from resnet_trt_node.node.ros.topics.stamp_matcher import RegionsMessage
from resnet_trt_node.regions.draw import annotate_regions
from resnet_trt_node.regions.region import RegionAnswer
from vision_msgs.msg import Classification, Detection2DArray

#: Draws into a copy of a decoded picture, uint8 (H, W, 3) RGB.
Draw = Callable[[Frame], NDArray[np.uint8]]


class ImageResults:
    """
    The classes of whole images.

    :param parameters: what the messages hold.
    """

    kind, topic = Classification, 'classification'

    def __init__(self, parameters: NodeParameters) -> None:
        self._parameters = parameters

    def message(self, source: Any, answer: Sequence[Prediction]) -> bytes:
        """
        Return the result of an image, serialised.

        :param source: its message; the result gets its header.
        :param answer: by descending score.
        """
        return classification(source.header, answer, self._parameters.class_id_format)

    def picture(self, source: Any, answer: Sequence[Prediction]) -> tuple[Any, Draw]:
        """Return the image's message, and what draws the answer into it."""
        return source, partial(annotate, predictions=answer)


class RegionResults:
    """
    The classes of the regions of images.

    :param parameters: what the messages hold.
    """

    kind, topic = Detection2DArray, 'classified_detections'

    def __init__(self, parameters: NodeParameters) -> None:
        self._parameters = parameters

    def message(
            self, source: RegionsMessage, answer: Sequence[RegionAnswer]) -> bytes:
        """
        Return the result of an image's regions, serialised.

        :param source: the image and its detections; the result gets the header of these.
        :param answer: one for each detection.
        """
        return source.detections.classified(
            answer, self._parameters.class_id_format, self._parameters.keep_source_results)

    def picture(
            self, source: RegionsMessage, answer: Sequence[RegionAnswer]) -> tuple[Any, Draw]:
        """Return the image's message, and what draws the answers into it."""
        def draw(frame: Frame) -> NDArray[np.uint8]:
            return annotate_regions(
                frame, source.detections.regions(), answer, stamp_ns(source.header.stamp))
        return source.image, draw
