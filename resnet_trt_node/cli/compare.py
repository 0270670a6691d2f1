"""`resnet_trt compare`: accuracy and latency of backends and models, side by side."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
import json
from pathlib import Path
import shlex
from typing import Any

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.atomic_file import check_place, whole_file
from resnet_trt_node.cli.support.console import log, print_json, print_table, Progress, write
from resnet_trt_node.cli.support.example_frames import GENERATED, read_frames
from resnet_trt_node.cli.support.options import (
    add_node_options, add_picture_arguments, backend_options, batch_sizes, max_image_bytes)
from resnet_trt_node.compare.accuracy import Tolerance
from resnet_trt_node.compare.choice import NAMES, parse_names
from resnet_trt_node.compare.latency import Plan
from resnet_trt_node.compare.plot import draw
from resnet_trt_node.compare.report import (
    ACCURACY_HEAD, accuracy_rows, LATENCY_HEAD, latency_rows, markdown, verdict)
from resnet_trt_node.compare.saved import read_saved_frames
from resnet_trt_node.compare.session import Session
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import UsageError
from resnet_trt_node.json_document import json_document

#: Exit code where everything ran and the answers differ.
DISAGREE = 1
#: What is written into --out.
REPORT, PLOT, DOCUMENT = 'report.md', 'latency.png', 'compare.json'


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        'Exit code: 0 if all agree, 1 if answers differ beyond the tolerance, 2 if a model, '
        'backend or option cannot be used.')
    parser.add_argument(
        'models', metavar='MODEL', nargs='+', type=Path,
        help='deployable ONNX models of one network, such as its fp32 and int8')
    parser.add_argument(
        '--backends', required=True, metavar='NAME[,...]',
        help=f'among {", ".join(NAMES)}; the first is what the others are compared with')
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        '--save', type=Path, metavar='FILE.npz',
        help='compare nothing, but write frames, answers and times there for --saved in another '
        'Python')
    kept.add_argument(
        '--saved', type=Path, action='append', default=[], metavar='FILE.npz',
        help='take what --save wrote beside the backends, again for more')
    parser.add_argument(
        '--skip-unavailable', action='store_true',
        help='go on without backends that cannot be opened; the report names them')
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help=f'write {REPORT}, {PLOT} and {DOCUMENT} there')
    parser.add_argument('--json', action='store_true', help='print the figures as JSON')
    _add_frame_arguments(parser)
    _add_latency_arguments(parser)
    group = parser.add_argument_group('what counts as the same answer')
    group.add_argument(
        '--atol', type=float, default=Tolerance.atol, metavar='P',
        help='a probability may differ by this much,')
    group.add_argument(
        '--rtol', type=float, default=Tolerance.rtol, metavar='SHARE',
        help='or by this share of its value')
    group.add_argument(
        '--min-agreement', type=float, default=Tolerance.min_agreement, metavar='SHARE',
        help='share of the frames whose most probable class must be the same')


def _add_frame_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group('what they are asked')
    group.add_argument(
        '--images', default=GENERATED, metavar='DIR|ZIP|BAG|NPZ',
        help='pictures, a bag, or the frames of a file that --save wrote; generated makes some up')
    group.add_argument(
        '--topic', action='append', metavar='NAME', help='image topic of the bag, again for more')
    group.add_argument(
        '--limit', type=int, default=64, metavar='N', help='frames whose answers are compared')
    group.add_argument(
        '--seed', type=int, default=0, metavar='N',
        help='of generated pictures and of the order in which backends are timed')
    add_picture_arguments(group)


def _add_latency_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group('how latency is measured')
    group.add_argument(
        '--batch-sizes', type=batch_sizes, default=(1,), metavar='N[,N...]',
        help='rising, each measured by itself; not given: 1')
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        '--seconds', type=float, default=Plan.seconds, metavar='S',
        help='timed seconds of each backend and batch size')
    length.add_argument(
        '--iterations', type=int, metavar='N', help='timed inferences instead')
    group.add_argument(
        '--rounds', type=int, default=Plan.rounds, metavar='N',
        help='turns among which they are divided')
    group.add_argument(
        '--warm-up', type=int, default=Plan.warm_up, metavar='N',
        help='inferences before anything is timed')
    add_node_options(
        group, 'device', 'threads', 'engine_dir', 'optimization_level', 'sparse_weights',
        'engine_host_code')


def run(arguments: Namespace) -> int:
    """Compare and report."""
    quiet = arguments.json
    plan = Plan(
        arguments.batch_sizes, arguments.rounds, arguments.seconds, arguments.iterations,
        arguments.warm_up, seed=arguments.seed)
    names = parse_names(arguments.backends)
    # Before minutes are spent on measuring.
    if arguments.out is not None:
        check_place(arguments.out / REPORT)
    if arguments.save is not None:
        if arguments.out is not None or quiet:
            raise UsageError('--save compares nothing: leave out --out and --json')
        check_place(arguments.save)
    total = plan.rounds * len(plan.batch_sizes) * len(names) * len(arguments.models)
    with Progress(total, 'turn', quiet=quiet) as progress:
        session = Session(
            arguments.models, names, backend_options(arguments), plan,
            Tolerance(arguments.atol, arguments.rtol, arguments.min_agreement),
            arguments.skip_unavailable, arguments.saved, log, progress.step)
        frames, source = _read_frames(arguments, session.read_spec())
        if arguments.save is not None:
            session.save(frames, arguments.save)
            write(f'{arguments.save}: answers and times of {arguments.backends}, {source}')
            return 0
        document = {
            **session.run(frames), 'source': source,
            'command': shlex.join(['resnet_trt', *map(str, arguments.words)])}
    if arguments.out is not None:
        _write(document, arguments.out)
    if arguments.json:
        print_json('compare', document)
    else:
        _print(document)
    return 0 if document['accuracy']['agree'] else DISAGREE


def _read_frames(
        arguments: Namespace, spec: ModelSpec) -> tuple[NDArray[np.uint8], str]:
    if arguments.images.endswith('.npz'):
        frames = read_saved_frames(Path(arguments.images), spec)
        return frames, f'{len(frames)} of {Path(arguments.images).name}'
    return read_frames(
        arguments.images, arguments.topic, spec, arguments.limit, arguments.seed,
        max_bytes=max_image_bytes(arguments))


def _write(document: dict[str, Any], folder: Path) -> None:
    """Write report, picture and JSON, all or none."""
    picture = draw(document)
    if picture is None:
        log(f'no {PLOT}: matplotlib is not installed')
    values = json.dumps(
        json_document('compare', document), indent=1, ensure_ascii=False) + '\n'
    report = markdown(document, plot=None if picture is None else PLOT)
    with ExitStack() as stack:
        for name, data in (
                (REPORT, report.encode()), (PLOT, picture), (DOCUMENT, values.encode())):
            if data is not None:
                stack.enter_context(whole_file(folder / name)).write_bytes(data)


def _print(document: dict[str, Any]) -> None:
    print_table(LATENCY_HEAD, latency_rows(document), 'rlrrrrrl')
    write()
    if document['accuracy']['pairs']:
        print_table(ACCURACY_HEAD, accuracy_rows(document), 'lrrll')
    write(verdict(document))
    for one in document['unavailable']:
        write(f'{one["label"]} could not be opened: {one["reason"]}')
