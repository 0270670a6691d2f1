"""What publishers of a replay offer."""

from __future__ import annotations

import pytest

from resnet_trt_node.bag.replay_qos import replay_qos, ReplayQos
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


@pytest.mark.parametrize(('profiles', 'reliability', 'expected'), [
    ([], 'reliable', ReplayQos(False, False, 10)),
    ([BEST_EFFORT], 'reliable', ReplayQos(False, False, 10)),
    ([BEST_EFFORT], 'recorded', ReplayQos(True, False, 10)),
    ([RELIABLE_QOS], 'recorded', ReplayQos(False, False, 10)),
    ([RELIABLE_QOS], 'best_effort', ReplayQos(True, False, 10)),
    ([LATCHED], 'reliable', ReplayQos(False, True, 10)),
    ([LATCHED, RELIABLE_QOS], 'reliable', ReplayQos(False, False, 10))])
def test_what_is_offered(profiles, reliability, expected):
    assert replay_qos(recorded(*profiles), reliability) == expected


def test_ros1_recordings_have_no_qos():
    connection = recorded()[0]._replace(ext=ConnectionExtRosbag1(None, 1))
    assert replay_qos([connection], 'recorded', 3) == ReplayQos(False, False, 3)


def test_refusals():
    with pytest.raises(UsageError, match='choose one of reliable, best_effort, recorded'):
        replay_qos([], 'best')
    with pytest.raises(UsageError, match=r'^depth is 0'):
        replay_qos([], depth=0)
