"""
The whole node on a GPU for minutes, with faults: nothing may be lost, no memory may grow.

Six cameras of several sizes, raw or jpeg; cameras are killed, frames broken, the node is
deactivated, cleaned up and given other parameters, as by `make soak`. The memory of the process is
watched, and what it uses of the device's.

Usage: PYTHONPATH=tools:. python -m tools.gpu.node.soak --fp16 MODEL --engine-dir DIR --out JSON
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
import subprocess
import sys
import tempfile

from bench.camera import Camera, several
from bench.environment import describe_machine, isolate
from bench.report import print_outcome
from bench.scenarios.soak import Device, run_on
from markdown_page import write_json

_SIZES = ((640, 480), (1280, 720), (1920, 1080))


def cameras(jpeg: bool) -> list[Camera]:
    """Return six cameras, two of each size; of raw ones every other one is grey."""
    return [replace(
        camera, width=_SIZES[number % 3][0], height=_SIZES[number % 3][1], jpeg=jpeg,
        encoding='mono8' if number % 2 and not jpeg else 'bgr8')
        for number, camera in enumerate(several(6, rate_hz=30.0))]


def used_mib(pid: int) -> float:
    """Return the memory that a process uses on all GPUs, in MiB."""
    listed = subprocess.run(
        ['nvidia-smi', '--query-compute-apps=pid,used_memory', '--format=csv,noheader,nounits'],
        capture_output=True, text=True, timeout=30, check=True).stdout
    return sum(float(mib) for one, mib in (
        line.split(',') for line in listed.splitlines()) if int(one) == pid)


def main() -> int:
    """
    Soak, and write what was found.

    :returns: 0, 1 if a target was missed.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--fp16', type=Path, required=True, help='deployable model')
    parser.add_argument('--engine-dir', type=Path, required=True)
    parser.add_argument('--backend', default='tensorrt', help='for trying this out')
    parser.add_argument('--optimization-level', type=int, default=2)
    parser.add_argument('--minutes', type=float, default=8.0)
    parser.add_argument('--jpeg', action='store_true', help='the cameras send jpeg')
    parser.add_argument('--out', type=Path, required=True)
    given = parser.parse_args()
    form = 'jpeg' if given.jpeg else 'raw'
    on_gpu = given.backend.startswith('tensorrt')
    device = Device(
        f'soak_gpu_{form}', f'six cameras of VGA to 1080p at 30 Hz, {form}', cameras(given.jpeg), {
            'backend': given.backend, 'model_path': given.fp16.resolve(), 'batch_size': 6,
            'max_wait_ms': 0.0, 'image_transport': 'compressed' if given.jpeg else 'raw',
            **({'engine_dir': given.engine_dir.resolve(),
                'optimization_level': given.optimization_level} if on_gpu else {})},
        used_mib if on_gpu else None)
    with tempfile.TemporaryDirectory(prefix='resnet_trt_bench_') as folder, \
            isolate(Path(folder)):
        outcome = run_on(device, given.minutes * 60)
        print_outcome(outcome)
        write_json(given.out, {'machine': describe_machine(), **outcome.to_json()})
    return 0 if all(check.met for check in outcome.checks) else 1


if __name__ == '__main__':
    sys.exit(main())
