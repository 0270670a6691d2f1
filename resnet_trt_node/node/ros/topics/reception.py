"""How a message is read, and how long it waited between its reception and its callback."""

from __future__ import annotations

from inspect import signature
from time import time_ns
from typing import Any, Callable, Mapping, Optional, Union

from resnet_trt_node.errors import FrameError
from resnet_trt_node.node.ros.ros_errors import short_cause
from std_msgs.msg import Header

#: A longer wait means that the time stamp is of another clock.
_LONGEST_WAIT_NS = 60 * 10**9


class DamagedMessage:
    """
    What is handed on in place of a message that cannot be.

    :param what: what failed, begins the line that is logged.
    :param error: why.
    """

    __slots__ = ('__weakref__', 'damage', 'header')

    def __init__(self, what: str, error: Exception) -> None:
        #: std_msgs/Header; the stamp is 0, which matches nothing.
        self.header = Header()
        cause = short_cause(error)
        name = type(error).__name__
        #: Why, in words.
        self.damage = FrameError(f'{what}: {cause if cause == name else f"{name}: {cause}"}')


def read_message(read: Callable[[Any], Any], data: Union[bytes, memoryview]) -> Any:
    """
    Return what is made of a serialised message, a `DamagedMessage` where that fails.

    :param read: makes it.
    :param data: the message.
    """
    try:
        return read(data)
    except Exception as error:  # noqa: B902  rclpy has no public names for what it raises
        return DamagedMessage('the message cannot be read', error)


def waited_ns(received_ns: Optional[int], now_ns: int) -> int:
    """
    Return how long ago the middleware received a message.

    :param received_ns: when, in nanoseconds, as the middleware tells; 0 or None if it does not.
    :param now_ns: nanoseconds of the system clock, which middlewares use for their time stamps.
    :returns: nanoseconds; 0 if the middleware gives no time stamp, or one of another clock.
    """
    if received_ns is None or received_ns <= 0:
        return 0
    ago_ns = now_ns - received_ns
    return ago_ns if 0 < ago_ns <= _LONGEST_WAIT_NS else 0


def with_wait(callback: Callable[..., None]) -> Callable[..., None]:
    """
    Return a subscription callback that measures how long each message waited.

    :param callback: called with the message and `waited_ns`, the result of that function.
    """
    def on_message(*arguments: Any) -> None:
        # The EventsExecutor of rclpy 7 and 9 gives both as one tuple.
        message, info = arguments if len(arguments) == 2 else arguments[0]
        callback(message, waited_ns=waited_ns(info.get('received_timestamp'), time_ns()))

    # rclpy decides by the signature whether to pass the MessageInfo.
    on_message.__signature__ = signature(_with_info)  # type: ignore[attr-defined]
    return on_message


def _with_info(message: Any, info: Mapping[str, Any]) -> None:
    """Have the signature of a callback that takes a message and its MessageInfo."""
