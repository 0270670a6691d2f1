"""Message definitions: those that ship with rosbags, vision_msgs, and a bag's own."""

from __future__ import annotations

from functools import lru_cache

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import (
    get_types_from_idl, get_types_from_msg, get_typestore, Stores, TypesysError)
from rosbags.typesys.store import Typestore

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
CLASSIFICATION = 'vision_msgs/msg/Classification'
#: What counts as an image topic.
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)

# Field for field vision_msgs 4; names, types and order are what the type hash is made of.
_VISION_MSGS = {
    'vision_msgs/msg/ObjectHypothesis': 'string class_id\nfloat64 score\n',
    CLASSIFICATION: (
        'std_msgs/Header header\nvision_msgs/ObjectHypothesis[] results\n'),
}
# Several IDL files in one text are parted like this, each with a line that names it.
_IDL_SEPARATOR = '=' * 80 + '\n'


@lru_cache(maxsize=1)
def default_typestore() -> Typestore:
    """
    Return the message types of ROS 2 with vision_msgs; shared, not to be changed.

    The image types are the same in every distribution from Humble on, so one store serves all.
    """
    store = get_typestore(Stores.LATEST)
    for name, definition in _VISION_MSGS.items():
        store.register(get_types_from_msg(definition, name))
    return store


def typestore_for(connection: Connection) -> Typestore:
    """
    Return a store that knows a recorded topic's type, by the bag's own definition if it has one.

    :param connection: the topic as rosbags describes it, of a ROS 2 bag.
    :raises rosbags.typesys.TypesysError: if the bag's definition cannot be parsed, or if nobody
        defines the type.
    """
    ours = default_typestore()
    name, definition = connection.msgtype, connection.msgdef
    known = name in ours.fielddefs
    if known and connection.digest == ours.hash_rihs01(name):
        return ours  # spares parsing what would give the same
    if definition.format == MessageDefinitionFormat.NONE:
        if not known:
            raise TypesysError(f'no definition of {name}, neither in the bag nor here')
        return ours
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
