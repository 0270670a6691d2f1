"""What rclpy raises for names, types and settings, as one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import re

from rclpy.exceptions import NameValidationException
from rclpy.impl.implementation_singleton import rclpy_implementation
from resnet_trt_node.errors import UsageError
from resnet_trt_node.printable import printable

_UNSUPPORTED = rclpy_implementation.UnsupportedEventTypeError


@contextmanager
def refusals_explained(name: str) -> Iterator[None]:
    """
    Create something in this block that has a name: a node, a publisher, a subscription.

    :param name: of what is created, as far as it is known.
    :raises UsageError: instead of what rclpy raises for the name, or for the type of a topic.
    """
    try:
        yield
    except _UNSUPPORTED:
        # Nobody's fault; who asks for such events does without.
        raise
    except (NameValidationException, rclpy_implementation.RCLError) as error:
        cause = short_cause(error)
        if 'exceed' in cause:
            way = 'shorten the names of cameras, node (__node), namespace (__ns) or remapped topic'
        elif isinstance(error, NameValidationException):
            way = 'use letters, digits, _ and /'
        else:
            way = 'check the remappings (-r), __node and __ns; a topic has one type only'
        raise UsageError(f'{printable(name, 100)}: {cause}; {way}') from error


@contextmanager
def startup_explained(usage: str = '') -> Iterator[None]:
    """
    Call rclpy.init in this block.

    :param usage: told with what may be wrong about the command line.
    :raises UsageError: instead of what rclpy raises.
    """
    try:
        yield
    except RuntimeError as error:
        # Also RCLError and UnknownROSArgsError, which have no public name.
        cause = short_cause(error)
        if re.search(r'logging|opening file \S*\.log', cause):
            cause += '; set ROS_LOG_DIR to a folder that can be written to'
        elif usage:
            cause += f'; usage: {usage}'
        raise UsageError(cause) from error


def short_cause(error: Exception) -> str:
    """Return the first line of rcl's message, without where in its sources it arose."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if text.startswith('['):
        return printable(f'these are no ROS arguments: {text.strip("[]")}')
    text = re.sub(r', at \S+:\d+', '', text).replace('failed to initialize rcl: ', '').replace(
        ' Error: error not set', '')
    return printable(text.rstrip(':'))
