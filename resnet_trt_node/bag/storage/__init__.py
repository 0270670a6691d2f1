"""The files of a bag: mcap, sqlite3, ROS 1, metadata and compression."""
