"""Small pictures of coloured shapes to train with, one folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ('circle', 'cross', 'square')
_COLOURS = {'circle': (220, 60, 60), 'cross': (60, 220, 60), 'square': (60, 60, 220)}


def draw_shape(name: str, random: np.random.Generator, side: int = 32) -> Image.Image:
    """
    Draw a shape of its class's colour somewhere on a noisy background.

    :param name: one of `CLASSES`.
    :param random: of place, size and noise.
    :param side: pixels of both sides.
    """
    image = Image.fromarray(random.integers(0, 120, (side, side, 3), dtype=np.uint8))
    draw = ImageDraw.Draw(image)
    size = int(random.integers(side // 2, 3 * side // 4))
    left, top = (int(place) for place in random.integers(0, side - size, 2))
    box = (left, top, left + size, top + size)
    colour = _COLOURS[name]
    if name == 'circle':
        draw.ellipse(box, fill=colour)
    elif name == 'square':
        draw.rectangle(box, fill=colour)
    else:
        middle, width = size // 2, max(3, size // 4)
        draw.line((left + middle, top, left + middle, top + size), colour, width)
        draw.line((left, top + middle, left + size, top + middle), colour, width)
    return image


def write_shapes(folder: Path, count: int, seed: int = 0, side: int = 32) -> Path:
    """
    Write a data set.

    :param folder: gets CLASS/NUMBER.png.
    :param count: pictures of each class.
    :param seed: of what they show.
    :param side: pixels of both sides.
    :returns: the folder.
    """
    random = np.random.default_rng(seed)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            draw_shape(name, random, side).save(folder / name / f'{number:03}.png')
    return folder
