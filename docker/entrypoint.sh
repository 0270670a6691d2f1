#!/bin/bash
# Sources ROS 2 and this workspace, then becomes the command, which so gets the signals.
set -eo pipefail
source /opt/ros/jazzy/setup.bash
source /ws/install/setup.bash
exec "$@"
