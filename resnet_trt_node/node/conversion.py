"""From ROS messages to frames, by cv_bridge where it is installed and works."""

from __future__ import annotations

from typing import Any

from resnet_trt_node.inference.decode import decode_message
from resnet_trt_node.inference.frame import Frame


class Converter:
    """
    Turns Image and CompressedImage messages into frames.

    :param log: takes the one line that says what converts and why.
    """

    def __init__(self, log: Any = None) -> None:
        if log is not None:
            log('encodings are converted by OpenCV')

    def to_frame(self, message: Any) -> Frame:
        """
        Decode a message.

        :param message: sensor_msgs/Image or sensor_msgs/CompressedImage.
        :returns: a frame, see `decode_message`.
        :raises FrameError: if the message is malformed.
        """
        return decode_message(message)
