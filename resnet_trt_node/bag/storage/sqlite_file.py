"""One database of rosbag2, including the write-ahead log of a killed recorder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
import os
from pathlib import Path
import shlex
from typing import Any
from urllib.parse import quote

import apsw
import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.bag.storage.merging import EVERYTHING, Span, Stored
from resnet_trt_node.bag.storage.metadata import definition_of, read_qos
from resnet_trt_node.errors import BagError
from rosbags.interfaces import Connection, ConnectionExtRosbag2

# A journal with this magic number holds the pages that an unfinished transaction has overwritten.
_JOURNAL_MAGIC = bytes.fromhex('d9d505f920a163d7')


class SqliteFile:
    """
    A database of rosbag2; it is open only while it is read, and never written.

    :param path: the .db3 file.
    :raises BagError: if it is not one of rosbag2, or has an unfinished transaction.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: What is missing, '' if nothing is.
        self.note = ''
        with closing(_open(path)) as database:
            tables = {name for name, in database.execute('SELECT name FROM sqlite_master')}
            if not {'topics', 'messages'} <= tables:
                raise BagError(
                    f'{path} is not a bag: it is an SQLite database without the tables topics and '
                    'messages')
            found = list(database.execute(
                'SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages '
                'GROUP BY topic_id'))
            counts = {topic: count for topic, count, _, _ in found}
            definitions = {
                row['topic_type']: row for row in _rows(database, 'message_definitions')
            } if 'message_definitions' in tables else {}
            #: The topics, with the number of their messages.
            self.connections = [
                _connection(row, definitions.get(row['type'], {}), counts.get(row['id'], 0))
                for row in _rows(database, 'topics')]
        self.start_ns = min((first for _, _, first, _ in found), default=0)
        self.end_ns = max((last for _, _, _, last in found), default=0)

    def log_times(self, wanted: Mapping[int, Connection]) -> dict[int, NDArray[np.int64]]:
        """Return the log times of connections, by their ids, in any order."""
        with closing(_open(self.path)) as database:
            return {topic: np.array([time_ns for time_ns, in database.execute(
                'SELECT timestamp FROM messages WHERE topic_id = ?', (topic,))], np.int64)
                for topic in wanted}

    def messages(
            self, wanted: Mapping[int, Connection], span: Span = EVERYTHING) -> Iterator[Stored]:
        """Yield the messages of connections, by their ids, in the order of their log times."""
        marks = ','.join('?' * len(wanted))
        # SQLite's integers are no larger.
        within = (span.start_ns, min(span.end_ns - 1, 2**63 - 1))
        with closing(_open(self.path)) as database:
            # The data is queried separately: without an index on the times SQLite sorts all rows
            # of this query in memory.
            for row, topic, time_ns in database.execute(
                    'SELECT rowid, topic_id, timestamp FROM messages '
                    f'WHERE topic_id IN ({marks}) AND timestamp BETWEEN ? AND ? '
                    'ORDER BY timestamp, rowid', (*wanted, *within)):
                # Of any type, since SQLite takes text or nothing too; no message is then empty.
                (data,), = database.execute(
                    'SELECT CAST(data AS BLOB) FROM messages WHERE rowid = ?', (row,))
                yield Stored(time_ns, wanted[topic], bytes(data or b''))


def _open(path: Path) -> apsw.Connection:
    journal, log = (path.with_name(path.name + ending) for ending in ('-journal', '-wal'))
    if journal.is_file() and _starts_with(journal, _JOURNAL_MAGIC):
        raise BagError(
            f'cannot read the bag {path}: {journal.name} beside it holds an unfinished '
            'transaction. Copy both files to a writable folder, run '
            f"`sqlite3 {shlex.quote(path.name)} 'SELECT count(*) FROM messages'` there, which "
            'rolls it back, and name the copy')
    if not (log.is_file() and log.stat().st_size):
        # Immutable: without locks.
        return _connect(path, 'immutable=1', 'unix')
    # The index of the log is kept in memory: exclusive mode needs no -shm file, unix-none needs no
    # locks and so no write permission, and there is no checkpoint at the end.
    database = _connect(path, 'mode=ro', 'unix-none')
    database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    database.execute('PRAGMA locking_mode=EXCLUSIVE').fetchall()
    return database


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open('rb') as file:
        return file.read(len(magic)) == magic


def _connect(path: Path, options: str, vfs: str) -> apsw.Connection:
    return apsw.Connection(
        f'file:{quote(os.fsencode(path.absolute()))}?{options}',
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, vfs=vfs)


def _rows(database: apsw.Connection, table: str) -> list[dict[str, Any]]:
    """Return all rows of a table as mappings: later versions have more columns."""
    columns = [row[1] for row in database.execute(f'PRAGMA table_info({table})')]
    return [dict(zip(columns, row)) for row in database.execute(f'SELECT * FROM {table}')]


def _connection(topic: dict[str, Any], definition: dict[str, Any], count: int) -> Connection:
    return Connection(
        topic['id'], topic['name'], topic['type'],
        definition_of(definition.get('encoding'), definition.get('encoded_message_definition')),
        topic.get('type_description_hash') or '', count,
        ConnectionExtRosbag2(
            topic.get('serialization_format') or 'cdr',
            read_qos(topic.get('offered_qos_profiles'))),
        None)
