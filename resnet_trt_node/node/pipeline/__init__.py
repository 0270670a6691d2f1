"""Frames of several cameras through one backend; no ROS."""
