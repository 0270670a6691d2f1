"""
Measure what receiving large images costs: allocator, reading and transport, each beside the other.

A camera and a receiver run in processes of their own over Fast DDS. A comparison's variants take
turns, round by round, and its table gives medians over the rounds: CPU time of the receiver (with
the fit to 224x224) and latency relative to the first row that got frames, page faults a frame,
memory. Absolute figures are in the JSON.

Usage: python tools/measure_ingest.py [allocator] [reading] [transport] [--rounds 3] [-o FILE.json]
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, replace
import json
import os
from pathlib import Path
from statistics import median
import subprocess
import sys
from typing import Optional

TOOLS = Path(__file__).resolve().parent
REPOSITORY = TOOLS.parent
PROFILES = {
    'profile': ('fastdds_large_images.xml', 'fastdds_large_images_receiver.xml'),
    'sender only': ('fastdds_large_images.xml', None)}
SIZES = {'1080p': (1920, 1080, 20.0), '4K': (3840, 2160, 10.0)}
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Variant:
    """
    One way of receiving.

    :param transport: default, LARGE_DATA (Fast DDS's own preset), profile or sender only.
    :param reliability: reliable or best_effort, the receiver's; the camera is reliable.
    :param size: one of `SIZES`.
    :param allocator: keep or system.
    :param reading: message, or raw for its serialisation with the pixels viewed in place.
    """

    transport: str = 'profile'
    reliability: str = 'best_effort'
    size: str = '1080p'
    allocator: str = 'keep'
    reading: str = 'message'


def comparisons() -> dict[str, list[list[Variant]]]:
    """Return the tables of each comparison; the first row of a table is its measure."""
    ways = (('default', 'reliable'), ('LARGE_DATA', 'best_effort'), ('profile', 'best_effort'))
    transports = ('default', 'LARGE_DATA', 'sender only', 'profile')
    plain = [Variant(transport, reliability) for transport, reliability in ways]
    return {
        'allocator': [
            [replace(variant, allocator=policy) for policy in ('system', 'keep')]
            for variant in (*plain, replace(plain[-1], size='4K'))],
        'reading': [
            [replace(variant, reading=reading) for reading in ('message', 'raw')]
            for variant in plain],
        'transport': [
            [Variant(transport, reliability, size) for transport in transports
             for reliability in ('reliable', 'best_effort')] for size in SIZES]}


def environment(variant: Variant, camera: bool, domain: int) -> dict[str, str]:
    """Return the environment of one end."""
    values = {
        name: value for name, value in os.environ.items()
        # LARGE_DATA does nothing under the discovery range LOCALHOST.
        if name not in ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY')}
    paths = [str(REPOSITORY), *filter(None, [os.environ.get('PYTHONPATH')])]
    values.update(
        ROS_DOMAIN_ID=str(domain), RESNET_TRT_ALLOCATOR=variant.allocator,
        PYTHONPATH=os.pathsep.join(paths))
    if variant.transport == 'LARGE_DATA':
        values['FASTDDS_BUILTIN_TRANSPORTS'] = 'LARGE_DATA'
    file = PROFILES.get(variant.transport, (None, None))[0 if camera else 1]
    if file is not None:
        older = os.environ.get('ROS_DISTRO') in ('humble', 'iron', 'jazzy')
        name = 'FASTRTPS' if older else 'FASTDDS'
        values[f'{name}_DEFAULT_PROFILES_FILE'] = str(REPOSITORY / 'config' / file)
    return values


def run_once(variant: Variant, frames: int, domain: int) -> dict[str, float]:
    """Run camera and receiver; return the receiver's figures."""
    width, height, rate_hz = SIZES[variant.size]
    options = json.dumps({
        **asdict(variant), 'width': width, 'height': height, 'rate_hz': rate_hz,
        'frames': frames})
    command = [sys.executable, str(TOOLS / 'ingest_process.py')]
    camera = subprocess.Popen(
        [*command, 'camera', options], env=environment(variant, True, domain),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        result = subprocess.run(
            [*command, 'receiver', options], env=environment(variant, False, domain),
            capture_output=True, text=True, timeout=TIMEOUT_S)
        if result.returncode:
            raise RuntimeError(f'the receiver failed:\n{result.stderr}')
        figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
        return figures
    finally:
        # Not killed: the shared memory of a killed process stays.
        camera.terminate()
        camera.wait(TIMEOUT_S)


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return each figure's median over the runs that have it."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: median([run[name] for run in runs if name in run]) for name in names}


def row(variant: Variant, figures: dict[str, float], first: Optional[dict[str, float]],
        frames: int) -> str:
    """Return a line of the table."""
    cells = list(asdict(variant).values())
    cells.append(f'{figures["frames"]:.0f} of {frames}')
    for name in ('cpu_ms', 'latency_ms'):
        known = first is not None and name in figures
        cells.append(f'{figures[name] / first[name]:.2f}' if known and first else '-')
    cells.append(f'{figures["faults"]:.0f}' if 'faults' in figures else '-')
    cells += [f'{figures["own_mib"]:.0f}', f'{figures["peak_mib"]:.0f}']
    return f'| {" | ".join(cells)} |'


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('compare', nargs='*', metavar='allocator|reading|transport')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--frames', type=int, default=60)
    parser.add_argument('--domain', type=int, default=87, help='ROS_DOMAIN_ID of both ends')
    parser.add_argument('-o', '--output', type=Path, help='JSON file with every run')
    arguments = parser.parse_args()
    chosen = arguments.compare or list(comparisons())
    if unknown := set(chosen) - comparisons().keys():
        parser.error(f'unknown comparison {", ".join(unknown)}')
    everything = []
    for name in chosen:
        print(f'\n{name}\n\n| transport | reliability | size | allocator | reading | frames | '
              'CPU | latency p50 | faults a frame | own MiB | peak MiB |\n' + '|---' * 11 + '|')
        for variants in comparisons()[name]:
            runs: dict[Variant, list[dict[str, float]]] = {one: [] for one in variants}
            for _ in range(arguments.rounds):
                for variant in variants:
                    runs[variant].append(run_once(variant, arguments.frames, arguments.domain))
            middle = {variant: medians(values) for variant, values in runs.items()}
            first = next((one for one in middle.values() if 'cpu_ms' in one), None)
            for variant, values in runs.items():
                print(row(variant, middle[variant], first, arguments.frames), flush=True)
                everything.append({
                    'comparison': name, **asdict(variant), 'frames_sent': arguments.frames,
                    'medians': middle[variant], 'runs': values})
    if arguments.output:
        arguments.output.write_text(json.dumps(everything, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
