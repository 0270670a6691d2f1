"""`resnet_trt fleet-pick`: writes frames of a fleet run for labelling."""

from __future__ import annotations

from argparse import Namespace

from resnet_trt_node.cli.classification.fleet_report import apart_ns, cache_bytes, open_results
from resnet_trt_node.cli.support.console import (
    count_of, log, print_json, print_warning, Progress, write)
from resnet_trt_node.errors import DataError, UsageError
from resnet_trt_node.fleet.results.candidates import BestFrames
from resnet_trt_node.fleet.results.files import Results
from resnet_trt_node.fleet.results.picking import (
    by_entropy, by_margin, ByClass, check_folder, choose, choose_disagreeing, TABLE,
    write_pictures)

_CRITERIA = {'entropy': by_entropy, 'margin': by_margin}


def run(arguments: Namespace) -> int:
    """Choose the frames and write their pictures."""
    if arguments.limit < 1:
        raise UsageError(f'--limit {arguments.limit}: choose at least 1')
    best = BestFrames(arguments.limit, apart_ns(arguments.apart))
    cache = cache_bytes(arguments.cache_gib)
    results = open_results(arguments.results)
    if not results.rows:
        raise DataError(f'{results.folder} has no answers: no frame of the run has a row')
    check_folder(arguments.output, arguments.overwrite)
    _choose(arguments, results, best)
    frames = best.chosen()
    if not frames:
        raise DataError(_NONE[_criterion(arguments)])
    with Progress(len(frames), 'picture', arguments.json) as progress:
        picked = write_pictures(
            frames, arguments.output, arguments.bags, cache, print_warning,
            lambda steps: progress.advance(steps, len(frames)))
    for reason, number in picked.problems.items():
        print_warning(f'{count_of(number, "frame")} without a picture: {reason}')
    if not picked.pictures:
        raise DataError(
            f'no picture was written; {arguments.output / TABLE} lists the frames and why')
    if arguments.json:
        print_json('fleet-pick', {
            'folder': str(arguments.output), 'table': str(arguments.output / TABLE),
            'frames': len(frames), 'pictures': picked.pictures,
            'without_picture': dict(picked.problems), 'warnings': results.warnings})
        return 0
    write(f'{count_of(len(frames), "frame")}, {count_of(picked.pictures, "picture")}: '
          f'{arguments.output}')
    log(f'table: {arguments.output / TABLE}')
    return 0


#: What it means that there is no frame.
_NONE = {
    'entropy': 'no answer has an entropy, as of a multi-label model: choose --uncertain margin',
    'margin': 'no answer has two classes: run `resnet_trt fleet` with --top-k 2 or more, or '
    'choose --uncertain entropy',
    'disagreeing': 'both runs have the same best class on every frame that both answered',
    'class': 'no frame of this class has a score'}


def _criterion(arguments: Namespace) -> str:
    if arguments.uncertain is not None:
        return str(arguments.uncertain)
    return 'disagreeing' if arguments.disagreeing is not None else 'class'


def _choose(arguments: Namespace, results: Results, best: BestFrames) -> None:
    with Progress(results.rows, 'row', arguments.json, scaled=True) as progress:
        def step(rows: int) -> None:
            progress.advance(rows, results.rows)
        if arguments.disagreeing is not None:
            choose_disagreeing(results, open_results(arguments.disagreeing), best, step)
        elif arguments.class_name is not None:
            of_class = ByClass(arguments.class_name)
            choose(results, of_class, best, step)
            of_class.check()
        else:
            choose(results, _CRITERIA[arguments.uncertain], best, step)
