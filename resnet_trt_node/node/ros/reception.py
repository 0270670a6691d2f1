"""How long a message waited in the middleware before the executor had time for it."""

from __future__ import annotations

from inspect import signature
from time import time_ns
from typing import Any, Callable, Mapping

#: What seems to have waited longer has a time stamp of another clock.
_LONGEST_WAIT_NS = 60 * 10**9


def waited_ns(info: Mapping[str, Any], now_ns: int) -> int:
    """
    Return how long ago the middleware received a message.

    :param info: rclpy's MessageInfo of the message.
    :param now_ns: nanoseconds of the system's clock, which middlewares take their stamps from.
    :returns: nanoseconds; 0 where the middleware does not tell, or tells by another clock.
    """
    stamp_ns = info.get('received_timestamp') or 0
    ago_ns: int = now_ns - stamp_ns
    return ago_ns if stamp_ns > 0 and 0 < ago_ns <= _LONGEST_WAIT_NS else 0


def with_wait(callback: Callable[..., None]) -> Callable[..., None]:
    """
    Return a subscription's callback that tells how long each message waited.

    :param callback: takes the message, and as `waited_ns` what the function of this name returns.
    """
    def on_message(*arguments: Any) -> None:
        # The EventsExecutor of rclpy 7 and 9 gives both as one tuple.
        message, info = arguments if len(arguments) == 2 else arguments[0]
        callback(message, waited_ns=waited_ns(info, time_ns()))

    # By this rclpy decides what to give.
    on_message.__signature__ = signature(_with_info)  # type: ignore[attr-defined]
    return on_message


def _with_info(message: Any, info: Mapping[str, Any]) -> None:
    """Show rclpy that a callback takes a message and what is known of it."""
