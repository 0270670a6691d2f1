"""Images of Foxglove's schemas, serialised as CDR and as protobuf, without the code under test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import DESCRIPTOR as TIMESTAMP
from mcap.writer import CompressionType, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

#: Fields of the types, by their names, with the types of protobuf; 'Time' is a stamp.
FIELDS = {
    'RawImage': {
        'timestamp': 'Time', 'frame_id': 'string', 'width': 'fixed32', 'height': 'fixed32',
        'encoding': 'string', 'step': 'fixed32', 'data': 'bytes'},
    'CompressedImage': {
        'timestamp': 'Time', 'frame_id': 'string', 'data': 'bytes', 'format': 'string'},
    'CompressedVideo': {
        'timestamp': 'Time', 'frame_id': 'string', 'data': 'bytes', 'format': 'string'}}
_ROS_TYPES = {'Time': 'builtin_interfaces/Time', 'fixed32': 'uint32', 'bytes': 'uint8[]'}


def schema_of(kind: str, leave_out: Sequence[str] = ()) -> FileDescriptorSet:
    """
    Return the schema of a type in the package foxglove, the file it imports behind it.

    :param leave_out: fields that it lacks.
    """
    files = FileDescriptorSet()
    file = files.file.add(
        name=f'foxglove/{kind}.proto', package='foxglove', syntax='proto3',
        dependency=[TIMESTAMP.name])
    message = file.message_type.add(name=kind)
    for number, (name, of_type) in enumerate(FIELDS[kind].items(), start=1):
        if name in leave_out:
            continue
        field = message.field.add(
            name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if of_type == 'Time':
            field.type = FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = '.google.protobuf.Timestamp'
        else:
            field.type = getattr(FieldDescriptorProto, f'TYPE_{of_type.upper()}')
    TIMESTAMP.CopyToProto(files.file.add())
    return files


def as_protobuf(kind: str, stamp_ns: int, **fields: Any) -> bytes:
    """Serialise a message of a type in the package foxglove."""
    pool = DescriptorPool()
    for file in reversed(schema_of(kind).file):
        pool.Add(file)
    message = GetMessageClass(pool.FindMessageTypeByName(f'foxglove.{kind}'))(**fields)
    message.timestamp.seconds, message.timestamp.nanos = divmod(stamp_ns, 10**9)
    return bytes(message.SerializeToString())


def definition_of(kind: str) -> str:
    """Return the definition of a type in the package foxglove_msgs."""
    return ''.join(f'{_ROS_TYPES.get(of_type, of_type)} {name}\n'
                   for name, of_type in FIELDS[kind].items())


def as_cdr(kind: str, stamp_ns: int, little_endian: bool = True, **fields: Any) -> bytes:
    """Serialise a message of a type in the package foxglove_msgs; data is an array of uint8."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    name = f'foxglove_msgs/msg/{kind}'
    store.register(get_types_from_msg(definition_of(kind), name))
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    message = store.types[name](
        timestamp=store.types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds),
        **fields)
    return bytes(store.serialize_cdr(message, name, little_endian=little_endian))


def write_messages(
        path: Path, rows: Iterable[tuple[str, str, int, bytes]], serialisation: str,
        schema: bytes = b'') -> Path:
    """
    Write an mcap file as Foxglove's tools do.

    :param rows: topic, type without its package, log time and serialised message.
    :param serialisation: 'protobuf' or 'cdr'.
    :param schema: in place of the right one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('wb') as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start()
        channels: dict[str, int] = {}
        for topic, kind, time_ns, data in rows:
            if topic not in channels:
                if serialisation == 'protobuf':
                    name, encoding = f'foxglove.{kind}', 'protobuf'
                    text = schema or schema_of(kind).SerializeToString()
                else:
                    name, encoding = f'foxglove_msgs/msg/{kind}', 'ros2msg'
                    time = 'int32 sec\nuint32 nanosec\n'
                    text = (f'{definition_of(kind)}{"=" * 80}\nMSG: builtin_interfaces/Time\n'
                            f'{time}').encode()
                channels[topic] = writer.register_channel(
                    topic, serialisation, writer.register_schema(name, encoding, text))
            writer.add_message(channels[topic], time_ns, data, time_ns)
        writer.finish()
    return path
