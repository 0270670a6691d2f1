"""Commands for a robot: its topics, its nodes and its machine."""
