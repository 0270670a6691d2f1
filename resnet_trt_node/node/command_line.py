"""The command line of `classifier_node`: all arguments but --help are those of ROS."""

from __future__ import annotations

import textwrap
from typing import Sequence

import rclpy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields
from resnet_trt_node.node.ros.ros_errors import startup_explained

_USAGE = (
    'classifier_node [--ros-args [-p NAME:=VALUE]... [--params-file FILE] [-r FROM:=TO]...]')


def init_ros(arguments: Sequence[str]) -> bool:
    """
    Initialise rclpy with the command line, leaving signals alone.

    :param arguments: without the program's name.
    :returns: False if the help was printed instead.
    :raises UsageError: for invalid or unknown arguments.
    """
    with startup_explained(_USAGE):
        # rclpy's own signal handlers would shut the context down before the last frames are
        # answered.
        rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    left = remove_ros_args(args=list(arguments))
    if left and left[0] in ('-h', '--help'):
        print(_help())
        return False
    if left:
        raise UsageError(
            f'unknown argument {left[0]!r}: parameters come after --ros-args; '
            f'usage: {_USAGE}')
    return True


def _help() -> str:
    lines = [f'usage: {_USAGE}', '', 'Classifies camera images with TensorRT or ONNX Runtime. '
             'Parameters and their defaults:', '']
    for name, parameter in parameter_fields().items():
        # The form of an empty list that every rclpy accepts.
        default = '[""]' if parameter.default == () else str(parameter.default) or "''"
        lines += [f'  {name} ({default})', *textwrap.wrap(
            parameter.metadata['description'], 95, initial_indent='      ',
            subsequent_indent='      ')]
    return '\n'.join(lines)
