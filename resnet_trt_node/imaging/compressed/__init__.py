"""Compressed pictures to frames: formats, headers, and what decoding takes."""
