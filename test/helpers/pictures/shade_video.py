"""Video whose pictures carry their numbers as their shade, and what of it is sent as messages."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

#: Shades between two pictures, many times what encoding changes; and how many there are.
STEP, SHADES = 10, 25
_ENCODERS = {'h264': 'libx264', 'h265': 'libx265'}
_OPTIONS = {
    'h264': {'preset': 'ultrafast', 'threads': '1', 'x264-params': 'scenecut=0'},
    'h265': {'preset': 'ultrafast', 'x265-params':
             'log-level=none:pools=1:frame-threads=1:scenecut=0'}}


def shade_packets(
        codec: str, count: int, gop: int = 8, b_frames: int = 0,
        size: tuple[int, int] = (64, 48)) -> list[bytes]:
    """
    Return a stream's packets in the order in which they are sent.

    :param codec: 'h264' or 'h265'.
    :param count: of pictures; that of number n is grey of n x STEP.
    :param gop: pictures from one key frame to the next.
    :param b_frames: at most so many in a row.
    :param size: width and height.
    """
    import av
    context: Any = av.CodecContext.create(_ENCODERS[codec], 'w')
    context.width, context.height = size
    context.pix_fmt, context.time_base, context.framerate = 'yuv420p', Fraction(1, 30), 30
    context.gop_size, context.max_b_frames = gop, b_frames
    options = dict(_OPTIONS[codec])
    if codec == 'h265':
        options['x265-params'] += f':keyint={gop}:min-keyint={gop}:bframes={b_frames}'
    context.options = options
    found = []
    for number in range(count):
        pixels = np.full((size[1], size[0], 3), number % SHADES * STEP, np.uint8)
        frame: Any = av.VideoFrame.from_ndarray(pixels, format='rgb24').reformat(format='yuv420p')
        frame.pts, frame.time_base = number, context.time_base
        found += context.encode(frame)
    found += context.encode(None)
    return [bytes(one) for one in found]


def number_of(shade: float) -> int:
    """Return the number of the picture that has a shade."""
    return round(shade / STEP)
