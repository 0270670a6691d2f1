"""Bags with the packets of a video stream, as image_transport's plugins and Foxglove send them."""

from __future__ import annotations

import numpy as np

from resnet_trt_node.bag import writer
from resnet_trt_node.bag.message_types import (
    COMPRESSED_IMAGE, default_typestore, FFMPEG_PACKET)

COMPRESSED_VIDEO = 'foxglove_msgs/msg/CompressedVideo'

#: The topic of each type in these bags.
TOPICS = {
    FFMPEG_PACKET: '/cam/image/ffmpeg', COMPRESSED_VIDEO: '/cam/video',
    COMPRESSED_IMAGE: '/cam/image/compressed'}


def stamp_ns(packet):
    """Return the stamp of a packet's picture in nanoseconds: its pts, from 100 s on."""
    return 100 * 10**9 + packet.pts * 10**6


def write_packet(bag, kind, codec, packet, number):
    """
    Write a packet into an open `BagWriter`.

    :param kind: a key of `TOPICS`.
    :param codec: what the message calls its codec.
    :param packet: of `video_streams.encode`.
    :param number: the log time is so many times 40 ms: packets are logged as they are sent.
    """
    types = default_typestore().types
    head = writer.header(stamp_ns(packet), 'lens')
    data = np.frombuffer(packet.data, np.uint8)
    if kind == FFMPEG_PACKET:
        message = types[kind](
            header=head, width=160, height=96, encoding=f'{codec};yuv420p;bgr8;rgb8',
            pts=number, flags=int(packet.is_key), is_bigendian=False, data=data)
    elif kind == COMPRESSED_VIDEO:
        message = types[kind](
            timestamp=head.stamp, frame_id=head.frame_id, data=data, format=codec)
    else:
        message = types[kind](header=head, format=codec, data=data)
    bag.write(TOPICS[kind], kind, message, 100 * 10**9 + number * 40 * 10**6)


def write_video_bag(path, kind, codec, packets):
    """Write a bag with a stream on the topic of `kind`; return its path."""
    with writer.BagWriter(path) as bag:
        for number, packet in enumerate(packets):
            write_packet(bag, kind, codec, packet, number)
    return path
