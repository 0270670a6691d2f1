"""
List what the node does with a frame, call by call: from the executor's callback to the counters.

The benchmark's synthetic cameras send to a node whose calls are wrapped by time stamps. The table
gives, for each call and for each hand-over from thread to thread, its wall time (p50 and p99) and
its CPU time (median; of the calling thread). An indented call is part of the one above it.

A camera's frames rarely meet another frame; with six cameras they do.

Usage: python tools/measure_frame_path.py [--cameras 1] [--seconds 10] [--model FILE.onnx]
                                          [-o AFTER.json] [--before BEFORE.json]
"""

from __future__ import annotations

import argparse
import atexit
from collections import defaultdict
from functools import wraps
import json
import os
from pathlib import Path
import sys
import tempfile
from time import perf_counter_ns, thread_time_ns
from typing import Any, Callable

from bench.camera import several
from bench.observer import stage_ms, stages
from bench.rig import Rig
import numpy as np

#: Where the node, a process of its own, writes what it measured.
VARIABLE = 'RESNET_TRT_FRAME_PATH'
_WARM_S = 1.0
#: The calls in the order of a frame's way, with their depth; the hand-overs begin with 'wake'.
CALLS = (
    (0, 'Pipeline.offer'), (1, 'Counters.received'),
    (0, 'wake preprocess'),
    (0, 'Scheduler.next_frames'), (0, 'WholeFrames.begin'), (0, 'WholeFrame.fill'),
    (0, 'Scheduler.close_batch'),
    (0, 'wake inference'),
    (0, 'Backend.submit'), (0, 'Backend.collect'), (0, 'Scheduler.finish'),
    (0, 'wake publisher'),
    (0, 'bad_rows'), (0, 'WholeFrame.answer'),
    (0, 'CameraTopics.publish'), (1, 'message'), (1, 'Publisher.publish'), (1, 'stamp_age_ms'),
    (1, 'get_subscription_count'),
    (0, 'Batch.stages_ms'), (0, 'Counters.answered'))


def run_node() -> None:
    """Be the node, with stamps around its calls."""
    from rclpy.publisher import Publisher
    from resnet_trt_node.backends.base import Backend
    from resnet_trt_node.node import entry
    from resnet_trt_node.node.pipeline import pipeline, work
    from resnet_trt_node.node.pipeline.counters import Counters
    from resnet_trt_node.node.pipeline.frame_queue import Batch
    from resnet_trt_node.node.pipeline.scheduling.scheduler import Scheduler
    from resnet_trt_node.node.ros.topics import camera_results, camera_topics

    took_ns: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    handed_ns: dict[str, int] = {}

    def timed(name: str, work: Callable[..., Any], to: str = '', woken: str = '') -> Any:
        @wraps(work)
        def call(*arguments: Any, **named: Any) -> Any:
            if to:
                handed_ns[to] = 0
            cpu_ns, start_ns = thread_time_ns(), perf_counter_ns()
            if to:
                handed_ns[to] = start_ns
            try:
                result = work(*arguments, **named)
                if result is True:
                    # `Scheduler.finish`: the caller goes on with the batch itself.
                    handed_ns.pop(to, None)
                return result
            finally:
                end_ns = perf_counter_ns()
                took_ns[name].append((start_ns, end_ns - start_ns, thread_time_ns() - cpu_ns))
                since_ns = handed_ns.pop(woken, 0)
                if since_ns > start_ns:
                    # It slept when its work came.
                    took_ns[woken].append((since_ns, end_ns - since_ns, 0))
        return call

    def wrap(owner: Any, method: str, name: str = '', **hand_over: str) -> None:
        name = name or f'{owner.__name__}.{method}'
        setattr(owner, method, timed(name, getattr(owner, method), **hand_over))

    wrap(pipeline.Pipeline, 'offer', to='wake preprocess')
    wrap(Counters, 'received')
    wrap(Scheduler, 'open_batch', woken='wake preprocess')
    wrap(Scheduler, 'next_frames')
    wrap(work.WholeFrames, 'begin')
    wrap(work.WholeFrame, 'fill')
    wrap(Scheduler, 'close_batch', to='wake inference')
    wrap(Scheduler, 'next_batch', woken='wake inference')
    wrap(Backend, 'submit')
    wrap(Backend, 'collect')
    wrap(Scheduler, 'finish', to='wake publisher')
    wrap(Scheduler, 'next_inferred', woken='wake publisher')
    wrap(pipeline, 'bad_rows', 'bad_rows')
    wrap(work.WholeFrame, 'answer')
    wrap(camera_topics.CameraTopics, 'publish')
    wrap(camera_results.ImageResults, 'message', 'message')
    wrap(Publisher, 'publish')
    wrap(camera_topics, 'stamp_age_ms', 'stamp_age_ms')
    wrap(Publisher, 'get_subscription_count', 'get_subscription_count')
    wrap(Batch, 'stages_ms')
    wrap(Counters, 'answered')
    atexit.register(lambda: Path(os.environ[VARIABLE]).write_text(json.dumps(took_ns)))
    sys.exit(entry.main())


def figures(rows: list[list[int]], start_ns: int, hand_over: bool) -> dict[str, float]:
    """Return the percentiles in milliseconds of the calls that began after a time."""
    kept = np.array([row for row in rows if row[0] >= start_ns]).reshape(-1, 3) / 1e6
    if not len(kept):
        return {}
    p50, p99 = np.percentile(kept[:, 1], (50, 99)).tolist()
    cpu = {} if hand_over else {'cpu': float(np.median(kept[:, 2]))}
    return {'calls': len(kept), 'p50': p50, 'p99': p99, **cpu}


def measure(cameras: int, seconds: float, model: str) -> dict[str, Any]:
    """Run the node; return the figures of each call, and its CPU time a frame by thread."""
    parameters: dict[str, object] = {
        'batch_size': cameras, 'max_wait_ms': 0.0, 'image_reliability': 'reliable',
        'backend': 'onnxruntime' if model else 'simulated:0.5'}
    if model:
        parameters['model_path'] = model
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'calls.json'
        with Rig(several(cameras), parameters, module='measure_frame_path',
                 environment={VARIABLE: str(path)}) as rig:
            rig.measure(_WARM_S)
            start_ns = perf_counter_ns()
            phase = rig.measure(seconds)
            rig.stop_node()
        taken = json.loads(path.read_text())
    frames = max(1, len(phase.heard))
    return {
        'calls': {name: figures(taken.get(name, []), start_ns, name.startswith('wake'))
                  for _, name in CALLS},
        'stages': {stage: [stage_ms(phase.status, stage, share) for share in (50, 99)]
                   for stage in stages(phase.status)},
        'threads': {name: spent / frames
                    for name, spent in phase.usage['node'].threads_ms.items() if spent}}


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[1])
    parser.add_argument('--cameras', type=int, default=1, help='VGA at 30 Hz')
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--model', default='', help='deployable ONNX file, for ONNX Runtime')
    parser.add_argument('-o', '--output', type=Path, help='JSON file with the figures')
    parser.add_argument('--before', type=Path, help='JSON file of another run to stand beside')
    arguments = parser.parse_args()
    found = measure(arguments.cameras, arguments.seconds, arguments.model)
    before = json.loads(arguments.before.read_text()) if arguments.before else {'calls': {}}
    print('| call | p50 ms | p99 | CPU | calls | p50 before |\n|---|---|---|---|---|---|')
    for depth, name in CALLS:
        now, then = found['calls'][name], before['calls'].get(name, {})
        cells = [f'{now[key]:.3f}' if key in now else '-' for key in ('p50', 'p99', 'cpu')]
        cells += [f'{now.get("calls", 0):.0f}', f'{then["p50"]:.3f}' if then else '-']
        print(f'| {"&emsp;" * depth}{name} | {" | ".join(cells)} |')
    for stage, (p50, p99) in found['stages'].items():
        print(f'{stage}: p50 {p50} ms, p99 {p99} ms')
    for name, spent in sorted(found['threads'].items(), key=lambda item: -item[1]):
        print(f'{name}: {spent:.3f} ms of CPU a frame')
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    if VARIABLE in os.environ:
        run_node()
    else:
        sys.exit(main())
