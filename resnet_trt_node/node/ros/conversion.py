"""
From ROS messages to frames, by cv_bridge where that is installed and works.

Pixels that need no conversion never pass through cv_bridge, which would copy them.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Union

import numpy as np
from resnet_trt_node.backends.options import discard
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.depth_images import DEPTH_ENCODING, looks_like_depth
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.pictures import picture_of_message
from resnet_trt_node.imaging.raw.encodings import check_image, convert_image, RawImage
from resnet_trt_node.imaging.raw.float_images import FLOAT_ASSUMPTION, has_floats
from resnet_trt_node.node.ros.cv_bridge_check import CvBridgeCheck
from resnet_trt_node.text.printable import printable


class Converter:
    """
    Turns Image and CompressedImage messages into frames, on any thread.

    OpenCV converts until `bridge_check`, which somebody else starts, has found that cv_bridge
    works. The first picture of each encoding is then converted by both: cv_bridge goes on with
    those encodings of which it gives equal pixels.

    :param log: takes a line for every encoding about who converts it, and one about the range of
        floats; None drops them.
    :param warn: takes one line about the first frame that looks like depth; None drops it.
    """

    def __init__(
            self, log: Optional[Callable[[str], object]] = None,
            warn: Optional[Callable[[str], object]] = None) -> None:
        self._log: Callable[[str], object] = discard if log is None else log
        self._warn = warn
        self._said_range = False
        self.bridge_check = CvBridgeCheck(self._log)
        # Whether cv_bridge gives the pixels that OpenCV gives, by encoding; none is untried.
        self._bridged: dict[str, bool] = {}
        #: Memory that a frame may take, decoding included; may be changed at any time.
        self.max_bytes = MAX_IMAGE_BYTES

    @property
    def bridged(self) -> set[str]:
        """Return the encodings that cv_bridge converts."""
        return {name for name, equal in self._bridged.items() if equal}

    def to_frame(self, message: Any, reduced_to: Optional[int] = None) -> Frame:
        """
        Decode a message.

        :param message: sensor_msgs/Image or sensor_msgs/CompressedImage.
        :param reduced_to: see `decode_compressed`; a resizer's `decode_side` is the right number.
        :returns: a frame; of packed 8-bit encodings a view of the message's data.
        :raises FrameError: if the message is malformed.

        The first frame that looks like depth is warned of.
        """
        if hasattr(message, 'encoding'):
            # cv_bridge trusts a message's fields.
            frame = self._convert(message, check_image(message, self.max_bytes))
            if not self._said_range and has_floats(message):
                self._said_range = True
                self._log(FLOAT_ASSUMPTION)
        else:
            frame = decode_message(message, reduced_to, self.max_bytes)
        warn = self._warn
        if warn is not None and looks_like_depth(message, frame):
            self._warn = None
            warn(
                f'a frame of encoding {DEPTH_ENCODING} looks like depth, all but black to the '
                'model: a classifier wants colours; use the topic of the colour camera, or '
                'publish grey pictures as mono16, white at 65535')
        return frame

    def device_picture(
            self, message: Any, decodes: bool = False) -> Union[RawImage, EncodedPicture, None]:
        """
        Return what the GPU may convert of a message, instead of `to_frame`.

        :param message: as for `to_frame`.
        :param decodes: whether the GPU decodes jpegs.
        :returns: None for what it does not, and for what may be depth.
        :raises FrameError: if a raw image is malformed; of compressed ones `to_frame` tells.
        """
        return picture_of_message(message, decodes, self.max_bytes)

    def _convert(self, message: Any, raw: RawImage) -> Frame:
        encoding, equal = raw.encoding, self._bridged.get(raw.name)
        # Of the other byte order cv_bridge calls what NumPy 2 lacks, it divides the step by the
        # pixel, and it knows no encoding of several planes, no floats and no other case.
        bridge = None if (
            encoding.convert is None or encoding.is_planar or encoding.sample_bytes > 2
            or message.encoding != raw.name or equal is False or raw.big_endian
            or raw.step % encoding.pixel_bytes) else self.bridge_check.bridge()
        if bridge is None:
            return convert_image(raw)
        target = 'mono8' if encoding.order == 'gray' else f'{encoding.order}8'
        try:
            pixels = bridge.imgmsg_to_cv2(message, target)
        except Exception as error:  # noqa: B902  it raises whatever its C++ half throws
            # The frame is not lost.
            self._bridged[raw.name] = False
            self._log(
                f'OpenCV converts {raw.name} from now on: cv_bridge failed at it '
                f'({printable(f"{type(error).__name__}: {error}")})')
            return convert_image(raw)
        if equal:
            return Frame(pixels, encoding.order)
        frame = convert_image(raw)
        self._bridged[raw.name] = equal = np.array_equal(pixels, frame.pixels)
        self._log(
            f'cv_bridge converts {raw.name}' if equal else
            f'OpenCV converts {raw.name}: cv_bridge gives other pixels')
        return frame
