"""Checks environment variables of ROS that would end the process, before ROS is imported."""

from __future__ import annotations

from collections.abc import Mapping
import ctypes
import os

from resnet_trt_node.errors import UsageError
from resnet_trt_node.text.printable import printable

#: The highest domain for which DDS has port numbers.
_LAST_DOMAIN = 232


def check_ros_environment(environment: Mapping[str, str] = os.environ) -> None:
    """
    Refuse values for which rcl or the middleware would end the process.

    :raises UsageError: with the variable and possible values.
    """
    middleware = environment.get('RMW_IMPLEMENTATION', '')
    if middleware:
        _check_middleware(middleware)
    domain = environment.get('ROS_DOMAIN_ID', '').strip()
    # Zenoh has no domains and accepts any number.
    if domain and 'zenoh' not in middleware:
        _check_domain(domain)


def _check_middleware(name: str) -> None:
    try:
        # The name that rmw_implementation loads.
        ctypes.CDLL(f'lib{name}.so')
    except OSError as error:
        package = printable(name.replace('_', '-'), 60)
        raise UsageError(
            f'RMW_IMPLEMENTATION is {printable(name, 60)}, which does not load '
            f'({printable(error)}): unset it, or install the package ros-<distro>-{package}'
        ) from error


def _check_domain(domain: str) -> None:
    try:
        # As rcl reads it, in which 07 is octal, as in C.
        octal = domain.startswith('0') and domain.isdigit()
        fits = 0 <= int(domain, 8 if octal else 0) <= _LAST_DOMAIN
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(
            f'ROS_DOMAIN_ID is {printable(domain, 60)}: set it to a number from 0 to '
            f'{_LAST_DOMAIN}, or unset it')
