"""What the commands that measure models take."""
