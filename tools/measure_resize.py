"""
Print what fitting a frame costs, and how far each method is from Pillow.

Times are medians of interleaved rounds, in milliseconds of CPU a frame, on one thread; ratios
are to Pillow's resize of the whole frame and crop. Errors are in levels of 0 to 255, over the
photographs that scikit-image ships, with a camera's noise. For jpegs, decoded and fitted by the
fast method, decoding at reduced size is compared with decoding the whole.

Usage: python tools/measure_resize.py [--rounds 15] [--interpolation bilinear] [--short-side 256]
"""

from __future__ import annotations

import argparse
from statistics import median
import sys
from time import thread_time_ns
from typing import Callable

import cv2
import numpy as np
from PIL import Image
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import Resizer
from skimage import data

SIZES = {'320x240': (320, 240), 'VGA': (640, 480), '720p': (1280, 720), '1080p': (1920, 1080),
         '4K': (3840, 2160)}
FILTERS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}


def pillow(pixels: np.ndarray, rule: ResizeRule) -> np.ndarray:
    """Return RGB pixels resized as a whole and cropped, as torchvision does it."""
    height, width = pixels.shape[:2]
    factor = rule.short_side / min(height, width)
    size = tuple(
        rule.short_side if side == min(height, width) else int(side * factor)
        for side in (width, height))
    resized = Image.fromarray(pixels).resize(size, FILTERS[rule.interpolation])
    left = round((size[0] - rule.crop_width) / 2)
    top = round((size[1] - rule.crop_height) / 2)
    return np.asarray(
        resized.crop((left, top, left + rule.crop_width, top + rule.crop_height)))


def camera_pictures(size: tuple[int, int]) -> list[np.ndarray]:
    """Return photographs of a size, RGB, with a few levels of noise."""
    pictures = []
    for photograph in (data.astronaut(), data.coffee(), data.chelsea()):
        resized = Image.fromarray(photograph).resize(size, Image.Resampling.BICUBIC)
        noise = np.random.default_rng(0).integers(-6, 7, (size[1], size[0], 1))
        pictures.append(np.clip(np.asarray(resized) + noise, 0, 255).astype(np.uint8))
    return pictures


def interleaved_ms(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return each job's median milliseconds; a round runs each of them once."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(rounds):
        for name, job in jobs.items():
            start_ns = thread_time_ns()
            job()
            times[name].append((thread_time_ns() - start_ns) / 1e6)
    return {name: median(values) for name, values in times.items()}


def measure(name: str, rule: ResizeRule, rounds: int) -> None:
    """Print the table's rows for one frame size."""
    pictures = camera_pictures(SIZES[name])
    out = np.empty((rule.crop_height, rule.crop_width, 3), np.uint8)
    frame = Frame(np.ascontiguousarray(pictures[0][..., ::-1]), 'bgr')
    resizers = {'fast': Resizer(rule, 'fast'), 'exact': Resizer(rule, 'exact')}
    jobs: dict[str, Callable[[], object]] = {
        method: lambda resizer=resizer: resizer.resize(frame, out)
        for method, resizer in resizers.items()}
    jobs['pillow'] = lambda: pillow(pictures[0], rule)
    took_ms = interleaved_ms(jobs, rounds)
    for method, resizer in resizers.items():
        differences = []
        for picture in pictures:
            resizer.resize(Frame(picture, 'rgb'), out)
            differences.append(np.abs(out.astype(int) - pillow(picture, rule)))
        error = np.stack(differences)
        print(f'{name:>8} {method:>6} {took_ms[method]:8.2f} '
              f'{took_ms[method] / took_ms["pillow"]:8.3f} {error.mean():7.2f} '
              f'{np.percentile(error, 99.9):6.0f} {error.max():4d}')


def measure_jpeg(name: str, rule: ResizeRule, rounds: int) -> None:
    """Print what decoding at reduced size saves of decoding and fitting a jpeg of one size."""
    resizer = Resizer(rule, 'fast')
    pictures = camera_pictures(SIZES[name])
    out, whole = (np.empty((rule.crop_height, rule.crop_width, 3), np.uint8) for _ in range(2))
    files = [cv2.imencode('.jpg', picture[..., ::-1])[1] for picture in pictures]
    took_ms = interleaved_ms({
        'reduced': lambda: resizer.resize(decode_compressed(files[0], resizer.decode_side), out),
        'whole': lambda: resizer.resize(decode_compressed(files[0]), out)}, rounds)
    differences = []
    for file in files:
        resizer.resize(decode_compressed(file, resizer.decode_side), out)
        resizer.resize(decode_compressed(file), whole)
        differences.append(np.abs(out.astype(int) - whole))
    error = np.stack(differences)
    print(f'{name:>8} {took_ms["reduced"]:8.2f} {took_ms["reduced"] / took_ms["whole"]:8.3f} '
          f'{error.mean():7.2f} {np.percentile(error, 99.9):6.0f} {error.max():4d}')


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--rounds', type=int, default=15, help='repeats of each measurement')
    parser.add_argument('--interpolation', choices=FILTERS, default='bilinear')
    parser.add_argument('--short-side', type=int, default=256)
    arguments = parser.parse_args()
    rule = ResizeRule(arguments.short_side, 224, 224, arguments.interpolation)
    cv2.setNumThreads(1)
    print(rule.describe())
    print(f'{"frame":>8} {"method":>6} {"ms":>8} {"x Pillow":>8} {"mean":>7} {"p99.9":>6}  max')
    for name in SIZES:
        measure(name, rule, arguments.rounds)
    print(f'{"jpeg":>8} {"ms":>8} {"x whole":>8} {"mean":>7} {"p99.9":>6}  max')
    for name in SIZES:
        measure_jpeg(name, rule, arguments.rounds)
    return 0


if __name__ == '__main__':
    sys.exit(main())
