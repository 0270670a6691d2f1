"""Reads parameter files: rcl ignores sections for other nodes without a warning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
import re
from typing import Any, Optional, TYPE_CHECKING

from resnet_trt_node.regular_file import read_regular
from resnet_trt_node.text.printable import printable, some
import yaml

if TYPE_CHECKING:
    from rclpy.node import Node

_PARAMETERS = 'ros__parameters'
_MOST_BYTES = 1 << 22
#: rcl's wildcards in the names of sections, as regular expressions.
_WILDCARDS = {'/**': r'(/\w+)*', '/*': r'/\w+'}


def warn_of_idle_files(node: Node, arguments: Sequence[str]) -> None:
    """
    Warn of each parameter file that has sections, but none for this node.

    :param node: the node; its full name after remapping counts.
    :param arguments: the command line that rclpy was initialised with.
    """
    name = node.get_fully_qualified_name()
    for path in params_files(arguments):
        names = [section for section, _ in sections_of(path)]
        if names and not any(is_for(section, name) for section in names):
            shown = some(list(map(printable, names)))
            node.get_logger().warning(
                f'{printable(path)} has no effect: its parameters are for {shown}, and this '
                f'node is {name}; name a section so, or /** for any node')


def params_files(arguments: Sequence[str]) -> list[Path]:
    """
    Return the files that a command line names with --params-file.

    :param arguments: the whole command line; rcl reads the part between --ros-args and --.
    """
    paths = []
    of_ros = False
    for word, following in zip(arguments, [*arguments[1:], '']):
        if word in ('--ros-args', '--'):
            of_ros = word == '--ros-args'
        elif of_ros and word == '--params-file':
            paths.append(Path(following))
    return paths


def value_for(path: Path, node: str, parameter: str) -> Optional[str]:
    """
    Return a parameter's value for a node, as it is written in a parameter file.

    :param path: the file.
    :param node: the node's full name.
    :param parameter: the parameter's name.
    :returns: None if the file has no value for it, or cannot be read.
    """
    values = [
        parameters[parameter] for section, parameters in sections_of(path)
        if is_for(section, node) and isinstance(parameters, dict) and parameter in parameters]
    # rcl uses the last one, even if an earlier section is more specific.
    return str(values[-1]) if values else None


def sections_of(path: Path) -> list[tuple[str, Any]]:
    """
    Return the sections of a parameter file: the node names as they are written, and the values.

    :param path: the file. One that cannot be read has none: rcl reports that, or has read it
        before, and a pipe is empty by now.
    """
    try:
        # The base loader returns strings only: rcl has its own rules for numbers and dates.
        documents = list(yaml.load_all(read_regular(path, _MOST_BYTES), yaml.BaseLoader))
    except (OSError, yaml.YAMLError):
        return []
    return [section for document in documents for section in _sections(document, '')]


def _sections(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        if key == _PARAMETERS:
            yield name, below
        else:
            yield from _sections(below, f'{name}/{key}' if name else str(key))


def is_for(section: str, node: str) -> bool:
    """
    Return whether the parameters of a section apply to a node.

    :param section: a section's name; the leading slash may be left out, * matches one part of a
        name and ** any number of them.
    :param node: the node's full name.
    """
    pattern = re.escape('/' + section.removeprefix('/')).replace(r'\*', '*')
    return re.fullmatch(
        re.sub(r'/\*\*?', lambda found: _WILDCARDS[found[0]], pattern), node) is not None
