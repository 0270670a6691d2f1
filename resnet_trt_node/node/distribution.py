"""
What differs between the distributions of ROS 2, asked of what is installed and not of a name.

Wheels set no ROS_DISTRO, and a distribution may get a newer rclpy. Humble is known by reading.
"""

from __future__ import annotations

from collections.abc import Callable

import rclpy
from rclpy.executors import Executor
from rclpy.node import Node

try:
    from rclpy.event_handler import (
        EventHandler, SubscriptionEventCallbacks, UnsupportedEventTypeError)
except ImportError:
    # Their names in Humble.
    from rclpy.qos_event import (
        QoSEventHandler as EventHandler, SubscriptionEventCallbacks, UnsupportedEventTypeError)

__all__ = (
    'DDS_PROFILES_VARIABLE', 'EventHandler', 'events_executor', 'HAS_POST_SET_CALLBACKS',
    'SubscriptionEventCallbacks', 'UnsupportedEventTypeError')

#: The environment variable that names Fast DDS's profiles. Fast DDS 3 came with Kilted and warns
#: at the older name, the only one that Fast DDS 2 of the distributions before knows.
DDS_PROFILES_VARIABLE = (
    'FASTDDS_DEFAULT_PROFILES_FILE' if hasattr(rclpy, 'InitContextManager')
    else 'FASTRTPS_DEFAULT_PROFILES_FILE')

#: Whether a node can be told of parameters after they were set; not in Humble.
HAS_POST_SET_CALLBACKS = hasattr(Node, 'add_post_set_parameters_callback')


def events_executor() -> Callable[[], Executor] | None:
    """Return rclpy's EventsExecutor, None where it has none: before Jazzy's 7.1.4."""
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:
        return None
    return EventsExecutor
