"""What the commands that classify pictures and bags take."""
