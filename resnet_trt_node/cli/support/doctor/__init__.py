"""What this machine can run: probes in processes of their own, and the command that mends each."""
