"""The stamps of headers: in nanoseconds, and the age if they are of the node's time base."""

from __future__ import annotations

from time import time_ns
from typing import Any, Optional

#: Two clocks synchronised by PTP or NTP differ by less.
_MAX_AHEAD_MS = 1_000.0
#: An older image comes from a recording, or from a clock that starts with the camera.
_MAX_AGE_MS = 60_000.0


def stamp_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def now_ns(clock: Any) -> int:
    """
    Return nanoseconds of a node's clock.

    Where it is the system's, rclpy takes twice as long: it makes objects of each time.

    :param clock: rclpy's ROSClock, which use_sim_time takes from /clock.
    """
    return int(clock.now().nanoseconds) if clock.ros_time_is_active else time_ns()


def stamp_age_ms(now_ns: int, stamp: Any) -> Optional[float]:
    """
    Return the age of a stamp.

    :param now_ns: nanoseconds of the node's ROS clock.
    :param stamp: builtin_interfaces/Time of the image's header.
    :returns: milliseconds, slightly negative if the camera's clock is ahead; None for a stamp of
        another time base: 0, more than 1 s ahead or more than 60 s old.
    """
    since_ns = stamp_ns(stamp)
    age_ms = (now_ns - since_ns) / 1e6
    if not since_ns or not -_MAX_AHEAD_MS <= age_ms <= _MAX_AGE_MS:
        return None
    return age_ms
