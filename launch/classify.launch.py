"""
Start the classifier node.

    ros2 launch resnet_trt_node classify.launch.py model_path:=model.onnx

`-s` shows the arguments. One that is not given leaves its parameter to the YAML file. The launch
ends when the node does, but does not shut down whatever else includes this file: a robot may go on
without its classifier. `ros2 launch` then returns 0 whatever the node's exit code was, which is in
its log. With respawn:=true the node is started anew.

With build_only, given here or in the YAML file, the node has a job to do instead. If it fails, the
launch fails with it, and `ros2 launch` returns 1.
"""

from pathlib import Path
from typing import List, Optional

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from resnet_trt_node.launch_support.dds_profile import dds_environment, RECEIVER
from resnet_trt_node.launch_support.launch_arguments import (
    classify_arguments, NODE_NAME, node_settings, refuse_former_names)


#: Long enough not to keep a machine busy with starts that fail.
RESPAWN_DELAY_SEC = 2.0


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and the node that they make."""
    share = Path(get_package_share_directory('resnet_trt_node'))
    defaults = {'params_file': str(share / 'config' / 'classify.yaml')}
    return LaunchDescription([
        *(DeclareLaunchArgument(
            argument.name, default_value=defaults.get(argument.name, argument.default),
            description=argument.description, choices=argument.choices or None)
          for argument in classify_arguments()),
        OpaqueFunction(function=_start_node)])


def _start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the node; only here are the arguments' values known."""
    refuse_former_names(context.launch_configurations)
    given = {
        argument.name: LaunchConfiguration(argument.name).perform(context)
        for argument in classify_arguments()}
    settings = node_settings(given, context.launch_configurations.get('ros_namespace', ''))
    # Without a type launch reads text as YAML: a camera called `off` would become False.
    overrides = {
        name: ParameterValue(
            value, value_type=List[str] if isinstance(value, list) else type(value))
        for name, value in settings.parameters.items()}
    profile = Path(get_package_share_directory('resnet_trt_node')) / 'config' / RECEIVER
    return [Node(
        package='resnet_trt_node', executable='classifier_node', name=NODE_NAME,
        namespace=settings.namespace,
        parameters=[settings.params_file] + ([overrides] if overrides else []),
        remappings=settings.remappings, ros_arguments=settings.ros_arguments,
        additional_env=dds_environment(given['dds_profile'], profile),
        on_exit=_fail_too if settings.one_job else None,
        respawn=settings.respawn, respawn_delay=RESPAWN_DELAY_SEC,
        output='screen', emulate_tty=True)]


def _fail_too(event: ProcessExited, context: LaunchContext) -> Optional[LaunchDescriptionEntity]:
    """End the launch with an error if the node did."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f'{event.process_name} failed with exit code {event.returncode}')
    return None
