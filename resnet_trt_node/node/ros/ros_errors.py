"""Turns rclpy's errors about names, types and settings into one line with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import re
from typing import Optional
import warnings

import rclpy
from rclpy.context import Context
from rclpy.exceptions import NameValidationException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.distribution import UnsupportedEventTypeError
from resnet_trt_node.text.printable import printable


@contextmanager
def refusals_explained(name: str) -> Iterator[None]:
    """
    Explain errors of creating a node, publisher or subscription in this block.

    :param name: name of the entity that is created.
    :raises UsageError: instead of rclpy's error about the name, or about the type of a topic.
    """
    try:
        yield
    except UnsupportedEventTypeError:
        # No error of the user: the caller goes on without these events.
        raise
    # Names with unknown {substitutions} are a plain ValueError.
    except (NameValidationException, ValueError, rclpy_implementation.RCLError) as error:
        cause = short_cause(error)
        if 'exceed' in cause:
            remedy = (
                'shorten the names of cameras, node (__node), namespace (__ns) or remapped topic')
        elif isinstance(error, (NameValidationException, ValueError)):
            remedy = 'use letters, digits, _ and /'
        else:
            remedy = 'check the remappings (-r), __node and __ns; a topic has one type only'
        raise UsageError(f'{printable(name, 100)}: {cause}; {remedy}') from error


@contextmanager
def startup_explained(usage: str = '') -> Iterator[None]:
    """
    Explain errors of rclpy.init, called in this block.

    :param usage: usage line, appended to errors of the command line.
    :raises UsageError: instead of rclpy's error.
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


def own_node(name: str, enclave: Optional[str] = None, rosout: bool = True) -> Node:
    """
    Create a node in a context of its own that leaves the command line and signals alone.

    :param name: name of the node.
    :param enclave: the SROS2 enclave; None is that of the environment, or '/'.
    :param rosout: whether its log is published.
    :raises UsageError: if ROS cannot start, or not in this enclave.
    """
    context = Context()
    with startup_explained(), warnings.catch_warnings():
        # rclpy warns of a node that it has half created.
        warnings.simplefilter('ignore', RuntimeWarning)
        rclpy.init(
            args=[] if enclave is None else ['--ros-args', '--enclave', enclave],
            context=context, signal_handler_options=SignalHandlerOptions.NO)
        try:
            return rclpy.create_node(
                name, context=context, enable_rosout=rosout, start_parameter_services=False)
        except BaseException:
            rclpy.shutdown(context=context)
            raise


def short_cause(error: Exception) -> str:
    """Return the first line of rcl's message, without its source location."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if text.startswith('['):
        return printable(f'unknown ROS arguments: {text.strip("[]")}')
    text = re.sub(r', at \S+:\d+', '', text).replace('failed to initialize rcl: ', '').replace(
        ' Error: error not set', '')
    return printable(text.rstrip(':'))
