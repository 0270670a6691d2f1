"""The standard qos_overrides parameters, and the errors in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from resnet_trt_node.errors import UsageError
from resnet_trt_node.text.printable import LINE_LIMIT, printable

#: Prefix of the names of these parameters.
PREFIX = 'qos_overrides.'
#: The rclpy argument of each publisher and subscription whose QoS can be overridden.
OPTIONS = QoSOverridingOptions.with_default_policies()
_POLICIES = tuple(kind.name.lower() for kind in OPTIONS.policy_kinds)
#: The remedy for values that rclpy rejects.
_VALUES_REMEDY = (
    'set reliability to reliable or best_effort, history to keep_last or keep_all, depth to a '
    'whole number from 1')
#: Topics that rclpy creates in every node.
_OF_RCLPY = ('/clock', '/parameter_events', '/rosout')


def qos_overrides(node: Node, topic: str, entity: str) -> dict[str, Any]:
    """
    Return the overrides of a topic, by parameter name.

    :param node: the node with the parameters.
    :param topic: the topic's name, resolved or not.
    :param entity: 'publisher' or 'subscription'.
    """
    prefix = f'{PREFIX}{node.resolve_topic_name(topic)}.{entity}'
    return {f'{prefix}.{policy}': parameter.value for policy, parameter
            in node.get_parameters_by_prefix(prefix).items()}


@contextmanager
def overrides_explained(node: Node, topic: str, entity: str) -> Iterator[None]:
    """
    Explain errors of creating a publisher or subscription in this block.

    The arguments are those of `qos_overrides`.

    :raises UsageError: for a policy that cannot be overridden, which rclpy ignores, and for any
        error of rclpy if there are overrides; it names them.
    """
    overrides = qos_overrides(node, topic, entity)
    for name in overrides:
        if name.rpartition('.')[2] not in _POLICIES:
            raise UsageError(f'{name}: only {", ".join(_POLICIES)} can be overridden')
    try:
        yield
    except Exception as error:
        if not overrides:
            raise
        given = ', '.join(f'{name} ({value!r})' for name, value in overrides.items())
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(
            f'{node.resolve_topic_name(topic)}: rclpy creates no {entity} with {given}: '
            f'{cause}; {_VALUES_REMEDY}') from error


def warn_of_idle_overrides(node: Node, used: Sequence[tuple[str, str]]) -> None:
    """
    Warn of overrides that have no effect in this node, such as those of misspelt topics.

    :param node: the node with the parameters.
    :param used: full topic name and entity of all that can be overridden.
    """
    known = tuple(
        [f'{topic}.{entity}.' for topic, entity in used] + [f'{topic}.' for topic in _OF_RCLPY])
    idle = [f'{PREFIX}{name}' for name in node.get_parameters_by_prefix(PREFIX.rstrip('.'))
            if not name.startswith(known)]
    if idle:
        node.get_logger().warning(
            f'{printable(", ".join(idle), LINE_LIMIT)} has no effect in this node; the QoS that '
            'can be overridden is that of '
            + ', '.join('.'.join(end) for end in used))
