"""Whether messages of a node can be taken serialised, by what is here and was tried."""

from __future__ import annotations

from typing import Optional

from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.deferred_destruction import NodeOfDeferredDestruction
from resnet_trt_node.node.ros.receiving.rcl_take import check_rcl, ReceiveError

#: How messages are received.
MESSAGE, SERIALISED = 'message', 'serialised'
#: The tests run with these. Others are known by their interface alone, which is the same.
_TRIED_MIDDLEWARES = ('rmw_fastrtps_cpp',)


def chosen_way(node: Node, wanted: str) -> str:
    """
    Return how a node's images are received, and log once why not serialised.

    :param node: its middleware and rclpy decide.
    :param wanted: the parameter `receive`.
    :returns: `SERIALISED` or `MESSAGE`.
    :raises UsageError: if it is to be serialised and cannot be.
    """
    if wanted == MESSAGE:
        return MESSAGE
    obstacle = _obstacle(node)
    if wanted == SERIALISED:
        if obstacle is not None:
            raise UsageError(f'receive: {SERIALISED} cannot be used, set it to auto: {obstacle}')
        return SERIALISED
    middleware = get_rmw_implementation_identifier()
    if obstacle is None and middleware not in _TRIED_MIDDLEWARES:
        obstacle = f'not tested with {middleware}; set receive to {SERIALISED} to use it anyway'
    if obstacle is None:
        return SERIALISED
    node.get_logger().info(f'receive: {MESSAGE}, not {SERIALISED}: {obstacle}', once=True)
    return MESSAGE


def _obstacle(node: Node) -> Optional[str]:
    if not isinstance(node, NodeOfDeferredDestruction):
        return 'the executor cannot be kept away from the subscriptions of this node'
    try:
        check_rcl()
    except ReceiveError as error:
        return str(error)
    return None
