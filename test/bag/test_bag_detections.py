"""Detections of a bag are read, and written with their answers."""

from __future__ import annotations

from copy import deepcopy
from math import inf, nan
from pathlib import Path
import sqlite3
from typing import Any, Optional

from image_bags import BagWriter
import numpy as np
import pytest
from resnet_trt_node.bag.message_types import (
    default_typestore, DETECTIONS, HYPOTHESIS_WITH_POSE, IMAGE)
from resnet_trt_node.bag.messages import BagDetections, BagImage, TopicInfo
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import BagError, UsageError
from resnet_trt_node.regions.detections import regions_of
from resnet_trt_node.regions.region import Box, Region, RegionAnswer
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from rosbags.typesys.store import Typestore
from sample_bags import pixels_of, START_NS

TOPIC = '/front/detections'
TYPES = default_typestore().types
CAT = Prediction(281, 'tabby', 0.75)
#: As rosidl computes them from vision_msgs 4.1.1.
TYPE_HASHES = {
    'Point2D': 'eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247',
    'Pose2D': 'b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648',
    'BoundingBox2D': '008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f',
    'ObjectHypothesisWithPose': '41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc',
    'Detection2D': '0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea',
    'Detection2DArray': '214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968'}
#: Definitions of other versions of vision_msgs, where they differ from that of 4.
GALACTIC = {
    'BoundingBox2D': 'geometry_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n',
    'ObjectHypothesis': 'string class_id\nfloat64 score\n',
    'ObjectHypothesisWithPose':
        'vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n',
    'Detection2D':
        'std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n'
        'vision_msgs/BoundingBox2D bbox\nstring id\n',
    'Detection2DArray': 'std_msgs/Header header\nvision_msgs/Detection2D[] detections\n'}
EARLY_3 = {
    **GALACTIC, 'ObjectHypothesisWithPose':
        'string id\nfloat64 score\ngeometry_msgs/PoseWithCovariance pose\n'}
FOXY = {
    **EARLY_3, 'Detection2D':
        'std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n'
        'vision_msgs/BoundingBox2D bbox\nsensor_msgs/Image source_img\nbool is_tracking\n'
        'string tracking_id\n'}


def header(stamp_ns: int, frame_id: str = 'front') -> Any:
    """Return a std_msgs/Header."""
    return TYPES['std_msgs/msg/Header'](
        TYPES['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9)), frame_id)


def hypothesis(class_id: str, score: float) -> Any:
    """Return what a detector takes an object for."""
    pose = TYPES['geometry_msgs/msg/Pose'](
        TYPES['geometry_msgs/msg/Point'](1.0, 2.0, 3.0),
        TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0))
    return TYPES[HYPOTHESIS_WITH_POSE](
        TYPES['vision_msgs/msg/ObjectHypothesis'](class_id, score),
        TYPES['geometry_msgs/msg/PoseWithCovariance'](pose, np.arange(36.0)))


def detection(track_id: str, box: Box, *results: tuple[str, float]) -> Any:
    """Return a detection."""
    pose = TYPES['vision_msgs/msg/Pose2D'](
        TYPES['vision_msgs/msg/Point2D'](box.center_x, box.center_y), box.theta)
    return TYPES['vision_msgs/msg/Detection2D'](
        header(7), [hypothesis(*one) for one in results],
        TYPES['vision_msgs/msg/BoundingBox2D'](pose, box.width, box.height), track_id)


def array(stamp_ns: int = START_NS, *found: Any) -> Any:
    """Return a detector's message."""
    return TYPES[DETECTIONS](header(stamp_ns), list(found))


THREE = (
    detection('7', Box(10.0, 20.0, 4.0, 8.0, 0.5), ('light', 0.5), ('sign', 0.75)),
    detection('', Box(nan, inf, -1.0, 0.0)),
    detection('x9', Box(1.0, 2.0, 3.0, 4.0), ('car', 1.0)))


def write(
        path: Path, *messages: Any, store: Optional[Typestore] = None, storage: str = 'mcap',
        topic: str = TOPIC) -> Path:
    """Write messages as foreign software does, with the definitions of its types."""
    types = store or default_typestore()
    plugin = getattr(StoragePlugin, storage.upper())
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        connection = writer.add_connection(topic, DETECTIONS, typestore=types)
        for place, message in enumerate(messages):
            writer.write(connection, START_NS + place, types.serialize_cdr(message, DETECTIONS))
    return path


def store_of(definitions: dict[str, str]) -> Typestore:
    """Return the types of a ROS 2 with another vision_msgs."""
    store = get_typestore(Stores.ROS2_FOXY)
    for name, text in definitions.items():
        store.register(get_types_from_msg(text, f'vision_msgs/msg/{name}'))
    return store


def old_message(store: Typestore, is_foxy: bool = False) -> Any:
    """Return a message of an older vision_msgs."""
    types = store.types
    stamp = types['builtin_interfaces/msg/Time'](1_700_000_000, 5)
    head = types['std_msgs/msg/Header'](stamp, 'front')
    box = types['vision_msgs/msg/BoundingBox2D'](
        types['geometry_msgs/msg/Pose2D'](10.0, 20.0, 0.5), 4.0, 8.0)
    rest = (types[IMAGE](head, 0, 0, '', 0, 0, np.zeros(0, np.uint8)), True, '7') if is_foxy \
        else ('7',)
    return types[DETECTIONS](head, [types['vision_msgs/msg/Detection2D'](head, [], box, *rest)])


@pytest.mark.parametrize('name', TYPE_HASHES)
def test_types_are_hashed_as_ros_hashes_them(name: str) -> None:
    """So rosbag2 and other readers know them."""
    hashed = default_typestore().hash_rihs01(f'vision_msgs/msg/{name}')
    assert hashed == f'RIHS01_{TYPE_HASHES[name]}'


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_detections_come_back_as_they_were_written(tmp_path: Path, storage: str) -> None:
    """With their stamps, boxes, ids and classes."""
    path = write(tmp_path / 'bag', array(START_NS, *THREE), array(5), storage=storage)
    with BagReader(path) as bag:
        assert bag.topics == {TOPIC: TopicInfo(DETECTIONS, 2)}
        assert bag.detection_topics() == [TOPIC]
        assert bag.choose_detections(['front/detections']) == [TOPIC]
        first, second = bag.detections()
        assert bag.warnings == []
    assert (type(first), first.topic, first.msgtype) == (BagDetections, TOPIC, DETECTIONS)
    assert (first.stamp_ns, first.frame_id) == (START_NS, 'front')
    assert (first.log_time_ns, second.log_time_ns) == (START_NS, START_NS + 1)
    assert (second.stamp_ns, second.message.detections) == (5, [])
    found = regions_of(first.message)
    assert found[::2] == [Region(Box(10.0, 20.0, 4.0, 8.0, 0.5), '7', 'sign'),
                          Region(Box(1.0, 2.0, 3.0, 4.0), 'x9', 'car')]
    assert repr(found[1]) == repr(Region(Box(nan, inf, -1.0, 0.0)))


def test_images_and_detections_come_by_log_time(tmp_path: Path) -> None:
    """Read once; other topics are left out."""
    with BagWriter(tmp_path / 'bag') as writer:
        for log_time_ns in (30, 10):
            writer.write_image('/image', pixels_of(0), 1, 'front', log_time_ns=log_time_ns)
            writer.write_detections('/boxes', array(1), [], log_time_ns=log_time_ns + 5)
        writer.write_detections('/others', array(1), [], log_time_ns=20)
        writer.write_classification('/labels', 1, '', [], log_time_ns=20)
    with BagReader(tmp_path / 'bag') as bag:
        both = list(bag.images_and_detections(None, ['boxes']))
        assert [(type(one), one.log_time_ns, one.topic) for one in both] == [
            (BagImage, 10, '/image'), (BagDetections, 15, '/boxes'),
            (BagImage, 30, '/image'), (BagDetections, 35, '/boxes')]
        assert [one.topic for one in bag.detections()] == ['/boxes', '/others', '/boxes']
        assert len(list(bag.images())) == 2
        assert bag.warnings == []


def test_topics_that_cannot_be_had(tmp_path: Path) -> None:
    """Each is told with what there is."""
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_image('/image', pixels_of(0), 1, '')
    with BagReader(tmp_path / 'bag') as bag:
        with pytest.raises(BagError, match=r'has no Detection2DArray topic: it has /image \('):
            bag.detections()
        with pytest.raises(BagError, match='has no Detection2DArray topic'):
            bag.images_and_detections(None, None)
    with BagWriter(tmp_path / 'both') as writer:
        writer.write_image('/image', pixels_of(0), 1, '')
        writer.write_detections(TOPIC, array(), [])
    with BagReader(tmp_path / 'both') as bag:
        with pytest.raises(BagError, match='not a Detection2DArray: choose of /front/detections'):
            bag.choose_detections(['image'])
        with pytest.raises(BagError, match='has no topic rear'):
            bag.choose_detections(['rear'])
        with pytest.raises(BagError, match='not an image: choose of /image'):
            bag.images_and_detections([TOPIC], [TOPIC])


def test_the_definition_in_the_bag_wins(tmp_path: Path) -> None:
    """One that differs in nothing but constants is the same."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name in ('Point2D', 'Pose2D', 'BoundingBox2D', 'ObjectHypothesis',
                 'ObjectHypothesisWithPose', 'Detection2D', 'Detection2DArray'):
        full = f'vision_msgs/msg/{name}'
        text = default_typestore().generate_msgdef(full)[0].split('=' * 80)[0]
        store.register(get_types_from_msg(f'# Ours.\nuint8 MOST=9\n{text}', full))
    with BagReader(write(tmp_path / 'bag', array(START_NS, *THREE), store=store)) as bag:
        connection, = bag.connections(TOPIC)
        assert 'uint8 MOST=9' in connection.msgdef.data
        one, = bag.detections()
    assert [region.track_id for region in regions_of(one.message)] == ['7', '', 'x9']


@pytest.mark.parametrize(('definitions', 'fields'), [
    (GALACTIC, 'vision_msgs/msg/BoundingBox2D is geometry_msgs/msg/Pose2D center, float64 size_x, '
               'float64 size_y'),
    (EARLY_3, 'vision_msgs/msg/ObjectHypothesisWithPose is string id, float64 score, '
              'geometry_msgs/msg/PoseWithCovariance pose'),
    (FOXY, 'vision_msgs/msg/Detection2D is std_msgs/msg/Header header, '
           'vision_msgs/msg/ObjectHypothesisWithPose[] results, vision_msgs/msg/BoundingBox2D '
           'bbox, sensor_msgs/msg/Image source_img, bool is_tracking, string tracking_id')],
    ids=['galactic', 'early 3', 'foxy'])
def test_other_versions_are_refused_with_their_fields(
        tmp_path: Path, definitions: dict[str, str], fields: str) -> None:
    """At once, not when the first message is read."""
    store = store_of(definitions)
    message = old_message(store, is_foxy=definitions is FOXY)
    with BagReader(write(tmp_path / 'bag', message, store=store)) as bag:
        with pytest.raises(BagError) as caught:
            bag.detections([TOPIC])
        assert str(caught.value) == (
            f'{tmp_path / "bag"}: {TOPIC} is not the {DETECTIONS} of vision_msgs 4, that of ROS 2 '
            f'Humble and later: in this bag {fields}: record it again with vision_msgs 4, or '
            'convert it')


def without_definition(path: Path) -> Path:
    """Take the definitions out of a database; those before Iron have none."""
    with sqlite3.connect(next(path.glob('*.db3'))) as database:
        database.execute('DELETE FROM message_definitions')
        database.execute("UPDATE topics SET type_description_hash = ''")
    database.close()
    return path


def test_bags_without_definition(tmp_path: Path) -> None:
    """Are taken for vision_msgs 4; what an older one wrote is not readable then."""
    ours = write(tmp_path / 'ours', array(START_NS, *THREE), storage='sqlite3')
    with BagReader(without_definition(ours)) as bag:
        one, = bag.detections()
        assert [region.track_id for region in regions_of(one.message)] == ['7', '', 'x9']
    store = store_of(FOXY)
    old = write(tmp_path / 'foxy', old_message(store, is_foxy=True), store=store,
                storage='sqlite3')
    with BagReader(without_definition(old)) as bag, \
            pytest.raises(BagError, match=f'is not a readable {DETECTIONS}'):
        list(bag.detections())


def test_a_broken_definition_is_refused(tmp_path: Path) -> None:
    """With the reason; the bag's other topics can still be read."""
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(
            TOPIC, DETECTIONS, msgdef='<<>>', rihs01='RIHS01_0', typestore=None)
        writer.write(connection, 1, bytes(8))
    with BagReader(tmp_path / 'bag') as bag, pytest.raises(
            BagError, match=f'the definition of {DETECTIONS} on {TOPIC} cannot be read'):
        bag.choose_detections(None)


def test_ros1_detections_are_none(tmp_path: Path) -> None:
    """Their type has other fields, and no definition that tells them apart would be used."""
    store = get_typestore(Stores.ROS1_NOETIC)
    for name, text in FOXY.items():
        store.register(get_types_from_msg(text, f'vision_msgs/msg/{name}'))
    head = store.types['std_msgs/msg/Header'](
        0, store.types['builtin_interfaces/msg/Time'](1, 2), 'front')
    with Ros1Writer(tmp_path / 'old.bag') as writer:
        connection = writer.add_connection(TOPIC, DETECTIONS, typestore=store)
        writer.write(
            connection, 1, store.serialize_ros1(store.types[DETECTIONS](head, []), DETECTIONS))
    with BagReader(tmp_path / 'old.bag') as bag:
        assert bag.detection_topics() == []
        with pytest.raises(BagError, match='has no Detection2DArray topic'):
            bag.detections()


def test_a_damaged_message_costs_itself(tmp_path: Path) -> None:
    """The others are read, and a warning counts it."""
    store = default_typestore()
    whole = bytes(store.serialize_cdr(array(START_NS, *THREE), DETECTIONS))
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, DETECTIONS, typestore=store)
        for place, raw in enumerate((whole, whole[:40], whole)):
            writer.write(connection, place, raw)
    with BagReader(tmp_path / 'bag') as bag:
        assert [one.log_time_ns for one in bag.detections()] == [0, 2]
        warning, = bag.warnings
    assert '/front/detections: 1 of 3 Detection2DArrays are not readable, the first ' in warning


ANSWERS = (RegionAnswer('cached', (CAT,), START_NS - 10**9), RegionAnswer('not_finite'),
           RegionAnswer('not_selected'))


@pytest.mark.parametrize(('keep', 'class_id_format', 'first', 'second'), [
    (False, 'label', [('tabby', 0.75)], [('', 0.0)]),
    (True, 'index', [('light', 0.5), ('sign', 0.75), ('281', 0.75)], [('', 0.0)])])
def test_answers_round_trip(
        tmp_path: Path, keep: bool, class_id_format: str, first: list[Any],
        second: list[Any]) -> None:
    """Into the messages that the node publishes; what was read does not change."""
    with BagReader(write(tmp_path / 'a', array(START_NS, *THREE))) as bag:
        source, = bag.detections()
        before = deepcopy(source.message)
        with BagWriter(tmp_path / 'b') as writer:
            writer.copy(source)
            writer.write_detections(
                '/out', source.message, ANSWERS, class_id_format, keep, source.log_time_ns + 9)
            writer.write_detections('/stamped', source.message, ANSWERS)
    assert repr(source.message) == repr(before)
    with BagReader(tmp_path / 'b') as bag:
        assert bag.detection_topics() == [TOPIC, '/out', '/stamped']
        copied, stamped, out = bag.detections()
    assert (copied.raw, copied.stamp_ns) == (source.raw, START_NS)
    assert (out.topic, out.log_time_ns, stamped.log_time_ns) == ('/out', START_NS + 9, START_NS)
    assert (out.stamp_ns, out.frame_id) == (START_NS, 'front')
    assert [[(each.hypothesis.class_id, each.hypothesis.score) for each in one.results]
            for one in out.message.detections] == [first, second, [('car', 1.0)]]
    assert [one.header.stamp.sec for one in out.message.detections] == [
        1_699_999_999, 1_700_000_000, 1_700_000_000]
    assert [one.header.frame_id for one in out.message.detections] == ['front'] * 3
    assert repr([(one.box, one.track_id) for one in regions_of(out.message)]) == repr(
        [(one.box, one.track_id) for one in regions_of(source.message)])
    pose = out.message.detections[1].results[0].pose
    assert (pose.pose.position.x, pose.pose.orientation.w, pose.covariance.sum()) == (0, 1, 0)


def test_what_a_writer_refuses(tmp_path: Path) -> None:
    """Nothing is written then."""
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_detections(TOPIC, array(START_NS, *THREE), ANSWERS)
        with pytest.raises(UsageError, match='class_id_format'):
            writer.write_detections(TOPIC, array(START_NS, *THREE), ANSWERS, 'number')
        with pytest.raises(ValueError, match='3 answers to 0 detections'):
            writer.write_detections(TOPIC, array(), ANSWERS)
        with pytest.raises(BagError, match=f'{TOPIC} holds {DETECTIONS} already'):
            writer.write_classification(TOPIC, 1, '', [])
    with BagReader(tmp_path / 'bag') as bag:
        assert bag.topics == {TOPIC: TopicInfo(DETECTIONS, 1)}


@pytest.mark.slow
@pytest.mark.parametrize('keep', [False, True])
def test_the_bag_has_what_the_node_publishes(tmp_path: Path, keep: bool) -> None:
    """The same messages, whichever library makes them."""
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    cdr = pytest.importorskip('rclpy.serialization', reason='rclpy is not installed')
    from resnet_trt_node.node.ros.detections import classified, regions
    with BagReader(write(tmp_path / 'a', array(START_NS, *THREE))) as bag:
        source, = bag.detections()
    received = cdr.deserialize_message(source.raw, messages.Detection2DArray)
    assert repr(regions(received)) == repr(regions_of(source.message))
    with BagWriter(tmp_path / 'b') as writer:
        writer.write_detections('/out', source.message, ANSWERS, 'label', keep)
    with BagReader(tmp_path / 'b') as bag:
        out, = bag.detections()
    published = classified(received, ANSWERS, 'label', keep)
    assert repr(cdr.deserialize_message(out.raw, messages.Detection2DArray)) == repr(published)
