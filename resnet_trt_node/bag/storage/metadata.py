"""Reads a bag's metadata.yaml: its files and topics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, TypeVar, Union

from resnet_trt_node.errors import BagError
from resnet_trt_node.regular_file import read_regular
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat, Qos
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import parse_qos
import yaml

T = TypeVar('T')

# Encoding of a definition in a file to its format.
_FORMATS: dict[object, MessageDefinitionFormat] = {
    'ros2msg': MessageDefinitionFormat.MSG, 'ros2idl': MessageDefinitionFormat.IDL,
    'omgidl': MessageDefinitionFormat.IDL}
# The size for a bag of ten thousand files; a larger file is not a metadata.yaml.
_MAX_BYTES = 16 * 2**20
# rosbag2's is 6 deep.
_MAX_DEPTH = 32
# The C parser, which is fast enough for a bag of many files.
_LOADER: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


@dataclass(frozen=True)
class ListedTopic:
    """
    A topic as metadata.yaml lists it.

    :param msgtype: such as 'sensor_msgs/msg/Image'.
    :param count: number of its messages, None if it is missing.
    :param qos: the offered QoS of its publishers.
    """

    msgtype: str
    count: Optional[int]
    qos: tuple[Qos, ...]


@dataclass(frozen=True)
class Metadata:
    """
    The content of metadata.yaml. Missing entries are empty: the files have them too.

    :param files: the paths of the files, in the order of the list.
    :param topics: name to topic.
    """

    files: tuple[str, ...]
    topics: Mapping[str, ListedTopic]


def read_metadata(path: Path) -> Metadata:
    """
    Read a metadata.yaml of any version.

    :raises BagError: if it is not YAML, or not that of a bag.
    :raises OSError: if it cannot be read, or is too large to be one.
    """
    document = _load(read_regular(path, _MAX_BYTES))
    bag = _get(document, 'rosbag2_bagfile_information', dict)
    if bag is None:
        raise BagError(
            'it is empty' if document is None else 'it has no rosbag2_bagfile_information')
    topics: dict[str, ListedTopic] = {}
    for entry in _get(bag, 'topics_with_message_count', list) or []:
        topic = _get(entry, 'topic_metadata', dict)
        name, msgtype = _get(topic, 'name', str), _get(topic, 'type', str)
        if name is None or msgtype is None:
            continue
        count = _get(entry, 'message_count', int)
        qos = tuple(read_qos((topic or {}).get('offered_qos_profiles')))
        # Once for each type or QoS.
        before = topics.get(name, ListedTopic(msgtype, 0, ()))
        topics[name] = ListedTopic(
            before.msgtype,
            None if count is None or before.count is None else before.count + count,
            before.qos + qos)
    files = [one for one in _get(bag, 'relative_file_paths', list) or [] if isinstance(one, str)]
    return Metadata(tuple(dict.fromkeys(files)), topics)


def read_qos(profiles: object) -> list[Qos]:
    """
    Return the QoS of a topic's publishers.

    :param profiles: a list or its YAML, depending on the version of rosbag2.
    :returns: an empty list if it cannot be parsed: a bag is readable without it.
    """
    try:
        items = _load(profiles.encode()) if isinstance(profiles, str) else profiles
        return parse_qos(items) if isinstance(items, list) else []
    except (BagError, ReaderError, AttributeError, KeyError, TypeError, ValueError):
        return []


def definition_of(encoding: object, text: Optional[str]) -> MessageDefinition:
    """
    Return the definition of a type as a file holds it.

    :param encoding: such as 'ros2msg'; a definition in an unknown one is left out.
    :param text: of the definition, empty or None without one.
    """
    if not text or encoding not in _FORMATS:
        return MessageDefinition(MessageDefinitionFormat.NONE, '')
    return MessageDefinition(_FORMATS[encoding], text)


def _load(text: bytes) -> Any:
    """Parse a document; one that would overflow stack or memory is refused."""
    depth = 0
    try:
        # Parsing events does not recurse, but building the document does, in C without a limit.
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise BagError(f'it is nested deeper than {_MAX_DEPTH}')
            # An alias is a reference, but a merge copies: a few lines can fill the memory.
            if isinstance(event, yaml.ScalarEvent) and event.value == '<<':
                raise BagError('it merges mappings with <<')
        return yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError) as error:  # such as a date of month 13
        mark = getattr(error, 'problem_mark', None)
        where = '' if mark is None else f', see line {mark.line + 1}'
        raise BagError(f'it is not YAML{where}') from error


def _get(mapping: object, key: str, kind: type[T]) -> Union[T, None]:
    """Return an entry of a mapping, None if either has another type."""
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
