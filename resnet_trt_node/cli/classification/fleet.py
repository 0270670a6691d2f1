"""`resnet_trt fleet`: classifies many bags on one machine or a cluster, with Ray."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Optional

from resnet_trt_node.cli.support.console import (
    count_of, log, print_json, print_table, Progress, write)
from resnet_trt_node.cli.support.options import (
    backend_document, describe_backend, max_image_bytes, opening_options)
from resnet_trt_node.cli.support.regions.options import refuse_region_options, REGION_OPTIONS
from resnet_trt_node.contract.model_file import read_model
from resnet_trt_node.contract.prediction import UnknownRule
from resnet_trt_node.errors import UsageError
from resnet_trt_node.fleet import run as fleet
from resnet_trt_node.fleet.bags import find_bags
from resnet_trt_node.fleet.cluster import Cluster, connected, model_actors, ModelActors
from resnet_trt_node.fleet.manifest import locked, MANIFEST, RunFolder
from resnet_trt_node.fleet.tasks import Job
from resnet_trt_node.fleet.units import Answering, FrameWork, Sampling, Work

#: Largest number of failures that are printed; the manifest has all.
_MAX_PRINTED_FAILURES = 10
#: Options that change answers or units, so that a run is resumed with the same ones only.
_KEPT = (
    'topic', 'every_ms', 'unit_frames', 'max_image_mib', 'top_k', 'score_threshold',
    'unknown_below', 'unknown_label', 'unknown_criterion', 'resize_method', 'preprocess',
    'backend', 'regions', *REGION_OPTIONS)


def run(arguments: Namespace) -> int:
    """Classify the bags, and print what became of them."""
    work = _work(arguments)
    options = {name: getattr(arguments, name) for name in _KEPT}
    # Once, so that the digest is of what answers.
    model = read_model(arguments.model)
    digest = sha256(model).hexdigest()
    with ExitStack() as stack:
        # First, since another process may be writing the manifest.
        stack.enter_context(locked(Path(arguments.output)))
        head = {'model': arguments.model, 'model_sha256': digest, 'options': options}
        folder = RunFolder(Path(arguments.output), head, arguments.resume)
        bags = find_bags(arguments.bags, folder.drives)
        cluster = stack.enter_context(connected(arguments.address))
        actors = stack.enter_context(model_actors(
            cluster, model, Path(arguments.model).name,
            {'name': arguments.backend, **opening_options(arguments)},
            (lambda line: None) if arguments.json else log))
        job = Job(
            cluster.key, work, actors.handles, actors.model, actors.spec,
            arguments.batch_size, Path(arguments.model).name, digest,
            int(arguments.cache_gib * 2**30))
        if not arguments.json:
            _describe(cluster, actors, len(bags))
        start_ns = perf_counter_ns()
        complete = _go(arguments, folder, job, actors, bags)
        took_s = (perf_counter_ns() - start_ns) / 1e9
        document = folder.document(with_units=False)
    if arguments.json:
        del document['format'], document['version']
        print_json('fleet', {
            **document, 'backend': backend_document(actors.info), 'seconds': took_s})
    else:
        _summarise(document, took_s, arguments.output)
    return 0 if complete else 1


def _work(arguments: Namespace) -> Work:
    if arguments.top_k < 1:
        raise UsageError(f'--top-k {arguments.top_k}: choose at least 1')
    if not 0 <= arguments.score_threshold <= 1:
        raise UsageError(f'--score-threshold {arguments.score_threshold}: choose 0 to 1')
    if not 0 <= arguments.every_ms < 1e12:
        raise UsageError(f'--every-ms {arguments.every_ms}: choose 0 or more milliseconds')
    if arguments.unit_frames < 0:
        raise UsageError(f'--unit-frames {arguments.unit_frames}: choose 0 or more')
    if not arguments.cache_gib > 0:
        raise UsageError(f'--cache-gib {arguments.cache_gib}: choose more than 0')
    sampling = Sampling(round(arguments.every_ms * 1e6))
    answering = Answering(
        arguments.top_k, arguments.score_threshold, UnknownRule(
            arguments.unknown_below, arguments.unknown_label, arguments.unknown_criterion),
        arguments.resize_method, max_image_bytes(arguments))
    if arguments.regions is not None:
        from resnet_trt_node.cli.support.regions.fleet_work import region_work
        return region_work(arguments, sampling, answering)
    refuse_region_options(arguments, REGION_OPTIONS, '--regions')
    return FrameWork(
        None if arguments.topic is None else tuple(arguments.topic), arguments.unit_frames,
        sampling, answering)


def _describe(cluster: Cluster, actors: ModelActors, bags: int) -> None:
    log(f'{count_of(bags, "bag")}, {count_of(len(actors.handles), "model actor")} of '
        f'{describe_backend(actors.info)}, {count_of(actors.readers, "reader")}')
    decoding = sum(info.details.get('decode') == 'nvjpeg' for *_, info in actors.handles)
    if decoding:
        log(f'{decoding} of them {"decodes" if decoding == 1 else "decode"} jpegs on the GPU')
    if cluster.dashboard:
        log(f'Ray shows what it does at http://{cluster.dashboard}')


def _go(
        arguments: Namespace, folder: RunFolder, job: Job, actors: ModelActors,
        bags: list[Any]) -> bool:
    failures = 0

    def fail(line: str) -> None:
        nonlocal failures
        failures += 1
        if not arguments.json and failures <= _MAX_PRINTED_FAILURES:
            log(line)
    with Progress(None, 'frame', quiet=arguments.json) as bar:
        return fleet.Run(
            folder, job, actors.readers, actors.reader_cores,
            lambda now: bar.advance(now.new, now.total or None), fail,
            (lambda line: None) if arguments.json else log).go(bags)


def _summarise(document: dict[str, Any], took_s: float, output: Optional[Path]) -> None:
    rows = []
    for one in document['bags']:
        frames = one['frames']
        rows.append([
            one['drive'], one['state'], str(frames['in']), str(frames['answered']),
            ', '.join(f'{number} {name}' for name, number in frames['skipped'].items()) or '-'])
    print_table(['DRIVE', 'STATE', 'FRAMES', 'ANSWERED', 'SKIPPED'], rows, 'llrr')
    frames = document['frames']
    write()
    log(f'{frames["in"]} frames, {frames["answered"]} answered, in {took_s:.1f} s')
    for one in document['bags']:
        for line in one['warnings']:
            log(f'warning: {line}')
    log(f'what became of each unit: {output}/{MANIFEST}')
