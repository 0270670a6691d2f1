"""What metadata.yaml lists and what is there: the files count, and differences are reported."""

from __future__ import annotations

from itertools import zip_longest
import os
from pathlib import Path
import re
import shutil
import socket
from typing import Optional

from bags.odd_bags import images, read, write_database, write_mcap, write_metadata
import pytest
from resnet_trt_node.bag.message_types import IMAGE
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.storage.metadata import read_metadata, read_qos
from resnet_trt_node.bag.storage.names import is_bag
from resnet_trt_node.bag.writer import RELIABLE_QOS
from resnet_trt_node.errors import BagError
from rosbags.rosbag2.metadata import dump_qos_v8
import zstandard

QOS = dump_qos_v8([RELIABLE_QOS])


def bag_of(folder: Path, counts: dict[str, int], **changes: object) -> Path:
    """Write a bag of two images each on /left and /right."""
    write_mcap(folder / 'a.mcap', [*images('/left', 1, 3), *images('/right', 2, 4)])
    return write_metadata(folder, ['a.mcap'], counts, **changes)


ALL = [('/left', 1, 0), ('/right', 2, 0), ('/left', 3, 1), ('/right', 4, 1)]


@pytest.mark.parametrize('in_file', ['', QOS, 'depth: [', '[{depth: 1}]', '7'])
@pytest.mark.parametrize('in_metadata', [False, True])
def test_qos_and_type_hash_are_no_filter(tmp_path: Path, in_file: str, in_metadata: bool) -> None:
    path = tmp_path / 'bag'
    write_mcap(path / 'a.mcap', images('/left', 1, 3), qos=in_file)
    write_metadata(path, ['a.mcap'], {'/left': 2}, qos=in_metadata)
    assert read(path) == ([ALL[0], ALL[2]], [])
    with BagReader(path) as bag:
        one, = bag.connections('/left')
        # The file's, that of the list where it has none.
        assert one.ext.offered_qos_profiles == (
            [RELIABLE_QOS] if in_metadata or in_file == QOS else [])


def test_both_cameras_are_read_where_one_has_a_qos(tmp_path: Path) -> None:
    path = tmp_path / 'bag'
    write_mcap(path / '0.mcap', images('/left', 1, 3), qos=QOS)
    write_mcap(path / '1.mcap', images('/right', 2, 4))
    write_metadata(path, ['0.mcap', '1.mcap'], {'/left': 2, '/right': 2})
    assert read(path) == (ALL, [])


@pytest.mark.parametrize(('counts', 'keywords'), [
    ({'/left': 2, '/right': 2}, None),
    ({'/left': 3, '/right': 2}, '/left: 2 .* 3'),
    ({'/left': 1, '/right': 2}, '/left: 2 .* 1'),
    ({'/left': 2}, '/right: 2 .*not list'),
    ({'/left': 2, '/right': 2, '/rear': 5}, '/rear: 0 .* 5'),
    ({'/left': 2, '/renamed': 2}, '/right: 2 .*not list.*/renamed: 0 .* 2')])
def test_what_was_counted_is_compared_with_what_was_read(
        tmp_path: Path, counts: dict[str, int], keywords: Optional[str]) -> None:
    path = bag_of(tmp_path / 'bag', counts)
    found, warnings = read(path)
    assert found == ALL
    assert len(warnings) == (keywords is not None)
    assert all(re.search(f'^{path}: {keywords}', line) for line in warnings)


def test_chosen_topics_alone_are_compared_and_warned_of_once(tmp_path: Path) -> None:
    path = bag_of(tmp_path / 'bag', {'/left': 2, '/right': 7})
    with BagReader(path, pytest.fail) as bag:
        assert len(list(bag.images(['/left']))) == 2
    with BagReader(path) as bag:
        for _ in range(3):
            list(bag.images(['right']))
        assert len(bag.warnings) == 1


def test_without_a_listener_it_is_logged(tmp_path: Path, caplog) -> None:
    path = bag_of(tmp_path / 'bag', {'/left': 2, '/right': 7})
    with BagReader(path) as bag:
        list(bag.images())
    assert [record.getMessage() for record in caplog.records] == bag.warnings != []


@pytest.mark.parametrize('missing', [
    'version', 'storage_identifier', 'duration', 'starting_time', 'message_count',
    'compression_format', 'compression_mode', 'topics_with_message_count'])
def test_no_field_is_needed(tmp_path: Path, missing: str) -> None:
    path = bag_of(tmp_path / 'bag', {'/left': 2, '/right': 2}, **{missing: None})
    assert read(path) == (ALL, [])


@pytest.mark.parametrize('changes', [
    {'version': 99}, {'storage_identifier': ''}, {'storage_identifier': 'sqlite3'},
    {'compression_mode': 'MESSAGE', 'compression_format': 'zstd'}, {'compression_format': 'lz4'},
    {'version': 'next'}, {'duration': 'long'}, {'message_count': 'many'},
    {'topics_with_message_count': [7, {}, {'topic_metadata': {'name': 3}}]},
    {'custom_data': {'who': 'I'}, 'ros_distro': 'zulu'}])
def test_no_value_of_a_field_keeps_anything_from_being_read(tmp_path: Path, changes: dict) -> None:
    path = bag_of(tmp_path / 'bag', {'/left': 2, '/right': 2}, **changes)
    assert read(path) == (ALL, [])


@pytest.mark.parametrize('paths', [None, [], [7]])
def test_without_a_list_of_files_those_that_are_there_are_read(
        tmp_path: Path, paths: object) -> None:
    path = bag_of(tmp_path / 'bag', {'/left': 2, '/right': 2}, relative_file_paths=paths)
    (path / '._a.mcap').write_bytes(b'Mac')
    found, (warning,) = read(path)
    assert found == ALL
    assert re.search(r'no files.* a\.mcap$', warning)
    (path / 'a.mcap').unlink()
    with pytest.raises(BagError, match='missing'):
        BagReader(path)


def test_files_that_are_not_listed_are_ignored(tmp_path: Path) -> None:
    path = bag_of(tmp_path / 'bag', {'/left': 2, '/right': 2})
    for name in ('._a.mcap', 'old.mcap', 'b.db3', 'c.bag'):
        (path / name).write_bytes(b'garbage')
    (path / 'more.mcap').mkdir()
    os.mkfifo(path / 'pipe.mcap')
    assert read(path) == (ALL, [])


@pytest.mark.parametrize('listed', [
    'bag/a.mcap', './a.mcap', '/old/place/bag/a.mcap', 'a.mcap.zstd', '../bag/a.mcap'])
def test_a_file_is_found_however_it_is_listed(tmp_path: Path, listed: str) -> None:
    path = bag_of(
        tmp_path / 'bag', {'/left': 2, '/right': 2}, relative_file_paths=[listed, 'a.mcap'])
    assert read(path) == (ALL, [])


def test_a_file_elsewhere_and_links(tmp_path: Path) -> None:
    path = bag_of(tmp_path / 'bag', {'/left': 2, '/right': 2})
    (path / 'a.mcap').rename(tmp_path / 'disk.mcap')
    write_metadata(path, [str(tmp_path / 'disk.mcap')], {'/left': 2, '/right': 2})
    assert read(path) == (ALL, [])
    (path / 'a.mcap').symlink_to(tmp_path / 'disk.mcap')
    (tmp_path / 'link').symlink_to(path)
    write_metadata(path, ['a.mcap'], {'/left': 2, '/right': 2})
    assert read(tmp_path / 'link') == read(Path(f'{tmp_path}/link/')) == (ALL, [])


def test_a_missing_and_an_empty_file_are_named_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / 'bag'
    write_mcap(path / '0.mcap', images('/left', 1))
    (path / '2.mcap').write_bytes(b'')
    write_metadata(path, ['0.mcap', '1.mcap', '2.mcap'], {'/left': 3})
    found, warnings = read(path)
    assert found == [('/left', 1, 0)]
    for warning, keyword in zip_longest(
            warnings, ('1.mcap is missing', '2.mcap is empty', '/left: 1 image')):
        assert keyword in warning
    (path / '0.mcap').unlink()
    with pytest.raises(BagError, match=r'0\.mcap'):
        BagReader(path)


def test_the_names_of_many_missing_files_are_cut(tmp_path: Path) -> None:
    path = bag_of(tmp_path / 'bag', {'/left': 2, '/right': 2})
    write_metadata(
        path, ['a.mcap', *(f'{place}.mcap' for place in range(900))], {'/left': 2, '/right': 2})
    _, (warning,) = read(path)
    assert '4.mcap and 895 more' in warning
    assert len(warning) < 200 + len(str(path))


@pytest.mark.parametrize('storage', ['mcap', 'db3'])
def test_a_split_recording_is_in_the_order_of_time(tmp_path: Path, storage: str) -> None:
    path = tmp_path / 'run'
    write = {'mcap': write_mcap, 'db3': write_database}[storage]
    # The second and third overlap, as caches of a recorder do.
    write(path / f'run_0.{storage}', images('/image', 0, 1))
    write(path / f'run_2.{storage}', images('/image', 20, 22, first=2))
    write(path / f'run_10.{storage}', images('/image', 21, 100, first=4))
    names = [f'run_{number}.{storage}' for number in (0, 10, 2)]
    write_metadata(path, names, {'/image': 6})
    assert read(path) == ([
        ('/image', 0, 0), ('/image', 1, 1), ('/image', 20, 2), ('/image', 21, 4),
        ('/image', 22, 3), ('/image', 100, 5)], [])
    with BagReader(path) as bag:
        assert len(bag.connections('/image')) == 1


def test_files_of_a_split_recording_are_open_only_while_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'bag'
    names = [f'{place}.mcap' for place in range(40)]
    for place, name in enumerate(names):
        write_mcap(path / name, images('/image', place, first=place))
    write_metadata(path, names[::-1], {'/image': 40})
    before = len(os.listdir('/proc/self/fd'))
    with BagReader(path) as bag:
        for place, one in enumerate(bag.images()):
            assert one.log_time_ns == place
            assert len(os.listdir('/proc/self/fd')) <= before + 2


@pytest.mark.parametrize('suffix', ['.zstd', '.zst'])
def test_packed_files(tmp_path: Path, suffix: str) -> None:
    path = bag_of(tmp_path / 'bag', {'/left': 2, '/right': 2})
    data = (path / 'a.mcap').read_bytes()
    (path / 'a.mcap').unlink()
    packed = path / f'a.mcap{suffix}'
    # In two frames, as tools that use several processors write it.
    packed.write_bytes(zstandard.compress(data[:999]) + zstandard.compress(data[999:]))
    assert is_bag(packed)
    assert read(packed) == read(path) == (ALL, [])
    write_metadata(path, [packed.name], {'/left': 2, '/right': 2}, compression_mode='FILE')
    assert read(path) == (ALL, [])


@pytest.mark.parametrize(('content', 'keyword'), [
    (b'garbage', 'zstd'), (b'\x28\xb5\x2f\xfdgarbage', 'damaged'),
    (zstandard.compress(b'garbage'), 'zstd -d ')])
def test_packed_files_that_are_damaged(
        tmp_path: Path, monkeypatch, content: bytes, keyword: str) -> None:
    scratch = tmp_path / 'scratch'
    scratch.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(scratch))
    (tmp_path / 'a.mcap.zstd').write_bytes(content)
    with pytest.raises(BagError, match=keyword) as caught:
        BagReader(tmp_path / 'a.mcap.zstd')
    assert str(scratch) not in str(caught.value)
    assert os.listdir(scratch) == []


def test_no_space_to_unpack(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')
    (tmp_path / 'a.mcap.zstd').write_bytes(zstandard.compress(b'x'))
    monkeypatch.setattr('shutil.copyfileobj', full)
    with pytest.raises(BagError, match='TMPDIR'):
        BagReader(tmp_path / 'a.mcap.zstd')


@pytest.mark.parametrize('name', ['pipe.mcap', 'pipe.db3', 'pipe.bag', 'bag/metadata.yaml'])
def test_a_pipe_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / 'bag').mkdir()
    os.mkfifo(tmp_path / name)
    with pytest.raises(BagError, match='named pipe'):
        BagReader(tmp_path / name)


@pytest.mark.slow
def test_a_listed_pipe_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    path = bag_of(tmp_path / 'bag', {})
    (path / 'a.mcap').unlink()
    os.mkfifo(path / 'a.mcap')
    with pytest.raises(BagError, match=r'a\.mcap: it is a named pipe'):
        BagReader(path)
    (tmp_path / 'zero.mcap').symlink_to('/dev/zero')
    for device in (tmp_path / 'zero.mcap', Path('/dev/zero')):
        with pytest.raises(BagError, match='device'):
            BagReader(device)
    with socket.socket(socket.AF_UNIX) as one:
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            one.bind(f'/proc/self/fd/{folder}/s.db3')
        finally:
            os.close(folder)
        with pytest.raises(BagError, match='socket'):
            BagReader(tmp_path / 's.db3')


def test_a_metadata_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = bag_of(tmp_path / 'bag', {})
    os.truncate(path / 'metadata.yaml', 2**33)
    with pytest.raises(BagError, match='more than 16777216 bytes'):
        BagReader(path)


def test_aliases_are_understood(tmp_path: Path) -> None:
    # rosbags writes them.
    path = tmp_path / 'metadata.yaml'
    path.write_text(
        'rosbag2_bagfile_information:\n  relative_file_paths: &files [a.mcap]\n  again: *files\n')
    assert read_metadata(path).files == ('a.mcap',)


def test_a_topic_listed_twice_counts_both(tmp_path: Path) -> None:
    path = tmp_path / 'metadata.yaml'
    entry = f'{{topic_metadata: {{name: /i, type: {IMAGE}}}, message_count: '
    path.write_text(
        'rosbag2_bagfile_information:\n  topics_with_message_count:\n'
        f'  - {entry} 2}}\n  - {entry} 3}}\n')
    assert read_metadata(path).topics['/i'].count == 5


@pytest.mark.parametrize('profiles', [None, 7, '', '[' * 99, 'x', '- {depth: 1}', [{}], [7]])
def test_a_qos_that_cannot_be_understood_is_none(profiles: object) -> None:
    assert read_qos(profiles) == []


def test_a_folder_of_pictures_with_what_macos_leaves_is_no_bag(tmp_path: Path) -> None:
    (tmp_path / '._drive.mcap').write_bytes(b'Mac')
    (tmp_path / 'cat.bag').mkdir()
    assert not is_bag(tmp_path)
    shutil.copy(tmp_path / '._drive.mcap', tmp_path / 'drive.mcap')
    assert is_bag(tmp_path)
