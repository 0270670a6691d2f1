"""Images of Foxglove's schemas, as CDR of ROS or as protobuf, to those of sensor_msgs."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, default_typestore, IMAGE
from resnet_trt_node.errors import BagError
from rosbags.interfaces import (
    Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat)

#: The serialisation of messages that a schema in the file describes.
PROTOBUF = 'protobuf'
#: Packets of video, by their names in ROS and in protobuf.
VIDEO_TYPES = ('foxglove_msgs/msg/CompressedVideo', 'foxglove.CompressedVideo')
#: Types by their names in ROS and in protobuf, and what each becomes. A packet becomes a
#: CompressedImage, whose format is its codec.
ROS_IMAGES = {
    'foxglove_msgs/msg/CompressedImage': COMPRESSED_IMAGE, 'foxglove_msgs/msg/RawImage': IMAGE,
    VIDEO_TYPES[0]: COMPRESSED_IMAGE}
PROTOBUF_IMAGES = {
    'foxglove.CompressedImage': COMPRESSED_IMAGE, 'foxglove.RawImage': IMAGE,
    VIDEO_TYPES[1]: COMPRESSED_IMAGE}
_IMAGES = {**ROS_IMAGES, **PROTOBUF_IMAGES}


def image_type(msgtype: str) -> str:
    """Return the type of sensor_msgs that an image becomes, or its own."""
    return _IMAGES.get(msgtype, msgtype)


def schema_definition(schema: bytes) -> MessageDefinition:
    """
    Return a schema of protobuf as a definition; rosbags has no format for it, and holds text.

    :param schema: a serialised FileDescriptorSet, as mcap files hold it.
    """
    return MessageDefinition(
        MessageDefinitionFormat.NONE, base64.b64encode(schema).decode('ascii'))


def protobuf_class(connection: Connection) -> Any:
    """
    Return the class of a topic's messages, by the schema in the file.

    :param connection: a topic serialised as `PROTOBUF`.
    :raises BagError: if protobuf is missing or too old.
    :raises Exception: of protobuf, if the schema is damaged or lacks the type.
    """
    try:
        from google.protobuf.descriptor_database import DescriptorDatabase
        from google.protobuf.descriptor_pb2 import FileDescriptorSet
        from google.protobuf.descriptor_pool import DescriptorPool
        from google.protobuf.message_factory import GetMessageClass
    except ImportError as error:
        raise BagError(
            f'{connection.topic} has {connection.msgtype} serialised as protobuf, which needs '
            f"protobuf 4.25 or later ({error}): run `pip install 'protobuf>=4.25'`, or choose "
            'other topics with --topic') from error
    database = DescriptorDatabase()  # finds imported files, whatever their order
    for file in FileDescriptorSet.FromString(base64.b64decode(connection.msgdef.data)).file:
        database.Add(file)
    return GetMessageClass(
        DescriptorPool(database).FindMessageTypeByName(connection.msgtype))


def ros_connection(connection: Connection) -> Connection:
    """
    Return a topic with the type that its images become; others as they are.

    :param connection: of any type.
    """
    kind = image_type(connection.msgtype)
    if kind == connection.msgtype:
        return connection
    ext = connection.ext
    if isinstance(ext, ConnectionExtRosbag2):
        ext = ext._replace(serialization_format='cdr')
    return connection._replace(
        msgtype=kind, msgdef=MessageDefinition(MessageDefinitionFormat.NONE, ''), digest='',
        ext=ext)


def ros_image(content: Any, msgtype: str) -> Any:
    """
    Return an image as one of sensor_msgs.

    :param content: with the fields of Foxglove's schema, whatever they were serialised as.
    :param msgtype: what it becomes, `IMAGE` or `COMPRESSED_IMAGE`.
    :returns: with the same data; values of several bytes are little-endian, as the schema says.
    :raises AttributeError: if a field is missing.
    """
    types = default_typestore().types
    stamp = content.timestamp
    # Of ROS, or of google.protobuf.Timestamp.
    seconds, nanoseconds = (
        (stamp.sec, stamp.nanosec) if hasattr(stamp, 'sec') else (stamp.seconds, stamp.nanos))
    header = types['std_msgs/msg/Header'](
        stamp=types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds),
        frame_id=content.frame_id)
    data: Any = content.data
    if not isinstance(data, np.ndarray):
        data = np.frombuffer(data, np.uint8)
    if msgtype == COMPRESSED_IMAGE:
        return types[COMPRESSED_IMAGE](header=header, format=content.format, data=data)
    return types[IMAGE](
        header=header, height=content.height, width=content.width, encoding=content.encoding,
        is_bigendian=0, step=content.step, data=data)
