"""What publishers of a replay offer, decided from what was offered when it was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_trt_node.errors import UsageError
from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability, QosReliability

#: Where a publisher's reliability comes from: always the same, or as the bag says.
RELIABILITIES = ('reliable', 'best_effort', 'recorded')
#: Images that a publisher keeps for readers that are behind.
DEFAULT_DEPTH = 10


@dataclass(frozen=True)
class ReplayQos:
    """
    What a publisher offers, without ROS's own classes.

    :param best_effort: reliable if not.
    :param transient_local: latecomers get the last images; volatile if not.
    :param depth: images that it keeps.
    """

    best_effort: bool
    transient_local: bool
    depth: int


def replay_qos(
        connections: Sequence[Connection], reliability: str = 'reliable',
        depth: int = DEFAULT_DEPTH) -> ReplayQos:
    """
    Decide what the publisher of one topic offers.

    A reliable publisher suits every subscription, so that is the default whatever was recorded.
    Latched topics stay latched, if all their publishers were.

    :param connections: how the topic was recorded, see `BagReader.connections`.
    :param reliability: one of `RELIABILITIES`.
    :param depth: images that the publisher keeps, at least 1.
    :raises UsageError: for another reliability or depth.
    """
    if reliability not in RELIABILITIES:
        raise UsageError(
            f'unknown reliability {reliability!r}: choose one of {", ".join(RELIABILITIES)}')
    if depth < 1:
        raise UsageError(f'depth is {depth}: a publisher keeps at least 1 image')
    offered = [
        qos for connection in connections if isinstance(connection.ext, ConnectionExtRosbag2)
        for qos in connection.ext.offered_qos_profiles]
    best_effort = reliability == 'best_effort' or (
        reliability == 'recorded'
        and any(qos.reliability == QosReliability.BEST_EFFORT for qos in offered))
    transient_local = bool(offered) and all(
        qos.durability == QosDurability.TRANSIENT_LOCAL for qos in offered)
    return ReplayQos(best_effort, transient_local, depth)
