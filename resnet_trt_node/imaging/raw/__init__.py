"""Uncompressed images to frames: the encodings of sensor_msgs/Image."""
