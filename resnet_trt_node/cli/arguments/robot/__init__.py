"""What the commands for a robot take."""
