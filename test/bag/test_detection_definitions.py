"""Which vision_msgs the detections of a bag are of, by the definitions in it."""

from __future__ import annotations

from pathlib import Path
import sqlite3
from typing import Any

from bags.detection_bags import array, THREE, TOPIC, write
from bags.sample_bags import START_NS
import numpy as np
import pytest
from resnet_trt_node.bag.message_types import default_typestore, DETECTIONS, IMAGE
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.errors import BagError
from resnet_trt_node.regions.detections import regions_of
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from rosbags.typesys.store import Typestore

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
