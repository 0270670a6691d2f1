"""Builds the messages that the node publishes."""

from __future__ import annotations

from array import array
import struct
from typing import Any, Optional, Sequence

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.cdr import text_bytes
from resnet_trt_node.contract.prediction import Prediction
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo, VisionClass

#: LabelInfo has uint16 class ids and reserves the largest for 'unlabelled'.
MOST_LABELS = 65_535
#: In front of a message in CDR: that it is little endian.
_LITTLE_ENDIAN = b'\x00\x01\x00\x00'
_STAMP, _LENGTH, _SCORE = struct.Struct('<iI'), struct.Struct('<I'), struct.Struct('<d')


def classification(
        header: Any, predictions: Sequence[Prediction], class_id_format: str) -> bytes:
    """
    Return the result message of an image, a vision_msgs/Classification, serialised.

    It is byte for byte what rclpy makes of the message, which takes several times as long: an
    object for each field, and all of them apart again. Padding is 0 here, with rclpy it is
    whatever was in memory.

    :param header: the source image's.
    :param predictions: by descending score, scores in [0, 1].
    :param class_id_format: content of `class_id`: 'label' for the class name, 'index' for its
        index.
    """
    by_label = class_id_format == 'label'
    stamp = header.stamp
    # Bytes are aligned from behind the byte order on: a number to its own size, a text to 4.
    start = _STAMP.pack(stamp.sec, stamp.nanosec) + _text(header.frame_id, _STAMP.size, 4)
    parts = [_LITTLE_ENDIAN, start, _LENGTH.pack(len(predictions))]
    place = (len(start) + _LENGTH.size) % _SCORE.size
    for item in predictions:
        parts += (_text(item.label if by_label else str(item.index), place, _SCORE.size),
                  _SCORE.pack(item.score))
        place = 0
    return b''.join(parts)


def _text(text: str, place: int, alignment: int) -> bytes:
    """
    Return a text in CDR, and the padding up to the next field.

    :param text: see `text_bytes`.
    :param place: where it begins.
    :param alignment: of the next field.
    """
    data = text_bytes(text)
    return data + bytes(-(place + len(data)) % alignment)


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
