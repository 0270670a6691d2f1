"""Bags of killed recorders and without metadata.yaml: what is there is read, and that is said."""

from __future__ import annotations

from pathlib import Path
import re
import shutil

from bags.odd_bags import contents, image, images, read, write_database, write_mcap, write_metadata
from mcap.writer import CompressionType
import numpy as np
import pytest
from resnet_trt_node.bag.storage import mcap_file
from resnet_trt_node.errors import BagError
import zstandard

KINDS = {
    'unchunked': {'use_chunking': False}, 'chunks of one': {'chunk_size': 1},
    'zstd': {'chunk_size': 1, 'compression': CompressionType.ZSTD},
    'lz4': {'chunk_size': 1, 'compression': CompressionType.LZ4}}
ONE_CHUNK = {
    name: {'compression': compression} for name, compression in (
        ('plain', CompressionType.NONE), ('zstd', CompressionType.ZSTD),
        ('lz4', CompressionType.LZ4))}
#: In the order of writing, so that sorting shows.
TIMES = (10, 30, 20, 40)
WRITTEN = [('/i', time, number) for number, time in enumerate(TIMES)]


def noise(number: int) -> bytes:
    """Return a serialised Image of 360 kB that cannot be compressed."""
    data = bytearray(image(number, size=(300, 400)))
    data[-360_000:] = np.random.default_rng(number).bytes(360_000)
    return bytes(data)


def by_time(rows: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Return topic, log time and number in the order in which they are read."""
    return sorted(rows, key=lambda one: one[1])


def read_cut(path: Path) -> tuple[list[tuple[str, int, int]], str]:
    """Return what `read` finds, and the warning, or nothing and why the bag is refused."""
    try:
        found, (said,) = read(path)
    except BagError as error:
        return [], str(error)
    return found, said


def without_end(data: bytes) -> bytes:
    """Return an mcap file without the record that ends the messages, and all behind it."""
    return data[:data.rindex(b'\x0f' + (4).to_bytes(8, 'little'))]


@pytest.mark.parametrize('kind', KINDS)
def test_a_file_may_end_anywhere(tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'cut.mcap'
    data = write_mcap(path, images('/i', *TIMES), **KINDS[kind]).read_bytes()
    end_of_messages = len(without_end(data))
    counts = set()
    # Within records, and with all messages but without each part of the end.
    for end in [*range(8, end_of_messages, 41), end_of_messages, end_of_messages + 13,
                len(data) - 9, len(data) - 1]:
        path.write_bytes(data[:end])
        before = contents(tmp_path)
        found, said = read_cut(path)
        assert f'{path}: it was cut off' in said
        assert '\n' not in said
        # The first ones that were written, whatever their times.
        assert found == by_time(WRITTEN[:len(found)])
        assert end < end_of_messages or len(found) == len(TIMES)
        assert re.search({
            0: 'no message is complete', 1: 'its first message is complete'}.get(
                len(found), f'first {len(found)} messages are complete|all can be read'), said)
        assert contents(tmp_path) == before
        counts.add(len(found))
    assert counts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize('kind', ONE_CHUNK)
def test_the_complete_messages_of_a_chunk_that_is_cut_off(tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'a.mcap'
    # Of noise, which is compressed by blocks and stays as large as it was.
    rows = [('/i', time, noise(number)) for number, time in enumerate(TIMES)]
    data = write_mcap(path, rows, chunk_size=10 * 2**20, **ONE_CHUNK[kind]).read_bytes()
    for share, complete in ((0.05, 0), (0.3, 1), (0.55, 2), (0.8, 3), (0.99, 3)):
        path.write_bytes(data[:int(len(without_end(data)) * share)])
        found, said = read_cut(path)
        assert 'it was cut off, as by a killed recorder' in said
        assert found == by_time(WRITTEN[:len(found)])
        # The end of a message may be in a block that is not complete.
        assert len(found) in ((complete,) if kind == 'plain' else (complete - 1, complete))


def test_a_disk_that_fails_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mcap(tmp_path / 'cut.mcap', images('/i', *TIMES))
    path.write_bytes(without_end(path.read_bytes()))

    def fail(*_: object) -> None:
        raise OSError('Input/output error')

    monkeypatch.setattr(mcap_file, '_scan_record', fail)
    with pytest.raises(BagError, match='Input/output error'):
        read(path)


@pytest.mark.parametrize('kind', KINDS)
def test_zeros_at_the_end_of_a_file(tmp_path: Path, kind: str) -> None:
    path = write_mcap(tmp_path / 'a.mcap', images('/i', *TIMES), **KINDS[kind])
    path.write_bytes(without_end(path.read_bytes()) + bytes(5000))
    found, (said,) = read(path)
    assert found == by_time(WRITTEN)
    assert 'its first 4 messages are' in said


def test_a_damaged_chunk_at_the_end(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'a.mcap', images('/i', *TIMES), chunk_size=1)
    data = without_end(path.read_bytes())
    # In the pixels of the last image; what follows them is the index of its chunk.
    at = data.rindex(b'\xff\x00\x00' * 20)
    path.write_bytes(data[:at] + bytes(9) + data[at + 9:])
    found, (said,) = read(path)
    assert found == by_time(WRITTEN[:3])
    assert 'its first 3 messages are' in said


@pytest.mark.parametrize('ending', ['.zst', '.zstd'])
def test_a_bare_compressed_file(tmp_path: Path, ending: str) -> None:
    plain = write_mcap(tmp_path / 'a.mcap', images('/i', *TIMES))
    path = tmp_path / f'b.mcap{ending}'
    path.write_bytes(zstandard.compress(plain.read_bytes()))
    assert read(path) == (by_time(WRITTEN), [])
    path.write_bytes(zstandard.compress(without_end(plain.read_bytes())))
    found, (said,) = read(path)
    assert found == by_time(WRITTEN)
    assert said.startswith(f'{path}: it was cut off')


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('suffix', ['.mcap', '.db3'])
def test_a_folder_without_metadata_is_one_recording(
        tmp_path: Path, suffix: str, packed: bool) -> None:
    folder = tmp_path / 'drive'
    write = write_mcap if suffix == '.mcap' else write_database
    # By their names run_10 comes before run_2.
    for name, first in (('run_0', 0), ('run_2', 2), ('run_10', 4)):
        path = write(folder / f'{name}{suffix}', images('/i', first, first + 1, first=first))
        if packed:
            path.with_name(f'{path.name}.zstd').write_bytes(zstandard.compress(path.read_bytes()))
            path.unlink()
    (folder / f'.hidden{suffix}').write_bytes(b'made by macOS')
    (folder / f'run_11{suffix}').touch()
    found, (said,) = read(folder)
    assert found == [('/i', place, place) for place in range(6)]
    assert said.startswith(f'{folder}: it has no metadata.yaml')
    assert f'run_10{suffix}' in said


def test_an_unpacked_file_beside_its_compressed_one_is_read_once(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive' / 'a.mcap', images('/i', *TIMES))
    (path.parent / 'a.mcap.zst').write_bytes(zstandard.compress(path.read_bytes()))
    found, (said,) = read(path.parent)
    assert found == by_time(WRITTEN)
    assert said.endswith(': a.mcap')


@pytest.mark.parametrize('listed', [False, True])
def test_the_last_file_of_a_split_recording_is_unfinished(tmp_path: Path, listed: bool) -> None:
    folder = tmp_path / 'drive'
    write_mcap(folder / 'a_0.mcap', images('/i', *TIMES))
    last = write_mcap(folder / 'a_1.mcap', images('/i', 50, 60, first=4), use_chunking=False)
    last.write_bytes(without_end(last.read_bytes())[:-100])
    if listed:
        write_metadata(folder, ['a_0.mcap', 'a_1.mcap'], {'/i': 6})
    found, said = read(folder)
    assert found == by_time([*WRITTEN, ('/i', 50, 4)])
    assert sum(f'{last}: it was cut off' in line for line in said) == 1
    assert sum('6' in line and 'metadata.yaml counts' in line for line in said) == listed
    assert len(said) == 2


def test_a_killed_recorder_leaves_a_database_and_its_log_but_no_metadata(tmp_path: Path) -> None:
    folder = tmp_path / 'drive'
    write_database(folder / 'a.db3', images('/i', 1, 2), images('/i', 3, first=2))
    found, (said,) = read(folder)
    assert found == [('/i', 1, 0), ('/i', 2, 1), ('/i', 3, 2)]
    assert 'no metadata.yaml' in said


def test_a_moved_folder_of_a_finished_bag_needs_no_metadata(tmp_path: Path) -> None:
    write_mcap(tmp_path / 'bag' / 'a.mcap', images('/i', *TIMES))
    write_metadata(tmp_path / 'bag', ['a.mcap'], {'/i': 4})
    assert read(tmp_path / 'bag') == (by_time(WRITTEN), [])
    shutil.copytree(tmp_path / 'bag', tmp_path / 'copy', ignore=lambda *_: ['metadata.yaml'])
    assert read(tmp_path / 'copy')[0] == by_time(WRITTEN)
