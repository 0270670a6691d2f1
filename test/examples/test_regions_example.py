"""The example of regions: boxes from a table or a grid, and other detectors' messages."""

from __future__ import annotations

from importlib import import_module
import os
import re
import shutil
import signal
import subprocess
import sys

from bags.image_bags import BagWriter
import cv2
from documentation.page_commands import end, running
import numpy as np
import pytest
from repository import REPOSITORY
from resnet_trt_node.errors import DataError
from resnet_trt_node.regions.region import Box, Region

pytestmark = pytest.mark.slow

sensor_msgs = pytest.importorskip('sensor_msgs.msg', reason='ROS 2 is not installed')
std_msgs = pytest.importorskip('std_msgs.msg', reason='ROS 2 is not installed')
vision_msgs = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not built')

FOLDER = REPOSITORY / 'examples' / 'regions'
TABLE = (
    'file\tcenter_x\tcenter_y\twidth\theight\tid\tclass\ttheta\n'
    'a.png\t10\t20\t30.5\t40\t7\tcat\t0\n'
    '\n'
    'b.png\t1\t2\t3\t4\t\tcup\n'
    'a.png\t5\t6\t7\t8\t9\tdog\t-0.5\n'
    '1700000000000000042\t3\t3\t3\t3\t4\tlamp\n'
    '*\t8\t8\t2\t2\t5\tsign\n')


@pytest.fixture
def detector(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return import_module('grid_detector')


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, str(FOLDER / 'grid_detector.py'), *arguments],
        env={**os.environ, 'PYTHONPATH': str(REPOSITORY)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)


PAGE = (FOLDER / 'README.md').read_text()
COMMANDS = re.findall(r'```sh\n(.+)\n```', PAGE)


def boxes(message):
    return [(one.id, one.bbox.center.position.x, one.bbox.center.position.y, one.bbox.size_x,
             one.bbox.size_y, one.bbox.center.theta, one.results[0].hypothesis.class_id)
            for one in message.detections]


def test_a_table_names_files_and_stamps(detector, tmp_path):
    """Its header and empty lines are left out; a rotation need not be given."""
    (tmp_path / 'boxes.tsv').write_text(TABLE)
    assert detector.read_boxes(tmp_path / 'boxes.tsv') == {
        'a.png': [Region(Box(10, 20, 30.5, 40, 0.0), '7', 'cat'),
                  Region(Box(5, 6, 7, 8, -0.5), '9', 'dog')],
        'b.png': [Region(Box(1, 2, 3, 4), '', 'cup')],
        '1700000000000000042': [Region(Box(3, 3, 3, 3), '4', 'lamp')],
        '*': [Region(Box(8, 8, 2, 2), '5', 'sign')]}


@pytest.mark.parametrize('line', ['a.png\t1\t2\t3\t4\t5', 'a.png\t1\t2\tx\t4\t5\tcat', 'a.png'])
def test_a_broken_line_is_named(detector, tmp_path, line):
    """The message says which line, and what one looks like."""
    (tmp_path / 'boxes.tsv').write_text(f'{TABLE}{line}\n')
    with pytest.raises(DataError, match=r'boxes\.tsv, line 8: write file<TAB>center_x'):
        detector.read_boxes(tmp_path / 'boxes.tsv')


def test_a_table_that_is_not_there_is_named(detector, tmp_path):
    """An error of the user, not of the program."""
    with pytest.raises(DataError, match=r'none\.tsv'):
        detector.read_boxes(tmp_path / 'none.tsv')


def test_a_grid_covers_the_picture(detector):
    """Row by row, side by side, each window with its number."""
    assert detector.grid(2, 3, 0.0, 90, 80) == [
        Region(Box(20 + 40 * column, 15 + 30 * row, 40, 30), str(2 * row + column), 'window')
        for row in range(3) for column in range(2)]


def test_windows_overlap(detector):
    """Half of each window is its neighbour's too, and the outer ones end with the picture."""
    windows = [one.box for one in detector.grid(3, 1, 0.5, 100, 200)]
    assert [(box.center_x, box.width, box.height) for box in windows] == [
        (50, 100, 100), (100, 100, 100), (150, 100, 100)]


def test_a_message_has_the_header_of_its_image(detector):
    """Of each detection too; a detector without scores is sure."""
    header = std_msgs.Header(frame_id='front')
    header.stamp.sec = 3
    message = detector.detections(
        header, [Region(Box(1, 2, 3, 4, 0.5), '7', 'cat'), Region(Box(5, 6, 7, 8))], [0.25, 1.0])
    assert message.header == message.detections[0].header == header
    assert boxes(message) == [('7', 1, 2, 3, 4, 0.5, 'cat'), ('', 5, 6, 7, 8, 0, '')]
    assert message.detections[0].results[0].hypothesis.score == 0.25


def test_pictures_are_played_with_their_boxes(peer, tmp_path):
    """Each image comes with the boxes of its file, those of every file, and the grid."""
    (tmp_path / 'boxes.tsv').write_text(TABLE)
    for name, shade in (('a.png', 1), ('b.png', 2)):
        cv2.imwrite(str(tmp_path / name), np.full((10, 20, 3), shade, np.uint8))
    images, found = peer.heard['image'], peer.heard['detections']
    peer.listen('image', sensor_msgs.Image)
    peer.listen('detections', vision_msgs.Detection2DArray)
    with start('--boxes', str(tmp_path / 'boxes.tsv'), '--play', str(tmp_path), '--grid', '1x1',
               '--rate', '50') as process:
        peer.spin_until(lambda: len(images) == len(found) == 2, 'two pictures')
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, '2 pictures published\n'), err
    assert [(image.width, image.height, image.data[0]) for image in images] == [
        (20, 10, 1), (20, 10, 2)]
    assert [one.header for one in found] == [image.header for image in images]
    every, whole = ('5', 8, 8, 2, 2, 0, 'sign'), ('0', 10, 5, 20, 10, 0, 'window')
    assert [boxes(message) for message in found] == [
        [every, ('7', 10, 20, 30.5, 40, 0, 'cat'), ('9', 5, 6, 7, 8, -0.5, 'dog'), whole],
        [every, ('', 1, 2, 3, 4, 0, 'cup'), whole]]


def test_what_is_played_has_the_shared_memory_of_a_camera(detector):
    """Fast DDS by itself loses most scenes; the profile is where the example looks for it."""
    assert detector._DDS_PROFILE == REPOSITORY / 'config' / 'fastdds_large_images.xml'
    assert detector._DDS_PROFILE.is_file()


def test_images_of_a_camera_are_answered_by_their_stamp(peer, tmp_path):
    """As a detector does; Ctrl-C ends it without a word."""
    (tmp_path / 'boxes.tsv').write_text(TABLE)
    peer.listen('detections', vision_msgs.Detection2DArray)
    publisher = peer.node.create_publisher(sensor_msgs.Image, 'image', 10)
    from nodes.node_process import image
    with start('--boxes', str(tmp_path / 'boxes.tsv'), '--grid', '2x1') as process:
        def answered():
            publisher.publish(image(np.zeros((10, 20, 3), np.uint8), 42))
            return peer.heard['detections']
        message = peer.spin_until(answered, 'boxes')[0]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert 'Traceback' not in err
    assert (message.header.stamp.nanosec, message.header.frame_id) == (42, 'camera')
    assert boxes(message) == [
        ('5', 8, 8, 2, 2, 0, 'sign'), ('4', 3, 3, 3, 3, 0, 'lamp'),
        ('0', 5, 5, 10, 10, 0, 'window'), ('1', 15, 5, 10, 10, 0, 'window')]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_playing_without_a_word(peer, tmp_path, number):
    """Whatever it publishes at that moment."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((500, 500, 3), np.uint8))
    peer.listen('image', sensor_msgs.Image)
    peer.listen('detections', vision_msgs.Detection2DArray)
    with start('--grid', '9x9', '--play', str(tmp_path), '--rate', '1000', '--loop') as process:
        peer.spin_until(lambda: peer.heard['detections'], 'boxes')
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert 'Traceback' not in err


@pytest.mark.parametrize(('arguments', 'words'), [
    ((), 'give --boxes, --grid or both'), (('--grid', '0x2'), 'such as 4x3'),
    (('--grid', '2x2', '--overlap', '1'), 'not in 0.0 to 0.95'),
    (('--grid', '2x2', '--play', 'none'), 'none'), (('--boxes', 'none.tsv'), 'none.tsv')])
def test_what_cannot_be_done_is_one_line(arguments, words):
    """The last line says what is wrong."""
    with start(*arguments) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert words in err.splitlines()[-1]
    assert 'Traceback' not in err


@pytest.fixture
def workplace(tmp_path, efficientnet_lite0):
    """Make a folder with what the page names."""
    (tmp_path / 'models').mkdir()
    shutil.copy(efficientnet_lite0, tmp_path / 'models' / 'efficientnet_lite0.onnx')
    (tmp_path / 'examples').symlink_to(FOLDER.parent)
    return tmp_path


def test_the_pages_scenes_are_named(peer, workplace):
    """Each region gets the name of its photograph, whatever else is in the image."""
    pytest.importorskip('skimage', reason='the photographs of scikit-image are not installed')
    pytest.importorskip('sklearn', reason='the photographs of scikit-learn are not installed')
    from demo_steps.scenes import write_scenes
    write_scenes(workplace / 'demo' / 'scenes')
    node, echo, detector = COMMANDS[:3]
    assert echo == 'ros2 topic echo /classified_detections'
    peer.listen('classified_detections', vision_msgs.Detection2DArray)
    heard = peer.heard['classified_detections']
    with running(node, workplace) as first, running(detector, workplace) as second:
        peer.spin_until(lambda: len(heard) >= 3, 'three scenes')
        end(second, first)
    names = {one.id: one.results[0].hypothesis.class_id
             for message in heard for one in message.detections}
    assert names == {
        'scene_1.png/cat': 'tiger cat', 'scene_1.png/coffee': 'espresso',
        'scene_1.png/rocket': 'missile', 'scene_2.png/rocket': 'missile',
        'scene_2.png/flower': 'daisy', 'scene_2.png/palace': 'palace',
        'scene_2.png/cameraman': 'tripod', 'scene_2.png/coffee': 'espresso',
        'scene_2.png/speck': ''}


def test_the_pages_grid_over_a_bag(peer, workplace):
    """Each image of the bag comes back with the twelve windows of the grid."""
    with BagWriter(workplace / 'drive') as bag:
        for number in range(3):
            bag.write_image(
                '/camera/image_raw', np.full((120, 160, 3), 80 * number, np.uint8),
                10**18 + number * 2 * 10**8, 'camera', encoding='rgb8')
    detector, node, replay = COMMANDS[3:]
    peer.listen('classified_detections', vision_msgs.Detection2DArray)
    heard = peer.heard['classified_detections']
    with running(node, workplace) as first, running(detector, workplace) as second:
        peer.spin_until(
            lambda: peer.node.count_subscribers('/camera/image_raw') == 2, 'subscriptions')

        def replayed():
            # Again where the node and the detector have not yet found each other.
            with running(replay, workplace) as third:
                out, _ = third.communicate(timeout=120)
            assert third.returncode == 0, out
            return heard
        peer.spin_until(replayed, 'an answer')
        end(second, first)
    for message in heard:
        assert [one.id for one in message.detections] == [str(number) for number in range(12)]
        assert all(one.results[0].hypothesis.class_id for one in message.detections)
