"""
Name what pictures show with TVM and with ONNX Runtime, and time the two in turns.

Usage: python3 examples/tvm/against_onnxruntime.py MODEL.onnx PICTURE... [--threads 2]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
import sys
from time import perf_counter

import numpy as np
from resnet_trt_node.backends.base import Backend, warm_up
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.datasets.pictures import read_picture
from resnet_trt_node.errors import ResnetTrtError


def main() -> int:
    """Classify, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', type=Path)
    parser.add_argument('pictures', type=Path, nargs='+')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--target', default='cpu', choices=('auto', 'cpu', 'cuda'))
    parser.add_argument('--engine-dir', type=Path)
    parser.add_argument('--rounds', type=int, default=5, help='each gives a ratio')
    parser.add_argument('--json', type=Path, help='write the figures there')
    arguments = parser.parse_args()
    options = {
        'threads': arguments.threads, 'num_buffers': 1,
        'log': lambda line: print(line, file=sys.stderr)}
    try:
        with open_backend(arguments.model, 'onnxruntime', **options) as reference, \
                open_backend(arguments.model, 'tvm', engine_dir=arguments.engine_dir,
                             tvm_target=arguments.target, **options) as tvm:
            difference = classify(reference, tvm, arguments.pictures)
            ratios, latencies = in_turns(reference, tvm, arguments.rounds)
            info = {**tvm.info.details, 'version': tvm.info.version, 'device': tvm.info.device}
    except ResnetTrtError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f'largest difference {difference:.1e}; ONNX Runtime {latencies[0]:.1f} ms, TVM '
          f'{latencies[1]:.1f} ms; TVM takes {min(ratios):.2f} to {max(ratios):.2f} times as long')
    if arguments.json:
        arguments.json.write_text(json.dumps({
            'model': arguments.model.name, 'threads': arguments.threads, 'tvm': info,
            'largest_difference': difference, 'onnxruntime_p50_ms': latencies[0],
            'tvm_p50_ms': latencies[1], 'ratios': ratios}, indent=1))
    return 0


def classify(reference: Backend, tvm: Backend, pictures: list[Path]) -> float:
    """Print what each picture shows; return the largest difference of a probability."""
    difference = 0.0
    both = (Classifier(backend).probabilities(pictures, read_picture)
            for backend in (reference, tvm))
    for (picture, wanted), (_, found) in zip(*both):
        best = int(found.argmax())
        print(f'{picture.name}: {tvm.spec.labels[best]} {found[best]:.1%}')
        difference = max(difference, float(np.abs(found - wanted).max()))
    return difference


def in_turns(
        reference: Backend, tvm: Backend, rounds: int) -> tuple[list[float], tuple[float, float]]:
    """
    Time batches of one.

    :returns: TVM's latency in units of ONNX Runtime's, one figure for each round; and the
        medians of both over all rounds, in milliseconds.
    """
    taken: dict[Backend, list[float]] = {reference: [], tvm: []}
    for backend in taken:
        warm_up(backend)
    ratios = []
    for _ in range(rounds):
        one_round: dict[Backend, list[float]] = {reference: [], tvm: []}
        # Whatever else the machine does then slows both alike.
        for _ in range(30):
            for backend, times in one_round.items():
                start = perf_counter()
                backend.infer(1)
                times.append((perf_counter() - start) * 1e3)
        ratios.append(round(median(one_round[tvm]) / median(one_round[reference]), 3))
        for backend, times in one_round.items():
            taken[backend] += times
    return ratios, (round(median(taken[reference]), 2), round(median(taken[tvm]), 2))


if __name__ == '__main__':
    sys.exit(main())
