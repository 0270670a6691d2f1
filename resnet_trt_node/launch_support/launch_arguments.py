"""
The arguments of the launch files, and what a given one changes on the node.

Every argument but params_file is empty by default, and an empty one changes nothing: the YAML
file has the say.
This module knows nothing of the launch packages, which have no wheels, so that it can be tested
anywhere; descriptions, choices and ranges are those of `NodeParameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
import posixpath
import re
from typing import Any, Callable, Union

from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.ros.parameters.files import value_for
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters, parameter_fields
from resnet_trt_node.node.ros.transports import base_topic, TRANSPORTS
from resnet_trt_node.text.printable import printable
from resnet_trt_node.text.spelling import RENAMED_PARAMETERS
from resnet_trt_node.user_folders import full_path

#: What the launch files call the node.
NODE_NAME = 'classifier'
#: What a launch argument can become: a parameter's value in the type that the node declares.
ParameterValue = Union[str, int, bool, list[str]]

_TOPIC = re.compile(r'(~/|/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')
_LEAVES = 'Default: the value in params_file.'
# launch compares a value with an argument's choices letter by letter, so these are none: there are
# many ways to write a truth value, and nav2 passes True.
_FLAG = f'Set to true or false. {_LEAVES}'
# What rcl's parameter files may write for true.
_YAML_TRUE = ('y', 'yes', 'true', 'on')
# rcl reads these words as no text, but launch writes them into a file without quotes.
_NO_TEXT = re.compile('y|n|nan|inf|infinity', re.IGNORECASE)
_SEVERITIES = ('debug', 'info', 'warn', 'error', 'fatal')


@dataclass(frozen=True)
class LaunchArgument:
    """
    One argument of a launch file.

    :param name: its name, as in `name:=value`.
    :param description: what `ros2 launch -s` shows.
    :param choices: the values it may have, empty for any; the default is one of them.
    :param default: what it is where it is not given; '' leaves the say to the YAML file.
    """

    name: str
    description: str
    choices: tuple[str, ...] = ()
    default: str = ''


@dataclass(frozen=True)
class NodeSettings:
    """
    What the given arguments ask of the node.

    :param params_file: the YAML file with the parameters.
    :param namespace: the node's namespace, '' for the surrounding one.
    :param parameters: what overrides the YAML file, by parameter name.
    :param remappings: pairs of a topic as the node names it and what it is called instead.
    :param ros_arguments: what else follows --ros-args.
    :param respawn: whether the node is started anew when it ends.
    :param one_job: whether the node has a job to do and to end, so that the launch fails with it.
    """

    params_file: Path
    namespace: str
    parameters: dict[str, ParameterValue]
    remappings: list[tuple[str, str]]
    ros_arguments: list[str]
    respawn: bool
    one_job: bool


def _of_parameter(name: str, remark: str = _LEAVES) -> LaunchArgument:
    metadata = parameter_fields()[name].metadata
    choices = ('', *metadata['choices']) if metadata['choices'] else ()
    return LaunchArgument(name, f'{metadata["description"]} {remark}', choices)


def classify_arguments() -> tuple[LaunchArgument, ...]:
    """Return the arguments of classify.launch.py, in the order in which they are shown."""
    return (
        LaunchArgument('namespace', 'Namespace of the node; its topics are relative to it.'),
        LaunchArgument(
            'params_file', 'YAML file with the parameters of the node. The default is installed '
            'with the package and explains every parameter.'),
        _of_parameter('model_path'),
        _of_parameter('backend'),
        _of_parameter('build_only', _FLAG),
        _of_parameter('engine_dir'),
        _of_parameter('input'),
        LaunchArgument(
            'image_topic', 'Image topic, without the ending that image_transport adds, such as '
            '/compressed; with cameras, a comma-separated list with one topic for each. Empty '
            "means image in the node's namespace, or <camera>/image."),
        LaunchArgument(
            'detections_topic', "Topic of the detector's vision_msgs/Detection2DArray, for "
            'input:=regions; with cameras, a comma-separated list with one topic for each. Empty '
            "means detections in the node's namespace, or <camera>/detections."),
        LaunchArgument(
            'cameras', 'Comma-separated camera names: front,left subscribes to front/image and '
            f'left/image. {_LEAVES}'),
        _of_parameter('image_transport'),
        _of_parameter('image_reliability'),
        _of_parameter('receive'),
        _of_parameter('batch_size'),
        LaunchArgument(
            'use_sim_time', f'Use the time on /clock instead of the system time. {_FLAG}'),
        LaunchArgument(
            'respawn', 'Restart the node 2 s after it exits for any reason, such as a backend '
            'that hangs: true or false. Empty means false.'),
        LaunchArgument(
            'dds_profile', 'Fast DDS profile of the process: large_images, or an XML file. The '
            'image publisher needs one too, see docs/how-to/large-images.md. Empty uses the '
            'environment variables.'),
        LaunchArgument(
            'log_level', f'Lowest severity to log: {", ".join(_SEVERITIES)}, or that of a single '
            "logger, such as rclpy:=debug. Empty means ROS's default, info."))


def node_settings(given: Mapping[str, str], surrounding: str = '') -> NodeSettings:
    """
    Turn the arguments of classify.launch.py into what the node is started with.

    :param given: argument name to value, '' for one that was not given.
    :param surrounding: the namespace that the launch file is included in.
    :returns: only what was given; the rest stays as the YAML file says.
    :raises UsageError: for a value that the node could not use, or a missing file.
    """
    parameters = {
        name: read(name, given[name]) for name, read in _READERS.items() if given[name]}
    # The node would refuse them too, but then the launch would have begun.
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in parameters.items() if name in parameter_fields()}
    NodeParameters(**fields)
    respawn = bool(given['respawn']) and truth('respawn', given['respawn'])
    params_file = _params_file(given['params_file'])
    one_job = parameters.get('build_only')
    if one_job is None:
        name = posixpath.join('/', surrounding, given['namespace'], NODE_NAME)
        one_job = (value_for(params_file, name, 'build_only') or '').lower() in _YAML_TRUE
    if respawn and one_job:
        raise UsageError('respawn: a node that only builds an engine would do so again and again')
    return NodeSettings(
        params_file=params_file,
        namespace=given['namespace'], parameters=parameters,
        remappings=_remappings(given, parameters.get('cameras') or ['']),
        ros_arguments=_log_arguments(given['log_level']),
        respawn=respawn, one_job=bool(one_job))


def refuse_former_names(configurations: Mapping[str, str]) -> None:
    """
    Refuse arguments by their former names, which launch would ignore without a word.

    :param configurations: name to value of all that the launch was given. Where the present name
        has a value, the former one is taken for an argument of the launch file that includes ours.
    :raises UsageError: naming the present name.
    """
    for argument in classify_arguments():
        for former, present in RENAMED_PARAMETERS.items():
            if (present == argument.name and former in configurations
                    and not configurations.get(present)):
                raise UsageError(f'unknown argument {former!r}: it is called {present} now')


def _log_arguments(level: str) -> list[str]:
    if not level:
        return []
    if level.rpartition(':=')[2].lower() not in _SEVERITIES:
        raise UsageError(
            f'log_level: {printable(repr(level))} is unknown, choose one of '
            + ', '.join(_SEVERITIES))
    return ['--log-level', level]


def _params_file(given: str) -> Path:
    path = full_path('params_file', given)
    # launch itself would only warn, and the node start with other parameters than were meant.
    if not path.is_file():
        raise UsageError(f'params_file: there is no file {given!r}')
    return path


def _remappings(given: Mapping[str, str], cameras: list[str]) -> list[tuple[str, str]]:
    """Rename the topics of all inputs and transports: the YAML file may say which is used."""
    pairs = []
    for camera, topic in _topics('image_topic', given['image_topic'], cameras):
        relative, base = posixpath.join(camera, 'image'), base_topic(topic)
        pairs += [
            (f'{relative}{one.suffix}', f'{base}{one.suffix}') for one in TRANSPORTS.values()]
    return pairs + [
        (posixpath.join(camera, 'detections'), topic) for camera, topic
        in _topics('detections_topic', given['detections_topic'], cameras)]


def _topics(argument: str, text: str, cameras: list[str]) -> list[tuple[str, str]]:
    """Return each camera with its topic, nothing if none is given."""
    if not text:
        return []
    topics = split(argument, text)
    if len(topics) != len(cameras):
        number = len(cameras) if cameras != [''] else 0
        raise UsageError(
            f'{argument}: {len(topics)} topics for {number} cameras; name one topic for '
            'each camera, in the order of cameras:=..., or a single topic without cameras')
    for topic in topics:
        if not _TOPIC.fullmatch(topic):
            raise UsageError(
                f'{argument}: {topic!r} is not a topic name, such as /camera/image_raw')
    return list(zip(cameras, topics))


def split(name: str, text: str) -> list[str]:
    """
    Read a list that an argument holds.

    :param name: the argument, for the message.
    :param text: words separated by commas.
    :raises UsageError: if a word is empty.
    """
    words = [word.strip() for word in text.split(',')]
    if '' in words:
        raise UsageError(f'{name}: {text!r} has an empty name; separate names by single commas')
    return words


def _cameras(name: str, text: str) -> list[str]:
    words = split(name, text)
    for word in filter(_NO_TEXT.fullmatch, words):
        raise UsageError(f'{name}: ROS would not read {word!r} as text, choose another name')
    return words


def _path(name: str, text: str) -> str:
    # No shell expands the ~ of `model_path:=~/model.onnx`.
    return str(full_path(name, text))


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f'{name}: {text!r} is not a whole number') from error


def truth(name: str, text: str) -> bool:
    """
    Read a truth value as the conditions of launch do.

    :param name: the argument, for the message.
    :param text: true, false, 1 or 0 in letters of any size.
    :raises UsageError: for anything else.
    """
    value = {'true': True, '1': True, 'false': False, '0': False}.get(text.strip().lower())
    if value is None:
        raise UsageError(f'{name}: {printable(repr(text))} is neither true nor false')
    return value


# How the arguments are read that are parameters of the node, given name and text.
_READERS: dict[str, Callable[[str, str], Any]] = {
    **dict.fromkeys(
        ('backend', 'input', 'image_transport', 'image_reliability', 'receive'),
        lambda name, text: text),
    'model_path': _path, 'engine_dir': _path, 'cameras': _cameras, 'batch_size': _integer,
    'build_only': truth, 'use_sim_time': truth}
