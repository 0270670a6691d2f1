"""Everything between a decoded frame and class probabilities; no ROS, no torch."""
