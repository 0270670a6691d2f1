"""The QoS of a replay's publishers, derived from the recorded QoS; does not import ROS."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_trt_node.errors import check_choice
from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability, QosReliability

#: Reliability of the publishers: fixed, or that of the recorded publishers.
RELIABILITIES = ('reliable', 'best_effort', 'recorded')
#: Default history depth of the publishers.
DEFAULT_DEPTH = 10


def replay_qos(
        connections: Sequence[Connection],
        reliability: str = 'reliable') -> tuple[QosReliability, QosDurability]:
    """
    Return reliability and durability of the publisher of one topic.

    A reliable publisher is compatible with every subscription, so that is the default. A topic
    stays latched if all its recorded publishers were transient local.

    :param connections: the recorded connections of the topic, see `BagReader.connections`.
    :param reliability: one of `RELIABILITIES`.
    :raises UsageError: for another reliability.
    """
    check_choice('reliability', reliability, RELIABILITIES)
    offered = [
        qos for connection in connections if isinstance(connection.ext, ConnectionExtRosbag2)
        for qos in connection.ext.offered_qos_profiles]
    best_effort = reliability == 'best_effort' or (
        reliability == 'recorded'
        and any(qos.reliability == QosReliability.BEST_EFFORT for qos in offered))
    latched = bool(offered) and all(
        qos.durability == QosDurability.TRANSIENT_LOCAL for qos in offered)
    return (QosReliability.BEST_EFFORT if best_effort else QosReliability.RELIABLE,
            QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE)
