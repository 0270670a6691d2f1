"""Bags as other tools and killed recorders leave them, written without the code under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import shutil
import sqlite3
from typing import Any, Optional

from mcap.writer import CompressionType, IndexType, Writer
from models.tiny_model import COLOURS
import numpy as np
from resnet_trt_node.bag.message_types import default_typestore, IMAGE
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.writer import RELIABLE_QOS
from rosbags.rosbag2.metadata import dump_qos_v8
import yaml

#: Topic, log time in nanoseconds, serialised message.
Row = tuple[str, int, bytes]

#: Nothing that a reader could find a message by.
UNINDEXED = {
    'index_types': IndexType.NONE, 'use_statistics': False, 'repeat_channels': False,
    'repeat_schemas': False, 'use_summary_offsets': False}


def image(number: int = 0, colour: str = 'red', size: tuple[int, int] = (6, 8)) -> bytes:
    """Return a serialised Image of one colour, whose stamp is its number in seconds."""
    types = default_typestore().types
    pixels = np.full((*size, 3), COLOURS[colour], np.uint8)
    header = types['std_msgs/msg/Header'](
        stamp=types['builtin_interfaces/msg/Time'](sec=number, nanosec=0), frame_id='camera')
    message = types[IMAGE](
        header=header, height=size[0], width=size[1], encoding='rgb8', is_bigendian=0,
        step=size[1] * 3, data=pixels.reshape(-1))
    return bytes(default_typestore().serialize_cdr(message, IMAGE, little_endian=True))


def images(topic: str, *times_ns: int, first: int = 0) -> list[Row]:
    """Return an image for each log time, numbered from `first`."""
    return [(topic, time_ns, image(first + place)) for place, time_ns in enumerate(times_ns)]


def write_mcap(
        path: Path, rows: Sequence[Row], *, profile: str = 'ros2',
        types: Optional[Mapping[str, tuple[str, str, str]]] = None, qos: str = '',
        **options: Any) -> Path:
    """
    Write a bare mcap file, messages in the order given.

    :param types: topic to type, encoding of its schema and of its messages; images if not given.
    :param qos: of every topic.
    :param options: of the mcap library's writer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    definition = default_typestore().generate_msgdef(IMAGE, ros_version=2)[0]
    with path.open('wb') as file:
        writer = Writer(file, **{'compression': CompressionType.NONE, **options})
        writer.start(profile=profile)
        channels: dict[str, int] = {}
        for topic, time_ns, data in rows:
            if topic not in channels:
                name, schema, encoding = (types or {}).get(topic, (IMAGE, 'ros2msg', 'cdr'))
                text = definition.encode() if schema in ('ros2msg', 'ros1msg') else b'{}'
                channels[topic] = writer.register_channel(
                    topic, encoding, writer.register_schema(name, schema, text),
                    {'offered_qos_profiles': qos})
            writer.add_message(channels[topic], time_ns % 2**64, data, time_ns % 2**64)
        writer.finish()
    return path


def write_database(path: Path, rows: Sequence[Row], pending: Sequence[Row] = ()) -> Path:
    """
    Write a database of rosbag2's second schema, without an index of the times.

    :param pending: messages that stay in a write-ahead log, as after a kill.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.parent / 'work'
    work.mkdir()
    database = sqlite3.connect(work / path.name, isolation_level=None)
    database.executescript(
        'CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, '
        'serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);'
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, '
        'timestamp INTEGER NOT NULL, data BLOB NOT NULL);')
    topics = list(dict.fromkeys(topic for topic, _, _ in [*rows, *pending]))
    for number, topic in enumerate(topics, start=1):
        database.execute(
            'INSERT INTO topics VALUES(?, ?, ?, ?, ?)', (number, topic, IMAGE, 'cdr', ''))

    def insert(some: Sequence[Row]) -> None:
        for topic, time_ns, data in some:
            database.execute(
                'INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)',
                (topics.index(topic) + 1, time_ns, data))

    insert(rows)
    if pending:
        database.execute('PRAGMA journal_mode=WAL')
        database.execute('PRAGMA wal_autocheckpoint=0')
        insert(pending)
    # While it is open, so that nothing is tidied up. The -shm file does not survive a reboot.
    for ending in ('', '-wal'):
        if (work / f'{path.name}{ending}').exists():
            shutil.copy(work / f'{path.name}{ending}', f'{path}{ending}')
    database.close()
    shutil.rmtree(work)
    return path


def write_metadata(
        folder: Path, files: Sequence[str], counts: Mapping[str, int], *, qos: bool = False,
        **changes: Any) -> Path:
    """
    Write a metadata.yaml.

    :param counts: topic to messages, as they are claimed to be.
    :param qos: whether the topics have one.
    :param changes: of the entries, None leaves one out.
    """
    information = {
        'version': 8, 'storage_identifier': 'mcap', 'relative_file_paths': list(files),
        'duration': {'nanoseconds': 1}, 'starting_time': {'nanoseconds_since_epoch': 0},
        'message_count': sum(counts.values()), 'compression_format': '', 'compression_mode': '',
        'topics_with_message_count': [
            {'message_count': count, 'topic_metadata': {
                'name': topic, 'type': IMAGE, 'serialization_format': 'cdr',
                'offered_qos_profiles': dump_qos_v8([RELIABLE_QOS]) if qos else '',
                'type_description_hash': f'RIHS01_{"0" * 64}'}}
            for topic, count in counts.items()],
        **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'metadata.yaml').write_text(yaml.safe_dump({'rosbag2_bagfile_information': {
        key: value for key, value in information.items() if value is not None}}))
    return folder


def read(path: Path) -> tuple[list[tuple[str, int, int]], list[str]]:
    """Return topic, log time and number of every image of a bag, and the warnings about it."""
    said: list[str] = []
    with BagReader(path, said.append) as bag:
        found = [
            (one.topic, one.log_time_ns, one.stamp_ns // 10**9) for one in bag.images()]
        assert bag.warnings == said
        assert all('\n' not in line for line in said)
    return found, said


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the bytes and time of every file of a folder, to see that nothing has changed."""
    return {
        name: ((folder / name).read_bytes(), (folder / name).stat().st_mtime_ns)
        for name in sorted(os.listdir(folder))}
