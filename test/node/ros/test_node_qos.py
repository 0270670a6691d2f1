"""QoS that does not fit, is overridden, or cannot be used; a node in its own process."""

from __future__ import annotations

from nodes.node_services import lifecycle, set_parameter, state
from nodes.simulated_node import ACTIVATE, CONFIGURE, number, red, run, wait_for_status
import pytest
from rcl_interfaces.msg import ParameterType, ParameterValue
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures('receive')
def test_a_publisher_of_incompatible_qos_is_reported_until_it_is_gone(peer):
    peer.listen_to_diagnostics()
    with run() as node:
        wait_for_status(peer, 'state', 'active')
        publisher = peer.node.create_publisher(
            Image, 'image', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        peer.spin_until(lambda: 'incompatible QoS' in peer.status()['message'], 'a diagnostic')
        message = peer.status()['message']
        assert message.startswith('/image: peer offers')
        assert 'reliable subscription' in message
        assert 'image_reliability to best_effort' in message
        assert peer.status()['level'] == '1'
        peer.spin_until(lambda: 'incompatible RELIABILITY policy' in node.log, 'a log line')
        peer.node.destroy_publisher(publisher)
        peer.spin_until(lambda: peer.status()['level'] == '0', 'all well again')
        assert node.stop() == 0


def test_qos_is_overridden_by_the_standard_parameters(peer):
    with run('-p', 'qos_overrides./image.subscription.reliability:=best_effort',
             '-p', 'qos_overrides./classification.publisher.reliability:=best_effort') as node:
        subscription, = peer.spin_until(
            lambda: peer.node.get_subscriptions_info_by_topic('/image'), 'the subscription')
        # Against image_reliability, which `run` sets to reliable.
        assert subscription.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
        # Each end is discovered by itself, in any order.
        publisher, = peer.spin_until(
            lambda: peer.node.get_publishers_info_by_topic('/classification'), 'the publisher')
        assert publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
        assert node.stop() == 0


def test_unusable_qos_leaves_nothing_behind_and_can_be_corrected(peer):
    peer.listen_to_results('left/')
    results = 'qos_overrides./left/classification.publisher.depth'
    images = 'qos_overrides./left/image.subscription.reliability'
    with run('-p', 'autostart:=false', '-p', 'cameras:=[front, left]',
             '-p', f'{results}:=-3', '-p', f'{images}:=foo', '-p',
             'qos_overrides./left/imgae.subscription.depth:=2') as node:
        for _ in range(2):
            assert not lifecycle(peer, CONFIGURE)
            assert state(peer) == 'unconfigured'
        peer.spin_until(
            lambda: not peer.node.count_publishers('/front/classification'), 'their end')
        assert set_parameter(peer, results, number(3)) == (True, '')
        assert lifecycle(peer, CONFIGURE)
        assert not lifecycle(peer, ACTIVATE)
        assert state(peer) == 'inactive'
        peer.spin_until(lambda: not peer.node.count_subscribers('/front/image'), 'their end')
        peer.spin_until(lambda: 'cannot activate: /left/image: rclpy' in node.log, 'the reason')
        assert set_parameter(peer, images, ParameterValue(
            type=ParameterType.PARAMETER_STRING, string_value='reliable')) == (True, '')
        assert lifecycle(peer, ACTIVATE)
        peer.connect('left/image', camera='left/')
        peer.publish('left/image', red(7))
        peer.spin_until(lambda: peer.heard['left/classification'], 'an answer')
        assert node.stop() == 0
    assert 'Traceback' not in node.log
    assert 'qos_overrides./left/imgae.subscription.depth' in node.log
    assert '/front/image.subscription, /front/classification.publisher, ' in node.log


def test_a_policy_that_cannot_be_overridden_is_refused(peer):
    name = 'qos_overrides./classification.publisher.relaibility'
    with run('-p', f'{name}:=reliable') as node:
        assert node.wait() == 2
    assert f'{name}: ' in node.log
    assert 'history, depth, reliability' in node.log
