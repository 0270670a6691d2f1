"""
Measure what jpegs cost offline where a GPU decodes them; JSON comes out.

The batch path alone: jpegs that are in memory become answers, in one process, decoded by the GPU
and by the CPU. Beside it `resnet_trt classify` over bags of them, and `resnet_trt fleet` on one
GPU, on two and so on; both without their start-up, which fewer bags tell. Everything is run
`--rounds` times in turns.

Usage: PYTHONPATH=tools:. python -m tools.gpu.measure_fleet MODEL --engine-dir FOLDER --out JSON
"""

from __future__ import annotations

import argparse
from functools import partial
from io import BytesIO
import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory
from time import perf_counter
from types import SimpleNamespace
from typing import Any, Iterator

from bench.environment import describe_machine
import cv2
from markdown_page import write_json
from measure_fleet import Cost, run
import numpy as np
from PIL import Image
from resnet_trt_node.backends.base import warm_up
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.on_device.pictures import picture_of_message

#: Different jpegs, which the bags repeat.
_SCENES = 24


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('model', help='a deployable model')
    parser.add_argument('--backend', default='tensorrt')
    parser.add_argument('--engine-dir', type=Path, required=True)
    parser.add_argument('--optimization-level', type=int, default=2)
    parser.add_argument('--bags', type=int, default=32)
    parser.add_argument('--frames', type=int, default=1000, help='of each bag')
    parser.add_argument('--size', default='1920x1080', help='of a frame')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--gpus', type=int, default=1, help='the most that are used')
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--bare', choices=('gpu', 'cpu'), help='the batch path alone, here')
    given = parser.parse_args()
    if given.bare:
        print(json.dumps(bare(given)))
        return 0
    with TemporaryDirectory(prefix='fleet.') as folder:
        measure(Path(folder), given)
    return 0


def of_tensorrt(given: argparse.Namespace) -> dict[str, Any]:
    """Return options that only the backend of interest knows."""
    return {} if given.backend == 'onnxruntime' else {
        'engine_dir': given.engine_dir, 'optimization_level': given.optimization_level}


def scenes(size: str) -> list[bytes]:
    """Return jpegs of blurred noise, about as large as those of a camera."""
    width, height = map(int, size.split('x'))
    random, found = np.random.default_rng(0), []
    for _ in range(_SCENES):
        coarse = random.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
        file = BytesIO()
        Image.fromarray(cv2.resize(
            coarse, (width, height), interpolation=cv2.INTER_CUBIC)).save(file, 'JPEG', quality=90)
        found.append(file.getvalue())
    return found


def bare(given: argparse.Namespace) -> dict[str, float]:
    """Return frames a second of the batch path, without files, bags and other processes."""
    messages = [SimpleNamespace(format='jpeg', data=one) for one in scenes(given.size)]
    on_gpu = given.bare == 'gpu'
    with open_backend(
            given.model, given.backend, ('preprocess', 'decode_jpeg'),
            max_batch_size=given.batch_size,
            preprocess='auto' if on_gpu else 'cpu', decode_jpeg=on_gpu,
            **of_tensorrt(given)) as backend:
        warm_up(backend)
        classifier = Classifier(backend)

        def some(number: int) -> Iterator[Any]:
            for place in range(number):
                yield messages[place % len(messages)]

        def go(number: int) -> float:
            start = perf_counter()
            count = sum(1 for _ in classifier.probabilities(
                some(number), decode_message, picture_of=picture_of_message))
            assert count == number
            return number / (perf_counter() - start)
        go(4 * given.batch_size)
        return {'frames a second': round(go((40 if on_gpu else 6) * given.batch_size), 1)}


def measure(folder: Path, given: argparse.Namespace) -> None:
    """Write bags, and what is found after each run."""
    sys.path.append(str(Path(__file__).resolve().parents[2] / 'test' / 'helpers'))
    from bags.image_bags import BagWriter
    jpegs = scenes(given.size)
    bags = [folder / 'bags' / f'drive{number:03d}' for number in range(given.bags)]
    with BagWriter(bags[0]) as bag:
        for number in range(given.frames):
            bag.write_compressed(
                '/camera/image/compressed', jpegs[number % len(jpegs)], 'jpeg',
                10**18 + number * 10**8, 'camera')
    for path in bags[1:]:
        # Links of the files, since the bags may be larger than the disk.
        shutil.copytree(bags[0], path, copy_function=os.link)
    found: dict[str, Any] = {
        'machine': describe_machine(), 'model': Path(given.model).name, 'size': given.size,
        'bags': given.bags, 'frames': given.frames, 'batch size': given.batch_size,
        'bytes of a jpeg': round(np.mean([len(one) for one in jpegs])), 'rounds': []}
    same = ['--backend', given.backend, '--batch-size', given.batch_size, '--json', *(
        word for name, value in of_tensorrt(given).items()
        for word in (f'--{name.replace("_", "-")}', value))]
    runs = iter(range(1000))

    def fleet(gpus: int, some: list[Path]) -> Cost:
        os.environ['CUDA_VISIBLE_DEVICES'] = ','.join(map(str, range(gpus)))
        try:
            return run(['fleet', given.model, *some, '-o', folder / f'run{next(runs)}', *same])
        finally:
            del os.environ['CUDA_VISIBLE_DEVICES']

    def classify(preprocess: str, some: list[Path]) -> Cost:
        return run(['classify', given.model, *some, '--preprocess',
                    'auto' if preprocess == 'gpu' else 'cpu', *same])
    few = bags[:max(1, len(bags) // 2)]
    for _ in range(given.rounds):
        one: dict[str, Any] = {}
        found['rounds'].append(one)
        for where in ('gpu', 'cpu'):
            one[f'batch path, {where} decodes'] = json.loads(subprocess.run(
                [sys.executable, '-m', 'tools.gpu.measure_fleet', *sys.argv[1:], '--bare', where],
                stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
            less, more = (2, 8) if where == 'gpu' else (1, 2)
            one[f'classify, {where} decodes'] = rate(
                partial(classify, where), bags[:less], bags[:more], given.frames)
            _write(given.out, found)
        for gpus in range(1, given.gpus + 1):
            one[f'fleet, {gpus} GPU'] = rate(partial(fleet, gpus), few, bags, given.frames)
            _write(given.out, found)


def rate(command: Any, few: list[Path], many: list[Path], frames: int) -> dict[str, float]:
    """Return what a command takes over some bags less what it takes over fewer."""
    first, second = command(few), command(many)
    number = (len(many) - len(few)) * frames
    return {
        'frames a second': round(number / (second.wall_s - first.wall_s), 1),
        'frames a second by its own clock': round(len(many) * frames / second.work_s, 1),
        'CPU ms a frame': round(1e3 * (second.cpu_s - first.cpu_s) / number, 3),
        'seconds': round(second.wall_s, 1), 'memory MiB': round(second.memory_mib)}


def _write(path: Path, found: dict[str, Any]) -> None:
    write_json(path, found)
    print(json.dumps(found['rounds'][-1]), flush=True)


if __name__ == '__main__':
    sys.exit(main())
