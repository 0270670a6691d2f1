"""Mcap files of other tools: all images are read in the order of time, whatever is beside."""

from __future__ import annotations

from pathlib import Path
import re
import tracemalloc

from bags.odd_bags import image, images, read, UNINDEXED, write_mcap, write_metadata
from mcap.writer import CompressionType, IndexType
import numpy as np
import pytest
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, default_typestore, IMAGE
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.storage.mcap_file import McapFile
from resnet_trt_node.bag.writer import BagWriter
from resnet_trt_node.errors import BagError
from rosbags.typesys import get_typestore, Stores
import zstandard

FOREIGN = {
    'json': ('note', 'jsonschema', 'json'), 'protobuf': ('foxglove.Pose', 'protobuf', 'protobuf'),
    'unknown': ('what', 'ever', 'else'), 'no schema': ('', '', 'json'),
    'json image': (IMAGE, 'jsonschema', 'json'), 'flat': ('Grid', 'flatbuffer', 'flatbuffer')}


@pytest.mark.parametrize('profile', ['', 'ros2', 'ros1', 'px4'])
def test_the_profile_does_not_matter(tmp_path: Path, profile: str) -> None:
    write_mcap(tmp_path / 'a.mcap', images('/image', 5, 6), profile=profile)
    assert read(tmp_path / 'a.mcap') == ([('/image', 5, 0), ('/image', 6, 1)], [])


@pytest.mark.parametrize('kind', FOREIGN)
@pytest.mark.parametrize('options', [{}, {'use_chunking': False}])
def test_foreign_topics_are_left_alone(tmp_path: Path, kind: str, options: dict) -> None:
    rows = images('/image', 1, 3)
    rows.insert(1, ('/foreign', 2, b'{"text": "hello"}'))
    path = write_mcap(tmp_path / 'a.mcap', rows, types={'/foreign': FOREIGN[kind]}, **options)
    assert read(path) == ([('/image', 1, 0), ('/image', 3, 1)], [])
    with BagReader(path) as bag:
        assert bag.image_topics() == ['/image']
        assert bag.topics['/foreign'].count == 1
        with pytest.raises(BagError, match='/foreign'):
            bag.images(['/foreign'])


@pytest.mark.parametrize('name', ['sensor_msgs/Image', 'sensor_msgs/msg/Image'])
def test_images_of_ros_1_are_converted(tmp_path: Path, name: str) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    message = default_typestore().deserialize_cdr(image(7), IMAGE)
    stamp = types['builtin_interfaces/msg/Time'](sec=7, nanosec=0)
    header = types['std_msgs/msg/Header'](seq=1, stamp=stamp, frame_id='camera')
    raw = bytes(store.serialize_ros1(types[IMAGE](
        header, message.height, message.width, 'rgb8', 0, message.step, message.data), IMAGE))
    path = write_mcap(
        tmp_path / 'a.mcap', [('/image', 1, raw)], profile='ros1',
        types={'/image': (name, 'ros1msg', 'ros1')})
    with BagReader(path) as bag:
        found, = bag.images()
    assert found.raw == image(7)


def test_compressed_images_of_ros_1_are_converted(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    picture = bytes(range(1, 250))
    rows = []
    for number in range(3):
        header = types['std_msgs/msg/Header'](
            seq=9, stamp=types['builtin_interfaces/msg/Time'](sec=number, nanosec=7),
            frame_id='camera')
        rows.append(('/camera/compressed', 10 * number, bytes(store.serialize_ros1(
            types[COMPRESSED_IMAGE](header, 'jpeg', np.frombuffer(picture, np.uint8)),
            COMPRESSED_IMAGE))))
    path = write_mcap(
        tmp_path / 'a.mcap', rows, profile='ros1',
        types={'/camera/compressed': ('sensor_msgs/CompressedImage', 'ros1msg', 'ros1')})
    with BagReader(path) as bag, BagWriter(tmp_path / 'copy') as writer:
        for number, one in enumerate(bag.images()):
            assert (one.msgtype, one.log_time_ns) == (COMPRESSED_IMAGE, 10 * number)
            assert (one.stamp_ns, one.frame_id) == (number * 10**9 + 7, 'camera')
            assert (one.message.format, bytes(one.message.data)) == ('jpeg', picture)
            writer.copy(one)
    with BagReader(tmp_path / 'copy') as copy:
        assert [bytes(one.message.data) for one in copy.images()] == [picture] * 3


ORDERS = {
    'unchunked': {'use_chunking': False}, 'unindexed': UNINDEXED,
    'neither': {**UNINDEXED, 'use_chunking': False}, 'small chunks': {'chunk_size': 1},
    'no statistics': {'use_statistics': False},
    'no message index': {'index_types': IndexType.CHUNK},
    'no chunk index': {'index_types': IndexType.MESSAGE},
    'no channels at the end': {'repeat_channels': False}, 'zstd': {
        'compression': CompressionType.ZSTD, 'chunk_size': 400},
    'lz4': {'compression': CompressionType.LZ4, 'chunk_size': 400},
    'no schemas at the end': {'repeat_schemas': False}}


@pytest.mark.parametrize('kind', ORDERS)
def test_the_order_is_that_of_time_however_it_was_written(tmp_path: Path, kind: str) -> None:
    # Two cameras whose messages overtake each other, one that is late by more than any window,
    # and of equal times the one written first.
    rows = [
        ('/left', 10, image(0)), ('/right', 9, image(1)), ('/left', 30, image(2)),
        ('/right', 20, image(3)), ('/left', 20, image(4)), ('/right', 0, image(5))]
    path = write_mcap(tmp_path / 'a.mcap', rows, **ORDERS[kind])
    with BagReader(path) as bag:
        assert (bag.start_ns, bag.duration_ns) == (0, 30)
        assert bag.image_count() == 6
    for _ in range(2):
        assert read(path) == ([
            ('/right', 0, 5), ('/right', 9, 1), ('/left', 10, 0), ('/right', 20, 3),
            ('/left', 20, 4), ('/left', 30, 2)], [])


@pytest.mark.parametrize('options', [{'use_chunking': False}, {'chunk_size': 300_000}])
def test_memory_is_held_for_few_messages_only(tmp_path: Path, options: dict) -> None:
    picture = image(0, size=(200, 500))  # 300 kB
    count = 60
    path = write_mcap(
        tmp_path / 'a.mcap', [('/image', place ^ 1, picture) for place in range(count)], **options)
    with BagReader(path) as bag:
        tracemalloc.start()
        try:
            times = [one.log_time_ns for one in bag.images()]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert times == list(range(count))
    assert peak < 10 * len(picture)


def test_log_times_far_away_and_before_1970_are_read_in_order(tmp_path: Path) -> None:
    times = (2**63 - 1, -1, 0, -2**63, 1_700_000_000 * 10**9)
    for kind in ('unchunked', 'small chunks', 'unindexed'):
        path = write_mcap(tmp_path / f'{kind}.mcap', images('/image', *times), **ORDERS[kind])
        found, said = read(path)
        assert [time_ns for _, time_ns, _ in found] == sorted(times)
        assert said == []
    # All in one chunk, whose index takes -1 for the last of all times.
    found, said = read(write_mcap(tmp_path / 'one.mcap', images('/image', *times)))
    assert [time_ns for _, time_ns, _ in found] == sorted(times)


def test_the_index_is_used_where_there_is_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        'resnet_trt_node.bag.storage.mcap_file._scan', lambda file: pytest.fail('read'))
    path = write_mcap(tmp_path / 'a.mcap', images('/image', 1, 2))
    assert [one.msgcount for one in McapFile(path).connections] == [2]


def test_a_damaged_summary_does_not_hide_the_messages(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'a.mcap', images('/image', 1, 2))
    data = bytearray(path.read_bytes())
    data[-29:-21] = (len(data) - 50).to_bytes(8, 'little')  # where the summary is said to start
    path.write_bytes(data)
    assert read(path) == ([('/image', 1, 0), ('/image', 2, 1)], [])


def test_a_file_that_counts_more_than_it_has(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'a.mcap', images('/image', 1, 2))
    data = path.read_bytes()
    # The statistics: opcode, length, then messages, and at the end channel and messages.
    at = data.rindex(b'\x0b' + (56).to_bytes(8, 'little'))
    changed = bytearray(data)
    changed[at + 9] = changed[at + 9 + 48] = 5
    path.write_bytes(changed)
    found, said = read(path)
    assert len(found) == 2
    warning, = said
    assert re.search('/image: 2 images .*has 5 ', warning)


def test_messages_that_were_compressed_one_by_one_are_read_without_metadata(
        tmp_path: Path) -> None:
    rows = [(topic, time, zstandard.compress(data)) for topic, time, data in images('/i', 1, 2)]
    assert read(write_mcap(tmp_path / 'a.mcap', rows)) == ([('/i', 1, 0), ('/i', 2, 1)], [])


def test_one_damaged_image_costs_no_other(tmp_path: Path) -> None:
    broken = zstandard.compress(image(1))
    rows = [
        ('/i', 1, image(0)), ('/i', 2, b''), ('/i', 3, image(1)[:-5]), ('/i', 4, broken[:-9]),
        ('/i', 5, b'\x28\xb5\x2f\xfd\xc0' + b'\xff' * 8), ('/i', 6, image(2))]
    path = write_mcap(tmp_path / 'a.mcap', rows)
    found, said = read(path)
    assert found == [('/i', 1, 0), ('/i', 6, 2)]
    line, = said
    assert re.search(f'/i: 4 of 6 images .* 2 ns is not a readable {IMAGE}', line)


def test_a_topic_that_is_unreadable_costs_no_other(tmp_path: Path) -> None:
    rows = [*images('/good', 1, 2), ('/bad', 3, b'\x00\x01\x00\x00\x07')]
    found, said = read(write_mcap(tmp_path / 'a.mcap', rows))
    assert found == [('/good', 1, 0), ('/good', 2, 1)]
    assert '/bad: 1 of 1 images' in said[0]


def test_a_topic_of_two_types(tmp_path: Path) -> None:
    path = tmp_path / 'bag'
    write_mcap(path / '0.mcap', images('/i', 1))
    write_mcap(path / '1.mcap', [('/i', 2, b'{}')], types={'/i': ('text', 'jsonschema', 'json')})
    write_metadata(path, ['0.mcap', '1.mcap'], {'/i': 2})
    assert read(path) == ([('/i', 1, 0)], [])
    with BagReader(path) as bag:
        assert bag.topics['/i'].msgtype == f'{IMAGE} and text'
        assert bag.image_types('/i') == [IMAGE]
        assert bag.image_count() == 1
    write_mcap(
        path / '1.mcap', [('/i', 2, b'')], types={'/i': (COMPRESSED_IMAGE, 'ros2msg', 'cdr')})
    with BagReader(path) as bag:
        assert bag.image_types('/i') == [COMPRESSED_IMAGE, IMAGE]


def test_a_topic_without_images_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'bag'
    write_mcap(path / 'a.mcap', [*images('/empty', 1), *images('/full', 2)])
    write_metadata(path, ['a.mcap'], {'/full': 1, '/empty': 1, '/gone': 3})
    found, said = read(path)
    assert len(found) == 2
    warning, = said
    assert re.search('/gone: 0 images .*counts 3', warning)


@pytest.mark.parametrize('encoding', ['', 'cdr2'])
def test_an_image_topic_in_another_serialisation_is_named_with_it(
        tmp_path: Path, encoding: str) -> None:
    path = write_mcap(
        tmp_path / 'a.mcap', [('/image', 1, image(0))],
        types={'/image': (IMAGE, 'ros2msg', encoding)})
    with BagReader(path) as bag, pytest.raises(BagError, match=f'/image .*in {encoding!r}'):
        bag.images()
