"""Replaying bags of other tools and killed recorders: all images, in order, or a warning."""

from __future__ import annotations

import subprocess
import sys
from threading import Event, Thread

from bags.foxglove_bags import as_protobuf, write_messages
from bags.odd_bags import images, write_database, write_mcap, write_metadata
from bags.video_bags import write_video_bag
from documentation.json_schemas import checked
from pictures.video_streams import Packet
import pytest
from rclpy.serialization import deserialize_message
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, FFMPEG_PACKET, IMAGE
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.replay import replay
from resnet_trt_node.errors import UsageError
from sensor_msgs.msg import Image

pytestmark = pytest.mark.slow

MS = 10**6


def numbers(path, **options) -> list[int]:
    """Return the numbers of the images that a replay publishes."""
    found = []
    with BagReader(path) as bag:
        report = replay(
            bag, rate=100.0, on_progress=lambda one: found.append(one.stamp_ns // 10**9),
            **options)
    assert report.published == len(found)
    return found


def test_a_split_bag_of_a_killed_recorder_is_published_in_the_order_of_time(tmp_path):
    path = tmp_path / 'bag'
    write_database(path / 'run_2.db3', images('/i', 0), images('/i', 10 * MS, first=1))
    write_database(path / 'run_10.db3', images('/i', 20 * MS, 30 * MS, first=2))
    write_metadata(path, ['run_10.db3', 'run_2.db3'], {'/i': 4}, qos=True)
    assert numbers(path) == [0, 1, 2, 3]


def test_a_folder_without_metadata_and_with_an_unfinished_file_is_published(tmp_path):
    path = tmp_path / 'bag'
    write_mcap(path / 'run_2.mcap', images('/i', 0, 10 * MS))
    last = write_mcap(path / 'run_10.mcap', images('/i', 20 * MS, first=2), chunk_size=1)
    data = last.read_bytes()
    last.write_bytes(data[:data.rindex(b'\x0f' + (4).to_bytes(8, 'little'))])
    assert numbers(path) == [0, 1, 2]


def test_images_of_foxglove_are_published_as_those_of_sensor_msgs(tmp_path, listener):
    path = write_messages(tmp_path / 'a.mcap', [
        ('/i', 'RawImage', number * MS, as_protobuf(
            'RawImage', number * 10**9, data=bytes([number]) * 12, encoding='rgb8', height=2,
            width=2, step=6)) for number in range(3)], 'protobuf')
    listener.subscribe(Image, '/i')
    with BagReader(path) as bag:
        report = replay(bag, rate=100.0, wait_for_subscribers=60.0)
    assert report.topics['/i'].msgtype == IMAGE
    received = [deserialize_message(data, Image) for data, _ in listener.wait('/i', 3)]
    assert [one.header.stamp.sec for one in received] == [0, 1, 2]
    assert [one.data.tobytes() for one in received] == [bytes([one]) * 12 for one in range(3)]
    assert all((one.encoding, one.height, one.step) == ('rgb8', 2, 6) for one in received)


def test_what_is_missing_is_warned_of_and_in_the_report(tmp_path):
    path = tmp_path / 'bag'
    write_mcap(path / 'a.mcap', images('/i', 0, 1), profile='')
    write_metadata(path, ['a.mcap'], {'/i': 7})
    command = [
        sys.executable, '-m', 'resnet_trt_node.cli.main', 'replay', str(path), '--wait', '0']
    done = subprocess.run([*command, '--json'], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    report = checked(done.stdout)
    line, = report['warnings']
    assert done.stderr == f'warning: {line}\n'
    assert '/i: 2 images' in line
    assert report['topics']['/i']['published'] == 2
    write_mcap(path / 'a.mcap', [('/note', 0, b'')], types={'/note': ('note', '', 'json')})
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, '')
    assert '/note (note' in done.stderr


def test_a_topic_of_two_types_is_refused_and_beside_a_foreign_one_published(tmp_path):
    path = tmp_path / 'bag'
    write_mcap(path / '0.mcap', images('/i', 0))
    write_mcap(path / '1.mcap', [('/i', 1, b'{}')], types={'/i': ('text', 'jsonschema', 'json')})
    write_metadata(path, ['0.mcap', '1.mcap'], {'/i': 2})
    assert numbers(path) == [0]
    write_mcap(
        path / '1.mcap', images('/i', 1), types={'/i': (COMPRESSED_IMAGE, 'ros2msg', 'cdr')})
    with BagReader(path) as bag, pytest.raises(UsageError, match='/i'):
        replay(bag)


def test_a_long_gap_is_logged_before_it_is_waited_for(tmp_path, capfd):
    path = write_mcap(tmp_path / 'a.mcap', images('/i', 0, 1_700_000_000 * 10**9))
    stop, published = Event(), Event()
    with BagReader(path) as bag:
        thread = Thread(target=replay, args=(bag,), kwargs={
            'stop': stop, 'on_progress': lambda _: published.set()})
        thread.start()
        assert published.wait(120)
        said = ''
        try:
            while '1700000000 s later' not in said:
                assert thread.is_alive()
                said += capfd.readouterr().err
        finally:
            stop.set()
            thread.join(120)
    assert not thread.is_alive()


@pytest.mark.parametrize('time_ns', [2**31 * 10**9, -2**31 * 10**9 - 1])
def test_a_clock_that_ros_cannot_show_is_refused(tmp_path, time_ns):
    path = write_mcap(tmp_path / 'a.mcap', images('/i', time_ns))
    with BagReader(path) as bag, pytest.raises(UsageError, match='--clock'):
        replay(bag, clock=True)
    assert numbers(path) == [0]


def test_a_video_topic_without_its_package_is_refused_in_one_line(tmp_path, monkeypatch):
    path = write_video_bag(tmp_path / 'bag', FFMPEG_PACKET, 'h264', [Packet(b'any', 0, True)])
    monkeypatch.setitem(sys.modules, 'ffmpeg_image_transport_msgs.msg', None)
    with BagReader(path) as bag, pytest.raises(
            UsageError, match=r'/cam/image/ffmpeg .*ffmpeg_image_transport_msgs is not installed'):
        replay(bag)
