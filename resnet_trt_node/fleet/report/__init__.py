"""The report of a fleet run: one HTML page with its plots and pictures inside."""
