"""
Play a bag to the classifier node, and end when it has been played.

    ros2 launch resnet_trt_node replay.launch.py bag:=drive model_path:=model.onnx

`resnet_trt replay` plays it, not `ros2 bag play`: that one starts at once, while the node may
still be compiling its model, and the first images are lost. Ours waits until the node subscribes,
which it does when it is active, and ends when the node has received the last image. The node then
answers what is on its way before it ends. If either fails, both end and the exit code is 1.

The node subscribes to the bag's topics, reliably unless image_reliability says otherwise. Cameras
that only the YAML file names are unknown here: give them as cameras:=... too.
"""

from pathlib import Path
from typing import Optional

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction,
    RegisterEventHandler, Shutdown)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.launch_support.dds_profile import dds_environment, SENDER
from resnet_trt_node.launch_support.launch_arguments import classify_arguments
from resnet_trt_node.launch_support.replay_arguments import replay_arguments, replay_settings

PACKAGE = 'resnet_trt_node'


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and the node and the player that they make."""
    share = Path(get_package_share_directory(PACKAGE))
    defaults = {'bag': None, 'params_file': str(share / 'config' / 'classify.yaml')}
    return LaunchDescription([
        *(DeclareLaunchArgument(
            argument.name, default_value=defaults.get(argument.name, argument.default),
            description=argument.description, choices=argument.choices or None)
          for argument in replay_arguments()),
        RegisterEventHandler(OnProcessExit(on_exit=_end)),
        OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the node and the player; only here are the arguments' values known."""
    given = {
        argument.name: LaunchConfiguration(argument.name).perform(context)
        for argument in replay_arguments()}
    # No shell expands the ~ of `bag:=~/drive`.
    given['bag'] = str(Path(given['bag']).expanduser())
    with BagReader(given['bag']) as bag:
        # The player refuses a topic of several types.
        recorded = {name: bag.image_types(name)[0] for name in bag.image_topics()}
    settings = replay_settings(
        given, recorded, context.launch_configurations.get('ros_namespace', ''))
    node_arguments = {argument.name: given[argument.name] for argument in classify_arguments()}
    node_arguments.update(settings.node_arguments)
    profile = Path(get_package_share_directory(PACKAGE)) / 'config' / SENDER
    return [
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(Path(__file__).with_name('classify.launch.py'))),
            launch_arguments=node_arguments.items()),
        ExecuteProcess(
            cmd=[ExecutableInPackage('resnet_trt', PACKAGE), *settings.command],
            additional_env=dds_environment(given['dds_profile'], profile),
            name='replay', output='screen')]


def _end(event: ProcessExited, context: LaunchContext) -> Optional[Shutdown]:
    """End the launch with the first of its processes, the node or the player."""
    if context.is_shutdown:
        return None
    if event.returncode:
        raise RuntimeError(f'{event.process_name} failed with exit code {event.returncode}')
    return Shutdown(reason=f'{event.process_name} has ended')
