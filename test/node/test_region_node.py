"""The node that classifies regions: its own process, real DDS, the simulated backend's answers."""

from __future__ import annotations

import io
import json

from nodes.node_process import compressed, image, NodeProcess, Peer
from nodes.simulated_node import check_sums, SIMULATED, wait_for_status
import numpy as np
from PIL import Image as Picture
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

pytestmark = pytest.mark.slow

#: Where patches of these red values lie in a scene of 640x480: left, top and side.
PATCHES = {10: (0, 0, 100), 60: (300, 20, 64), 200: (500, 300, 140), 120: (20, 400, 40)}
REGIONS = ('-p', 'input:=regions', '-p', 'regions_wait_ms:=60000.0', '-p',
           'regions_queue:=1000', '-p', 'batch_size:=4')


def scene() -> np.ndarray:
    pixels = np.zeros((480, 640, 3), np.uint8)
    for value, (left, top, side) in PATCHES.items():
        pixels[top:top + side, left:left + side, 0] = value
    return pixels


def detections(number: int, *boxes: tuple, ids: tuple = (), kind: str = '') -> Detection2DArray:
    """Return boxes of left, top, width and height in the image of that number."""
    message = Detection2DArray(header=image(np.zeros((1, 1, 3)), number).header)
    for place, (left, top, width, height) in enumerate(boxes):
        one = Detection2D(id=ids[place] if ids else '')
        one.bbox.center.position.x, one.bbox.center.position.y = (
            left + width / 2, top + height / 2)
        one.bbox.size_x, one.bbox.size_y = float(width), float(height)
        if kind:
            one.results.append(ObjectHypothesisWithPose())
            one.results[0].hypothesis.class_id = kind
            one.results[0].hypothesis.score = 0.75
        message.detections.append(one)
    return message


def patch_boxes(*values: int) -> list[tuple]:
    return [(*PATCHES[value][:2], PATCHES[value][2], PATCHES[value][2]) for value in values]


def listen(peer: Peer, topic: str = 'classified_detections') -> list:
    peer.listen(topic, Detection2DArray)
    peer.listen_to_diagnostics()
    return peer.heard[topic]


def classes(message: Detection2DArray) -> list[list[str]]:
    return [[one.hypothesis.class_id for one in detection.results]
            for detection in message.detections]


def run(*arguments: str) -> NodeProcess:
    return NodeProcess(*SIMULATED, *REGIONS, '-p', 'top_k:=1', *arguments)


@pytest.mark.usefixtures('receive')
def test_known_patches_get_their_names_at_their_ids(peer):
    heard = listen(peer)
    with run() as node:
        peer.connect('image')
        peer.connect('detections', Detection2DArray)
        boxes = patch_boxes(10, 60, 200, 120)
        peer.publish('image', image(scene(), 7))
        peer.publish('detections', detections(7, *boxes, ids=('a', 'b', 'c', 'd')))
        # The other way round, in another order, and more of them than a batch has rows.
        boxes = patch_boxes(200, 200, 120, 60, 60, 10)
        peer.publish('detections', detections(8, *boxes))
        peer.publish('image', image(scene(), 8))
        peer.spin_until(lambda: len(heard) == 2, 'two answers')
        first, second = heard
        assert (first.header.stamp.nanosec, first.header.frame_id) == (7, 'camera')
        assert [one.id for one in first.detections] == ['a', 'b', 'c', 'd']
        assert classes(first) == [['red_010'], ['red_060'], ['red_200'], ['red_120']]
        assert [one.bbox.size_x for one in first.detections] == [100.0, 64.0, 140.0, 40.0]
        assert {one.header.stamp.nanosec for one in first.detections} == {7}
        assert classes(second) == [
            [f'red_{value:03d}'] for value in (200, 200, 120, 60, 60, 10)]
        assert node.stop() == 0
    assert 'regions: 10 received, 10 answered' in node.log


def test_what_cannot_be_classified_stays_in_its_place_and_is_counted(peer):
    heard = listen(peer)
    with run('-p', 'keep_source_results:=true', '-p', 'region_classes:=[light]') as node:
        peer.connect('image')
        peer.connect('detections', Detection2DArray)
        nan = float('nan')
        message = detections(
            1, *patch_boxes(60), (700, 10, 50, 50), (10, 10, 3, 90), (10, 10, -5, 20),
            (nan, 10, 20, 20), kind='light')
        message.detections += detections(1, *patch_boxes(200), kind='car').detections
        peer.publish('image', image(scene(), 1))
        peer.publish('detections', message)
        peer.spin_until(lambda: heard, 'the answer')
        assert classes(heard[0]) == [
            ['light', 'red_060'], ['light', ''], ['light', ''], ['light', ''], ['light', ''],
            ['car']]
        assert heard[0].detections[1].results[1].hypothesis.score == 0.0
        answer = peer.call(Trigger, '/classifier/statistics', Trigger.Request())
        numbers = json.loads(answer.message)
        assert {key: numbers[f'regions_{key}'] for key in (
            'received', 'answered', 'outside', 'too_small', 'empty', 'not_finite',
            'not_selected', 'dropped', 'in_progress')} == {
                'received': 6, 'answered': 1, 'outside': 1, 'too_small': 1, 'empty': 1,
                'not_finite': 1, 'not_selected': 1, 'dropped': 0, 'in_progress': 0}
        assert numbers['regions_per_frame'] == 6.0
        assert node.stop() == 0


def test_images_and_detections_that_do_not_match_are_counted(peer):
    heard = listen(peer, 'front/classified_detections')
    with run('-p', 'cameras:=[front]', '-p', 'regions_queue:=2') as node:
        peer.connect('front/image', camera='front/')
        peer.connect('front/detections', Detection2DArray, camera='front/')
        for number in range(1, 6):
            peer.publish('front/image', image(scene(), number))
        wait_for_status(peer, 'front/dropped_unmatched_overflow', '3')
        peer.publish('front/detections', detections(5, *patch_boxes(200)))
        peer.publish('front/detections', detections(99, *patch_boxes(200)))
        peer.spin_until(lambda: heard, 'the answer')
        assert heard[0].header.stamp.nanosec == 5
        wait_for_status(peer, 'front/answered', '1')
        check_sums(peer.status())
        # Nobody knows of the regions in an image without detections.
        assert peer.status()['front/regions_per_frame'] == '1.0'
        assert node.stop() == 0
    # The last is the image that waited for its detections when the node was stopped.
    assert 'dropped: 1 refused, 3 unmatched_overflow' in node.log


def test_damaged_detections_cost_their_own_frame(peer):
    heard = listen(peer)
    with run() as node:
        peer.connect('image')
        peer.connect('detections', Detection2DArray)
        sound = serialize_message(detections(1, *patch_boxes(200)))
        for message in (sound[:-30], sound[:14]):
            peer.publish('detections', message)
        peer.publish('image', image(scene(), 1))
        peer.publish('detections', detections(2, *patch_boxes(200)))
        peer.publish('image', image(scene(), 2))
        peer.spin_until(lambda: heard, 'the answer')
        assert classes(heard[0]) == [['red_200']]
        wait_for_status(peer, 'dropped_malformed', '1')
        # That without a header.
        wait_for_status(peer, 'detections_unmatched_no_stamp', '1')
        check_sums(peer.status())
        assert node.stop() == 0
    assert 'frame dropped: the detections are cut' in node.log


def test_tracked_regions_are_inferred_anew_only_when_they_are_due(peer):
    heard = listen(peer)
    with run('-p', 'track_cache:=true', '-p', 'reinfer_interval_ms:=100.0') as node:
        peer.connect('image')
        peer.connect('detections', Detection2DArray)
        ms = 10**6
        for number, stamp_ms in enumerate((100, 150, 199, 200, 250), start=1):
            # Another patch of the same size each time: the answer shows what was inferred.
            pixels = np.full((480, 640, 3), 10 * number, np.uint8)
            peer.publish('image', image(pixels, stamp_ms * ms))
            peer.publish('detections', detections(
                stamp_ms * ms, (10, 10, 50, 50), (90, 90, 50, 50), ids=('car 1', '')))
            peer.spin_until(lambda: len(heard) == number, 'an answer')  # noqa: B023
        assert [classes(message) for message in heard] == [
            [['red_010'], ['red_010']], [['red_010'], ['red_020']], [['red_010'], ['red_030']],
            [['red_040'], ['red_040']], [['red_040'], ['red_050']]]
        ages = [message.header.stamp.nanosec - message.detections[0].header.stamp.nanosec
                for message in heard]
        assert ages == [0, 50 * ms, 99 * ms, 0, 50 * ms]
        wait_for_status(peer, 'regions_cached', '3')
        assert peer.status()['regions_answered'] == '7'
        assert node.stop() == 0


@pytest.mark.usefixtures('receive')
def test_compressed_images_and_a_picture_of_the_regions(peer):
    heard = listen(peer)
    peer.listen('image_annotated', Image)
    buffer = io.BytesIO()
    Picture.fromarray(scene()).save(buffer, 'PNG')
    with run('-p', 'image_transport:=compressed') as node:
        peer.connect('image/compressed', CompressedImage)
        peer.connect('detections', Detection2DArray)
        peer.publish('image/compressed', compressed(buffer.getvalue(), 3, kind='png'))
        peer.publish('detections', detections(3, *patch_boxes(200, 60)))
        peer.spin_until(lambda: heard and peer.heard['image_annotated'], 'answer and picture')
        assert classes(heard[0]) == [['red_200'], ['red_060']]
        drawn = peer.heard['image_annotated'][0]
        assert (drawn.width, drawn.height, drawn.header.stamp.nanosec) == (640, 480, 3)
        # A frame of the box is drawn about the patch, and nothing into its middle.
        pixels = np.frombuffer(bytes(drawn.data), np.uint8).reshape(480, 640, 3)
        assert pixels[370, 570].tolist() == [200, 0, 0]
        assert (pixels != scene()).any()
        # A broken one is malformed as any other.
        peer.publish('image/compressed', compressed(b'broken', 4))
        peer.publish('detections', detections(4, *patch_boxes(200, 60)))
        wait_for_status(peer, 'dropped_malformed', '1')
        assert peer.status()['regions_dropped'] == '2'
        assert node.stop() == 0
