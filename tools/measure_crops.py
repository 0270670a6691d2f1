"""
Print how many regions a second one core crops and resizes, by the size of their boxes.

The boxes lie at changing places of a 1080p frame, and their sides differ by up to an eighth, as a
detector's do, so that hardly any size comes twice. Each method is measured in turn, in several
rounds, on one thread; figures are medians. 'x exact' is the rate over that of the exact method in
the same run, the error that of the fast method to the exact one, in levels of 0 to 255.

Usage: python tools/measure_crops.py [--rounds 7] [--interpolation bilinear] [--aspect model]
"""

from __future__ import annotations

import argparse
import math
from statistics import median
import sys
from time import thread_time_ns
from typing import get_args

import cv2
import numpy as np
from PIL import Image
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import ResizeMethod
from resnet_trt_node.regions.crop import RegionCropper
from resnet_trt_node.regions.region import Box
from resnet_trt_node.regions.selection import Aspect
from skimage import data

SIDES = (32, 64, 128, 224, 400)
HEIGHT, WIDTH = 1080, 1920
BOXES = 100


def boxes_of(side: int, theta: float) -> list[Box]:
    """Return boxes of about a side's pixels, inside the frame whatever their rotation."""
    generator = np.random.default_rng(side)
    sizes = generator.uniform(0.875 * side, 1.125 * side, (BOXES, 2))
    room = math.ceil(side)
    return [
        Box(generator.uniform(room, WIDTH - room), generator.uniform(room, HEIGHT - room),
            width, height, theta)
        for width, height in sizes.tolist()]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--rounds', type=int, default=7, help='repeats of each measurement')
    parser.add_argument('--interpolation', choices=['bilinear', 'bicubic'], default='bilinear')
    parser.add_argument('--aspect', choices=get_args(Aspect), default='model')
    parser.add_argument('--theta', type=float, default=0.0, help='rotation in radians')
    arguments = parser.parse_args()
    rule = ResizeRule(256, 224, 224, arguments.interpolation)
    cv2.setNumThreads(1)
    photograph = Image.fromarray(data.coffee()).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    frame = Frame(np.ascontiguousarray(np.asarray(photograph)[..., ::-1]), 'bgr')
    croppers = {
        method: RegionCropper(rule, method, arguments.aspect, 0.0)
        for method in get_args(ResizeMethod)}
    rows = {
        method: np.empty((BOXES, rule.crop_height, rule.crop_width, 3), np.uint8)
        for method in croppers}
    print(rule.describe(), arguments.aspect, sep=', ')
    print(f'{"side":>4} {"fast/s":>8} {"exact/s":>8} {"x exact":>8} {"mean":>6} {"p99.9":>6}')
    for side in SIDES:
        boxes = boxes_of(side, arguments.theta)
        rates: dict[str, list[float]] = {method: [] for method in croppers}
        for _ in range(arguments.rounds):
            for method, cropper in croppers.items():
                start_ns = thread_time_ns()
                for box, row in zip(boxes, rows[method]):
                    cropper.crop(frame, box, row)
                rates[method].append(1e9 * BOXES / (thread_time_ns() - start_ns))
        fast, exact = median(rates['fast']), median(rates['exact'])
        error = np.abs(rows['fast'].astype(int) - rows['exact'])
        print(f'{side:>4} {fast:>8.0f} {exact:>8.0f} {fast / exact:>8.2f} {error.mean():>6.2f} '
              f'{np.percentile(error, 99.9):>6.0f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
