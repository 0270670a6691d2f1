"""
Measure the TensorRT backend on a GPU, beside the bare engine; write JSON for the performance page.

Every step runs in a process of its own and leaves one JSON file, so that a crash, a time limit or
the end of a sitting costs one step: call it again and it goes on with what is missing. No step is
begun that the time left does not allow.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import subprocess
import sys
import time
from typing import Optional

from resnet_trt_node.atomic_file import replacing
from tools.gpu.steps import Case, Lab, LAST_STEPS, run_case, run_endurance, run_machine

#: Name to (case, seconds it is expected to take). Ordered by what matters most.
CASES = {
    'fp16': (Case('fp16', 64, (1, 64), latency=True), 220),
    'int8': (Case('int8', 64, (64,), level=2), 130),
    'int8_subtract': (Case('int8_subtract', 64, (64,), level=2), 130),
    'int8_plain': (Case('int8_plain', 64, (64,), level=2), 120),
    'tf32': (Case('fp32', 64, (1, 64), tf32=True, latency=True), 200),
    'fp16_b1': (Case('fp16', 1, (1,), latency=True), 90),
    'int8_subtract_b256': (Case('int8_subtract', 256, (256,), level=2), 150),
    # A trained network, for what precision costs in accuracy; made beforehand by trained_models.
    'lite0_tf32': (Case('lite0_fp32', 8, (8,), level=1, tf32=True, reference='lite0_fp32',
                        trained=True), 60),
    'lite0_fp16': (Case('lite0_fp16', 8, (8,), level=1, reference='lite0_fp32',
                        trained=True), 60),
    'lite0_int8': (Case('lite0_int8', 8, (8,), level=1, reference='lite0_fp32',
                        trained=True), 60),
}
STEPS = {'machine': 15, **{name: seconds for name, (_, seconds) in CASES.items()}, **LAST_STEPS}


def main() -> int:
    """Run the steps that are asked for and not done yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', type=Path, required=True, help='folder of export_models.py')
    parser.add_argument('--frames', type=Path, required=True, help='.npy of uint8 frames')
    parser.add_argument('--state', type=Path, required=True, help='folder of engines and results')
    parser.add_argument('--out', type=Path, help='JSON file of all results so far')
    parser.add_argument('--budget-s', type=float, default=540, help='seconds this call may take')
    parser.add_argument('--step', help='run one step here, no process of its own')
    parser.add_argument('names', nargs='*', help=f'steps; not given: all of {list(STEPS)}')
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    if arguments.step:
        return run_here(arguments.step, Lab(arguments.models, arguments.frames, arguments.state))
    deadline = time.monotonic() + arguments.budget_s
    for name in arguments.names or STEPS:
        if name not in STEPS:
            parser.error(f'no step {name!r}: choose from {", ".join(STEPS)}')
        if name in CASES and not (arguments.models / f'{CASES[name][0].model}.onnx').exists():
            print(f'{name}: left out, there is no {CASES[name][0].model}.onnx', flush=True)
            continue
        run_apart(name, arguments.state, deadline)
        if arguments.out is not None:
            merge(arguments.models, arguments.state, arguments.out)
    print_table(arguments.state)
    return 0


def run_here(name: str, lab: Lab) -> int:
    """Run a step and write its result."""
    start = time.monotonic()
    if name == 'machine':
        result = run_machine(lab)
    elif name in CASES:
        result = run_case(lab, CASES[name][0])
    else:
        result = run_endurance(lab, name)
    result['step_s'] = round(time.monotonic() - start, 1)
    write(lab.state / f'{name}.json', result)
    return 0


def run_apart(name: str, state: Path, deadline: float) -> None:
    """Run a step in a process of its own, unless it is done or there is no time."""
    if (state / f'{name}.json').exists():
        return
    left = deadline - time.monotonic()
    if left < STEPS[name]:
        print(f'{name}: not begun, it may take {STEPS[name]} s and {left:.0f} s are left',
              flush=True)
        return
    print(f'{name}: begun, {left:.0f} s left', flush=True)
    log = state / f'{name}.log'
    with open(log, 'w', encoding='utf-8') as file:
        # -u: what a crash leaves unsaid is what one wants to read.
        process = subprocess.Popen(
            [sys.executable, '-u', '-m', 'tools.gpu.bench_tensorrt', *_shared_arguments(),
             '--step', name],
            stdout=file, stderr=subprocess.STDOUT)
        try:
            code: Optional[int] = process.wait(timeout=left)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
    if code != 0:
        tail = log.read_text(encoding='utf-8', errors='replace')[-1500:]
        why = 'out of time' if code is None else f'exit status {code}'
        # A step that ran out of time may be begun again by the next call.
        write(state / f'{name}.{"unfinished" if code is None else "json"}',
              {'error': why, 'log': tail})
        print(f'{name}: {why}\n{tail}', flush=True)


def _shared_arguments() -> list[str]:
    """Return this process's own --models, --frames and --state."""
    words = sys.argv[1:]
    shared = []
    for option in ('--models', '--frames', '--state'):
        shared += words[words.index(option):words.index(option) + 2]
    return shared


def write(path: Path, values: dict) -> None:
    """Write JSON whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1), encoding='utf-8')


def results_of(state: Path) -> dict:
    """Return every step's result, in the order of the steps."""
    return {name: json.loads((state / f'{name}.json').read_text(encoding='utf-8'))
            for name in STEPS if (state / f'{name}.json').exists()}


def merge(models: Path, state: Path, out: Path) -> None:
    """Write all results into one file, with PyTorch's and the layers if they are there."""
    values = {'tensorrt': results_of(state)}
    for name, path in (('torch', state / 'torch.json'), ('layers', models / 'roofline.json')):
        if path.exists():
            values[name] = json.loads(path.read_text(encoding='utf-8'))
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, values)


def print_table(state: Path) -> None:
    """Print what was measured, a line a step."""
    for name, result in results_of(state).items():
        if 'error' in result:
            print(f'{name:22} FAILED: {result["error"]}; {result["log"][-200:]!r}')
            continue
        parts = [f'{result.get("build_s", 0):.0f} s build'] if 'build_s' in result else []
        for what, numbers in result.get('latency', {}).items():
            parts.append(f'{what} {numbers["p50_ms"]:.3f}/{numbers["p99_ms"]:.3f} ms')
        for what, numbers in result.get('throughput', {}).items():
            parts.append(f'{what} {numbers["p50_images_s"]:.0f}/s')
        if 'accuracy' in result:
            parts.append('top-1 as fp32 {top1_agreement:.3f}, diff {largest_difference:.4f}'
                         .format(**result['accuracy']))
        for key in ('host_growth_mib', 'device_growth_mib', 'count'):
            if key in result:
                parts.append(f'{key} {result[key]}')
        print(f'{name:22} ' + '; '.join(parts))


if __name__ == '__main__':
    sys.exit(main())
