"""`resnet_trt tune`: let TVM measure how a model's layers are fastest on this CPU."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
import sys
from typing import Optional

from resnet_trt_node.backends.tvm.compiler import model_workloads
from resnet_trt_node.backends.tvm.engine import ModuleSource, TvmOptions
from resnet_trt_node.backends.tvm.runtime import load_tvm
from resnet_trt_node.backends.tvm.tuning import tune, TuningProgress
from resnet_trt_node.cli.support.console import print_json, Progress, write
from resnet_trt_node.cli.support.options import add_model_argument
from resnet_trt_node.errors import UsageError


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_model_argument(parser)
    parser.add_argument(
        '--minutes', type=float, default=10.0, metavar='M', help='how long to measure at most')
    parser.add_argument(
        '--trials', type=int, metavar='N', help='measurements at most; not given: any number')
    parser.add_argument(
        '--batch', type=int, default=1, metavar='N', help='batch size to be fast at')
    parser.add_argument(
        '--max-batch', type=int, metavar='N',
        help='largest batch of the engine that is compiled in the end; not given: that of --batch')
    parser.add_argument(
        '--cpu-threads', type=int, default=0, metavar='N',
        help='threads that compute, the same as when the model runs; 0 for every core')
    parser.add_argument(
        '--engine-dir', type=Path, metavar='DIR',
        help='folder of engines and measurements; not given: ~/.cache/resnet_trt_node/engines, by '
        'the XDG rules')
    parser.add_argument('--json', action='store_true', help='print the result as JSON')


def run(arguments: Namespace) -> int:
    """Measure, keep what was found, compile with it."""
    if arguments.minutes <= 0 or (arguments.trials is not None and arguments.trials < 1):
        raise UsageError('--minutes and --trials must be positive')
    if arguments.batch < 1:
        raise UsageError(f'--batch is {arguments.batch}: choose 1 or more')
    options = TvmOptions(
        max_batch_size=arguments.max_batch or arguments.batch, cpu_threads=arguments.cpu_threads,
        engine_dir=arguments.engine_dir, tvm_target='cpu')
    tvm = load_tvm()
    source = ModuleSource.of(tvm, arguments.model, options, _log)
    workloads = model_workloads(tvm, source.path, source.processor)
    _log(f'{sum(workloads.values())} layers of {len(workloads)} shapes, {source.threads} threads, '
         f'at most {arguments.minutes:g} minutes; Ctrl-C ends it and keeps what was found')
    interrupted = False
    last: Optional[TuningProgress] = None
    with Progress(arguments.trials, 'trial') as bar:
        def report(progress: TuningProgress) -> None:
            nonlocal last
            last = progress
            bar.step(f'{progress.before_ms:.1f} -> {progress.now_ms:.1f} ms')
        try:
            tune(tvm, workloads, source.database, source.processor, source.threads,
                 arguments.minutes * 60, arguments.trials, arguments.batch, report)
        except KeyboardInterrupt:
            interrupted = True
    # The tiles are another part of the key than before.
    source = ModuleSource.of(tvm, arguments.model, options, _log)
    engine = None if interrupted else source.get(must_store=True)
    _report(source, last, engine.path if engine else None, interrupted, arguments.json)
    return 130 if interrupted else 0


def _report(
        source: ModuleSource, progress: Optional[TuningProgress], engine: Optional[Path],
        interrupted: bool, as_json: bool) -> None:
    trials, before, now, took = (0, 0.0, 0.0, 0.0) if progress is None else (
        progress.trials, progress.before_ms, progress.now_ms, progress.elapsed_s)
    if as_json:
        print_json({
            'database': str(source.database.path), 'engine': str(engine) if engine else None,
            'trials': trials, 'seconds': round(took, 1), 'before_ms': round(before, 3),
            'now_ms': round(now, 3), 'records': len(source.database.records),
            'threads': source.threads, 'interrupted': interrupted})
        return
    write(f'{trials} trials in {took:.0f} s: the layers took {before:.1f} ms, now {now:.1f} ms')
    write(f'  {len(source.database.records)} shapes are kept in {source.database.path}')
    if engine is not None:
        write(f'  compiled with them: {engine}')


def _log(line: str) -> None:
    write(line, sys.stderr)
