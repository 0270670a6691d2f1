"""Takes the node's place in a launch: writes down what rcl would pass to the node, and ends."""

import json
import os
import sys

import rclpy

# No context manager before ROS 2 Kilted.
rclpy.init()
try:
    node = rclpy.create_node('unnamed', automatically_declare_parameters_from_overrides=True)
    parameters = node.get_parameters_by_prefix('')
    with open(os.environ['STAND_IN_REPORT'], 'w') as file:
        json.dump({
            'name': node.get_fully_qualified_name(),
            'parameters': {name: parameter.value for name, parameter in parameters.items()},
            'topics': [node.resolve_topic_name(name) for name in (
                'image', 'image/compressed', 'front/image', 'classification')],
            'profiles': {name: value for name, value in os.environ.items()
                         if name.endswith('_DEFAULT_PROFILES_FILE')},
            'log_level': node.get_logger().get_effective_level().name,
        }, file)
finally:
    rclpy.try_shutdown()
sys.exit(int(os.environ.get('STAND_IN_EXIT_CODE', '0')))
