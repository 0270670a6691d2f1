"""
Takes the place of `ros2 launch PACKAGE FILE NAME:=VALUE...`; launch and launch_ros have no wheels.

The launch file itself runs, with stand-ins for what it imports of them; then this process becomes
the node, by the command that launch_ros would execute. test_launched_node.py has the real ones.
"""

from __future__ import annotations

import os
from pathlib import Path
import posixpath
import runpy
import sys
import tempfile
from types import ModuleType, SimpleNamespace
from typing import Any

from ament_index_python.packages import get_package_prefix, get_package_share_directory
import yaml


class _Fields(SimpleNamespace):
    """Keeps what it is made of."""


class _Configuration:
    """The value of an argument."""

    def __init__(self, name: str) -> None:
        self._name = name

    def perform(self, context: Any) -> str:
        return str(context.launch_configurations[self._name])


_STAND_INS: dict[str, dict[str, Any]] = {
    'launch': {
        'LaunchContext': _Fields, 'LaunchDescription': list, 'LaunchDescriptionEntity': object},
    'launch.actions': {
        'DeclareLaunchArgument': lambda name, **fields: _Fields(name=name, **fields),
        'OpaqueFunction': _Fields},
    'launch.events': {}, 'launch.events.process': {'ProcessExited': object},
    'launch.substitutions': {'LaunchConfiguration': _Configuration},
    'launch_ros': {}, 'launch_ros.actions': {'Node': _Fields},
    'launch_ros.parameter_descriptions': {
        'ParameterValue': lambda value, value_type: value}}


def node_of(file: Path, given: dict[str, str]) -> Any:
    """
    Return the fields of the node that a launch file starts.

    :param file: a launch file that declares arguments and has a function that returns one node.
    :param given: value of each argument that is given.
    :raises ValueError: for an argument that it does not declare, or a value that is no choice.
    """
    for name, content in _STAND_INS.items():
        module = sys.modules[name] = ModuleType(name)
        vars(module).update(content)
    *arguments, start = runpy.run_path(str(file))['generate_launch_description']()
    if unknown := given.keys() - {argument.name for argument in arguments}:
        raise ValueError(f'{file.name} has no arguments {unknown}')
    configurations = {
        argument.name: given.get(argument.name, argument.default_value) for argument in arguments}
    for argument in arguments:
        value = configurations[argument.name]
        if argument.choices and value not in argument.choices:
            raise ValueError(f'{argument.name}: {value!r} is none of {argument.choices}')
    node, = start.function(_Fields(launch_configurations=configurations))
    return node


def command_of(node: Any) -> list[str]:
    """Return the words of the command that launch_ros would execute for a node."""
    namespace = posixpath.join('/', node.namespace)
    words = [str(Path(get_package_prefix(node.package), 'lib', node.package, node.executable)),
             '--ros-args', *node.ros_arguments, '-r', f'__node:={node.name}',
             *(['-r', f'__ns:={namespace}'] if node.namespace else [])]
    for parameters in node.parameters:
        if isinstance(parameters, dict):
            parameters = _parameter_file(posixpath.join(namespace, node.name), parameters)
        words += ['--params-file', str(parameters)]
    for topic, instead in node.remappings:
        words += ['-r', f'{topic}:={instead}']
    return words


def _parameter_file(name: str, parameters: dict[str, Any]) -> str:
    with tempfile.NamedTemporaryFile('w', prefix='launch_params_', delete=False) as file:
        yaml.safe_dump({name: {'ros__parameters': parameters}}, file)
    return file.name


def main() -> None:
    """Become the node."""
    command, package, name, *words = sys.argv[1:]
    if command != 'launch':
        raise ValueError(f'there is no stand-in for ros2 {command}')
    share = get_package_share_directory(package)
    node = node_of(
        Path(share, 'launch', name), dict(word.split(':=', 1) for word in words))
    words = command_of(node)
    os.execve(words[0], words, {**os.environ, **node.additional_env})


if __name__ == '__main__':
    main()
