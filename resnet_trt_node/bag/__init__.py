"""Reads and writes rosbag2 bags without ROS, and replays them at their recorded rate."""
