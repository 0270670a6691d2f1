"""Databases of killed recorders, in odd places and of old versions; none is changed."""

from __future__ import annotations

import os
from pathlib import Path
import sqlite3

from bags.odd_bags import contents, images, read, write_database, write_metadata
import pytest
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.errors import BagError

EIGHT = images('/image', *range(8))
#: What `read` makes of them.
READ = [('/image', place, place) for place in range(8)]


def lock(folder: Path) -> None:
    """Let nobody write into a folder; to root it makes no difference."""
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


@pytest.mark.parametrize('locked', [False, True])
@pytest.mark.parametrize('bare', [False, True])
def test_what_is_in_the_write_ahead_log_is_read(tmp_path: Path, locked: bool, bare: bool) -> None:
    folder = tmp_path / 'bag'
    file = write_database(folder / 'bag_0.db3', EIGHT[:3], EIGHT[3:])
    assert (folder / 'bag_0.db3-wal').stat().st_size
    write_metadata(folder, ['bag_0.db3'], {'/image': 8}, storage_identifier='sqlite3')
    if locked:
        lock(folder)
    before = contents(folder)
    try:
        assert read(file if bare else folder) == (READ, [])
        assert contents(folder) == before
    finally:
        folder.chmod(0o755)


@pytest.mark.slow
def test_a_folder_that_this_user_cannot_write(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip('only root can become another user')
    folder = tmp_path / 'bag'
    write_database(folder / 'bag_0.db3', EIGHT[:3], EIGHT[3:])
    lock(folder)
    for place in (tmp_path, *tmp_path.parents[:-2]):
        place.chmod(place.stat().st_mode | 0o055)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setuid(65534)
            code = 0 if read(folder / 'bag_0.db3') == (READ, []) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(os.listdir(folder)) == ['bag_0.db3', 'bag_0.db3-wal']


def test_a_log_that_holds_nothing(tmp_path: Path) -> None:
    file = write_database(tmp_path / 'bag' / 'a.db3', EIGHT)
    (tmp_path / 'bag' / 'a.db3-wal').write_bytes(b'')
    before = contents(tmp_path / 'bag')
    assert read(file) == (READ, [])
    assert contents(tmp_path / 'bag') == before


def test_a_change_that_was_broken_off_is_refused_with_the_way(tmp_path: Path) -> None:
    file = write_database(tmp_path / 'my bag' / 'a b.db3', EIGHT)
    journal = tmp_path / 'my bag' / 'a b.db3-journal'
    journal.write_bytes(bytes.fromhex('d9d505f920a163d7') + bytes(600))
    before = contents(tmp_path / 'my bag')
    with pytest.raises(BagError) as caught:
        BagReader(file)
    assert "`sqlite3 'a b.db3' 'SELECT" in str(caught.value)
    assert contents(tmp_path / 'my bag') == before
    journal.write_bytes(bytes(600))  # one that SQLite has finished with
    assert read(file) == (READ, [])


@pytest.mark.parametrize('name', [
    'run#3', 'why?', '100%', 'a%20b', 'ä ö', 'a&b=c', "it's", 'x?mode=rwc', 'line\nbreak'])
def test_any_path_opens(tmp_path: Path, name: str) -> None:
    file = write_database(tmp_path / name / f'{name}.db3', EIGHT[:3], EIGHT[3:])
    assert read(file) == (READ, [])
    Path(f'{file}-wal').unlink()
    assert read(file)[0] == READ[:3]


def test_a_path_that_is_not_unicode(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b'caf\xe9')
    assert read(write_database(folder / 'a.db3', EIGHT)) == (READ, [])


def test_without_an_index_the_order_is_that_of_time(tmp_path: Path) -> None:
    rows = [*images('/image', 30, 10, 20), *images('/image', -5, first=3)]
    assert read(write_database(tmp_path / 'a.db3', rows)) == ([
        ('/image', -5, 3), ('/image', 10, 1), ('/image', 20, 2), ('/image', 30, 0)], [])


def test_other_databases_are_no_bags(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / 'a.db3') as database:
        database.execute('CREATE TABLE cookies(id INTEGER)')
    database.close()
    with pytest.raises(BagError, match='tables'):
        BagReader(tmp_path / 'a.db3')


def test_damage_is_reported_with_the_command_that_helps(tmp_path: Path) -> None:
    path = write_database(tmp_path / 'a.db3', images('/image', *range(200)))
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b'\xff' * 8192 + data[3 * 4096:])
    with pytest.raises(BagError) as caught, BagReader(path) as bag:
        list(bag.images())
    assert f'{path}: it is damaged' in str(caught.value)
    assert f'`sqlite3 {path} .recover' in str(caught.value)


@pytest.mark.parametrize('data', ['text', 7])
def test_a_row_that_is_no_blob_costs_no_other(tmp_path: Path, data: object) -> None:
    rows = [*EIGHT[:2], ('/image', 2, data), *images('/image', 3, first=3)]
    found, warnings = read(write_database(tmp_path / 'a.db3', rows))
    assert found == [('/image', 0, 0), ('/image', 1, 1), ('/image', 3, 3)]
    assert '/image: 1 of 4 images' in warnings[0]
