"""ROS 2 as it is sourced: rclpy, messages, middleware, and what large images need of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import re
import xml.etree.ElementTree as ElementTree

from resnet_trt_node.cli.support.doctor.finding import (
    ADVICE, BROKEN, Finding, MISSING, OK, UNNEEDED)
from resnet_trt_node.cli.support.doctor.machine import Machine
from resnet_trt_node.cli.support.doctor.probes import Outcome, Probe
from resnet_trt_node.launch_support.dds_profile import LARGE_IMAGES, SENDER
from resnet_trt_node.node.ros.cv_bridge_check import TRIAL
from resnet_trt_node.regular_file import read_regular

#: Subject to how it is tried out.
PROBES: dict[str, Probe] = {
    'rclpy': Probe(
        'import rclpy\n'
        'from resnet_trt_node.node.distribution import DDS_PROFILES_VARIABLE\n'
        'found = f"rclpy {version(\'rclpy\')}, {DDS_PROFILES_VARIABLE}"', ('rclpy',)),
    'vision_msgs': Probe(
        'from vision_msgs.msg import Classification, Detection2DArray, LabelInfo\n'
        'from rclpy.type_support import check_for_type_support\n'
        'for kind in (Classification, Detection2DArray, LabelInfo):\n'
        '    check_for_type_support(kind)\n'
        'found = "with Detection2DArray and LabelInfo"', ('vision_msgs', 'vision_msgs.msg')),
    'cv_bridge': Probe(f'{TRIAL}\nfound = "converts"', ('cv_bridge',)),
    'middleware': Probe(
        'from resnet_trt_node.node.ros.ros_environment import check_ros_environment\n'
        'check_ros_environment()\n'
        'from rclpy.utilities import get_rmw_implementation_identifier\n'
        'found = get_rmw_implementation_identifier()', ('rclpy',)),
}
_VARIABLE = re.compile(r', (FAST\w+_DEFAULT_PROFILES_FILE)$')
_PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


def ros_findings(
        machine: Machine, outcomes: Mapping[str, Outcome],
        environment: Mapping[str, str]) -> list[Finding]:
    """
    Return what is known of ROS.

    :param outcomes: of `PROBES`.
    :param environment: of this process.
    """
    return [
        _rclpy(machine, outcomes['rclpy']),
        _vision_msgs(machine, outcomes['vision_msgs']),
        _cv_bridge(machine, outcomes['cv_bridge']),
        _middleware(machine, outcomes, environment),
        _dds_profile(outcomes, environment),
    ]


def _rclpy(machine: Machine, outcome: Outcome) -> Finding:
    subject, purpose = 'rclpy', 'ROS 2 in Python'
    found = _VARIABLE.sub('', outcome.found)
    if outcome.state == OK:
        distro = f'{machine.ros_distro}, ' if machine.ros_distro else ''
        return Finding(subject, OK, f'{distro}{found}', purpose)
    if outcome.state == MISSING and not machine.ros_distro and machine.ros_setups:
        return Finding(subject, MISSING, 'ROS 2 is installed and not sourced', purpose,
                       f'source {machine.ros_setups[-1]}')
    if outcome.state == BROKEN and machine.ros_distro:
        # Extensions are built for one version of Python, which a virtual environment may not be.
        found += ', perhaps another Python than the one that ROS was built for'
        return Finding(
            subject, BROKEN, found, purpose, 'deactivate   # the virtual environment'
            if machine.venv else f'sudo apt install --reinstall ros-{machine.ros_distro}-rclpy')
    return Finding(subject, outcome.state, found, purpose, machine.apt_ros('ros-base'))


def _vision_msgs(machine: Machine, outcome: Outcome) -> Finding:
    return Finding(
        'vision_msgs', outcome.state, outcome.found, 'the messages of results',
        '' if outcome.state == OK else machine.apt_ros('vision-msgs'))


def _cv_bridge(machine: Machine, outcome: Outcome) -> Finding:
    subject, purpose = 'cv_bridge', "conversion of encodings; the node's own is used without it"
    if outcome.state == BROKEN:
        # The usual reason, and the process may have ended without a word.
        return Finding(subject, BROKEN, f'{outcome.found}; was it built for NumPy 1?', purpose,
                       machine.pip('numpy<2'))
    state = OK if outcome.state == OK else UNNEEDED
    return Finding(subject, state, outcome.found, purpose)


def _middleware(
        machine: Machine, outcomes: Mapping[str, Outcome],
        environment: Mapping[str, str]) -> Finding:
    subject, purpose = 'middleware', 'carries the messages'
    outcome = outcomes['middleware']
    if outcomes['rclpy'].state != OK:
        return Finding(subject, MISSING, 'not known without rclpy', purpose)
    domain = environment.get('ROS_DOMAIN_ID', '') or '0, the default'
    if outcome.state == OK:
        return Finding(subject, OK, f'{outcome.found}, ROS_DOMAIN_ID {domain}', purpose)
    found = outcome.found.removeprefix('UsageError: ')
    remedy = next((f'unset {name}' for name in ('RMW_IMPLEMENTATION', 'ROS_DOMAIN_ID')
                   if found.startswith(name)), machine.apt_ros('rmw-fastrtps-cpp'))
    return Finding(subject, BROKEN, found, purpose, remedy)


def _dds_profile(
        outcomes: Mapping[str, Outcome], environment: Mapping[str, str]) -> Finding:
    """Tell whether Fast DDS is set up for images that do not fit into its own shared memory."""
    subject, purpose = 'dds profile', 'raw images of a megabyte and more'
    middleware, known = outcomes['middleware'], _VARIABLE.search(outcomes['rclpy'].found)
    if known is None or middleware.state != OK or 'fastrtps' not in middleware.found:
        return Finding(subject, UNNEEDED, 'a profile is for Fast DDS', purpose)
    variable = known[1]
    other = next(name for name in _PROFILE_VARIABLES if name != variable)
    advice = (f'ros2 launch resnet_trt_node classify.launch.py dds_profile:={LARGE_IMAGES} ...'
              f'   # and {SENDER} for the camera')
    path = environment.get(variable, '')
    if path:
        try:
            bytes_of_segments(Path(path))
        except OSError as error:
            return Finding(subject, BROKEN, f'{variable} is {path}: {error.strerror or error}',
                           purpose, f'unset {variable}')
        except (ElementTree.ParseError, ValueError) as error:
            return Finding(subject, BROKEN, f'{path} is no profile: {error}', purpose,
                           f'unset {variable}')
        return Finding(subject, OK, path, purpose)
    if environment.get(other):
        return Finding(
            subject, BROKEN, f'{other} is set, which this Fast DDS does not read', purpose,
            f'export {variable}=${other}')
    if environment.get('FASTDDS_BUILTIN_TRANSPORTS', '').startswith('LARGE_DATA'):
        return Finding(subject, OK, 'FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA', purpose)
    return Finding(subject, ADVICE, 'Fast DDS as it comes, which loses such frames', purpose,
                   advice)


def bytes_of_segments(profile: Path) -> int:
    """
    Return how much shared memory a process takes that is started with a Fast DDS profile.

    :raises OSError: if the file cannot be read.
    :raises xml.etree.ElementTree.ParseError: if it is no XML.
    :raises ValueError: if a size is no number.
    """
    tree = ElementTree.fromstring(read_regular(profile, 1 << 20))
    return sum(int(node.text or '') for node in tree.iter()
               if node.tag.rpartition('}')[2] == 'segment_size')
