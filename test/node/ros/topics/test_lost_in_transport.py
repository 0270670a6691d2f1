"""What DDS reports as lost before it reached the node, over real DDS."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

from nodes.simulated_node import check_sums, red, run
import pytest
from resnet_trt_node.node.ros.topics.input_topic import lost_messages
from std_srvs.srv import Trigger

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp').startswith('rmw_fastrtps'),
    reason='another middleware than Fast DDS may take an empty message otherwise')]

#: Takes a sequence number and is never received: to the subscription it is a gap, as is a frame
#: that the network lost.
EMPTY = b''


def per_camera(peer):
    """Return the cameras' numbers of this moment."""
    numbers = json.loads(peer.call(Trigger, '/classifier/statistics', Trigger.Request()).message)
    for each in (numbers, *numbers['cameras'].values()):
        check_sums(each)
    return numbers['cameras']


@pytest.mark.usefixtures('receive')
@pytest.mark.parametrize('executor', ['auto', 'single_threaded'])
def test_frames_lost_in_transport_are_counted_at_their_camera_and_in_no_sum(peer, executor):
    cameras = ('front', 'left')
    for camera in cameras:
        peer.listen_to_results(f'{camera}/')
    with run('-p', 'cameras:=[front, left]', '-p', 'image_reliability:=best_effort',
             '-p', f'executor:={executor}') as node:
        for camera in cameras:
            peer.connect(f'{camera}/image', camera=f'{camera}/')

            def heard(camera=camera):
                # Until the subscription has found this publisher, nothing is kept for it.
                peer.publish(f'{camera}/image', red(1))
                return peer.heard[f'{camera}/classification']
            peer.spin_until(heard, f'the first answer of {camera}')
        before = per_camera(peer)
        for message in (EMPTY, EMPTY, red(2)):
            peer.publish('front/image', message)
        peer.publish('left/image', red(2))
        for camera in cameras:
            answers = peer.heard[f'{camera}/classification']
            peer.spin_until(
                lambda answers=answers: answers[-1].results[0].class_id == 'red_002',
                f'the last answer of {camera}')

        def lost():
            after = per_camera(peer)
            return [after[camera]['lost_in_transport'] - before[camera]['lost_in_transport']
                    for camera in cameras]
        peer.spin_until(lambda: lost()[0] >= 2, 'the loss to be reported')
        assert lost() == [2, 0]
        assert node.stop() == 0


@pytest.mark.parametrize(('change', 'lost'), [
    (0, 0), (1, 1), (2 ** 30 - 1, 2 ** 30 - 1),
    # Fast DDS counts in int32 and at times adds -2^31.
    (2 ** 64 - 2 ** 31, 0), (2 ** 64 - 2 ** 31 + 8, 8),
    # No count: its limit, or -1.
    (2 ** 31 - 1, 0), (2 ** 64 - 1, 0)])
def test_a_count_that_overflowed_is_read_without_it(change, lost):
    assert lost_messages(SimpleNamespace(total_count_change=change)) == lost
