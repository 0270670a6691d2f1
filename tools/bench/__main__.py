"""
Measure the node in real time: python -m bench --help.

Results come as a table, as JSON and, after a whole run, as a section of docs/performance.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from pathlib import Path
import signal
import sys
import tempfile
from typing import Any, Optional

from bench.deployment import DEPLOYMENTS, PROFILE
from bench.environment import describe_machine, isolate, ROOT
from bench.figures import Outcome
from bench.models import find_models
from bench.report import print_outcome, replaced, write_page
from bench.scenarios import cpu_per_frame, latency, overload, regions, soak
from markdown_page import read_json, write_json
from resnet_trt_node.errors import ResnetTrtError, UsageError

#: Seconds of each scenario, and of the quick run. 1000 answers fill the node's percentiles: 35 s
#: at 30 Hz.
_SECONDS = {'cpu': (15.0, 4.0), 'idle': (36.0, 8.0), 'six': (30.0, 6.0), 'overload': (30.0, 6.0),
            'tight': (30.0, 6.0), 'regions': (30.0, 6.0), 'soak': (180.0, 32.0)}


def main() -> int:
    """
    Measure.

    :returns: 0 when all was measured, 1 if a soak misses a target, 2 for what the user can mend,
        130 after Ctrl-C.
    """
    arguments = _parser().parse_args()
    # So that what is open is closed; shells have jobs in the background ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        if not arguments.page_only and not arguments.add:
            return _measure(arguments)
        docs = arguments.out or ROOT / 'docs'
        results = _read(docs)
        if arguments.add:
            results = replaced(results, _read(arguments.add))
            _write(results, docs)
        write_page(results, docs)
        return 0
    except ResnetTrtError as error:
        print(f'bench: {error}', file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print('bench: stopped', file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='bench', description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--quick', action='store_true',
                        help='two minutes; for a look, not for the page')
    parser.add_argument('--only', nargs='+', choices=(*_SECONDS, 'onnxruntime'), metavar='NAME',
                        help=f'of {", ".join(_SECONDS)}, onnxruntime')
    parser.add_argument('--soak-hours', type=float, metavar='N',
                        help='only the soak, for so long')
    parser.add_argument('--deployment', choices=DEPLOYMENTS, default=PROFILE.name,
                        help='of that soak: with the DDS profiles of config and reliable, or the '
                        'default transport and best effort')
    parser.add_argument('--out', type=Path, metavar='FOLDER',
                        help='where JSON, page and plot go: docs for a whole run, otherwise '
                        'build/bench')
    parser.add_argument('--page-only', action='store_true',
                        help='write docs/performance.md again from its JSON')
    parser.add_argument('--add', type=Path, metavar='FOLDER',
                        help='put the scenarios of another run, such as a soak in build/bench, in '
                        'place of those of docs/performance.md')
    return parser


def _measure(arguments: argparse.Namespace) -> int:
    whole = not (arguments.quick or arguments.only or arguments.soak_hours)
    out: Path = arguments.out or ROOT / ('docs' if whole else 'build/bench')
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='resnet_trt_bench_') as folder, \
            isolate(Path(folder)):
        results: dict[str, Any] = {
            'date': date.today().isoformat(), 'quick': arguments.quick,
            'machine': describe_machine(), 'scenarios': []}
        for number, (what, scenario) in enumerate(
                steps := _steps(arguments), 1):
            print(f'[{number}/{len(steps)}] {what}', flush=True)
            outcome = scenario()
            if outcome is not None:
                print_outcome(outcome)
                results['scenarios'].append(outcome.to_json())
    path = _write(results, out)
    write_page(results, out)
    checks = [check for one in results['scenarios'] for check in one['checks']]
    missed = sum(not check['met'] for check in checks)
    print(f'{len(checks) - missed} of {len(checks)} targets met; {path}, {out}/performance.md')
    return 1 if missed and arguments.soak_hours else 0


def _read(out: Path) -> dict[str, Any]:
    path = _json_path(out)
    try:
        results: dict[str, Any] = read_json(path)
    except OSError as error:
        raise UsageError(f'cannot read {path} ({error.strerror}): measure first, or name the '
                         'folder that a run wrote to') from error
    return results


def _write(results: dict[str, Any], out: Path) -> Path:
    path = _json_path(out)
    write_json(path, results)
    return path


def _json_path(out: Path) -> Path:
    return out / 'performance' / 'realtime.json'


_Scenario = Callable[[], Optional[Outcome]]


def _steps(arguments: argparse.Namespace) -> list[tuple[str, _Scenario]]:
    """Return what is to be measured, in words and as a function."""
    quick: bool = arguments.quick
    only: Optional[list[str]] = arguments.only
    if arguments.soak_hours is not None:
        hours, deployment = arguments.soak_hours, DEPLOYMENTS[arguments.deployment]
        return [(f'soak: {hours:g} hours, {deployment.title}',
                 lambda: soak.run(hours * 3600, deployment=deployment))]
    length = {name: seconds[quick] for name, seconds in _SECONDS.items()}
    steps: dict[str, tuple[str, _Scenario]] = {
        'cpu': ('CPU per 1080p frame, beside a plain node, in turns',
                lambda: cpu_per_frame.run(length['cpu'], 2 if quick else 5)),
        'onnxruntime': ('the same with a real network in ONNX Runtime',
                        lambda: _with_network(length['cpu'], 1 if quick else 2)),
        'idle': ('added latency', lambda: latency.run_idle(length['idle'])),
        'six': ('six cameras', lambda: latency.run_six(length['six'])),
        'overload': ('twice the load that the backend can bear',
                     lambda: overload.run(length['overload'])),
        'tight': ('the same with little time to answer',
                  lambda: overload.run(length['tight'], overload.TIGHT_MAX_AGE_MS)),
        'regions': ('regions, beside a plain node',
                    lambda: regions.run(length['regions'])),
        'soak': (f'faults for {length["soak"] / 60:.1f} minutes; `make soak HOURS=0.17` takes ten',
                 lambda: soak.run(length['soak'], 2.0 if quick else 5.0))}
    if quick and only is None:
        # The first time it has a network to export.
        del steps['onnxruntime']
    return [step for name, step in steps.items() if only is None or name in only]


def _with_network(seconds: float, rounds: int) -> Optional[Outcome]:
    models = find_models(ROOT / 'models' / 'bench')
    if models is None:
        print('      left out: the weights of EfficientNet-Lite0 are not installed')
        return None
    # A network takes most of a core: 5 Hz leaves room for the cameras.
    return cpu_per_frame.run(seconds, rounds, 5.0, models)


if __name__ == '__main__':
    sys.exit(main())
