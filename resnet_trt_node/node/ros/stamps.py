"""Telling how old an image is from the stamp in its header, where the stamp can be trusted."""

from __future__ import annotations

from typing import Any, Optional

#: Two clocks of one time base, PTP or NTP, differ by less.
_MOST_AHEAD_MS = 1_000.0
#: An image that is older comes from a recording or from a clock that counts from its own start.
_MOST_BEHIND_MS = 60_000.0


def stamp_age_ms(now_ns: int, stamp: Any) -> Optional[float]:
    """
    Return how long ago a stamp was.

    :param now_ns: nanoseconds of the node's ROS clock.
    :param stamp: builtin_interfaces/Time of the image's header.
    :returns: milliseconds, a little negative where the camera's clock is ahead; None for a stamp
        of 0, or more than 1 s ahead or 60 s behind: it is of another time base.
    """
    stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
    age_ms: float = (now_ns - stamp_ns) / 1e6
    if not stamp_ns or not -_MOST_AHEAD_MS <= age_ms <= _MOST_BEHIND_MS:
        return None
    return age_ms
