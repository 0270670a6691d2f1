"""
Run models through the TensorRT backend and through ONNX Runtime, and compare; JSON comes out.

Usage: try_models.py OUT.json MODEL.onnx... Each model has a process and an engine folder of its
own, all at once: an engine that cannot be built costs the others nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import subprocess
import sys
import time
from typing import Any, Optional

import numpy as np
import onnxruntime
from resnet_trt_node.backends.factory import open_backend, options_of
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.errors import ResnetTrtError
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

#: Largest difference of a probability that rounding explains.
TOLERANCE = {'fp32': 2e-4, 'fp16': 1e-2, 'int8': 5e-2}
_LARGEST = 8


def main() -> int:
    """Try all; returns 1 if one failed or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path)
    parser.add_argument('models', type=Path, nargs='+')
    parser.add_argument('--engines', type=Path, default=Path('/tmp/try_models'))
    parser.add_argument('--backend', default='tensorrt')
    parser.add_argument('--level', type=int, default=1, help='of the builder')
    parser.add_argument('--seconds', type=float, default=240.0, help='all may take')
    parser.add_argument('--one', action='store_true', help='run one here, no process of its own')
    arguments = parser.parse_args()
    if arguments.one:
        model, = arguments.models
        found = try_model(model, arguments.backend, arguments.engines, arguments.level)
        arguments.out.write_text(json.dumps(found, indent=1), encoding='utf-8')
        return 0
    found = try_apart(arguments)
    arguments.out.write_text(json.dumps(found, indent=1), encoding='utf-8')
    for name, one in found.items():
        print(name, json.dumps(one), flush=True)
    return 0 if all(one.get('equal') for one in found.values()) else 1


def try_apart(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what each model's process found, or how it ended."""
    deadline = time.monotonic() + arguments.seconds
    started = {}
    for model in arguments.models:
        folder = arguments.engines / model.stem
        folder.mkdir(parents=True, exist_ok=True)
        result = folder / 'result.json'
        result.unlink(missing_ok=True)
        with open(folder / 'log', 'w', encoding='utf-8') as log:
            started[model.stem] = folder, subprocess.Popen(
                [sys.executable, '-X', 'faulthandler', '-m', 'tools.gpu.try_models', str(result),
                 str(model), '--one', '--engines', str(folder), '--backend', arguments.backend,
                 '--level', str(arguments.level)], stdout=log, stderr=subprocess.STDOUT)
    found = {}
    for name, (folder, process) in started.items():
        code: Optional[int] = None
        try:
            code = process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        result = folder / 'result.json'
        found[name] = json.loads(result.read_text(encoding='utf-8')) if result.exists() else {
            'ended_with': code,
            'log': (folder / 'log').read_text(encoding='utf-8', errors='replace')[-1500:]}
    return found


def try_model(model: Path, backend_name: str, engines: Path, level: int) -> dict[str, Any]:
    """
    Compare every batch size up to eight, from both buffers, with ONNX Runtime.

    :returns: ready for JSON; `equal` where no probability differs by more than rounding explains.
    """
    spec = read_model_spec(model)
    frames = sample_frames(_LARGEST, spec.height, spec.width, seed=3)
    session = onnxruntime.InferenceSession(str(model), providers=['CPUExecutionProvider'])
    expected = session.run(None, {'images': frames})[0]
    options = {'max_batch_size': _LARGEST, 'opt_batch_sizes': (1, _LARGEST),
               'optimization_level': level, 'engine_dir': engines, 'log': print}
    known = options_of(backend_name)
    found: dict[str, Any] = {
        'precision': spec.precision, 'activation': spec.activation,
        'multi_label': spec.multi_label, 'normalisation': spec.normalisation,
        'distinct_answers': len({*expected.argmax(1).tolist()})}
    try:
        with open_backend(model, backend_name, **{
                name: value for name, value in options.items() if name in known}) as backend:
            worst, same, rows = 0.0, 0, 0
            for size in range(1, _LARGEST + 1):
                buffer = size % backend.num_buffers
                backend.buffer(buffer)[:size] = frames[-size:]
                answer = backend.infer(size, buffer)
                worst = max(worst, float(np.abs(answer - expected[-size:]).max()))
                same += int((answer.argmax(1) == expected[-size:].argmax(1)).sum())
                rows += size
            details = dict(backend.info.details)
            return {**found, 'backend': f'{backend.info.name} {backend.info.version}',
                    'build_s': details.get('engine_build_s'), 'largest_difference': worst,
                    'top1_same': f'{same} of {rows}', 'equal': worst <= TOLERANCE[spec.precision]}
    except ResnetTrtError as error:
        return {**found, 'error': str(error), 'equal': False}


if __name__ == '__main__':
    sys.exit(main())
