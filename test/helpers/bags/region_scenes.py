"""Scenes of four colours, and a bag of them with detections."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from bags.detection_messages import at, detections_of
from bags.image_bags import BagWriter
from models.tiny_model import COLOURS
import numpy as np
from PIL import Image
from resnet_trt_node.bag.message_types import DETECTIONS
from resnet_trt_node.regions.region import Region

MS = 1_000_000
#: Where a scene shows what colour.
PLACES = {'red': (0, 0), 'green': (40, 0), 'blue': (0, 40), 'yellow': (40, 40)}
#: Options that name the detections of the bag of `write_region_bag`: one camera's, and both.
FRONT = ('--regions', '/front/detections')
BOTH = (*FRONT, '--regions', 'left/detections', '--regions-slop-ms', 50)


def scene(**shown: str) -> np.ndarray:
    """Return 80x80 pixels with a colour in each quarter, others where asked."""
    pixels = np.zeros((80, 80, 3), np.uint8)
    for name, (left, top) in PLACES.items():
        pixels[top:top + 40, left:left + 40] = COLOURS[shown.get(name, name)]
    return pixels


def patch(place: str, track_id: str = '', class_id: str = '') -> Region:
    """Return the region of a quarter."""
    return Region(at(*PLACES[place], 40, 40), track_id, class_id)


def write_region_bag(path: Path) -> Path:
    """
    Write a bag of two cameras and their detectors.

    front at 1, 2, 3 and 4 s: two regions, none, two (one outside), and no detections; left at
    1 s, compressed, three regions, the detections first and 40 ms off; left is broken at 3 s.
    """
    with BagWriter(path) as bag:
        def found(camera, stamp_s, log_s, *regions):
            message = detections_of(round(stamp_s * 1e9), *regions, frame_id=camera)
            bag.write(f'/{camera}/detections', DETECTIONS, message, round(log_s * 1e9))
        for stamp_s in (1, 2, 3, 4):
            bag.write_image('/front/image', scene(), stamp_s * 10**9, 'front', 'rgb8')
        found('front', 1, 1.1, patch('red', 'a'), patch('yellow'))
        found('front', 2, 2.1)
        found('front', 3, 3.1, Region(at(90, 0, 40, 40), 'b'), patch('green'))
        png = BytesIO()
        Image.fromarray(scene(red='cyan')).save(png, 'PNG')
        found('left', 1.04, 0.9, patch('red'), patch('blue'), patch('red'))
        bag.write_compressed('/left/image/compressed', png.getvalue(), 'png', 10**9, 'left')
        found('left', 3, 3, patch('red'))
        bag.write_compressed('/left/image/compressed', b'broken', 'png', 3 * 10**9, 'left')
    return path


def names(result) -> list:
    """Return of each region its best class, or what became of it."""
    return [region['predictions'][0]['label'] if region['predictions'] else region['outcome']
            for region in result['regions']]
