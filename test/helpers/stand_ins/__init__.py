"""What takes the place of devices, runtimes and ROS."""
