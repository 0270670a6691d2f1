"""
Compare jpegs decoded on the GPU with the CPU's, break them, and time both; JSON comes out.

Usage: python -m tools.gpu.try_jpeg PHOTOGRAPHS OUT.json, a folder or zip file of jpegs. Each step
is a process of its own, since a step may lose the CUDA context; it prints one line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import time
from typing import Any

from tools.gpu import jpeg_steps
from tools.gpu.step_process import run_step

#: Steps and what they are run with: the engines, threads and options of a `JpegDecoder`.
CUDA = {'engines': ['GPU_ONLY', 'HYBRID_CPU_GPU']}
HARDWARE = {'engines': ['HW_GPU_ONLY']}
#: Huffman decoding on the GPU for every size; by default from a million pixels on.
ON_CORES = {**CUDA, 'options': 'nvjpeg_cuda_decoder:hybrid_huffman_threshold=0'}
ON_CPU = {**CUDA, 'options': 'nvjpeg_cuda_decoder:hybrid_huffman_threshold=1000000000'}
STEPS = (
    ('agreement', 'as opened', {}), ('agreement', 'hardware', HARDWARE),
    ('agreement', 'huffman on the gpu', ON_CORES), ('agreement', 'huffman on the cpu', ON_CPU),
    ('outcomes', 'as opened', {}),
    ('times', 'cpu', {'engines': []}), ('times', 'as opened', {}),
    ('times', 'hardware', HARDWARE), ('times', 'cuda', CUDA),
    ('times', 'cuda, 1 thread', {**CUDA, 'threads': 1}),
    ('times', 'cuda, 2 threads', {**CUDA, 'threads': 2}),
    ('times', 'cuda, 8 threads', {**CUDA, 'threads': 8}),
    ('times', 'huffman on the gpu', ON_CORES), ('times', 'huffman on the cpu', ON_CPU),
    ('times', 'as opened, again', {}), ('times', 'cpu, again', {'engines': []}),
    ('memory', 'as opened', {}),
    ('damage', 'hardware', HARDWARE), ('damage', 'huffman on the gpu', ON_CORES),
    ('damage', 'huffman on the cpu', ON_CPU))


def main() -> None:
    """Take all steps and write what they find after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photographs', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--number', type=int, default=200, help='photographs to compare')
    parser.add_argument('--repeats', type=int, default=300, help='of each timing')
    parser.add_argument('--seconds', type=float, default=120.0, help='each step may take')
    parser.add_argument('--only', nargs='+', choices=sorted({step[0] for step in STEPS}))
    given = parser.parse_args()
    found: dict[str, Any] = {'bound': jpeg_steps.BOUND}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for what, title, settings in STEPS:
        if given.only and what not in given.only:
            continue
        begun = time.monotonic()
        result = run_step(jpeg_steps.__name__, {
            'what': what, 'photographs': str(given.photographs), 'number': given.number,
            'repeats': given.repeats, 'settings': settings}, given.seconds)
        result['s'] = round(time.monotonic() - begun, 1)
        found.setdefault(what, {})[title] = result
        given.out.write_text(json.dumps(found, indent=1))
        print(what, title, json.dumps(result)[:1500], flush=True)


if __name__ == '__main__':
    main()
