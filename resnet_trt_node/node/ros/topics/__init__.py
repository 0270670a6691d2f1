"""The topics of a node and its cameras: what they hear, match and publish."""
