"""Bytes of messages and files to frames, frames to rows of a batch, and drawing on frames."""
