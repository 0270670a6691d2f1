"""What the commands that make, convert and show models take."""
