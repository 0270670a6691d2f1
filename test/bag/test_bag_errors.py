"""Bags that cannot be read or written: one line with the cause and the fix, nothing left."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

from bags.image_bags import BagWriter
from bags.sample_bags import pixels_of, write_bag
import numpy as np
import pytest
from resnet_trt_node.bag.message_types import default_typestore, IMAGE
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.errors import BagError, UsageError
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores


def refusal(path) -> str:
    """Return the one line with which a bag is refused."""
    with pytest.raises(BagError) as caught, BagReader(path) as bag:
        list(bag.images())
    message = str(caught.value)
    assert '\n' not in message
    assert path.name in message
    return message


def test_a_missing_path(tmp_path):
    assert 'nowhere' in refusal(tmp_path / 'nowhere')


def test_a_folder_that_is_no_bag(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    assert 'metadata.yaml' in refusal(folder)


@pytest.mark.parametrize('bare', [False, True])
def test_a_cut_off_mcap_without_a_message(tmp_path, bare):
    path = write_bag(tmp_path / 'bag')
    file = path / 'bag.mcap'
    os.truncate(file, 100)
    message = refusal(file if bare else path)
    assert f'{file}: it was cut off' in message
    assert 'no message is complete' in message


def test_a_folder_of_both_kinds_without_metadata_may_have_all_images_twice(tmp_path):
    for storage in ('mcap', 'sqlite3'):
        write_bag(tmp_path / storage / 'bag', storage=storage)
    path = tmp_path / 'both'
    path.mkdir()
    for file in ('mcap/bag/bag.mcap', 'sqlite3/bag/bag.db3'):
        shutil.copy(tmp_path / file, path)
    assert 'name one of its files' in refusal(path)


def test_a_folder_of_empty_files_without_metadata(tmp_path):
    path = tmp_path / 'bag'
    path.mkdir()
    (path / 'a.mcap').touch()
    assert 'is empty' in refusal(path)


def test_a_cut_off_sqlite_database(tmp_path):
    path = write_bag(tmp_path / 'bag', storage='sqlite3')
    os.truncate(path / 'bag.db3', (path / 'bag.db3').stat().st_size // 2)
    assert 'cannot read the bag' in refusal(path)


@pytest.mark.parametrize(('name', 'keyword'), [
    ('a.mcap', 'mcap'), ('a.db3', 'SQLite'), ('a.bag', 'ROS 1'), ('a.mp4', 'rosbag2')])
@pytest.mark.parametrize('content', [b'', b'garbage' * 100])
def test_files_that_are_no_bags(tmp_path, name, keyword, content):
    file = tmp_path / name
    file.write_bytes(content)
    assert keyword in refusal(file)


def test_an_mcap_of_nothing_but_its_first_bytes_was_cut_off(tmp_path):
    # Its last eight bytes are the right ones too.
    (tmp_path / 'a.mcap').write_bytes(b'\x89MCAP0\r\n')
    assert 'cut off' in refusal(tmp_path / 'a.mcap')


def test_a_folder_in_place_of_a_file(tmp_path):
    path = write_bag(tmp_path / 'bag')
    (path / 'bag.mcap').unlink()
    (path / 'bag.mcap').mkdir()
    assert 'bag.mcap: it is a folder' in refusal(path)


def test_files_with_nothing_but_the_right_first_bytes(tmp_path):
    for name, head in (
            ('a.mcap', b'\x89MCAP0\r\n' + bytes(99) + b'\x89MCAP0\r\n'),
            ('a.db3', b'SQLite format 3\x00' + b'x' * 999),
            ('a.bag', b'#ROSBAG V2.0\n' + b'x' * 999)):
        (tmp_path / name).write_bytes(head)
        assert 'cannot read the bag' in refusal(tmp_path / name)


@pytest.mark.parametrize(('text', 'keyword'), [
    ('', 'empty'), ('[', 'line 2'), ('{}', 'rosbag2_bagfile_information'),
    ('7', 'rosbag2_bagfile_information'), ('a: 2001-13-01', 'YAML'), (b'\xff\xfe\x00', 'YAML'),
    # libyaml may have a limit of its own, of 1,000.
    ('[' * 900, 'nested'), ('[' * 100_000, 'damaged'), ('a: &a {b: 1}\nc: {<<: [*a, *a]}', '<<')])
def test_a_bag_with_broken_metadata(tmp_path, text, keyword):
    path = write_bag(tmp_path / 'my bag')
    (path / 'metadata.yaml').write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refusal(path)
    assert 'metadata.yaml' in message
    assert keyword in message
    assert 'remove it' in message
    (path / 'metadata.yaml').unlink()
    with BagReader(path, lambda _: None) as bag:
        assert len(list(bag.images())) == 6


def test_a_bag_whose_file_is_gone(tmp_path):
    path = write_bag(tmp_path / 'bag')
    (path / 'bag.mcap').unlink()
    assert 'missing' in refusal(path)


def test_a_damaged_chunk_is_found_while_reading(tmp_path):
    path = tmp_path / 'bag'
    store = default_typestore()
    with BagReader(write_bag(tmp_path / 'good')) as good:
        images = list(good.images(['/front/image']))
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection('/image', IMAGE, typestore=store)
        for image in images:
            writer.write(connection, image.log_time_ns, image.raw)
    data = bytearray((path / 'bag.mcap').read_bytes())
    at = data.index(b'\x28\xb5\x2f\xfd')  # where zstd starts
    data[at:at + 100] = bytes(100)
    (path / 'bag.mcap').write_bytes(data)
    assert 'cannot read the bag' in refusal(path)


@pytest.mark.parametrize('storage', ['MCAP', 'SQLITE3'])
def test_an_empty_bag(tmp_path, storage):
    with Writer(
            tmp_path / 'bag', version=8,
            storage_plugin=getattr(StoragePlugin, storage)) as writer:
        writer.add_connection('/image', IMAGE, typestore=default_typestore())
    before = len(os.listdir('/proc/self/fd'))
    with pytest.raises(BagError) as caught:
        BagReader(tmp_path / 'bag')
    # `caught` keeps all that the traceback refers to.
    assert len(os.listdir('/proc/self/fd')) == before, caught
    assert 'is empty' in refusal(tmp_path / 'bag')


def test_a_message_that_is_not_of_the_type_of_its_topic(tmp_path):
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/image', IMAGE, typestore=default_typestore())
        writer.write(connection, 42, b'\x00\x01\x00\x00\x01')
    message = refusal(tmp_path / 'bag')
    assert '/image' in message
    assert '42 ns' in message


def test_a_type_that_the_bag_defines_otherwise(tmp_path):
    full, store = default_typestore(), get_typestore(Stores.EMPTY)
    store.register({name: full.fielddefs[name] for name in (IMAGE, 'builtin_interfaces/msg/Time')})
    store.register(get_types_from_msg(
        'builtin_interfaces/Time stamp\nstring frame\n', 'std_msgs/msg/Header'))
    stamp = store.types['builtin_interfaces/msg/Time'](1, 2)
    header = store.types['std_msgs/msg/Header'](stamp, 'front')
    image = store.types[IMAGE](header, 2, 2, 'mono8', 0, 2, np.zeros(4, np.uint8))
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/odd', IMAGE, typestore=store)
        writer.write(connection, 42, store.serialize_cdr(image, IMAGE))
    assert f'definition of {IMAGE}' in refusal(tmp_path / 'bag')


def test_topics_that_cannot_be_had(tmp_path):
    with BagWriter(tmp_path / 'labels') as writer:
        writer.write_classification('/labels', 1, '', [])
    assert '/labels (vision_msgs/msg/Classification, 1)' in refusal(tmp_path / 'labels')
    with BagWriter(tmp_path / 'both') as writer:
        writer.write_classification('/labels', 1, '', [])
        writer.write_image('/image', pixels_of(0), 1, '')
    with BagReader(tmp_path / 'both') as bag:
        with pytest.raises(BagError, match='/rear'):
            bag.images(['/rear'])
        with pytest.raises(BagError, match='/labels'):
            bag.image_count(['/labels'])
        with pytest.raises(BagError, match='rear'):
            bag.raw_messages(['rear'])


def test_nothing_is_left_after_an_exception(tmp_path):
    def fail_midway():
        with BagWriter(tmp_path / 'very' / 'new' / 'bag') as writer:
            writer.write_image('/image', pixels_of(0), 1, '')
            raise KeyError

    before = len(os.listdir('/proc/self/fd'))
    with pytest.raises(KeyError) as caught:
        fail_midway()
    assert list((tmp_path / 'very' / 'new').iterdir()) == []
    # `caught` keeps all that the traceback refers to.
    assert len(os.listdir('/proc/self/fd')) == before, caught


def test_a_bag_without_messages_is_not_made(tmp_path):
    with pytest.raises(BagError, match='no message'), BagWriter(tmp_path / 'bag'):
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_the_bag_appears_and_only_at_the_end(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_image('/image', pixels_of(0), 1, '')
        assert not (tmp_path / 'bag').exists()
    assert [path.name for path in tmp_path.iterdir()] == ['bag']
    assert sorted(path.name for path in (tmp_path / 'bag').iterdir()) == [
        'bag.mcap', 'metadata.yaml']


def test_an_existing_path_is_never_overwritten(tmp_path):
    (tmp_path / 'bag').write_text('mine')
    with pytest.raises(BagError, match='exists'):
        BagWriter(tmp_path / 'bag')
    assert (tmp_path / 'bag').read_text() == 'mine'
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    with pytest.raises(BagError, match='exists'):
        BagWriter(tmp_path / 'link')
    (tmp_path / 'link').unlink()
    writer = BagWriter(tmp_path / 'b')
    writer.write_image('/image', pixels_of(0), 1, '')
    (tmp_path / 'b').write_text('faster')
    with pytest.raises(BagError, match='meanwhile'):
        writer.finish()
    assert (tmp_path / 'b').read_text() == 'faster'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['b', 'bag']


def test_what_a_writer_refuses(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(BagError, match='cannot write'):
        BagWriter(tmp_path / 'file' / 'bag')
    with pytest.raises(UsageError, match='hdf5'):
        BagWriter(tmp_path / 'bag', 'hdf5')
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_image('/image', pixels_of(0), 1, '')
        with pytest.raises(UsageError, match='class_id_format'):
            writer.write_classification('/l', 1, '', [], 'name')
        with pytest.raises(BagError, match='/image'):
            writer.write_compressed('/image', b'', 'png', 1, '')
    shutil.rmtree(tmp_path / 'bag')


FULL_DISK = '\n'.join([
    'import resource, signal, sys',
    'sys.path[:0] = {path!r}',
    'from bags.image_bags import BagWriter',
    'from resnet_trt_node.errors import BagError',
    'from bags.sample_bags import pixels_of',
    'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)',
    'resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))',
    'try:',
    '    with BagWriter({bag!r}, {storage!r}) as writer:',
    '        for index in range({frames}):',
    "            writer.write_image('/image', pixels_of(index), 1 + index, '')",
    'except BagError as error:',
    '    print(error)',
])


@pytest.mark.slow
@pytest.mark.parametrize(('limit', 'frames'), [(0, 1), (200_000, 25), (200_000, 300)])
@pytest.mark.parametrize(('storage', 'reason'), [
    ('mcap', 'File too large'), ('sqlite3', 'disk I/O error|disk is full')])
def test_a_full_disk_is_reported_in_one_line_and_nothing_is_left(
        tmp_path, storage, reason, limit, frames):
    # SQLite writes at the start, a few frames when it finishes, many earlier.
    script = FULL_DISK.format(
        path=sys.path, bag=str(tmp_path / 'bag'), storage=storage, limit=limit,
        frames=frames)
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(f'cannot write the bag .*/bag: ({reason})\n', done.stdout)
    assert list(tmp_path.iterdir()) == []
