"""The standard qos_overrides parameters: which there are, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from resnet_trt_node.errors import UsageError
from resnet_trt_node.printable import LINE_LIMIT, printable

#: How the names of these parameters begin.
PREFIX = 'qos_overrides.'
#: What is given to rclpy for each publisher and subscription that may be overridden.
OPTIONS = QoSOverridingOptions.with_default_policies()
_POLICIES = tuple(kind.name.lower() for kind in OPTIONS.policy_kinds)
#: What to do about values that rclpy refuses, which it does in words of its own.
_VALUES = (
    'set reliability to reliable or best_effort, history to keep_last or keep_all, depth to a '
    'whole number from 1')
#: Topics that rclpy itself has in every node.
_OF_RCLPY = ('/clock', '/parameter_events', '/rosout')


def qos_overrides(node: Node, topic: str, entity: str) -> dict[str, Any]:
    """
    Return what the user has set, by parameter name.

    :param node: which may have the parameters.
    :param topic: its name, resolved or not.
    :param entity: 'publisher' or 'subscription'.
    """
    prefix = f'{PREFIX}{node.resolve_topic_name(topic)}.{entity}'
    return {f'{prefix}.{policy}': parameter.value for policy, parameter
            in node.get_parameters_by_prefix(prefix).items()}


@contextmanager
def overrides_explained(node: Node, topic: str, entity: str) -> Iterator[None]:
    """
    Create a publisher or subscription in this block; the arguments are those of `qos_overrides`.

    :raises UsageError: naming the overrides, for policies that cannot be overridden, which rclpy
        passes over, and instead of whatever rclpy raises where there are some.
    """
    overrides = qos_overrides(node, topic, entity)
    for name in overrides:
        if name.rpartition('.')[2] not in _POLICIES:
            raise UsageError(f'{name}: what can be overridden is {", ".join(_POLICIES)}')
    try:
        yield
    except Exception as error:
        if not overrides:
            raise
        given = ', '.join(f'{name} ({value!r})' for name, value in overrides.items())
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(
            f'{node.resolve_topic_name(topic)}: rclpy creates no {entity} with {given}: '
            f'{cause}; {_VALUES}') from error


def warn_of_idle_overrides(node: Node, used: Sequence[tuple[str, str]]) -> None:
    """
    Warn of overrides that change nothing in this node, such as those of misspelt topics.

    :param node: which may have the parameters.
    :param used: full topic name and entity of all that can be overridden.
    """
    known = tuple(
        [f'{topic}.{entity}.' for topic, entity in used] + [f'{topic}.' for topic in _OF_RCLPY])
    idle = [f'{PREFIX}{name}' for name in node.get_parameters_by_prefix(PREFIX.rstrip('.'))
            if not name.startswith(known)]
    if idle:
        node.get_logger().warning(
            f'{printable(", ".join(idle), LINE_LIMIT)} changes nothing in this node; what can be '
            'overridden is '
            + ', '.join('.'.join(end) for end in used))
