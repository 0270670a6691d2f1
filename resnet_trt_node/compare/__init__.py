"""Backends and models side by side: Polygraphy's runners and Comparator, latencies, reports."""
