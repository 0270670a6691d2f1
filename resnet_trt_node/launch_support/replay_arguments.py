"""
The arguments of replay.launch.py: which topics of a bag are played, and what the node is given.

Like `launch_arguments` it knows nothing of the launch packages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
import math
import posixpath
from typing import Any

from resnet_trt_node.errors import BagError, UsageError
from resnet_trt_node.launch_support.launch_arguments import (
    classify_arguments, LaunchArgument, split, truth)
from resnet_trt_node.node.ros.transports import base_topic, TRANSPORTS

# The node dies, and with it the launch, rather than stay inactive for ever; but it may compile
# its model first.
_WAIT_FOR_NODE_S = 3600
# Transport by the type of a recorded topic's images. Foxglove's are read as those of sensor_msgs.
_PLAYED = {one.kind: name for name, one in TRANSPORTS.items() if name != 'foxglove'}


@dataclass(frozen=True)
class ReplaySettings:
    """
    What is played, and what the node needs to hear it.

    :param command: the arguments of `resnet_trt`.
    :param node_arguments: arguments of classify.launch.py in place of the given ones.
    """

    command: list[str]
    node_arguments: dict[str, str]


def replay_arguments() -> tuple[LaunchArgument, ...]:
    """Return the arguments of replay.launch.py; `bag` has no default."""
    own = (
        LaunchArgument(
            'bag', 'The bag: a rosbag2 folder, a .mcap or .db3 file, or a ROS 1 .bag file.'),
        LaunchArgument('rate', '2.0 plays twice as fast as recorded.', default='1.0'),
        LaunchArgument(
            'loop', 'Start again after the last image, until Ctrl-C: true or false.',
            default='false'))
    changed: dict[str, dict[str, Any]] = {
        'input': {'description': (
            'What to classify: image or regions. Only images are played back; regions needs a '
            'detector running at the same time. Default: the value in params_file.')},
        'image_topic': {'description': (
            'Image topics in the bag, a comma-separated list with one for each camera. Empty '
            "means the bag's only image topic or, with cameras, <namespace>/<camera>/image.")},
        'image_transport': {'choices': ('', *_PLAYED.values()), 'description': (
            'Whether raw images, compressed images or packets of FFMPEGPacket are played. '
            "Foxglove's images and video are played as raw and compressed. Empty plays the first "
            'of these that the bag has.')},
        'image_reliability': {'default': 'reliable', 'description': (
            'QoS reliability of the image subscriptions; reliable loses no recorded image in '
            'transport. Default: the value in params_file.')},
        'respawn': {'description': 'Has no effect here: the launch ends with the node.'},
        'use_sim_time': {'description': (
            "Run the node on the bag's time, and publish it on /clock: true or false. Empty "
            'uses the value in params_file and does not publish /clock.')},
    }
    return own + tuple(
        replace(argument, **changed.get(argument.name, {})) for argument in classify_arguments())


def replay_settings(
        given: Mapping[str, str], recorded: Mapping[str, str],
        surrounding: str = '') -> ReplaySettings:
    """
    Choose what is played and tell the node where it will be.

    :param given: argument name to value.
    :param recorded: the bag's image topics, each with the type of its images.
    :param surrounding: the namespace that the launch file is included in.
    :raises UsageError: for a value that cannot be used.
    :raises BagError: if the bag has not what the node shall see.
    """
    command = [
        'replay', given['bag'], '--rate', str(_rate(given['rate'])),
        '--wait', str(_WAIT_FOR_NODE_S)]
    if truth('loop', given['loop']):
        command.append('--loop')
    if given['use_sim_time'] and truth('use_sim_time', given['use_sim_time']):
        command.append('--clock')
    topics = [
        _recorded_topic(name, given['image_transport'], recorded)
        for name in _names(given, recorded, surrounding)]
    transports = list(dict.fromkeys(_PLAYED[recorded[topic]] for topic in topics))
    if len(transports) > 1:
        raise UsageError(
            f'{", ".join(topics)} are {" and ".join(transports)} images, and the node takes one '
            'kind: name others')
    for topic in topics:
        target = base_topic(topic) + TRANSPORTS[transports[0]].suffix
        command += ['--topic', topic if topic == target else f'{topic}:={target}']
    return ReplaySettings(command, {
        'image_topic': ','.join(base_topic(topic) for topic in topics),
        'image_transport': transports[0]})


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError as error:
        raise UsageError(f'rate: {text!r} is not a number') from error
    if not (math.isfinite(rate) and rate > 0):
        raise UsageError(f'rate: {text} is out of range, it must be above 0')
    return rate


def _names(
        given: Mapping[str, str], recorded: Mapping[str, str], surrounding: str) -> list[str]:
    """Return the topic of each camera, with or without its ending for the transport."""
    if given['image_topic']:
        return ['/' + topic.lstrip('/') for topic in split('image_topic', given['image_topic'])]
    if given['cameras']:
        namespace = posixpath.join('/', surrounding, given['namespace'])
        return [
            posixpath.join(namespace, camera, 'image')
            for camera in split('cameras', given['cameras'])]
    bases = sorted({base_topic(topic) for topic in recorded})
    if len(bases) != 1:
        raise BagError(
            f'the bag has the image topics {", ".join(bases)}: choose with image_topic:=...'
            if bases else 'the bag has no image topic')
    return bases


def _recorded_topic(name: str, transport: str, recorded: Mapping[str, str]) -> str:
    base, order = base_topic(name), list(_PLAYED)
    found = [
        topic for topic, kind in recorded.items() if base_topic(topic) == base
        and (not transport or _PLAYED[kind] == transport)]
    if not found:
        kind = f'{transport} ' if transport else ''
        raise BagError(
            f'the bag has no {kind}image topic {base}, it has '
            f'{", ".join(recorded) or "none"}: choose with image_topic:=...')
    return min(found, key=lambda topic: (order.index(recorded[topic]), topic != name, topic))
