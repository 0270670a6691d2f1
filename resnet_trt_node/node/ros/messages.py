"""Builds the messages that the node publishes."""

from __future__ import annotations

from array import array
from typing import Any, Optional, Sequence

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.contract.prediction import Prediction
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification, LabelInfo, ObjectHypothesis, VisionClass

#: LabelInfo has uint16 class ids and reserves the largest for 'unlabelled'.
MOST_LABELS = 65_535


def classification(
        header: Any, predictions: Sequence[Prediction], class_id_format: str) -> Classification:
    """
    Return the result message of an image.

    :param header: the source image's header; not copied.
    :param predictions: by descending score, scores in [0, 1].
    :param class_id_format: content of `class_id`: 'label' for the class name, 'index' for its
        index.
    """
    return Classification(header=header, results=[
        ObjectHypothesis(
            class_id=item.label if class_id_format == 'label' else str(item.index),
            score=item.score)
        for item in predictions])


def label_info(stamp: Any, labels: Sequence[str], threshold: float) -> Optional[LabelInfo]:
    """
    Return the class names by index, None if they are too many for the message.

    :param stamp: builtin_interfaces/Time.
    :param labels: class names in the order of the model's output.
    :param threshold: the least score of a class in a result, see `least_score`.
    """
    if len(labels) > MOST_LABELS:
        return None
    message = LabelInfo(threshold=threshold, class_map=[
        VisionClass(class_id=index, class_name=name) for index, name in enumerate(labels)])
    message.header.stamp = stamp
    return message


def rgb_image(header: Any, pixels: NDArray[np.uint8]) -> Image:
    """
    Return an rgb8 image message.

    :param header: not copied.
    :param pixels: uint8 (H, W, 3) RGB; copied.
    """
    height, width, channels = pixels.shape
    message = Image(header=header, height=height, width=width, encoding='rgb8',
                    step=width * channels)
    # rclpy checks every element, unless it gets an array.array of the same type.
    data = array('B')
    data.frombytes(np.ascontiguousarray(pixels).data.cast('B'))
    message.data = data
    return message
