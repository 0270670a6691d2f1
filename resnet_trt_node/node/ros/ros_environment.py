"""The environment variables of ROS that would end the process, checked before ROS is imported."""

from __future__ import annotations

from collections.abc import Mapping
import ctypes
import os

from resnet_trt_node.errors import UsageError
from resnet_trt_node.printable import printable

#: Above it DDS finds no ports.
_LAST_DOMAIN = 232


def check_ros_environment(environment: Mapping[str, str] = os.environ) -> None:
    """
    Check what rcl and the middleware answer by ending the process.

    :raises UsageError: naming the variable and what to set it to.
    """
    _check_middleware(environment.get('RMW_IMPLEMENTATION', ''))
    domain = environment.get('ROS_DOMAIN_ID', '').strip()
    # Zenoh, which has no domains, takes any number.
    if domain and 'zenoh' not in environment.get('RMW_IMPLEMENTATION', ''):
        _check_domain(domain)


def _check_middleware(name: str) -> None:
    if not name:
        return
    try:
        # As rmw_implementation looks for it.
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
