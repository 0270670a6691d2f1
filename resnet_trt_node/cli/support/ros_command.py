"""What the commands share that need ROS."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
import signal
from typing import Any

from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.import_errors import import_failure
from resnet_trt_node.node.ros.ros_environment import check_ros_environment


def add_enclave(parser: argparse.ArgumentParser) -> None:
    """Add the option that ROS's own programs take behind --ros-args."""
    parser.add_argument(
        '--enclave', metavar='NAME', help='SROS2 enclave with the keys, such as /tools')


def import_ros(command: str, module: str) -> Any:
    """
    Import a module of this package that needs ROS.

    :param command: the command, for the message.
    :param module: the module's name within the package.
    :raises UsageError: if ROS cannot be imported, or cannot start in this environment.
    """
    check_ros_environment()
    try:
        return import_module(f'resnet_trt_node.{module}')
    except ImportError as error:
        # An error of this package's own is a bug and keeps its traceback.
        if (error.name or '').startswith('resnet_trt_node'):
            raise
        raise UsageError(f'{command} needs ROS 2, and {import_failure(error)}') from error


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM in this block: a supervisor's stop is like Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
