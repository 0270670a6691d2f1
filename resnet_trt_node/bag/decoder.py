"""Stored messages to CDR and to objects, by the definitions that are in the bag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resnet_trt_node.bag.counting import UnreadableMessage
from resnet_trt_node.bag.foxglove import (
    image_type, PROTOBUF, protobuf_class, ros_connection, ros_image)
from resnet_trt_node.bag.message_types import (
    default_typestore, DETECTIONS, other_fields, typestore_for)
from resnet_trt_node.bag.messages import BagDetections, BagImage, BagMessage, StampedMessage
from resnet_trt_node.bag.recording import CDR, encoding_of, IMAGES, Kind, ROS1
from resnet_trt_node.bag.storage.merging import Stored
from resnet_trt_node.bag.storage.packing import unpacked
from resnet_trt_node.errors import BagError
from resnet_trt_node.text.printable import one_line
from rosbags.interfaces import Connection
from rosbags.typesys.store import Typestore

# Second byte of the encapsulation that starts every CDR message.
_LITTLE_ENDIAN = 1


class MessageDecoder:
    """
    Decodes the messages of one bag.

    :param path: the bag, which errors name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stores: dict[object, Typestore] = {}
        self._protobuf: dict[object, Any] = {}

    def message(self, stored: Stored) -> BagMessage:
        """
        Return a message as CDR.

        :param stored: as the files have it.
        :raises UnreadableMessage: if it cannot be unpacked or converted.
        """
        connection, data = stored.connection, stored.data
        try:
            raw = unpacked(data) if encoding_of(connection) == CDR else data
            if encoding_of(connection) == ROS1:
                raw = bytes(default_typestore().ros1_to_cdr(data, connection.msgtype))
        except Exception as error:  # the libraries do not wrap the errors of their parsers
            raise self._unreadable(connection, stored.time_ns, error) from error
        return BagMessage(connection.topic, connection.msgtype, stored.time_ns, raw, connection)

    def stamped(self, stored: Stored, kind: Kind) -> StampedMessage:
        """
        Return a deserialised message.

        :param stored: as the files have it.
        :param kind: what it is.
        :raises UnreadableMessage: if it does not follow its definition, or that is not ROS 2's.
        """
        message = self.message(stored)
        content = self.deserialize(message)
        # After deserialising, which fails for an invalid definition.
        self._check_definition(message)
        if image_type(message.msgtype) != message.msgtype:
            message, content = self._as_ros(message, content)
        stamp = content.header.stamp
        made = BagImage if kind is IMAGES else BagDetections
        return made(
            **vars(message), stamp_ns=stamp.sec * 10**9 + stamp.nanosec,
            frame_id=content.header.frame_id, message=content)

    def deserialize(self, message: BagMessage) -> Any:
        """
        Return a message as an object with the fields of its ROS message.

        :param message: a message of this bag; the bag's own type definitions are used.
        :raises UnreadableMessage: if it does not follow its definition, or there is none.
        """
        try:
            if encoding_of(message.connection) == PROTOBUF:
                return self._protobuf_class(message.connection).FromString(message.raw)
            # A view, since rosbags slices the encapsulation off, which would copy bytes.
            return self._store(message.connection).deserialize_cdr(
                memoryview(message.raw), message.msgtype)
        except BagError:
            raise
        except Exception as error:  # rosbags does not wrap the errors of its parsers
            raise self._unreadable(message.connection, message.log_time_ns, error) from error

    def little_endian(self, image: BagImage) -> bytes:
        """
        Return an image as little-endian CDR with its encapsulation.

        :param image: one of this bag.
        :returns: `image.raw` itself unless it was recorded on a big-endian machine.
        """
        if image.raw[1] == _LITTLE_ENDIAN:
            return image.raw
        return bytes(self._store(image.connection).serialize_cdr(
            image.message, image.msgtype, little_endian=True))

    def check_detections(self, connection: Connection) -> None:
        """
        Refuse detections with other fields than those of vision_msgs 4.

        :param connection: a topic of vision_msgs/Detection2DArray.
        :raises BagError: with what the bag has in their place.
        """
        try:
            fields = other_fields(self._store(connection), DETECTIONS)
        except Exception as error:  # rosbags does not wrap the errors of its parsers
            raise BagError(
                f'{self._path}: the definition of {DETECTIONS} on {connection.topic} cannot be '
                f'read ({one_line(error)}): record the bag again') from error
        if fields is not None:
            raise BagError(
                f'{self._path}: {connection.topic} is not the {DETECTIONS} of vision_msgs 4, that '
                f'of ROS 2 Humble and later: in this bag {fields}: record it again with '
                'vision_msgs 4, or convert it')

    def _as_ros(self, message: BagMessage, content: Any) -> tuple[BagMessage, Any]:
        """Return an image of Foxglove as one of sensor_msgs, and what is in it."""
        kind = image_type(message.msgtype)
        try:
            content = ros_image(content, kind)
            raw = bytes(default_typestore().serialize_cdr(content, kind, little_endian=True))
        except Exception as error:  # fields of another schema, or a time that ROS has not
            raise self._unreadable(message.connection, message.log_time_ns, error) from error
        return BagMessage(
            message.topic, kind, message.log_time_ns, raw, ros_connection(message.connection)
        ), content

    def _protobuf_class(self, connection: Connection) -> Any:
        key = _definition(connection)
        if key not in self._protobuf:
            self._protobuf[key] = protobuf_class(connection)
        return self._protobuf[key]

    def _store(self, connection: Connection) -> Typestore:
        if encoding_of(connection) == ROS1:
            return default_typestore()
        key = _definition(connection)
        if key not in self._stores:
            self._stores[key] = typestore_for(connection)
        return self._stores[key]

    def _check_definition(self, message: BagMessage) -> None:
        """Refuse a type whose definition in the bag differs from that of ROS 2."""
        if encoding_of(message.connection) == PROTOBUF:
            return
        name, store = message.msgtype, self._store(message.connection)
        standard = default_typestore()
        if store is standard:
            return
        if store.hash_rihs01(name) != standard.hash_rihs01(name):
            raise UnreadableMessage(
                self._path, message.topic, f'its definition of {name} is not that of ROS 2')
        # From now on there is nothing to check.
        self._stores[_definition(message.connection)] = standard

    def _unreadable(
            self, connection: Connection, time_ns: int, error: Exception) -> UnreadableMessage:
        reason = one_line(error).rstrip('.') or type(error).__name__
        return UnreadableMessage(
            self._path, connection.topic, f'the message logged at {time_ns} ns is not a readable '
            f'{connection.msgtype} ({reason})')


def _definition(connection: Connection) -> object:
    """Return a key for the layout of a topic's messages."""
    return connection.msgtype, connection.msgdef, connection.digest
