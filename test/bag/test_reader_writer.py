"""What is written into a bag is read back: values, bytes, order, QoS, definitions."""

from __future__ import annotations

import dataclasses

from bags.image_bags import BagWriter
from bags.sample_bags import JPEG, PERIOD_NS, pixels_of, START_NS, write_bag
from mcap.reader import make_reader
import numpy as np
import pytest
from resnet_trt_node.bag.message_types import (
    COMPRESSED_IMAGE, default_typestore, IMAGE, typestore_for)
from resnet_trt_node.bag.messages import TopicInfo
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.writer import RELIABLE_QOS
from resnet_trt_node.contract.prediction import Prediction
from rosbags.interfaces import (
    Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat, QosDurability,
    QosReliability)
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores, TypesysError
import yaml

STORAGES = ('mcap', 'sqlite3')


@pytest.mark.parametrize('storage', STORAGES)
def test_images_come_back_as_they_were_written(tmp_path, storage):
    with BagReader(write_bag(tmp_path / 'bag', storage=storage)) as bag:
        images = list(bag.images())
        assert bag.topics == {
            '/front/image': TopicInfo('sensor_msgs/msg/Image', 3),
            '/left/image/compressed': TopicInfo('sensor_msgs/msg/CompressedImage', 3)}
        assert bag.image_topics() == ['/front/image', '/left/image/compressed']
        assert (bag.image_count(), bag.image_count(['/front/image'])) == (6, 3)
        assert bag.duration_ns == 2 * PERIOD_NS + 10_000_000
    assert [image.msgtype for image in images] == [IMAGE, COMPRESSED_IMAGE] * 3
    for index, image in enumerate(images[::2]):
        message = image.message
        assert (image.topic, image.frame_id) == ('/front/image', 'front')
        assert image.stamp_ns == image.log_time_ns == START_NS + index * PERIOD_NS
        assert (message.height, message.width, message.step) == (48, 64, 192)
        assert (message.encoding, message.is_bigendian) == ('bgr8', 0)
        np.testing.assert_array_equal(message.data.reshape(48, 64, 3), pixels_of(index))
        assert np.shares_memory(message.data, np.frombuffer(image.raw, np.uint8))
        assert message.header.stamp.sec == 1_700_000_000
    for index, image in enumerate(images[1::2]):
        assert image.message.format == 'jpeg'
        assert bytes(image.message.data) == JPEG + bytes([index])
        assert image.stamp_ns == START_NS + index * PERIOD_NS + 10_000_000


def test_a_folder_may_be_called_as_bags_of_ros_1_are(tmp_path):
    path = write_bag(tmp_path / 'drive.bag')
    for named in (path, path / 'metadata.yaml'):
        with BagReader(named) as bag:
            assert len(list(bag.images())) == 6


def test_a_topic_of_several_publishers_is_one(tmp_path):
    best_effort = RELIABLE_QOS._replace(reliability=QosReliability.BEST_EFFORT)
    store = default_typestore()
    raw = store.serialize_cdr(_image(store), IMAGE)
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for count, qos in ((2, RELIABLE_QOS), (3, best_effort)):
            connection = writer.add_connection(
                '/image', IMAGE, typestore=store, offered_qos_profiles=[qos])
            for index in range(count):
                writer.write(connection, index, raw)
    with BagReader(tmp_path / 'bag') as bag:
        assert bag.topics == {'/image': TopicInfo(IMAGE, 5)}
        assert bag.image_count() == len(list(bag.images())) == 5
        assert len(bag.connections('/image')) == 2
        bag.close()  # and once more at the end


def test_a_topic_that_is_named_twice_counts_once(tmp_path):
    with BagReader(write_bag(tmp_path / 'bag')) as bag:
        named = ['/front/image', 'front/image']
        assert bag.choose_images(named) == ['/front/image']
        assert bag.image_count(named) == len(list(bag.images(named))) == 3


def test_no_topics_are_no_messages(tmp_path):
    with BagReader(write_bag(tmp_path / 'bag')) as bag:
        assert bag.image_count([]) == len(list(bag.images([]))) == 0
        assert list(bag.raw_messages([])) == []


@pytest.mark.parametrize('storage', STORAGES)
def test_order_is_that_of_the_log_times_not_of_writing_or_stamps(tmp_path, storage):
    with BagWriter(tmp_path / 'bag', storage) as writer:
        for stamp_ns, log_time_ns in ((1, 300), (2, 0), (3, 200)):
            writer.write_image(
                '/image', pixels_of(0), stamp_ns, '', log_time_ns=log_time_ns)
    with BagReader(tmp_path / 'bag') as bag:
        assert [(one.stamp_ns, one.log_time_ns) for one in bag.images()] == [
            (2, 0), (3, 200), (1, 300)]


@pytest.mark.parametrize(('encoding', 'shape', 'dtype', 'step'), [
    ('rgb8', (4, 6, 3), np.uint8, 18), ('bgra8', (4, 6, 4), np.uint8, 24),
    ('mono8', (4, 6), np.uint8, 6), ('mono8', (4, 6, 1), np.uint8, 6),
    ('mono16', (4, 6), np.uint16, 12), ('bayer_rggb8', (4, 6), np.uint8, 6)])
def test_encodings(tmp_path, encoding, shape, dtype, step):
    # Every second row and column of a larger array, so not contiguous.
    wide = np.arange(16 * 12 * 4, dtype=dtype).reshape(16, 12, 4)
    pixels = wide[::4, ::2, 0] if len(shape) == 2 else wide[::4, ::2, :shape[2]]
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_image('/image', pixels, 5, 'cam', encoding=encoding)
    with BagReader(tmp_path / 'bag') as bag:
        message = next(bag.images()).message
    assert (message.height, message.width, message.step) == (4, 6, step)
    stored = message.data.view(np.dtype(dtype).newbyteorder('<')).reshape(pixels.shape)
    np.testing.assert_array_equal(stored, pixels)


@pytest.mark.parametrize('target', STORAGES)
@pytest.mark.parametrize('source', STORAGES)
def test_copies_are_bit_for_bit_with_definition_and_qos(tmp_path, source, target):
    qos = RELIABLE_QOS._replace(
        reliability=QosReliability.BEST_EFFORT, durability=QosDurability.TRANSIENT_LOCAL, depth=3)
    store = default_typestore()
    with Writer(
            tmp_path / 'a', version=9,
            storage_plugin=getattr(StoragePlugin, source.upper())) as writer:
        connection = writer.add_connection(
            '/image', IMAGE, typestore=store, offered_qos_profiles=[qos])
        # Recorded on a big-endian machine: a copy that serialises again would not keep that.
        raw = bytes(store.serialize_cdr(_image(store), IMAGE, little_endian=False))
        writer.write(connection, 77, raw)
    with BagReader(tmp_path / 'a') as bag, BagWriter(tmp_path / 'b', target) as copy:
        for image in bag.images():
            copy.copy(image)
        original = bag.connections('/image')[0]
    with BagReader(tmp_path / 'b') as bag:
        image, = bag.images()
        assert (image.raw, image.log_time_ns, image.stamp_ns) == (raw, 77, 3_000_000_004)
        assert image.connection.ext == original.ext
        assert image.connection.ext.offered_qos_profiles == [qos]
        assert image.connection.msgdef == original.msgdef
        wire = bag.wire_bytes(image)
    hashes = [
        yaml.safe_load((tmp_path / name / 'metadata.yaml').read_text())[
            'rosbag2_bagfile_information']['topics_with_message_count'][0]['topic_metadata'][
            'type_description_hash'] for name in 'ab']
    assert hashes == [store.hash_rihs01(IMAGE)] * 2
    assert wire[:2] == b'\x00\x01'
    assert store.deserialize_cdr(wire, IMAGE).header.stamp.nanosec == 4


def test_classifications_round_trip_beside_copied_images(tmp_path):
    predictions = [Prediction(281, 'tabby', 0.75), Prediction(285, 'Egyptian cat', 0.125)]
    with BagReader(write_bag(tmp_path / 'a', 1)) as bag, BagWriter(tmp_path / 'b') as writer:
        for image in bag.images():
            writer.copy(image)
            for form in ('label', 'index'):
                writer.write_classification(
                    f'/{form}', image.stamp_ns, image.frame_id, predictions, form,
                    image.log_time_ns)
    with BagReader(tmp_path / 'b') as bag:
        assert bag.image_count() == 2
        messages = [bag.deserialize(one) for one in bag.raw_messages(['label', 'index'])]
    front_label, front_index = messages[:2]
    assert front_label.header.stamp.nanosec == START_NS % 10**9
    assert front_label.header.frame_id == 'front'
    assert [(one.class_id, one.score) for one in front_label.results] == [
        ('tabby', 0.75), ('Egyptian cat', 0.125)]
    assert [one.class_id for one in front_index.results] == ['281', '285']
    assert len(messages) == 4


@pytest.mark.parametrize(('name', 'digest'), [
    # From the type descriptions that rosidl generates beside the compiled messages.
    ('sensor_msgs/msg/Image',
     'd31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47'),
    ('sensor_msgs/msg/CompressedImage',
     '15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a'),
    ('vision_msgs/msg/Classification',
     'f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143')])
def test_types_are_hashed_as_ros_hashes_them(name, digest):
    assert default_typestore().hash_rihs01(name) == f'RIHS01_{digest}'


def test_the_bag_is_what_rosbag2_reads(tmp_path):
    path = write_bag(tmp_path / 'drive')
    info = yaml.safe_load((path / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert info['version'] == 8
    assert info['storage_identifier'] == 'mcap'
    assert info['relative_file_paths'] == ['drive.mcap']
    topic = info['topics_with_message_count'][0]['topic_metadata']
    assert topic['serialization_format'] == 'cdr'
    qos, = yaml.safe_load(topic['offered_qos_profiles'])
    assert (qos['history'], qos['depth'], qos['reliability'], qos['durability']) == (1, 10, 1, 2)
    # The reference implementation of mcap agrees on order, definitions and counts.
    with (path / 'drive.mcap').open('rb') as file:
        reader = make_reader(file)
        found = [
            (channel.topic, schema.name, schema.encoding, channel.message_encoding)
            for schema, channel, _ in reader.iter_messages()]
        assert reader.get_summary().statistics.message_count == 6
    assert found[:2] == [
        ('/front/image', 'sensor_msgs/msg/Image', 'ros2msg', 'cdr'),
        ('/left/image/compressed', 'sensor_msgs/msg/CompressedImage', 'ros2msg', 'cdr')]


@pytest.mark.parametrize(('storage', 'file'), [('mcap', 'bag.mcap'), ('sqlite3', 'bag.db3')])
def test_a_bare_file_and_its_metadata_are_bags_too(tmp_path, storage, file):
    path = write_bag(tmp_path / 'bag', storage=storage)
    whole = _contents(path)
    assert len(whole) == 6
    assert _contents(path / file) == whole
    assert _contents(path / 'metadata.yaml') == whole


def test_split_recordings_are_one_bag(tmp_path):
    whole = _contents(write_bag(tmp_path / 'whole', 4))
    split = tmp_path / 'split'
    split.mkdir()
    information = None
    for part in (0, 1):
        with BagReader(tmp_path / 'whole') as bag, BagWriter(tmp_path / f'part_{part}') as writer:
            for number, image in enumerate(bag.images()):
                if number // 4 == part:
                    writer.copy(image)
        (tmp_path / f'part_{part}' / f'part_{part}.mcap').rename(split / f'part_{part}.mcap')
        document = yaml.safe_load((tmp_path / f'part_{part}' / 'metadata.yaml').read_text())
        part_of = document['rosbag2_bagfile_information']
        if information is None:
            information = part_of
        else:
            information['relative_file_paths'] += part_of['relative_file_paths']
            information['message_count'] += part_of['message_count']
            for one, other in zip(
                    information['topics_with_message_count'],
                    part_of['topics_with_message_count'], strict=True):
                one['message_count'] += other['message_count']
    (split / 'metadata.yaml').write_text(
        yaml.safe_dump({'rosbag2_bagfile_information': information}))
    assert _contents(split) == whole
    with BagReader(split) as bag:
        assert bag.image_count() == 8


def test_a_definition_in_idl_is_understood():
    idl = (
        f'{"=" * 80}\nIDL: extra_msgs/msg/Pair\n'
        'module extra_msgs { module msg { struct Pair { int32 left; string right; }; }; };\n')
    connection = Connection(
        1, '/pair', 'extra_msgs/msg/Pair', MessageDefinition(MessageDefinitionFormat.IDL, idl),
        '', 1, ConnectionExtRosbag2('cdr', []), None)
    store = typestore_for(connection)
    pair = store.types['extra_msgs/msg/Pair'](left=7, right='x')
    assert store.deserialize_cdr(
        store.serialize_cdr(pair, 'extra_msgs/msg/Pair'), 'extra_msgs/msg/Pair') == pair
    with pytest.raises(TypesysError, match='extra_msgs/msg/Pair'):
        typestore_for(connection._replace(
            msgdef=MessageDefinition(MessageDefinitionFormat.NONE, '')))


@pytest.mark.parametrize('mode', ['FILE', 'MESSAGE', 'STORAGE'])
@pytest.mark.parametrize('storage', STORAGES)
def test_compressed_bags_are_read(tmp_path, storage, mode):
    if (storage, mode) == ('sqlite3', 'STORAGE'):
        with pytest.raises(Exception, match='does not support'):
            _write_packed(tmp_path / 'packed', storage, mode)
        return
    _write_packed(tmp_path / 'packed', storage, mode)
    with BagReader(tmp_path / 'packed') as bag:
        image, = bag.images()
    assert image.stamp_ns == 3_000_000_004
    assert bytes(image.message.data) == b'\x01\x02'


def test_ros1_bags_are_converted(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    header = store.types['std_msgs/msg/Header'](
        seq=9, stamp=store.types['builtin_interfaces/msg/Time'](sec=3, nanosec=4), frame_id='cam')
    message = store.types[IMAGE](
        header=header, height=1, width=2, encoding='mono8', is_bigendian=0, step=2,
        data=np.array([1, 2], np.uint8))
    with Ros1Writer(tmp_path / 'old.bag') as writer:
        connection = writer.add_connection('/image', IMAGE, typestore=store)
        writer.write(connection, 55, store.serialize_ros1(message, IMAGE))
    with BagReader(tmp_path / 'old.bag') as bag, BagWriter(tmp_path / 'new') as writer:
        for image in bag.images():
            writer.copy(image)
    with BagReader(tmp_path / 'new') as bag:
        image, = bag.images()
    assert (image.stamp_ns, image.log_time_ns, image.frame_id) == (3_000_000_004, 55, 'cam')
    assert bytes(image.message.data) == b'\x01\x02'
    assert image.raw == bytes(
        default_typestore().serialize_cdr(_image(default_typestore()), IMAGE, little_endian=True))


def _image(store):
    header = store.types['std_msgs/msg/Header'](
        stamp=store.types['builtin_interfaces/msg/Time'](sec=3, nanosec=4), frame_id='cam')
    return store.types[IMAGE](
        header=header, height=1, width=2, encoding='mono8', is_bigendian=0, step=2,
        data=np.array([1, 2], np.uint8))


def _write_packed(path, storage, mode):
    store = default_typestore()
    writer = Writer(path, version=8, storage_plugin=getattr(StoragePlugin, storage.upper()))
    writer.set_compression(getattr(CompressionMode, mode), CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection('/image', IMAGE, typestore=store)
        writer.write(connection, 1, store.serialize_cdr(_image(store), IMAGE))


def _contents(path):
    with BagReader(path) as bag:
        return [dataclasses.astuple(
            dataclasses.replace(one, connection=None, message=None)) for one in bag.images()]
