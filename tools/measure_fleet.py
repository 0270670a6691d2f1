"""
Measure what `resnet_trt fleet` costs beside `resnet_trt classify --threads 1` on one core.

Both read the same bags of jpeg frames. Each is run over half of the bags and over all of them: the
difference has no start-up in it. `classify` is run alone, on the first core, and as two processes
at once on the first two cores, which share caches and memory as the fleet's processes do. All take
turns for some rounds; each figure is the median of the rounds, and shares are those of each round.
'frames a second' is by the clock, which is of use on a machine that does nothing else; 'CPU ms a
frame' is the processor time of all processes, Ray's included, which other load changes less.
Overhead of a unit: processor time of many short units less that of few long ones, by the number of
units, as a share of the time of a unit of 500 frames. Memory: the largest proportional set size of
all processes of a run, over half of the bags and over all.

Usage: python tools/measure_fleet.py MODEL [--bags 20] [--frames 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
import json
import os
from pathlib import Path
from statistics import median
import subprocess
import sys
from tempfile import TemporaryDirectory, TemporaryFile
from time import perf_counter, sleep
from typing import Any, Sequence

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'test' / 'helpers')]

from bags.image_bags import BagWriter  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
import psutil  # noqa: E402

#: Frames of the units whose overhead is stated.
UNIT = 500
MEMORY_EVERY_S = 1.5


@dataclass(frozen=True)
class Cost:
    """
    What a command took.

    :param wall_s: from start to end.
    :param cpu_s: processor time of all its processes.
    :param work_s: by its own clock, after start-up.
    :param memory_mib: largest proportional set size of all its processes.
    """

    wall_s: float
    cpu_s: float
    work_s: float
    memory_mib: float


def write_bag(path: Path, frames: int, size: tuple[int, int], seed: int) -> None:
    """Write a bag of jpeg frames of blurred noise, about as large as those of a camera."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (size[1] // 16, size[0] // 16, 3), np.uint8)
    scene = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    with BagWriter(path) as bag:
        for number in range(frames):
            file = BytesIO()
            Image.fromarray(np.roll(scene, number * 7, axis=1)).save(file, 'JPEG', quality=90)
            bag.write_compressed(
                '/camera/image/compressed', file.getvalue(), 'jpeg', 10**18 + number * 10**8,
                'camera')


def run_pair(first: Sequence[object], second: Sequence[object]) -> Cost:
    """Run two commands at once, each on a core of its own; wall clock until both have ended."""
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(run, (first, second), (0, 1))
    return Cost(
        max(one.wall_s, other.wall_s), one.cpu_s + other.cpu_s, max(one.work_s, other.work_s),
        one.memory_mib + other.memory_mib)


def run(words: Sequence[object], core: int | None = None) -> Cost:
    """Run a command, on one core where that is given, and watch its processes."""
    start = perf_counter()
    # Files: a pipe that nobody empties would stop the command.
    with TemporaryFile('w+') as out, TemporaryFile('w+') as error:
        command = subprocess.Popen(
            [sys.executable, '-m', 'resnet_trt_node.cli.main', *map(str, words)],
            stdout=out, stderr=error, env={
                **os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}))
        cpu_s, memory = watch(command)
        wall_s = perf_counter() - start
        out.seek(0)
        error.seek(0)
        if command.returncode:
            raise SystemExit(f'{words}: exit code {command.returncode}: {error.read()[-2000:]}')
        document = json.load(out)
    return Cost(wall_s, cpu_s, document.get('seconds', wall_s), memory)


def watch(command: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Wait for a command; return processor seconds and most memory of it and its children."""
    root = psutil.Process(command.pid)
    times: dict[int, float] = {}
    memory, next_memory = 0.0, perf_counter()
    while command.poll() is None:
        # Reading it takes the kernel a while, on the cores that are measured.
        with_memory = perf_counter() >= next_memory
        if with_memory:
            next_memory += MEMORY_EVERY_S
        total = 0
        with suppress(psutil.Error):
            for one in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error):
                    spent = one.cpu_times()
                    times[one.pid] = spent.user + spent.system
                    if with_memory:
                        total += one.memory_full_info().pss
        memory = max(memory, total / 2**20)
        sleep(0.3)
    return sum(times.values()), memory


def slope(few: Cost, many: Cost, frames: int) -> dict[str, float]:
    """Return what a frame costs, of `frames` that one run had more."""
    return {'frames a second': round(frames / (many.wall_s - few.wall_s), 2),
            'CPU ms a frame': round(1e3 * (many.cpu_s - few.cpu_s) / frames, 3)}


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the report; bags and answers go below a folder."""
    width, height = map(int, arguments.size.split('x'))
    bags = [folder / 'bags' / f'drive{number:03d}' for number in range(arguments.bags)]
    for number, bag in enumerate(bags):
        write_bag(bag, arguments.frames, (width, height), number)
    half = len(bags) // 2
    more = (len(bags) - half) * arguments.frames
    runs = iter(range(1000))
    load = os.getloadavg()[1]
    same = ('--backend', 'onnxruntime', '--batch-size', arguments.batch_size)

    def fleet(some: Sequence[Path], unit_frames: int) -> Cost:
        return run(['fleet', arguments.model, *some, '-o', folder / f'run{next(runs)}', '--json',
                    *same, '--unit-frames', unit_frames])

    def classify(some: Sequence[Path]) -> list[object]:
        return ['classify', arguments.model, *some, '--json', '--threads', 1, *same]
    rounds = []
    for _ in range(arguments.rounds):
        rounds.append(Round(
            [run(classify(bags[:half]), 0), run(classify(bags), 0)],
            [run_pair(classify(bags[:half:2]), classify(bags[1:half:2])),
             run_pair(classify(bags[::2]), classify(bags[1::2]))],
            [fleet(bags[:half], UNIT), fleet(bags, UNIT)], more))
    short = fleet(bags, arguments.short)
    number = len(bags) * (-(-arguments.frames // arguments.short) - -(-arguments.frames // UNIT))
    overhead_ms = 1e3 * (short.cpu_s - median(one.units[1].cpu_s for one in rounds)) / number
    cpu_ms = median(one.fleet['CPU ms a frame'] for one in rounds)
    return {
        'model': Path(arguments.model).name, 'bags': len(bags), 'frames': arguments.frames,
        'size': arguments.size, 'batch size': arguments.batch_size,
        'cores': len(os.sched_getaffinity(0)),
        'load before': round(load, 1),
        'classify --threads 1, one core': _medians([one.one for one in rounds]),
        'two of them at once, a core each': _medians([one.two for one in rounds]),
        'fleet': _medians([one.fleet for one in rounds]),
        'fleet / (2 x classify), by the clock': [round(
            one.fleet['frames a second'] / (2 * one.one['frames a second']), 3)
            for one in rounds],
        'fleet / two at once, by the clock': [round(
            one.fleet['frames a second'] / one.two['frames a second'], 3) for one in rounds],
        'classify / fleet, by processor time': [round(
            one.one['CPU ms a frame'] / one.fleet['CPU ms a frame'], 3) for one in rounds],
        'overhead of a unit, ms': round(overhead_ms, 1),
        f'as a share of a unit of {UNIT} frames': round(overhead_ms / (UNIT * cpu_ms), 4),
        'memory MiB, half of the bags and all': [
            round(max(one.units[which].memory_mib for one in rounds)) for which in (0, 1)],
        'memory MiB, short units': round(short.memory_mib),
        'seconds': [{'classify': [round(cost.wall_s, 1) for cost in one.alone],
                     'two at once': [round(cost.wall_s, 1) for cost in one.both],
                     'fleet': [round(cost.wall_s, 1) for cost in one.units],
                     'fleet without start-up': [round(cost.work_s, 1) for cost in one.units]}
                    for one in rounds],
    }


class Round:
    """
    One turn of each; each list is of half of the bags and of all.

    :param alone: `classify` alone.
    :param both: two of them at once.
    :param units: the fleet.
    :param more: frames that the second of a list had more.
    """

    def __init__(
            self, alone: list[Cost], both: list[Cost], units: list[Cost], more: int) -> None:
        self.alone, self.both, self.units = alone, both, units
        self.one, self.two, self.fleet = (
            slope(*costs, more) for costs in (alone, both, units))


def _medians(costs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(median(one[name] for one in costs), 3) for name in costs[0]}


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('model', help='a deployable model')
    parser.add_argument('--bags', type=int, default=20)
    parser.add_argument('--frames', type=int, default=200, help='of each bag')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--size', default='1280x720', help='of a frame')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--short', type=int, default=10, help='frames of the short units')
    parser.add_argument('--out', type=Path, help='a file for the report')
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix='fleet.') as folder:
        text = json.dumps(measure(Path(folder), arguments), indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
