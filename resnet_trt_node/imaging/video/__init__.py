"""Packets of video streams to frames."""
