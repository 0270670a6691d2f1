"""
Three ideas for an int8 ResNet-50, each measured beside the model as it is; JSON comes out.

Other inputs (`inputs`), several streams with a context each, and CUDA graphs for large
batches; and the builder's level. An engine is called INPUT.BATCH.LEVEL, such as int8.256.3, and
one of a pruned model SPARSE.BATCH.LEVEL: of that, the layers that became sparse are told. Engines
are built in processes of their own, some at once, and stay; then all are measured in turns.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import subprocess
import sys
import time
from typing import Any, Optional

import onnx
from resnet_trt_node.atomic_file import replacing
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from tools.gpu.int8.inputs import host_array, KINDS, with_input
from tools.gpu.steps import latency, throughput

SPARSE = 'sparse'
#: What is measured if nothing is asked for.
USUAL = (*(f'{kind}.{batch}.2' for batch in (1, 256) for kind in KINDS),
         'as_it_is.1.4', 'as_it_is.1.5', 'as_it_is.64.2', 'as_it_is.128.2', 'as_it_is.256.4')
#: Streams at once, and the way to run, see `lanes`; of batches of more than one.
_WAYS = ((1, 'resident'), (1, 'resident_graph'), (2, 'resident'), (2, 'resident_graph'),
         (2, 'copies'), (2, 'graph'), (3, 'copies'))
_BATCHES = 40


def main() -> int:
    """Build what is missing, measure all; returns 1 if nothing could be built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', type=Path, help='int8 ResNet of `quantize`')
    parser.add_argument('out', type=Path, help='JSON file')
    parser.add_argument('names', nargs='*', default=list(USUAL), help=f'not given: {USUAL}')
    parser.add_argument('--pruned', type=Path, help='the same of a 2:4 model, for sparse.*')
    parser.add_argument('--engines', type=Path, default=Path('/tmp/int8_ideas'))
    parser.add_argument('--jobs', type=int, default=4, help='engines built at once')
    parser.add_argument('--seconds', type=float, default=400.0, help='building may take')
    parser.add_argument('--build-only', action='store_true')
    parser.add_argument('--one', help='build that one here, no process of its own')
    arguments = parser.parse_args()
    arguments.engines.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        parse(name)
    if arguments.one:
        build_here(arguments.one, arguments)
        return 0
    found: dict[str, Any] = {'engines': build_all(arguments)}
    built = [name for name in arguments.names
             if 'error' not in found['engines'].get(name, {'error': ''})]
    _write(arguments.out, found)
    if built and not arguments.build_only:
        found.update(measure(arguments.engines, built))
        _write(arguments.out, found)
        print(json.dumps({key: found[key] for key in ('latency', 'throughput')}, indent=1))
    return 0 if built else 1


def parse(name: str) -> tuple[str, int, int]:
    """
    Return kind, batch and level of an engine's name.

    :raises SystemExit: for any other name.
    """
    kind, _, rest = name.partition('.')
    batch, _, level = rest.partition('.')
    if kind not in (*KINDS, SPARSE) or not batch.isdigit() or not level.isdigit():
        sys.exit(f'{name}: choose KIND.BATCH.LEVEL, with one of {", ".join((*KINDS, SPARSE))}')
    return kind, int(batch), int(level)


def build_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what each build gave, by name; some run at once, none begins after the time."""
    deadline = time.monotonic() + arguments.seconds
    waiting = [name for name in arguments.names
               if not (arguments.engines / f'{name}.json').exists()]
    running: dict[str, subprocess.Popen[bytes]] = {}
    while waiting or running:
        left = deadline - time.monotonic()
        while waiting and len(running) < arguments.jobs and left > 0:
            name = waiting.pop(0)
            with open(arguments.engines / f'{name}.log', 'wb') as log:
                running[name] = subprocess.Popen(
                    [sys.executable, '-u', '-m', 'tools.gpu.int8.ideas', str(arguments.model),
                     str(arguments.out), '--engines', str(arguments.engines), '--one', name,
                     *(['--pruned', str(arguments.pruned)] if arguments.pruned else [])],
                    stdout=log, stderr=subprocess.STDOUT)
        if left <= 0:
            waiting.clear()
            for process in running.values():
                process.kill()
        for name in [name for name, process in running.items() if process.poll() is not None]:
            print(f'{name}: ended with {running.pop(name).returncode}', flush=True)
        time.sleep(0.2)
    return {name: _result(arguments.engines, name) for name in arguments.names}


def _result(engines: Path, name: str) -> dict[str, Any]:
    path, log = engines / f'{name}.json', engines / f'{name}.log'
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        return found
    return {'error': 'not built', 'log': log.read_text(encoding='utf-8', errors='replace')[-1500:]
            if log.exists() else 'not begun'}


def build_here(name: str, arguments: argparse.Namespace) -> None:
    """Build one engine and write what is known of it beside it."""
    from tools.gpu.int8.build import build
    kind, batch, level = parse(name)
    source: Optional[Path] = arguments.pruned if kind == SPARSE else arguments.model
    if source is None:
        sys.exit(f'{name}: name the model with --pruned')
    model = onnx.load(str(source))
    if kind != SPARSE:
        model = with_input(model, kind)
    begun = time.monotonic()
    plan, details = build(
        model.SerializeToString(), batch, level, sparse=kind == SPARSE,
        fours=kind == 'int8_fours')
    with replacing(arguments.engines / f'{name}.engine') as temporary:
        temporary.write_bytes(plan)
    _write(arguments.engines / f'{name}.json', {
        'build_s': round(time.monotonic() - begun, 1), 'bytes': len(plan), **details})


def measure(engines: Path, names: list[str]) -> dict[str, Any]:
    """Return latency of batch 1 and images a second of the others, all in turns."""
    import pycuda.driver as cuda
    from tools.gpu.int8.lanes import BareLanes
    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    try:
        found: dict[str, Any] = {'answers': {}, 'latency': {}, 'throughput': {}}
        frames = sample_frames(8, 224, 224)
        for batch in sorted({parse(name)[1] for name in names}):
            lanes = {}
            for name in names:
                kind, size, _ = parse(name)
                if size == batch:
                    given = host_array(frames[[index % 8 for index in range(batch)]],
                                       'as_it_is' if kind == SPARSE else kind)
                    lanes[name] = BareLanes(
                        engines / f'{name}.engine', given, max(_WAYS)[0])
            found['answers'].update({name: lane.answer() for name, lane in lanes.items()})
            if batch == 1:
                found['latency'] = latency({
                    f'{name} {way}': run for name, lane in lanes.items()
                    for way, run in lane.ways().items()})
            else:
                found['throughput'].update(throughput(batch, {
                    f'{name} {count} {way}': lane.sustained(count, way, _BATCHES)
                    for name, lane in lanes.items() for count, way in _WAYS}))
            del lanes
        return _summed(found)
    finally:
        context.pop()


def _summed(found: dict[str, Any]) -> dict[str, Any]:
    """Add p99 over p50, and how far each engine's answers are from the model's as it is."""
    for one in found['latency'].values():
        one['p99_over_p50'] = round(one['p99_ms'] / one['p50_ms'], 3)
    answers = found.pop('answers')
    found['differences'] = {}
    for name, rows in answers.items():
        base = next((other for key, other in answers.items()
                     if key.startswith('as_it_is') and len(other) == len(rows)), None)
        if base is not None:
            found['differences'][name] = {
                'largest': float(abs(rows - base).max()),
                'top1_same': float((rows.argmax(1) == base.argmax(1)).mean())}
    return found


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1), encoding='utf-8')


if __name__ == '__main__':
    sys.exit(main())
