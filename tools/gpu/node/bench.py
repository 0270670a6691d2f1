"""
The whole node on a GPU: synthetic cameras, node and listener in processes of their own.

Usage: PYTHONPATH=tools:. python -m tools.gpu.node.bench --fp16 MODEL --int8 MODEL --out FILE

Each scenario's frames are counted from the camera to the listener. Results are written after each
one, and a second call goes on where the first ended. docs/how-to/gpu.md says how to repeat it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench import BenchError
from bench.environment import describe_machine, isolate
from markdown_page import read_json, write_json
from resnet_trt_node.errors import ResnetTrtError, UsageError
from tools.gpu.node.measurement import Bench
from tools.gpu.node.scenarios import scenarios


def main() -> int:
    """
    Measure what is missing in the JSON.

    :returns: 0, 1 if a scenario failed, 2 for what the user can mend.
    """
    parser = argparse.ArgumentParser(
        prog='node_bench', description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--fp16', type=Path, required=True, help='ResNet-50 in fp16, ONNX')
    parser.add_argument('--int8', type=Path, required=True, help='the same, quantized')
    parser.add_argument('--out', type=Path, required=True, help='JSON; what it holds is kept')
    parser.add_argument('--backend', default='tensorrt', help='of the node, for trying this out')
    parser.add_argument('--engine-dir', type=Path, default=Path('build/gpu/engines'))
    parser.add_argument('--seconds', type=float, default=20.0, help='of each scenario')
    parser.add_argument('--budget-s', type=float, default=1e9, help='stop before so many seconds')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='scenarios; a prefix is enough')
    parser.add_argument('-p', dest='parameters', action='append', default=[],
                        metavar='NAME:=VALUE',
                        help='parameter of the node, such as optimization_level:=2')
    arguments = parser.parse_args()
    try:
        return _measure(arguments)
    except ResnetTrtError as error:
        print(f'node_bench: {error}', file=sys.stderr)
        return error.exit_code


def _measure(arguments: argparse.Namespace) -> int:
    models = {'fp16': arguments.fp16, 'int8': arguments.int8}
    for path in models.values():
        if not path.is_file():
            raise UsageError(f'no model {path}: docs/how-to/gpu.md has the commands that make it')
    given = {'backend': arguments.backend,
             **dict(one.split(':=', 1) for one in arguments.parameters)}
    engines = arguments.engine_dir.resolve() if arguments.backend == 'tensorrt' else None
    results = read_json(arguments.out) if arguments.out.exists() else {'scenarios': {}}
    bench = Bench(
        {name: path.resolve() for name, path in models.items()}, engines,
        given, arguments.seconds)
    chosen = [one for one in scenarios() if arguments.only is None or any(
        one.name.startswith(name) for name in arguments.only)]
    begun, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix='resnet_trt_bench_') as folder, isolate(Path(folder)):
        results['machine'] = {**describe_machine(), 'gpu': _gpu()}
        for number, scenario in enumerate(chosen, 1):
            if scenario.name in results['scenarios']:
                continue
            if time.monotonic() - begun > arguments.budget_s:
                print('the time is up: call again to go on')
                break
            print(f'[{number}/{len(chosen)}] {scenario.name}', flush=True)
            try:
                found = {'commit': results['machine']['commit'], **bench.run(scenario)}
                results['scenarios'][scenario.name] = found
            except BenchError as error:
                failed += 1
                print(f'      failed: {error}', flush=True)
                continue
            write_json(arguments.out, results)
            print(f'      {_summary(found)}', flush=True)
    return 1 if failed else 0


def _summary(found: dict[str, Any]) -> str:
    if 'steps' in found:
        tried = 'regions' if found['scenario']['regions'] else 'rate_hz'
        return '; '.join(
            f'{tried} {step[tried]}: {step["answered"]} of {step["sent"]}, {step["lost"]}, '
            f'{step["cameras_skipped"]} skipped' for step in found['steps'])
    if 'turns' in found:
        return str(found['turns'])
    figures = found['figures']
    missed = [check['name'] for check in found['checks'] if not check['met']]
    return (f'{figures["answered"]} of {figures["sent"]}, receive to publish '
            f'{figures["stages_ms"].get("total")}, source to answer '
            f'{figures["source_to_answer_ms"]}, missed: {missed}, {found["lost"]}')


def _gpu() -> str:
    """Return the GPU's name and driver, '' where the program that tells is missing."""
    try:
        return subprocess.run(
            ['nvidia-smi', '--query-gpu=name,driver_version', '--format=csv,noheader'],
            capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ''


if __name__ == '__main__':
    sys.exit(main())
