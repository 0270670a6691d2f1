"""A writer of bags of images, which the package itself only copies."""

from __future__ import annotations

import numpy as np

from resnet_trt_node.bag import writer
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, default_typestore, IMAGE


class BagWriter(writer.BagWriter):
    """Writes images as cameras send them."""

    def write_image(
            self, topic, pixels, stamp_ns, frame_id, encoding='bgr8', log_time_ns=None):
        """
        Write a sensor_msgs/Image.

        :param pixels: uint8 (H, W, 3), (H, W, 4) or (H, W) as `encoding` says, or uint16.
        :param log_time_ns: when it counts as recorded, None for the stamp.
        """
        # Little-endian on every machine, as is_bigendian 0 states.
        data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder('<')).view(np.uint8)
        message = default_typestore().types[IMAGE](
            header=writer.header(stamp_ns, frame_id), height=pixels.shape[0],
            width=pixels.shape[1], encoding=encoding, is_bigendian=0, step=pixels[0].nbytes,
            data=data.reshape(-1))
        self.write(topic, IMAGE, message, stamp_ns if log_time_ns is None else log_time_ns)

    def write_compressed(
            self, topic, data, compression, stamp_ns, frame_id, log_time_ns=None):
        """Write a sensor_msgs/CompressedImage with the content of a file."""
        message = default_typestore().types[COMPRESSED_IMAGE](
            header=writer.header(stamp_ns, frame_id), format=compression,
            data=np.frombuffer(data, np.uint8))
        self.write(
            topic, COMPRESSED_IMAGE, message, stamp_ns if log_time_ns is None else log_time_ns)
