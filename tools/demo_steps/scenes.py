"""Scenes of several photographs at known places, as a camera of a car would see several things."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin
from pathlib import Path

import cv2
from demo_steps.recording import find_photograph
import numpy as np
from PIL import Image

from resnet_trt_node.regions.region import Box, Region

HEIGHT, WIDTH = 720, 1280
#: The table beside the scenes; its form is that of examples/regions/grid_detector.py.
TABLE = 'boxes.tsv'
_COLUMNS = ('file', 'center_x', 'center_y', 'width', 'height', 'id', 'class', 'theta')
#: Class of the boxes, as a detector would give them one.
_CLASS = 'photograph'


@dataclass(frozen=True)
class Part:
    """
    Something in a scene.

    :param photograph: what is shown.
    :param center_x: column of its centre in pixels.
    :param center_y: row of its centre.
    :param width: in pixels; the height follows from the photograph.
    :param theta: its rotation in radians, from x to y.
    """

    photograph: str
    center_x: float
    center_y: float
    width: float
    theta: float = 0.0


#: File to what it shows.
SCENES = {
    'scene_1.png': (
        # As large as the photograph: two of the model's names for this cat are equally probable,
        # so that a smaller one can get the other.
        Part('cat', 260.5, 190, 451), Part('coffee', 920, 370, 560, 0.2),
        Part('rocket', 300, 535, 480)),
    'scene_2.png': (
        Part('palace', 300, 210, 480), Part('flower', 930, 200, 460),
        Part('rocket', 640, 545, 420, -0.1), Part('cameraman', 1110, 540, 270),
        Part('coffee', 190, 540, 240))}
#: A box that is too small to be classified: one stays in the results, without a name.
TOO_SMALL = Region(Box(640, 60, 4, 4), 'scene_2.png/speck', _CLASS)


def write_scenes(folder: Path) -> dict[str, list[Region]]:
    """
    Write the scenes and the table of their boxes.

    :param folder: created if it does not exist.
    :returns: the regions of each file; an id is FILE/PHOTOGRAPH.
    :raises DemoError: if a package that holds photographs is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    regions: dict[str, list[Region]] = {}
    for file, parts in SCENES.items():
        scene = _background()
        regions[file] = [
            Region(_paste(scene, part), f'{file}/{part.photograph}', _CLASS) for part in parts]
        Image.fromarray(scene).save(folder / file)
    regions['scene_2.png'].append(TOO_SMALL)
    lines = ['\t'.join(_COLUMNS)]
    for file, found in regions.items():
        for region in found:
            box = region.box
            cells = (file, box.center_x, box.center_y, box.width, box.height, region.track_id,
                     region.class_id, box.theta)
            lines.append('\t'.join(map(str, cells)))
    (folder / TABLE).write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return regions


def _background() -> np.ndarray:
    """Return a sky over a road, in grey: uint8 (HEIGHT, WIDTH, 3)."""
    rows = np.linspace(208, 96, HEIGHT).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(rows[:, None, None], (HEIGHT, WIDTH, 3)))


def _paste(scene: np.ndarray, part: Part) -> Box:
    """Draw a photograph into a scene, and return where it is."""
    with Image.open(find_photograph(part.photograph)) as picture:
        height = round(part.width * picture.height / picture.width)
        small = np.asarray(picture.convert('RGB').resize(
            (round(part.width), height), Image.Resampling.BICUBIC))
    box = Box(part.center_x, part.center_y, small.shape[1], height, part.theta)
    turn = np.array(((cos(part.theta), -sin(part.theta)), (sin(part.theta), cos(part.theta))))
    # Both in pixels' centres, which is what OpenCV counts in.
    shift = (np.array((box.center_x, box.center_y)) - 0.5
             - turn @ ((box.width - 1) / 2, (box.height - 1) / 2))
    cv2.warpAffine(
        small, np.column_stack((turn, shift)), (WIDTH, HEIGHT), dst=scene,
        flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)
    return box
