"""Detections of a bag are read, and written with their answers."""

from __future__ import annotations

from copy import deepcopy
from math import inf, nan
from pathlib import Path
from typing import Any

from bags.detection_bags import array, THREE, TOPIC, write
from bags.image_bags import BagWriter
from bags.sample_bags import pixels_of, START_NS
import pytest
from resnet_trt_node.bag.message_types import default_typestore, DETECTIONS
from resnet_trt_node.bag.messages import BagDetections, BagImage, TopicInfo
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import BagError, UsageError
from resnet_trt_node.regions.detections import regions_of
from resnet_trt_node.regions.detections_cdr import DetectionsCdr
from resnet_trt_node.regions.region import Box, Region, RegionAnswer
from rosbags.rosbag2 import StoragePlugin, Writer

CAT = Prediction(281, 'tabby', 0.75)


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
    with BagReader(write(tmp_path / 'a', array(START_NS, *THREE))) as bag:
        source, = bag.detections()
    received = DetectionsCdr(source.raw)
    assert repr(received.regions()) == repr(regions_of(source.message))
    with BagWriter(tmp_path / 'b') as writer:
        writer.write_detections('/out', source.message, ANSWERS, 'label', keep)
    with BagReader(tmp_path / 'b') as bag:
        out, = bag.detections()
    node, bag_writer = (
        cdr.deserialize_message(data, messages.Detection2DArray)
        for data in (received.classified(ANSWERS, 'label', keep), out.raw))
    assert repr(node) == repr(bag_writer)
