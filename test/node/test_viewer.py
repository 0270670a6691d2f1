"""Watching image_annotated takes no answer away, however slow or broken the drawing is."""

from __future__ import annotations

from nodes.node_services import lifecycle
from nodes.simulated_node import (
    ACTIVATE, check_sums, CLEANUP, CONFIGURE, DEACTIVATE, red, run, wait_for_status)
import pytest
from sensor_msgs.msg import Image

pytestmark = pytest.mark.slow

FRAMES = 60
SLOW = '\n'.join((
    'from time import sleep',
    'from resnet_trt_node.node.ros.topics import camera_results',
    'draw = camera_results.annotate',
    'def slow(*arguments, **keywords):',
    '    sleep(1.0)',
    '    return draw(*arguments, **keywords)',
    'camera_results.annotate = slow'))
BROKEN = '\n'.join((
    'from resnet_trt_node.node.ros.topics import camera_results',
    'def broken(*_, **__):',
    "    raise ZeroDivisionError('a bug in the drawing')",
    'camera_results.annotate = broken'))


@pytest.mark.parametrize('prepare', [SLOW, BROKEN], ids=['slow', 'broken'])
def test_every_frame_is_answered_while_its_picture_is_not_drawn(peer, prepare):
    peer.listen_to_results()
    peer.listen('image_annotated', Image)
    with run(prepare=prepare) as node:
        wait_for_status(peer, 'state', 'active')
        peer.spin_until(
            lambda: peer.node.count_publishers('image_annotated') == 1, 'the annotated topic')
        peer.connect('image')

        def watched():
            # Until the node knows of its viewer.
            peer.publish('image', red(99))
            return peer.heard['image_annotated'] or 'a bug in the drawing' in node.log
        peer.spin_until(watched, 'the first picture')
        for value in range(FRAMES):
            peer.publish('image', red(value))

        def heard():
            return [answer.results[0].class_id for answer in peer.heard['classification']]

        expected = [f'red_{value:03d}' for value in range(FRAMES)]
        peer.spin_until(lambda: heard()[-FRAMES:] == expected, 'all answers, in their order')
        peer.spin_until(lambda: peer.status()['answered'] == str(len(heard())), 'the counters')
        check_sums(peer.status())
        assert peer.status()['received'] == peer.status()['answered']
        # Drawing goes on, so that a node that is stopped now is in the middle of it.
        if prepare == SLOW:
            assert len(peer.heard['image_annotated']) < FRAMES / 2
        else:
            assert peer.heard['image_annotated'] == []
            assert 1 <= node.log.count('no annotated picture') < FRAMES / 2
        assert node.stop() == 0
    assert 'Traceback' not in node.log


def test_skipped_pictures_are_counted_and_in_no_sum(peer):
    peer.listen_to_results()
    peer.listen('image_annotated', Image)
    with run(prepare=SLOW) as node:
        wait_for_status(peer, 'state', 'active')
        peer.connect('image')

        def skipped():
            peer.publish('image', red(1))
            return int((peer.status() or {}).get('skipped_pictures', 0)) >= 5
        peer.spin_until(skipped, 'pictures to be skipped')
        assert node.stop() == 0
    assert 'dropped: none' in node.log


def test_the_lifecycle_goes_round_while_pictures_are_drawn(peer):
    peer.listen_to_results()
    peer.listen('image_annotated', Image)
    with run(prepare=SLOW) as node:
        for _ in range(3):
            wait_for_status(peer, 'state', 'active')
            seen = len(peer.heard['classification'])
            peer.connect('image')

            def answered(seen=seen):
                peer.publish('image', red(2))
                return len(peer.heard['classification']) > seen
            peer.spin_until(answered, 'an answer')
            for transition in (DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE):
                assert lifecycle(peer, transition), node.log
        assert node.stop() == 0
    assert 'Traceback' not in node.log
    assert 'no annotated picture' not in node.log
