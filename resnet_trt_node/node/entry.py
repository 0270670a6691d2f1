"""Entry point of `classifier_node`: handles signals before the imports, which take seconds."""

from __future__ import annotations

import sys

from resnet_trt_node.allocator import configure_allocator
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.import_errors import import_failure
from resnet_trt_node.node.ros.ros_environment import check_ros_environment
from resnet_trt_node.node.stop_signal import StopSignal


def main() -> int:
    """
    Run the node until SIGINT or SIGTERM.

    :returns: the exit code of `resnet_trt_node.node.main.main`; 2 for an environment in which ROS
        cannot start, and for a package that is missing.
    """
    stop = StopSignal()
    try:
        check_ros_environment()
        # NumPy, OpenCV and rclpy start threads when they are imported.
        memory = configure_allocator()
    except UsageError as error:
        print(f'classifier_node: {error}', file=sys.stderr)
        return error.exit_code
    try:
        from resnet_trt_node.node.main import main as run
    except ImportError as error:
        # An error of this package's own is a bug and keeps its traceback.
        if (error.name or '').startswith('resnet_trt_node'):
            raise
        print(f'classifier_node: {import_failure(error)}', file=sys.stderr)
        return UsageError.exit_code
    return run(sys.argv[1:], stop, memory)


if __name__ == '__main__':
    sys.exit(main())
