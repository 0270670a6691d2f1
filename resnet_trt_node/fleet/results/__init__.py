"""The results of a fleet run: reading, counting and comparing them, and choosing frames."""
