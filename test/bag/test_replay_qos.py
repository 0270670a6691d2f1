"""What publishers of a replay offer."""

from __future__ import annotations

import pytest

from resnet_trt_node.bag.replay_qos import replay_qos
from resnet_trt_node.bag.writer import RELIABLE_QOS
from resnet_trt_node.errors import UsageError
from rosbags.interfaces import (
    Connection, ConnectionExtRosbag1, ConnectionExtRosbag2, MessageDefinition,
    MessageDefinitionFormat, QosDurability, QosReliability)

BEST_EFFORT = RELIABLE_QOS._replace(reliability=QosReliability.BEST_EFFORT)
LATCHED = RELIABLE_QOS._replace(durability=QosDurability.TRANSIENT_LOCAL)


def recorded(*profiles):
    return [Connection(
        1, '/image', 'sensor_msgs/msg/Image',
        MessageDefinition(MessageDefinitionFormat.NONE, ''), '', 1,
        ConnectionExtRosbag2('cdr', list(profiles)), None)]


RELIABLE, BEST, VOLATILE, LATCHING = (
    QosReliability.RELIABLE, QosReliability.BEST_EFFORT, QosDurability.VOLATILE,
    QosDurability.TRANSIENT_LOCAL)


@pytest.mark.parametrize(('profiles', 'reliability', 'expected'), [
    ([], 'reliable', (RELIABLE, VOLATILE)),
    ([BEST_EFFORT], 'reliable', (RELIABLE, VOLATILE)),
    ([BEST_EFFORT], 'recorded', (BEST, VOLATILE)),
    ([RELIABLE_QOS], 'recorded', (RELIABLE, VOLATILE)),
    ([RELIABLE_QOS], 'best_effort', (BEST, VOLATILE)),
    ([LATCHED], 'reliable', (RELIABLE, LATCHING)),
    ([LATCHED, RELIABLE_QOS], 'reliable', (RELIABLE, VOLATILE))])
def test_what_is_offered(profiles, reliability, expected):
    assert replay_qos(recorded(*profiles), reliability) == expected


def test_ros1_recordings_have_no_qos():
    connection = recorded()[0]._replace(ext=ConnectionExtRosbag1(None, 1))
    assert replay_qos([connection], 'recorded') == (RELIABLE, VOLATILE)


def test_another_reliability_is_refused():
    with pytest.raises(UsageError, match='recorded'):
        replay_qos([], 'best')


@pytest.mark.slow
def test_the_policies_are_numbered_as_in_ros():
    from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
    for one in (RELIABLE, BEST):
        assert ReliabilityPolicy(one.value).name == one.name
    for one in (VOLATILE, LATCHING):
        assert DurabilityPolicy(one.value).name == one.name
