"""Reading and writing rosbag2 bags without ROS, and replaying them at their own pace."""
