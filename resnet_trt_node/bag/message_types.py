"""Message definitions: of rosbags, vision_msgs and Foxglove, and those stored in a bag."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Optional

from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype
from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import (
    get_types_from_idl, get_types_from_msg, get_typestore, Stores, TypesysError)
from rosbags.typesys.store import Typestore

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
CLASSIFICATION = 'vision_msgs/msg/Classification'
DETECTIONS = 'vision_msgs/msg/Detection2DArray'
HYPOTHESIS_WITH_POSE = 'vision_msgs/msg/ObjectHypothesisWithPose'
FFMPEG_PACKET = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
#: The types of image topics.
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE, FFMPEG_PACKET)
#: The seconds of a stamp have 32 bits.
STAMP_SECONDS = range(-2**31, 2**31)

# The definitions of vision_msgs 4; the type hash depends on names, types and order of the fields.
_VISION_MSGS = {
    'vision_msgs/msg/ObjectHypothesis': 'string class_id\nfloat64 score\n',
    CLASSIFICATION: (
        'std_msgs/Header header\nvision_msgs/ObjectHypothesis[] results\n'),
    'vision_msgs/msg/Point2D': 'float64 x\nfloat64 y\n',
    'vision_msgs/msg/Pose2D': 'vision_msgs/Point2D position\nfloat64 theta\n',
    'vision_msgs/msg/BoundingBox2D': (
        'vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n'),
    HYPOTHESIS_WITH_POSE: (
        'vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n'),
    'vision_msgs/msg/Detection2D': (
        'std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n'
        'vision_msgs/BoundingBox2D bbox\nstring id\n'),
    DETECTIONS: 'std_msgs/Header header\nvision_msgs/Detection2D[] detections\n',
}
_VIDEO = {
    FFMPEG_PACKET: (
        'std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\n'
        'uint8 flags\nbool is_bigendian\nuint8[] data\n'),
}
_FOXGLOVE = {
    'foxglove_msgs/msg/CompressedImage': (
        'builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n'),
    'foxglove_msgs/msg/RawImage': (
        'builtin_interfaces/Time timestamp\nstring frame_id\nuint32 width\nuint32 height\n'
        'string encoding\nuint32 step\nuint8[] data\n'),
    'foxglove_msgs/msg/CompressedVideo': (
        'builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n'),
}
# Separates several IDL files in one text, each of which starts with a line with its name.
_IDL_SEPARATOR = '=' * 80 + '\n'


@lru_cache(maxsize=1)
def default_typestore() -> Typestore:
    """
    Return the types of ROS 2, vision_msgs, images and video; shared, so do not change it.

    The image types are the same in all distributions from Humble on.
    """
    store = get_typestore(Stores.LATEST)
    for name, definition in (*_VISION_MSGS.items(), *_FOXGLOVE.items(), *_VIDEO.items()):
        store.register(get_types_from_msg(definition, name))
    return store


def other_fields(store: Typestore, name: str) -> Optional[str]:
    """
    Return what a type of a bag has in place of our fields, None if it is the same.

    :param store: the types of the bag.
    :param name: a type of `default_typestore`; the types of its fields are compared too.
    :returns: such as 'vision_msgs/msg/Pose2D is float64 x, float64 y'.
    """
    ours, theirs = default_typestore(), store.fielddefs.get(name, ([], []))
    fields = ours.fielddefs[name][1]
    if theirs[1] != fields:
        return f'{name} is {", ".join(f"{_written(kind)} {field}" for field, kind in theirs[1])}'
    inner = [_written(kind).partition('[')[0] for _, kind in fields]
    return next(
        (found for one in inner if one in ours.fielddefs
         and (found := other_fields(store, one)) is not None), None)


def _written(kind: Any) -> str:
    """Return a field's type as in a definition."""
    node, description = kind
    if node == Nodetype.NAME:
        return str(description)
    if node == Nodetype.BASE:
        return str(description[0])
    return f'{_written(description[0])}[{description[1] or ""}]'


def typestore_for(connection: Connection) -> Typestore:
    """
    Return a store with the type of a recorded topic, by the definition in the bag if it has one.

    :param connection: rosbags' description of the topic, of a ROS 2 bag.
    :raises rosbags.typesys.TypesysError: if the definition cannot be parsed, or there is none.
    """
    ours = default_typestore()
    name, definition = connection.msgtype, connection.msgdef
    has_none = definition.format == MessageDefinitionFormat.NONE
    if name in ours.fielddefs and (has_none or connection.digest == ours.hash_rihs01(name)):
        return ours  # parsing the definition would give the same
    if has_none:
        raise TypesysError(f'no definition of {name}, neither in the bag nor here')
    types: Typesdict = {}
    if definition.format == MessageDefinitionFormat.MSG:
        types.update(get_types_from_msg(definition.data, name))
    else:
        for part in definition.data.split(_IDL_SEPARATOR):
            text = part.split('\n', 1)[1] if part.startswith('IDL: ') else part
            if text.strip():
                types.update(get_types_from_idl(text))
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    return store
