"""A bag's images over real DDS: every frame, its bytes, its stamp, its interval."""

from __future__ import annotations

import re
from threading import Event
from time import time_ns

from bags.image_bags import BagWriter
from bags.sample_bags import JPEG, PERIOD_NS, pixels_of, START_NS, write_bag
import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from resnet_trt_node.bag.message_types import default_typestore, IMAGE
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.replay import replay
from resnet_trt_node.bag.writer import RELIABLE_QOS
from resnet_trt_node.errors import BagError, UsageError
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

pytestmark = pytest.mark.slow

LEFT = '/left/image/compressed'
FRAMES = 6


@pytest.fixture
def path(tmp_path):
    return write_bag(tmp_path / 'bag', FRAMES)


def test_every_frame_arrives_with_its_bytes_and_its_stamp(path, listener):
    listener.subscribe(Image, '/front/image')
    listener.subscribe(CompressedImage, LEFT)
    progress = []
    with BagReader(path) as bag:
        report = replay(
            bag, rate=4.0, wait_for_subscribers=10.0,
            on_progress=lambda image: progress.append(image.topic))
        recorded = {
            topic: [image.raw for image in bag.images([topic])] for topic in bag.image_topics()}
    for topic, raws in recorded.items():
        assert [data for data, _ in listener.wait(topic, FRAMES)] == raws
        one = report.topics[topic]
        assert (one.topic, one.published, one.subscriptions, one.acknowledged) == (
            topic, FRAMES, 1, True)
    assert progress == ['/front/image', LEFT] * FRAMES
    assert (report.published, report.interrupted) == (2 * FRAMES, False)
    image = deserialize_message(listener.received['/front/image'][2][0], Image)
    stamp_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
    assert (stamp_ns, image.header.frame_id) == (START_NS + 2 * PERIOD_NS, 'front')
    assert (image.height, image.width, image.encoding) == (48, 64, 'bgr8')
    assert image.data.tobytes() == pixels_of(2).tobytes()
    compressed = deserialize_message(listener.received[LEFT][3][0], CompressedImage)
    assert (compressed.format, compressed.data.tobytes()) == ('jpeg', JPEG + b'\x03')


@pytest.mark.parametrize('rate', [1.0, 2.0])
def test_intervals_are_the_recorded_ones_divided_by_the_rate(path, listener, rate):
    listener.subscribe(Image, '/front/image')
    with BagReader(path) as bag:
        report = replay(bag, rate=rate, topics=['front/image'], wait_for_subscribers=10.0)
    listener.wait('/front/image', FRAMES)
    # Never early; how late the last one is depends on the machine, see test_pacing.
    assert report.seconds >= (FRAMES - 1) * PERIOD_NS / 1e9 / rate


def test_best_effort_subscriptions_and_new_names(path, listener):
    listener.subscribe(Image, '/camera/image_raw', ReliabilityPolicy.BEST_EFFORT)
    with BagReader(path) as bag:
        report = replay(
            bag, topics=['front/image'], remap={'front/image': '/camera/image_raw'},
            wait_for_subscribers=10.0)
    assert list(report.topics) == ['/front/image']
    assert report.topics['/front/image'].topic == '/camera/image_raw'
    assert len(listener.wait('/camera/image_raw', FRAMES)) == FRAMES


def test_restamp_changes_the_stamp_and_nothing_else(path, listener):
    listener.subscribe(Image, '/front/image')
    before_ns = time_ns()
    with BagReader(path) as bag:
        replay(bag, rate=10.0, topics=['/front/image'], wait_for_subscribers=10.0, restamp=True)
        raws = [image.raw for image in bag.images(['/front/image'])]
    received = [data for data, _ in listener.wait('/front/image', FRAMES)]
    stamps = []
    for data, raw in zip(received, raws, strict=True):
        stamp = deserialize_message(data, Image).header.stamp
        stamps.append(stamp.sec * 10**9 + stamp.nanosec)
        assert (data[:4], data[12:]) == (raw[:4], raw[12:])
    assert before_ns < stamps[0] < stamps[-1] < time_ns()
    assert sorted(stamps) == stamps


def test_clock_follows_the_bag(path, listener):
    listener.subscribe(Clock, '/clock')
    listener.subscribe(Image, '/front/image')
    with BagReader(path) as bag:
        replay(bag, topics=['/front/image'], wait_for_subscribers=10.0, clock=True)
        logged = [image.log_time_ns for image in bag.images(['/front/image'])]
    listener.wait('/front/image', FRAMES)
    # At 40 Hz and before each image: at least one tick for each of both, the last one included.
    found = listener.wait('/clock', 2 * FRAMES - 1)
    times = []
    for data, _ in found:
        now = deserialize_message(data, Clock).clock
        times.append(now.sec * 10**9 + now.nanosec)
    assert times == sorted(times)
    assert set(logged) <= set(times)


def test_loop_plays_on_until_stopped(path, listener):
    listener.subscribe(Image, '/front/image')
    stop = Event()
    published = []

    def count(image):
        published.append(image.stamp_ns)
        if len(published) == 2 * FRAMES + 1:
            stop.set()

    with BagReader(path) as bag:
        report = replay(
            bag, rate=10.0, loop=True, topics=['/front/image'], wait_for_subscribers=10.0,
            depth=100, stop=stop, on_progress=count)
    assert (report.published, report.interrupted) == (2 * FRAMES + 1, True)
    assert published[FRAMES:2 * FRAMES] == published[:FRAMES]
    assert published[-1] == START_NS
    listener.wait('/front/image', 2 * FRAMES + 1)


def test_nobody_listening_is_a_warning_that_names_the_topic(path, capfd):
    with BagReader(path) as bag:
        report = replay(bag, rate=10.0, topics=['/front/image'], wait_for_subscribers=0.05)
    assert report.published == FRAMES
    assert report.topics['/front/image'].subscriptions == 0
    assert re.search(r'/front/image after 0\.05 s, nobody', capfd.readouterr().err)


def test_a_subscription_of_another_qos_is_named_as_the_reason(path, listener, capfd):
    listener.subscribe(
        Image, '/front/image', durability=DurabilityPolicy.TRANSIENT_LOCAL)
    with BagReader(path) as bag:
        replay(bag, rate=10.0, topics=['/front/image'], wait_for_subscribers=1.0)
    assert 'another QoS' in capfd.readouterr().err


def test_latched_and_big_endian_images_reach_a_latecomer(tmp_path, listener):
    store = default_typestore()
    with BagReader(write_bag(tmp_path / 'a', 1)) as bag:
        original = next(bag.images(['/front/image']))
    with Writer(tmp_path / 'b', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/map', IMAGE, typestore=store, offered_qos_profiles=[
            RELIABLE_QOS._replace(durability=QosDurability.TRANSIENT_LOCAL)])
        raw = store.serialize_cdr(original.message, IMAGE, little_endian=False)
        writer.write(connection, 1, bytes(raw))

    def subscribe_late(image):
        listener.subscribe(Image, '/map', durability=DurabilityPolicy.TRANSIENT_LOCAL)
        listener.wait('/map', 1)

    with BagReader(tmp_path / 'b') as bag:
        replay(bag, on_progress=subscribe_late)
    assert listener.received['/map'][0][0] == original.raw


@pytest.mark.parametrize(('options', 'kind', 'keyword'), [
    ({'rate': 0.0}, UsageError, 'rate'),
    ({'topics': ['/rear']}, BagError, '/rear'),
    ({'remap': {'/rear': '/x'}}, BagError, '/rear'),
    ({'topics': [LEFT], 'remap': {'/front/image': '/x'}}, UsageError, '/front/image'),
    ({'remap': {LEFT: '/front/image'}}, UsageError, '/front/image'),
    ({'remap': {LEFT: '/1 x'}}, UsageError, "'/1 x'"),
    ({'restamp': True, 'clock': True}, UsageError, 'restamp'),
    ({'depth': 0}, UsageError, 'depth'),
    ({'reliability': 'best'}, UsageError, 'reliability')])
def test_what_cannot_be_replayed_is_refused(path, options, kind, keyword):
    with BagReader(path) as bag, pytest.raises(kind, match=keyword):
        replay(bag, **options)


def test_an_image_that_ros_would_misread_is_not_published(tmp_path):
    store = get_typestore(Stores.EMPTY)
    full = default_typestore()
    store.register({
        name: full.fielddefs[name]
        for name in ('std_msgs/msg/Header', 'builtin_interfaces/msg/Time')})
    store.register(get_types_from_msg('std_msgs/Header header\nuint8[] data\n', IMAGE))
    with BagReader(write_bag(tmp_path / 'a', 1)) as bag:
        header = next(bag.images(['/front/image'])).message.header
        with Writer(tmp_path / 'b', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            connection = writer.add_connection('/odd', IMAGE, typestore=store)
            message = store.types[IMAGE](header=header, data=pixels_of(0).reshape(-1))
            writer.write(connection, 1, store.serialize_cdr(message, IMAGE))
    with BagReader(tmp_path / 'b') as bag:
        assert bag.image_count() == 1
        with pytest.raises(BagError, match='/odd'):
            replay(bag)


def test_a_written_bag_can_be_replayed_while_another_is_written(path, tmp_path, listener):
    listener.subscribe(Image, '/front/image')
    with BagReader(path) as bag, BagWriter(tmp_path / 'copy') as copy:
        replay(
            bag, rate=10.0, topics=['/front/image'], wait_for_subscribers=10.0,
            on_progress=copy.copy)
    with BagReader(tmp_path / 'copy') as bag:
        raws = [image.raw for image in bag.images()]
    assert [data for data, _ in listener.wait('/front/image', FRAMES)] == raws
