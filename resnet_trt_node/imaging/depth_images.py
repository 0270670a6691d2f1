"""Telling depth images from pictures: a classifier of colours answers to both."""

from __future__ import annotations

import re
from typing import Any, Callable

import numpy as np
from resnet_trt_node.imaging.frame import Frame

#: What depth cameras send, in millimetres (REP 118); grey pictures of 16 bits are mono16.
DEPTH_ENCODING = '16UC1'
#: A picture's brightest parts reach a quarter of the range, which in millimetres is 16 m.
_PICTURE_LEVEL = 64
#: Share of the values that measure something and may lie above: some cameras write 65535 where
#: they measure nothing.
_BRIGHT_SHARE = 0.01
_LARGEST = 255
#: Every so many rows and columns are looked at.
_STEP = 4
_WORDS = re.compile(r'[^a-z0-9]+')
_COLOURS = frozenset(('rgb', 'bgr', 'color', 'colour'))


def looks_like_depth(message: Any, frame: Frame) -> bool:
    """
    Tell whether an image holds distances in millimetres rather than brightness.

    :param message: sensor_msgs/Image or sensor_msgs/CompressedImage.
    :param frame: what was decoded of it.
    """
    encoding = getattr(message, 'encoding', None)
    if encoding is None:
        encoding = str(getattr(message, 'format', '')).partition(';')[0].strip()
    if str(encoding).upper() != DEPTH_ENCODING or frame.order != 'gray':
        return False
    levels = frame.pixels[::_STEP, ::_STEP]
    # 0 is where nothing was measured.
    measured = levels[(levels > 0) & (levels < _LARGEST)]
    return bool(measured.size) and float(
        np.mean(measured >= _PICTURE_LEVEL)) <= _BRIGHT_SHARE


def is_depth_topic(topic: str) -> bool:
    """Tell whether a topic is called depth, and not the colours of a depth camera."""
    parts = [set(_WORDS.split(part)) for part in topic.lower().split('/')]
    return any('depth' in part for part in parts) and not any(
        part & _COLOURS and 'depth' not in part for part in parts)


def warn_of_depth_topic(topic: str, warn: Callable[[str], object]) -> None:
    """Pass on a line about a topic that is called depth."""
    if is_depth_topic(topic):
        warn(f'{topic} is called depth: a classifier wants colours; use the topic of the colour '
             'camera')
