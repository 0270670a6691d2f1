"""`resnet_trt compare`: accuracy and latency of backends and models, side by side."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack
import json
from pathlib import Path
import shlex
from typing import Any

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.atomic_file import check_place, whole_file
from resnet_trt_node.cli.arguments.evaluation.compare import DOCUMENT, PLOT, REPORT
from resnet_trt_node.cli.support.console import log, print_json, print_table, Progress, write
from resnet_trt_node.cli.support.example_frames import read_frames
from resnet_trt_node.cli.support.options import backend_options, max_image_bytes
from resnet_trt_node.compare.accuracy import Tolerance
from resnet_trt_node.compare.choice import parse_names
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
#: Columns of the report's table that the terminal's lacks, or calls otherwise.
_P90 = LATENCY_HEAD.index('p90 ms')
_SHORT = {'between rounds': 'spread', 'times the first': 'ratio'}


def run(arguments: Namespace) -> int:
    """Compare and report."""
    quiet = arguments.json
    plan = Plan(
        arguments.batch_size, arguments.rounds, arguments.seconds, arguments.iterations,
        arguments.warm_up, seed=arguments.seed)
    names = parse_names(arguments.backends)
    # Before minutes are spent on measuring.
    if arguments.output is not None:
        check_place(arguments.output / REPORT)
    if arguments.save is not None:
        if arguments.output is not None or quiet:
            raise UsageError('--save compares nothing: leave out --output and --json')
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
    if arguments.output is not None:
        _write(document, arguments.output)
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
    # A terminal has no room for all; the report has.
    head, *rows = ([cell for place, cell in enumerate(cells) if place != _P90] for cells in (
        LATENCY_HEAD, *latency_rows(document)))
    print_table([_SHORT.get(cell, cell) for cell in head], rows, 'rlrrrrf')
    write()
    if document['accuracy']['pairs']:
        print_table(ACCURACY_HEAD, accuracy_rows(document), 'lrrff')
    write(verdict(document))
    for one in document['unavailable']:
        write(f'{one["label"]} could not be opened: {one["reason"]}')
